"""phi(x) of boxes: pixel scores, directions of corruption, box scores and directions of content, one row an image.

In: `BoxSignals`, and parameters learned on labelled images the model was not trained on and on their corrupted twins.
Out: float32 (N, S). Whatever is learned is learned here, from what is passed in. Read by the window test, the estimate
of mAP50 and the reference.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.arrays import Boxes, Float32s, Labels
from drift_detector_pipeline.drift.boxes.box_scores import (
    BOX_SCORES,
    Shown,
    box_scores,
    class_of,
    frequent_classes,
)
from drift_detector_pipeline.drift.boxes.signals import BoxSignals, BoxTwin
from drift_detector_pipeline.drift.detecting import Sure
from drift_detector_pipeline.drift.permutation import Scale, scale_of
from drift_detector_pipeline.drift.scores.directions import Directions, direction_scores, fit_directions, fit_features
from drift_detector_pipeline.drift.scores.phi import Score, image_folds
from drift_detector_pipeline.drift.scores.pixels import PIXELS
from drift_detector_pipeline.networks.boxes.found import Found
from drift_detector_pipeline.tasks.boxes.matching import Said, best_threshold, match_class

BOX_CHANNELS = (
    "number", "sureness", "agreement", "size", "shape", "place", "classes",
    "texture", "sharpness", "brightness", "contrast", "colour", "labels",
)  # fmt: skip
_WEIGHTS = (1, 1, 1, 1, 0)  # of permutation.STATISTICS
_LEAST_SPREAD = 0.01  # a score that is constant on clean images still has a scale


class BoxParameters(NamedTuple):
    """Everything learned, frozen."""

    threshold: float  # least score of a box that is shown: that of the best F1
    share_names: dict[int, str]  # the classes whose share of the boxes is a score
    looks: Directions  # of pixel scores and early features, those of corruption
    contents: Directions  # of late features
    usual: Float32s  # (B,) box scores of an image without boxes, where it has nothing to say: medians
    centre: Float32s  # (S,) mean of the scores on clean images
    covariance: Float32s  # (S, S) of the scores on clean images, shrunk (Ledoit & Wolf 2004)

    @property
    def shown(self) -> Shown:
        """Which boxes count."""
        return Shown(self.threshold, tuple(self.share_names))


def fit_box_scores(
    clean: BoxSignals, truth: Sequence[Boxes], twins: Sequence[BoxTwin], classes: Sequence[str]
) -> BoxParameters:
    """Learn from N labelled clean images and their twins. Raises ValueError for fewer than three images."""
    from sklearn.covariance import ledoit_wolf  # whoever only judges does without

    if len(truth) < 3:
        raise ValueError(f"expected at least 3 images to learn from, got {len(truth)}")
    said = [Said(one.boxes, one.scores, one.labels) for one in clean.found]
    threshold = best_threshold([match_class(said, truth, label) for label in range(len(classes))])
    shown = Shown(threshold, frequent_classes(clean.found, threshold, len(classes)))
    looks = fit_directions(_material(clean), [(twin.rows, _material(twin.signals)) for twin in twins])
    raw = box_scores(clean.found, clean.sides, shown)
    known = np.isfinite(raw)
    usual = np.array([np.median(column[has]) if has.any() else 0 for column, has in zip(raw.T, known.T, strict=True)])
    start = BoxParameters(
        threshold, {label: classes[label] for label in shown.classes}, looks, fit_features(clean.features),
        usual.astype(np.float32), np.zeros(0, np.float32), np.zeros((0, 0), np.float32),
    )  # fmt: skip
    own = box_phi(clean, start)
    places = slice(len(PIXELS), len(PIXELS) + looks.weights.shape[1])
    own[:, places] = _unseen_looks(clean, twins, looks)
    spread = np.maximum(own.std(axis=0), _LEAST_SPREAD)
    correlation = ledoit_wolf((own - own.mean(axis=0)) / spread, assume_centered=True)[0]
    np.fill_diagonal(correlation, np.maximum(correlation.diagonal(), 1))
    covariance = (correlation * np.outer(spread, spread)).astype(np.float32)
    return start._replace(centre=own.mean(axis=0), covariance=covariance)


def box_phi(signals: BoxSignals, parameters: BoxParameters) -> Float32s:
    """The scores of N images: float32 (N, S), columns as `describe_box_scores` names them."""
    raw = box_scores(signals.found, signals.sides, parameters.shown)
    boxes = np.where(np.isfinite(raw), raw, parameters.usual)
    looks = direction_scores(_material(signals), parameters.looks)
    contents = direction_scores(signals.features, parameters.contents)
    return np.concatenate([signals.pixels, looks, contents, boxes], axis=1).astype(np.float32)


def predicted_classes(
    found: Sequence[Found | Sure], parameters: BoxParameters, classes: int
) -> Labels:  # fmt: skip
    """The class of most boxes of each of N images, `classes` where there is none: (N,)."""
    return np.array([class_of(one, parameters.shown, classes) for one in found], dtype=np.int64)


def describe_box_scores(parameters: BoxParameters) -> list[Score]:
    """Name, channel and group of each column of phi."""
    return [
        *(Score(name, channel, "pixels") for name, channel in PIXELS.items()),
        *(Score(f"direction_{one + 1}", "texture", "directions") for one in range(parameters.looks.weights.shape[1])),
        *(Score(f"feature_{one + 1}", "novelty", "features") for one in range(parameters.contents.weights.shape[1])),
        *(Score(name, channel, "outputs") for name, channel in BOX_SCORES.items()),
        *(Score(f"share of {name}", "classes", "outputs") for name in parameters.share_names.values()),
    ]


def box_scale(parameters: BoxParameters) -> Scale:
    """The units of the scores, from `fit`; what was found has a distance of its own, which counts as much as looks."""
    return scale_of(parameters.centre, parameters.covariance, len(parameters.usual), weights=_WEIGHTS)


def box_parameters_to_arrays(parameters: BoxParameters) -> dict[str, npt.NDArray[Any]]:
    """The parameters as plain arrays, to be saved."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "threshold": np.array(parameters.threshold), "shares": np.array(list(parameters.share_names), np.int64),
        "share_names": np.array(list(parameters.share_names.values()), np.str_),
        "usual": parameters.usual, "centre": parameters.centre, "covariance": parameters.covariance,
    }  # fmt: skip
    for axis in ("looks", "contents"):
        arrays |= {f"{axis}.{name}": value for name, value in getattr(parameters, axis)._asdict().items()}
    return arrays


