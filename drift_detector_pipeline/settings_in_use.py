"""What can be set of a model in use: how it is exported, answers, is watched, labelled, tested and replaced.

Read by settings.py, which names all sections, and by every stage that is given a part of it.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from drift_detector_pipeline.setting_types import FilePath, Positive, Section

Database = Annotated[str, Field(pattern=r"^(sqlite|postgres(ql)?(\+\w+)?)://")]  # of the request log
Source = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]  # as X-Source may be


class Export(Section):
    """How a run becomes a folder that answers. Decides nothing about training."""

    path: FilePath
    runtime: Literal["onnxruntime", "openvino"]
    precision: Literal["fp32", "int8", "bf16"]
    max_labels_changed: Annotated[float, Field(ge=0, le=1)]
    max_accuracy_lost: Annotated[float, Field(ge=0, le=1)]
    compare: bool  # with what a run costs in other forms, none of which is served

    @model_validator(mode="after")
    def _of_this_runtime(self) -> "Export":
        if (self.runtime, self.precision) == ("onnxruntime", "bf16"):
            raise ValueError("export.precision=bf16 is for export.runtime=openvino; ONNX Runtime has fp32 and int8")
        return self


class Serving(Section):
    """How a service answers. Decides nothing about the answers themselves."""

    host: Annotated[str, Field(min_length=1)]  # an address of this machine
    port: Annotated[int, Field(ge=0, le=65_535)]  # 0: any free one
    database: Database
    window: Annotated[int, Field(ge=16, le=4096)]  # images of a counted verdict
    in_flight: Positive  # requests at once
    max_upload_mb: Annotated[float, Field(gt=0, le=1000)]  # of one request's body
    max_megapixels: Annotated[float, Field(gt=0, le=100)]  # of one image, as its header says
    max_video_seconds: Annotated[float, Field(gt=0, le=3600)] = 20.0  # of one video, as its header says and as it plays
    max_video_frames: Annotated[int, Field(ge=1, le=100_000)] = 600  # the same
    max_video_megapixels: Annotated[float, Field(gt=0, le=36)] = 9.0  # of a frame
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None  # of a box that begins a thing; of a clip that is said
    k_frames: Annotated[int, Field(ge=1, le=512)] | None = None  # of a clip that are looked at; null: as in training
    keep_crops: bool  # of the newest windows, in memory, for the second look
    retention_days: Annotated[float, Field(gt=0)] | None  # of rows of the log; null: kept
    thumbnails: Annotated[float, Field(ge=0, le=1)]  # share of images whose picture is kept
    drain_s: Annotated[float, Field(ge=0, le=600)]  # from "not ready" to closing the door
    models_path: FilePath = Path("models")  # with champion.json, which is followed, and versions/
    shadow: str | None = None  # a version that is asked beside the one that answers; null: none
    canary: dict[Source, str] = Field(default_factory=dict)  # versions that answer single sources, by source
    keep_images: FilePath | None = None  # a folder for the bytes of answered images; null: not kept
    keep_images_gb: Annotated[float, Field(gt=0)] = 1.0  # of that folder, at most; the oldest images go


class Predict(Section):
    """What `make predict` does with boxes and clips. Decides nothing about training."""

    threshold: Annotated[float, Field(ge=0, le=1)] | None  # of a box; null: 0.05, in pictures 0.5; of clips
    tile_px: Annotated[int, Field(ge=32, le=8192)] | None  # side of the parts that larger images are cut into
    pictures: Annotated[int, Field(ge=0)]  # the first so many images are drawn with their boxes
    codec: Literal["h264", "vp9"]  # of a video with boxes


class Basket(Section):
    """Which images of a change a person is asked about. Decides nothing about training."""

    images: Annotated[int, Field(ge=4, le=10_000)] = 60
    random: Annotated[float, Field(ge=0.1, le=1)] = 0.2  # share of them that is drawn at random


class Monitor(Section):
    """How the request log is watched. Decides nothing about answers."""

    database: Database
    models_path: FilePath  # below it lie the artefacts of the models that answered
    alpha: Annotated[float, Field(gt=0, lt=1)]
    horizon: Positive
    tolerated_loss: Annotated[float, Field(ge=0, lt=1)]
    cause_images: Annotated[int, Field(ge=32, le=256)]  # since a change, to tell its cause; a first guess from half
    max_sources: Positive  # streams of a model
    poll_s: Annotated[float, Field(gt=0, le=3600)]  # between two looks at the log
    webhook: Annotated[str, Field(pattern=r"^https?://")] | None  # is told of each alarm
    command: list[str]  # a program and its words; gets each alarm on stdin
    metrics_host: Annotated[str, Field(min_length=1)]  # an address of this machine
    metrics_port: Annotated[int, Field(ge=1, le=65_535)] | None
    once: bool


class Lifecycle(Section):
    """What is done about a change without being asked. Decides nothing about training."""

    on_alert: list[Literal["basket", "heal", "retrain"]]  # one after another, until one is adopted
    promote: bool  # adopt what has passed its gate; false: a person does
    wait_images: Positive  # of the changed world, before anything is made of them
    images: FilePath | None  # a folder that holds recent images; null: the one of serving.keep_images
    retrain_every_days: Annotated[float, Field(gt=0)] | None  # on labels that came back; null: only after alerts
    tries_a_week: Annotated[int, Field(ge=0)]  # of healing and retraining, together
    minutes_a_week: Annotated[float, Field(ge=0)]  # that these may take
    poll_s: Annotated[float, Field(gt=0, le=86_400)]  # between two looks
    once: bool  # look once and end
    dry_run: bool  # say what would be done, and do nothing


class Gate(Section):
    """What a candidate must show before it may replace the champion. Decides nothing about training."""

    alpha: Annotated[float, Field(gt=0, lt=0.5)]  # chance that a claim is wrong, over all looks at the same images
    clean_margin: Annotated[float, Field(gt=0, lt=1)]  # accuracy that may be lost on clean images, in 0..1
    others_margin: Annotated[float, Field(gt=0, lt=1)]  # ... and under the other kinds of change, in the mean
    brier_margin: Annotated[float, Field(gt=0, lt=1)]  # loss of half the Brier score that is allowed, in 0..1
    latency: Annotated[float, Field(gt=0)]  # most processor time an image, as a multiple of the champion's
    size: Annotated[float, Field(gt=0)]  # largest file, as a multiple of the champion's
    least_labels: Positive  # labelled images from the changed world below which they are not asked


class Heal(Section):
    """How statistics of recent images become a model. Decides nothing about training."""

    images: Annotated[int, Field(ge=32, le=4096)]  # most images whose statistics are taken
    prior: Annotated[int, Field(ge=0)]  # images that the network's own statistics count for beside them


class Retrain(Section):
    """How a run is trained on. What decides its bits stands in its receipt, under training and data."""

    further_epochs: Positive | None  # null: as many as the champion's run
    learning_rate_factor: Annotated[float, Field(gt=0)]  # of the run's own
    warm: bool  # from the run's weights; false: from where the run itself began
    twins_share: Annotated[float, Field(gt=0, lt=1)]  # of the images of an epoch that are changed
    labels_share: Annotated[float, Field(ge=0, lt=1)]  # of train that labelled images should make up
    most_repeats: Positive  # of one labelled image in an epoch
