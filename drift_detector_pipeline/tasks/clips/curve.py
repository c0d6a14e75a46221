"""Two classes at every threshold: one of them is looked for, and said from some probability on.

N clips, of which P are what is looked for. Pure NumPy. Read by charts.py, report.py and task.py.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Flags, Float64s

HALF = 0.5  # the threshold at which the likelier class is said
_NONE = ("no", "non", "not", "none", "normal", "negative", "background", "other", "others", "neg", "nothing")


class Point(NamedTuple):
    """What one threshold comes to. None: not defined, because there is nothing to divide by."""

    threshold: float  # probability from which a clip is said to be what is looked for
    precision: float | None
    recall: float | None
    f1: float | None
    accuracy: float
    false_alarms: float | None  # of the other clips, the share that is said to be it


class Curve(NamedTuple):
    """A point at each probability that occurs, thresholds descending: the first says least."""

    positive: str  # the class that is looked for
    points: list[Point]
    roc_area: float | None  # chance that a clip of it gets the higher probability than another one
    average_precision: float | None  # precision, averaged over the clips to be found
    at_half: Point
    best: Point  # of the highest F1 on these very clips; of equals the highest threshold
    asked: Point | None = None  # at the threshold that was asked for


def positive_class(classes: Sequence[str]) -> int:
    """Which of two classes is looked for: the one whose name denies nothing, as `fight` beside `no_fight`.

    Where names do not tell, the second, as with labels 0 and 1.
    """
    denied = [name.lower().replace("-", "_").replace(" ", "_").split("_")[0] in _NONE for name in classes]
    return 0 if denied == [False, True] else 1


def decide(said: dict[str, Any], classes: Sequence[str], threshold: float) -> dict[str, Any]:
    """Say of two classes the one that is looked for if its probability is at least `threshold`, else the other."""
    looked_for = classes[positive_class(classes)]
    chances = {one["label"]: one["probability"] for one in said["top3"]}
    found = (chances[looked_for] >= threshold) == (said["label"] == looked_for)
    return said if found else {**said["top3"][1], "top3": said["top3"]}


def threshold_curve(
    chances: Float64s, is_positive: Flags, positive: str, threshold: float | None = None
) -> Curve:  # fmt: skip
    """The curve of probabilities (N,) of what is looked for, and whether clips are it (N,); N is at least 1.

    `threshold`: one of which a person wants to know.
    """
    order = np.argsort(-chances, kind="stable")
    values, hits = chances[order], np.cumsum(is_positive[order])
    ends = np.flatnonzero(np.append(np.diff(values) != 0, True))  # equal probabilities are said together
    said, all_of_them = np.arange(1, len(values) + 1), int(is_positive.sum())
    points = [
        _point(float(values[end]), int(hits[end]), int(said[end]), all_of_them, len(values)) for end in ends.tolist()
    ]
    best = max(points, key=lambda point: (point.f1 or 0.0, point.threshold))
    asked = None if threshold is None else _at(threshold, chances, is_positive)
    half = _at(HALF, chances, is_positive)
    return Curve(positive, points, _roc_area(points), _average_precision(points), half, best, asked)


def _at(threshold: float, chances: Float64s, is_positive: Flags) -> Point:
    said = chances >= threshold
    return _point(threshold, int(is_positive[said].sum()), int(said.sum()), int(is_positive.sum()), len(chances))


def _point(threshold: float, hits: int, said: int, positives: int, n: int) -> Point:
    negatives = n - positives
    wrong = said - hits
    return Point(
        threshold,
        precision=hits / said if said else None,
        recall=hits / positives if positives else None,
        f1=2 * hits / (said + positives) if said + positives else None,
        accuracy=(hits + negatives - wrong) / n,
        false_alarms=wrong / negatives if negatives else None,
    )


def _roc_area(points: Sequence[Point]) -> float | None:
    """Area under recall over false alarms, by trapezia: equal probabilities count half."""
    pairs = [(point.false_alarms, point.recall) for point in points]
    if None in pairs[0]:
        return None
    across, up = np.array([(0.0, 0.0), *pairs], dtype=np.float64).T
    return float(np.trapezoid(up, across))


def _average_precision(points: Sequence[Point]) -> float | None:
    """Sum of precisions, each by the recall that it adds, as scikit-learn has it."""
    if points[0].recall is None:
        return None
    recalls = np.array([0.0, *(point.recall for point in points)], dtype=np.float64)
    return float(np.diff(recalls) @ np.array([point.precision for point in points], dtype=np.float64))
