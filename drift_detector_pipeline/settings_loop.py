"""Settings of the loop: how the log is watched, what is labelled, healed and trained on, what a candidate must show.

Read as parts of settings.py.
"""

from typing import Annotated

from pydantic import Field

from drift_detector_pipeline.settings_section import FilePath, Positive, Section


class Basket(Section):
    """Which images of a change a person is asked about. Decides nothing about training."""

    images: Annotated[int, Field(ge=4, le=10_000)] = 60
    random: Annotated[float, Field(ge=0.1, le=1)] = 0.2  # share of them that is drawn at random


class Monitor(Section):
    """How the request log is watched. Decides nothing about answers."""

    database: Annotated[str, Field(pattern=r"^(sqlite|postgresql)(\+\w+)?://")]  # of the request log
    models_path: FilePath  # below it lie the artefacts of the models that answered
    alpha: Annotated[float, Field(gt=0, lt=1)]
    horizon: Positive
    tolerated_loss: Annotated[float, Field(ge=0, lt=1)]
    cause_images: Annotated[int, Field(ge=16, le=128)]  # since a change, for the first look at its cause
    max_sources: Positive  # streams of a model
    poll_s: Annotated[float, Field(gt=0, le=3600)]  # between two looks at the log
    webhook: Annotated[str, Field(pattern=r"^https?://")] | None  # is told of each alarm
    command: list[str]  # a program and its words; gets each alarm on stdin
    metrics_host: Annotated[str, Field(min_length=1)]  # an address of this machine
    metrics_port: Annotated[int, Field(ge=1, le=65_535)] | None
    once: bool


class Gate(Section):
    """What a candidate must show before it may replace the champion. Decides nothing about training."""

    alpha: Annotated[float, Field(gt=0, lt=0.5)]  # chance that a claim is wrong, over all looks at the same images
    clean_margin: Annotated[float, Field(gt=0, lt=1)]  # accuracy that may be lost on clean images, in 0..1
    others_margin: Annotated[float, Field(gt=0, lt=1)]  # ... and under the other kinds of change, in the mean
    brier_margin: Annotated[float, Field(gt=0, lt=1)]  # mean squared distance of confidence and being right
    latency: Annotated[float, Field(gt=0)]  # most processor time an image, as a multiple of the champion's
    size: Annotated[float, Field(gt=0)]  # largest file, as a multiple of the champion's
    least_labels: Positive  # labelled images from the changed world below which they are not asked


class Heal(Section):
    """How statistics of recent images become a model. Decides nothing about training."""

    images: Annotated[int, Field(ge=32, le=4096)]  # most images whose statistics are taken
    prior: Annotated[int, Field(ge=0)]  # images that the network's own statistics count for beside them
    least_reference: Annotated[int, Field(ge=100)]  # further images from which on they are the new reference


class Retrain(Section):
    """How a run is trained on. What decides its bits stands in its receipt, under training and data."""

    further_epochs: Positive | None  # null: as many as the champion's run
    learning_rate_factor: Annotated[float, Field(gt=0)]  # of the run's own
    warm: bool  # from the run's weights; false: from where the run itself began
    twins_share: Annotated[float, Field(gt=0, lt=1)]  # of the images of an epoch that are changed
    labels_share: Annotated[float, Field(ge=0, lt=1)]  # of train that labelled images should make up
    most_repeats: Positive  # of one labelled image in an epoch
