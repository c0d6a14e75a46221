"""What a network has found in an image, as a few numbers with names that a person understands.

In: `Found` of N images, and the size of each. Out: float32 (N, B), nan where an image without boxes has nothing to say.
NumPy only. Read by phi.py. M: boxes of an image, K: classes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Flags, Float32s, Float64s, Labels
from drift_detector_pipeline.box_geometry import area
from drift_detector_pipeline.drift.detecting import Sure
from drift_detector_pipeline.networks.boxes.found import Found

# name -> channel, the word for people; shares of classes follow, each under its class's name
BOX_SCORES: dict[str, str] = {
    "boxes": "number",  # log of 1 + the boxes that are shown
    "nothing": "number",  # 1 if none is
    "score_sum": "number",  # log of 1 + the sum of all scores
    "surest": "sureness",  # log-odds of the highest score
    "sureness": "sureness",  # mean log-odds of the scores of the boxes that are shown
    "entropy": "sureness",  # of the scores of all boxes, mean, in nats: high for scores near 0.5
    "agreement": "agreement",  # mean IoU of the boxes that are shown with those put away for them
    "area": "size",  # median log of the share of the image that a box covers
    "area_spread": "size",  # standard deviation of that
    "aspect": "shape",  # median log of width over height
    "border": "place",  # share of the boxes that touch the image's border
}
MOST_CLASSES = 10  # that have a score of their own, the most frequent ones
_TOUCHES_PX = 1.0
_LEAST, _MOST = 1e-3, 1 - 1e-3  # of a score, before its log-odds
_NO_BOX = float(np.log(_LEAST / _MOST))


class Shown(NamedTuple):
    """Which boxes count: as many as make the fewest mistakes on labelled images."""

    threshold: float  # least score of a box that is shown
    classes: tuple[int, ...]  # whose shares are scores; none where there is only one class


def box_scores(found: Sequence[Found], sides: Sequence[tuple[int, int]], shown: Shown) -> Float32s:
    """Measure what was found in N images of `sides` (height, width) in px of the view: float32 (N, B)."""
    rows = [_row(one, height, width, shown) for one, (height, width) in zip(found, sides, strict=True)]
    return np.array(rows, dtype=np.float32).reshape(len(found), len(BOX_SCORES) + len(shown.classes))


def class_of(one: Found | Sure, shown: Shown, classes: int) -> int:
    """The class of most boxes that are shown, in doubt the surer one; `classes` if there is no box."""
    inside = one.scores >= shown.threshold
    if not inside.any():
        return classes
    counts = np.bincount(one.labels[inside], minlength=classes)
    sums = np.bincount(one.labels[inside], one.scores[inside], minlength=classes)
    return int((counts + sums / (1 + sums.max())).argmax())


def frequent_classes(found: Sequence[Found], threshold: float, classes: int) -> tuple[int, ...]:
    """The classes found most often, at most MOST_CLASSES; none of one alone, whose share is always 1."""
    counts = sum(
        (np.bincount(one.labels[one.scores >= threshold], minlength=classes) for one in found), np.zeros(classes)
    )
    chosen = np.argsort(-counts, kind="stable")[:MOST_CLASSES]
    return tuple(sorted(chosen.tolist())) if classes > 1 else ()


def log_odds(scores: Float32s) -> Float64s:
    """Of scores in 0..1; those at the ends are taken for a thousandth off them."""
    inside = np.clip(scores.astype(np.float64), _LEAST, _MOST)
    return np.asarray(np.log(inside / (1 - inside)))


def _row(one: Found, height: int, width: int, shown: Shown) -> list[float]:
    inside = one.scores >= shown.threshold
    odds = log_odds(one.scores)
    of_all = [
        np.log1p(inside.sum()),
        float(not inside.any()),
        np.log1p(one.scores.sum()),
        odds.max(initial=_NO_BOX),
    ]
    entropy = _entropy(one.scores).mean() if len(one.scores) else np.nan
    if not inside.any():
        return [*of_all, np.nan, entropy, *[np.nan] * (len(BOX_SCORES) - 6 + len(shown.classes))]
    boxes = one.boxes[inside]
    places = _of_places(boxes, height, width)
    return [
        *of_all, odds[inside].mean(), entropy, one.agreement[inside].mean(), *places,
        *_shares(one.labels[inside], shown.classes),
    ]  # fmt: skip


def _of_places(boxes: Float32s, height: int, width: int) -> list[float]:
    logs = np.log(np.maximum(area(boxes), 1e-3) / (height * width))
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-3)
    return [
        float(np.median(logs)), float(logs.std()), float(np.median(np.log(sides[:, 0] / sides[:, 1]))),
        float(_touches(boxes, height, width).mean()),
    ]  # fmt: skip


def _touches(boxes: Float32s, height: int, width: int) -> Flags:
    far = np.array([width, height]) - _TOUCHES_PX
    return np.asarray((boxes[:, :2] <= _TOUCHES_PX).any(axis=1) | (boxes[:, 2:] >= far).any(axis=1))


def _shares(labels: Labels, classes: Sequence[int]) -> list[float]:
    return [float((labels == label).mean()) for label in classes]


def _entropy(scores: Float32s) -> Float64s:
    inside = np.clip(scores.astype(np.float64), 1e-12, 1 - 1e-12)
    return np.asarray(-(inside * np.log(inside) + (1 - inside) * np.log(1 - inside)))
