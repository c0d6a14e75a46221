"""phi(x): the raw signals of one forward pass as about 40 numbers with names, each in one of the channels people read.

In: `Signals`, and parameters learned on labelled images the model was not trained on and on their corrupted twins.
Out: float32 (N, S). Whatever is learned is learned here, from what is passed in. Read by the window test, the accuracy
estimate and the reference.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.arrays import Float32s, Labels
from drift_detector_pipeline.drift.scores.directions import Directions, direction_scores, fit_directions, fit_features
from drift_detector_pipeline.drift.scores.output_scores import (
    OUTPUT_SCORES,
    OutputParameters,
    fit_outputs,
    output_scores,
)
from drift_detector_pipeline.drift.scores.pixels import PIXELS, SMALLEST_PX, pixel_names
from drift_detector_pipeline.drift.scores.signals import Signals, Twin
from drift_detector_pipeline.drift.scores.strangeness import (
    NAME,
    Strangeness,
    fit_strangeness,
    strangeness,
)

# "labels", the ninth, is no score: it is the predicted class, of which the window test counts.
CHANNELS = ("error", "energy", "novelty", "texture", "sharpness", "brightness", "contrast", "colour", "labels")
FOLDS = 5
LEAST = 2 * FOLDS  # images to learn from
_OUTPUTS_IN_FILES = "late"  # what they were called when the first references were saved
_LEAST_SPREAD = 0.01  # a score that is constant on clean images still has a scale


class Axes(NamedTuple):
    """Directions onto which signals are projected, learned from means over images."""

    looks: Directions  # of pixel scores and early maps, those of corruption
    features: Directions  # of the penultimate features, those of content


class Parameters(NamedTuple):
    """Everything learned, frozen."""

    side_px: int  # of the images; it decides which pixel scores there are
    early_maps: int  # C, 0 for a model without
    axes: Axes
    outputs: OutputParameters
    strangers: Strangeness
    centre: Float32s  # (S,) mean of the scores on clean images
    covariance: Float32s  # (S, S) of the scores on clean images, shrunk (Ledoit & Wolf 2004)


class Score(NamedTuple):
    """A column of phi."""

    name: str
    channel: str
    group: str  # where it comes from: "pixels", "directions", "outputs" or, always last, "features" and one "strangers"


def fit_scores(clean: Signals, labels: Labels, twins: Sequence[Twin], side_px: int) -> Parameters:
    """Learn from N labelled clean images of `side_px` and their twins.

    Leave the twins of some kinds out, and nothing knows of these kinds. Raises ValueError if shapes do not fit.
    """
    from sklearn.covariance import ledoit_wolf  # whoever only judges does without

    _check(clean, labels, twins, side_px)
    looks = fit_directions(_material(clean), [(twin.rows, _material(twin.signals)) for twin in twins])
    axes = Axes(looks, fit_features(clean.features))
    outputs = fit_outputs(clean.features, clean.logits, labels)
    folds = image_folds(len(labels))
    strangers = fit_strangeness(clean, labels, folds)
    own, _ = unseen_scores(clean, labels, (), axes, folds, strangers)
    spread = np.maximum(own.std(axis=0), _LEAST_SPREAD)
    correlation = ledoit_wolf((own - own.mean(axis=0)) / spread, assume_centered=True)[0]
    np.fill_diagonal(correlation, np.maximum(correlation.diagonal(), 1))
    covariance = (correlation * np.outer(spread, spread)).astype(np.float32)
    return Parameters(side_px, clean.early.shape[1], axes, outputs, strangers, own.mean(axis=0), covariance)


def phi(signals: Signals, parameters: Parameters) -> Float32s:
    """The scores of N images: float32 (N, S), columns as `describe_scores` names them.

    Raises ValueError for other shapes.
    """
    expected = (len(pixel_names(parameters.side_px)), parameters.early_maps, len(parameters.outputs.centre))
    if (found := tuple(values.shape[1] for values in signals[:3])) != expected:
        raise ValueError(f"expected {expected} pixel scores, early maps and features, got {found}")
    return _joined(signals, parameters.axes, _of_outputs(signals, parameters.outputs, parameters.strangers))


def unseen_scores(
    clean: Signals, labels: Labels, twins: Sequence[Twin], axes: Axes, folds: Labels, strangers: Strangeness
) -> tuple[Float32s, list[Float32s]]:
    """Compute phi of the very images that are learned from, (N, S) and a (n, S) per twin, as if they were new.

    What knows single images, temperature and distances, is learned anew for each of `folds` (N,) without its images;
    an image's twins are in its fold. Distances to means an image took part in are too small. Directions are learned
    from means over images and kept: with 100 images their spread is 1.8 times as large on new ones, with 950 1.1 times.
    """
    own = np.empty((len(labels), len(OUTPUT_SCORES) + 1), dtype=np.float32)
    theirs = [np.empty((len(twin.rows), own.shape[1]), dtype=np.float32) for twin in twins]
    for fold in np.unique(folds):
        inside = folds == fold
        outputs = fit_outputs(clean.features[~inside], clean.logits[~inside], labels[~inside])
        own[inside] = _of_outputs(clean.take(np.flatnonzero(inside)), outputs, strangers)
        for twin, values in zip(twins, theirs, strict=True):
            chosen = inside[twin.rows]
            values[chosen] = _of_outputs(twin.signals.take(np.flatnonzero(chosen)), outputs, strangers)
    joined = [_joined(twin.signals, axes, values) for twin, values in zip(twins, theirs, strict=True)]
    return _joined(clean, axes, own), joined


def image_folds(images: int, seed: int = 0) -> Labels:
    """A fold of 0 to 4 for each image, all about equally large."""
    return np.random.default_rng(seed).permutation(np.arange(images) % FOLDS)


def enough_to_learn(labels: Labels) -> bool:
    """Whether scores can be learned from images with these labels (N,)."""
    return len(labels) >= LEAST and len(np.unique(labels)) >= 2


def describe_scores(parameters: Parameters) -> list[Score]:
    """Name, channel and group of each column of phi."""
    pixels = [Score(name, PIXELS[name], "pixels") for name in pixel_names(parameters.side_px)]
    learned = [
        Score(f"direction_{number}", "texture", "directions")
        for number in range(1, 1 + parameters.axes.looks.weights.shape[1])
    ]
    outputs = [Score(name, channel, "outputs") for name, channel in OUTPUT_SCORES.items()]
    return pixels + learned + outputs + [
        Score(f"feature_{number}", "novelty", "features")
        for number in range(1, 1 + parameters.axes.features.weights.shape[1])
    ] + [Score(NAME, "novelty", "strangers")]  # fmt: skip


def missing(parameters: Parameters) -> dict[str, str]:
    """What this model or image size cannot give, and why."""
    side = parameters.side_px
    absent = {
        name: f"says nothing on images of {side} px, from {least} px on"
        for name, least in SMALLEST_PX.items()
        if side < least
    }
    if parameters.early_maps == 0:
        absent["early feature maps"] = "the model has none that are known; directions come from pixels alone"
    if parameters.axes.looks.weights.shape[1] == 0:
        absent["directions"] = "no twins to learn them from"
    return absent


def to_arrays(parameters: Parameters) -> dict[str, npt.NDArray[Any]]:
    """The parameters as plain arrays, to be saved."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "side_px": np.array(parameters.side_px),
        "early_maps": np.array(parameters.early_maps),
        "centre": parameters.centre,
        "covariance": parameters.covariance,
    }
    for axis, directions in parameters.axes._asdict().items():
        arrays |= {f"{axis}.{name}": value for name, value in directions._asdict().items()}
    arrays |= {f"strangers.{name}": value for name, value in parameters.strangers._asdict().items()}
    return arrays | {f"{_OUTPUTS_IN_FILES}.{name}": value for name, value in parameters.outputs._asdict().items()}


