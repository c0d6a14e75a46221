"""Why average precision is lost: the error split of TIDE (Bolya et al. 2020, arXiv 2008.08115).

In: found and true boxes of N images. Out: `Split`: of each kind of error how many there are, and how much mAP50 would
rise if there were none. Read by report.py.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Boxes, Flags, Float64s
from drift_detector_pipeline.box_geometry import covered, iou
from drift_detector_pipeline.tasks.boxes.matching import EVERY_CLASS, RECALLS, Said

FOREGROUND, BACKGROUND = 0.5, 0.1  # IoU from which a box is in its place, and below which it is nowhere
KINDS = {
    "class": "in its place, of another class",
    "place": "of the right class, not in its place",
    "both": "of another class and not in its place",
    "double": "what a better box has found already",
    "background": "nothing is there",
    "missed": "is there and was not found, not even wrongly",
}
_RIGHT = "right"


class Split(NamedTuple):
    """A kind of error."""

    kind: str  # of KINDS
    boxes: int  # with at least the threshold's score; of "missed" true boxes
    rise: float  # of mAP50 without this kind of error


class _Box(NamedTuple):
    """A found box that counts."""

    score: float
    label: int
    kind: str  # of KINDS, or right
    true: tuple[int, int] | None  # image and place of the true box it is, or would be once it is mended


def split_errors(said: Sequence[Said], truth: Sequence[Boxes], threshold: float) -> list[Split]:
    """Split what keeps mAP50 from 1 by kind; counts are of boxes with at least `threshold`."""
    boxes = [box for image, pair in enumerate(zip(said, truth, strict=True)) for box in _judged(image, *pair)]
    sought = {
        (image, place): int(true.labels[place])
        for image, true in enumerate(truth)
        for place in np.flatnonzero(~true.ignore).tolist()
    }
    if not sought:
        return [Split(kind, sum(box.kind == kind and box.score >= threshold for box in boxes), 0.0) for kind in KINDS]
    boxes.sort(key=lambda box: -box.score)
    before = _map50(boxes, sought)
    shown = [box for box in boxes if box.score >= threshold]
    splits = []
    for kind in KINDS:
        if kind == "missed":
            reached = _reached(boxes)
            mended = _map50(boxes, {true: label for true, label in sought.items() if true in reached})
            number = len(sought.keys() - _reached(shown))
        else:
            mended = _map50(_mended(boxes, kind, sought), sought)
            number = sum(box.kind == kind for box in shown)
        splits.append(Split(kind, number, max(0.0, mended - before)))
    return splits


def _judged(image: int, said: Said, true: Boxes) -> list[_Box]:
    """What each found box of an image is, best first; those in regions to be ignored are left out."""
    wanted = np.flatnonzero(~true.ignore)
    boxes: Any = said.boxes.astype(np.float64)
    true_boxes: Any = true.boxes.astype(np.float64)
    overlap: Any = iou(boxes, true_boxes[wanted])
    shares = covered(boxes, true_boxes[true.ignore]) >= FOREGROUND
    taken = np.zeros(len(wanted), np.bool_)
    judged, wrong = dict[int, _Box](), list[int]()
    for place, label in enumerate(said.labels.tolist()):
        same = true.labels[wanted] == label
        free = np.where(same & ~taken, overlap[place], -1.0)
        if len(free) and free.max() >= FOREGROUND:
            taken[free.argmax()] = True
            judged[place] = _Box(float(said.scores[place]), label, _RIGHT, (image, int(wanted[free.argmax()])))
        elif not (shares[place] & np.isin(true.labels[true.ignore], (label, EVERY_CLASS))).any():
            wrong.append(place)
    for place in wrong:
        label = int(said.labels[place])
        kind, at = _kind(overlap[place], true.labels[wanted] == label)
        to = None if at is None or taken[at] else (image, int(wanted[at]))
        judged[place] = _Box(float(said.scores[place]), label, kind, to)
    return [judged[place] for place in sorted(judged)]


def _kind(overlap: Float64s, same: Flags) -> tuple[str, int | None]:
    """The kind of a wrong box by its overlaps with true ones, and which of them it would be."""
    own, other = np.where(same, overlap, -1.0), np.where(same, -1.0, overlap)
    if not len(overlap) or overlap.max() < BACKGROUND:
        return "background", None
    if BACKGROUND <= own.max() < FOREGROUND:
        return "place", int(own.argmax())
    if other.max() >= FOREGROUND:
        return "class", int(other.argmax())
    if own.max() >= FOREGROUND:
        return "double", None
    return "both", None


def _mended(boxes: Sequence[_Box], kind: str, sought: dict[tuple[int, int], int]) -> list[_Box]:
    """The boxes, best first, without errors of a kind: what can be mended is right, the rest is gone."""
    mended, given = list[_Box](), set[tuple[int, int]]()
    for box in boxes:
        if box.kind != kind:
            mended.append(box)
        elif box.true is not None and box.true not in given:
            given.add(box.true)
            mended.append(box._replace(kind=_RIGHT, label=sought[box.true]))
    return mended


def _reached(boxes: Sequence[_Box]) -> set[tuple[int, int]]:
    return {box.true for box in boxes if box.true is not None}


def _map50(boxes: Sequence[_Box], sought: dict[tuple[int, int], int]) -> float:
    """Mean average precision at IoU 0.50 of boxes, best first; classes of which nothing is sought do not count."""
    labels = np.array([box.label for box in boxes], np.int64)
    right = np.array([box.kind == _RIGHT for box in boxes], np.bool_)
    totals = np.bincount(list(sought.values())) if sought else np.zeros(0, np.int64)
    values = []
    for label in np.flatnonzero(totals).tolist():
        hits = np.cumsum(right[labels == label])
        precision = hits / np.arange(1, len(hits) + 1)
        falling = np.maximum.accumulate(precision[::-1])[::-1]
        places = np.searchsorted(hits / totals[label], RECALLS)
        values.append(np.append(falling, 0.0)[places].mean())
    return float(np.mean(values)) if values else 1.0