def box_parameters_from(arrays: Mapping[str, npt.NDArray[Any]]) -> BoxParameters:
    """Undo `box_parameters_to_arrays`. Raises KeyError if an array is missing."""
    looks, contents = (
        Directions(*(arrays[f"{axis}.{name}"] for name in Directions._fields)) for axis in ("looks", "contents")
    )
    names = dict(zip(arrays["shares"].tolist(), arrays["share_names"].tolist(), strict=True))
    usual, centre, covariance = (arrays[name] for name in ("usual", "centre", "covariance"))
    return BoxParameters(float(arrays["threshold"]), names, looks, contents, usual, centre, covariance)


def _unseen_looks(clean: BoxSignals, twins: Sequence[BoxTwin], looks: Directions) -> Float32s:
    """Scores of the very images that directions are learned from, (N, T), as if they were new.

    Of 50 images directions with hardly any spread are found that new images do not know: with that for a unit they
    would drown all else.
    """
    material, others = _material(clean), [(twin.rows, _material(twin.signals)) for twin in twins]
    folds = image_folds(len(material))
    found = direction_scores(material, looks)
    for fold in np.unique(folds):
        kept = folds != fold
        place = np.cumsum(kept) - 1
        pairs = [(place[rows[kept[rows]]], changed[kept[rows]]) for rows, changed in others if kept[rows].any()]
        own = fit_directions(material[kept], pairs)
        scores = direction_scores(material[~kept], own)
        signs = np.sign(np.einsum("rt,rt->t", own.weights, looks.weights[:, : scores.shape[1]]))
        found[~kept, : scores.shape[1]] = scores * signs
    return found


def _material(signals: BoxSignals) -> Float32s:
    """What directions are learned from."""
    return np.concatenate([signals.pixels, signals.early], axis=1)