def from_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> Parameters:
    """Undo `to_arrays`. Raises KeyError if an array is missing."""
    axes = Axes(*(Directions(*(arrays[f"{axis}.{name}"] for name in Directions._fields)) for axis in Axes._fields))
    outputs = OutputParameters(*(arrays[f"{_OUTPUTS_IN_FILES}.{name}"] for name in OutputParameters._fields))
    strangers = Strangeness(*(arrays[f"strangers.{name}"] for name in Strangeness._fields))
    sizes = int(arrays["side_px"]), int(arrays["early_maps"])
    return Parameters(*sizes, axes, outputs, strangers, arrays["centre"], arrays["covariance"])


def _material(signals: Signals) -> Float32s:
    """What directions are learned from."""
    return np.concatenate([signals.pixels, signals.early], axis=1)


def _of_outputs(signals: Signals, outputs: OutputParameters, strangers: Strangeness) -> Float32s:
    """The scores of OUTPUT_SCORES and, last, strangeness."""
    strange = strangeness(signals.features, signals.logits, outputs, strangers)
    return np.column_stack([output_scores(signals.features, signals.logits, outputs), strange])


def _joined(signals: Signals, axes: Axes, outputs: Float32s) -> Float32s:
    looks, contents = (
        direction_scores(_material(signals), axes.looks),
        direction_scores(signals.features, axes.features),
    )
    return np.concatenate([signals.pixels, looks, outputs[:, :-1], contents, outputs[:, -1:]], axis=1)


def _check(clean: Signals, labels: Labels, twins: Sequence[Twin], side_px: int) -> None:
    images, pixels = len(labels), len(pixel_names(side_px))
    if any(len(values) != images for values in clean) or clean.pixels.shape[1] != pixels:
        shapes = [values.shape for values in clean]
        raise ValueError(f"expected signals of {images} images with {pixels} pixel scores, got arrays of {shapes}")
    if not enough_to_learn(labels):
        raise ValueError(f"expected at least {LEAST} images of at least 2 classes to learn from, got {images}")
    for twin in twins:
        width = [values.shape[1:] for values in twin.signals] != [values.shape[1:] for values in clean]
        if width or len(twin.rows) != len(twin.signals.logits) or twin.rows.max(initial=0) >= images:
            raise ValueError(f"the twins of {twin.kind} {twin.severity} do not fit the {images} clean images")
