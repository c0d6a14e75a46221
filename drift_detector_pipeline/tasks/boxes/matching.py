"""Which found box is which true one, image by image: the rules of COCO's evaluation, kept so that they can be counted.

N images, K classes, D found boxes, T thresholds of IoU. In: outputs and targets. Out: `Matches`, a row a found box of
all images, from which average precision follows for any selection of images. Read by metrics.py and tide.py.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.arrays import Boxes, Float32s, Float64s, Labels
from drift_detector_pipeline.box_geometry import covered, iou

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of IoU, as COCO has them
RECALLS = np.linspace(0, 1, 101)  # where precision is read off
EVERY_CLASS = -1  # label of a region to be ignored whatever is found there


class Matches(NamedTuple):
    """Found boxes of one class, best first over all images, and how many there are to be found."""

    scores: Float64s  # (D,), falling
    images: Labels  # (D,): in which image each was found
    right: npt.NDArray[np.bool_]  # (T, D): is matched with a box that is to be found
    counted: npt.NDArray[np.bool_]  # (T, D): right or wrong; the others are to be ignored
    sought: Labels  # (N,): boxes of the class in each image that are to be found


class Said(NamedTuple):
    """What is said of one image, without what a network tells beside it."""

    boxes: Float32s  # (M, 4)
    scores: Float32s  # (M,), falling
    labels: Labels  # (M,)


def match_class(said: Sequence[Said], truth: Sequence[Boxes], label: int) -> Matches:
    """Match the found boxes of a class with its true ones in each image, best first, at all thresholds."""
    scores, images, right, counted = list[Float32s](), list[Labels](), [], []
    sought = np.zeros(len(truth), np.int64)
    for number, (one, true) in enumerate(zip(said, truth, strict=True)):
        own = one.labels == label
        wanted = (true.labels == label) & ~true.ignore
        passed = true.ignore & ((true.labels == label) | (true.labels == EVERY_CLASS))
        sought[number] = wanted.sum()
        if not own.any():
            continue
        boxes: Any = one.boxes[own].astype(np.float64)
        true_boxes: Any = true.boxes.astype(np.float64)
        overlap: Any = iou(boxes, true_boxes[wanted])
        found = _matched(overlap)
        passed_over = ~found & (covered(boxes, true_boxes[passed]).max(1, initial=0)[None] >= THRESHOLDS[:, None])
        scores.append(one.scores[own])
        images.append(np.full(int(own.sum()), number))
        right.append(found)
        counted.append(~passed_over)
    if not scores:
        nothing = np.zeros((len(THRESHOLDS), 0), np.bool_)
        return Matches(np.zeros(0), np.zeros(0, np.int64), nothing, nothing, sought)
    together = np.concatenate(scores).astype(np.float64)
    order = np.argsort(-together, kind="stable")
    both = [np.concatenate(column, axis=1)[:, order] for column in (right, counted)]
    return Matches(together[order], np.concatenate(images)[order], both[0], both[1], sought)


def average_precision(matches: Matches, weights: Labels | None = None) -> Float64s:
    """Average precision at each threshold, (T,); nan where nothing is to be found.

    `weights` (N,): how often each image counts. Precision is made to fall, and read off at 101 recalls.
    """
    weights = np.ones(len(matches.sought), np.int64) if weights is None else weights
    total = int((weights * matches.sought).sum())
    if not total:
        return np.full(len(THRESHOLDS), np.nan)
    each = weights[matches.images]
    values = np.zeros(len(THRESHOLDS))
    for number, (right, counted) in enumerate(zip(matches.right, matches.counted, strict=True)):
        recall, precision = curve(right, counted, each, total)
        places = np.searchsorted(recall, RECALLS, side="left")
        values[number] = np.append(precision, 0.0)[places].mean()
    return values


def curve(
    right: npt.NDArray[np.bool_], counted: npt.NDArray[np.bool_], each: Labels, total: int
) -> tuple[Float64s, Float64s]:
    """Recall and falling precision after each found box, (D,) and (D,)."""
    hits = np.cumsum(right * each)
    said = np.cumsum(counted * each)
    precision = hits / (said + np.spacing(1))
    return hits / total, np.maximum.accumulate(precision[::-1])[::-1]


def _matched(overlap: Float64s) -> npt.NDArray[np.bool_]:
    """Which found boxes, best first, have a true box of their own: (T, M) of IoUs (M, G)."""
    found = np.zeros((len(THRESHOLDS), len(overlap)), np.bool_)
    if not overlap.shape[1]:
        return found
    free = np.ones((len(THRESHOLDS), overlap.shape[1]), np.bool_)
    rows = np.arange(len(THRESHOLDS))
    for place, one in enumerate(overlap):
        candidates = np.where(free & (one[None] >= THRESHOLDS[:, None]), one[None], -1.0)
        # of equal overlaps COCO's own loop takes the last
        best = candidates.shape[1] - 1 - candidates[:, ::-1].argmax(1)
        hit = candidates[rows, best] >= 0
        found[hit, place] = True
        free[rows[hit], best[hit]] = False
    return found


def confusions(said: Sequence[Said], truth: Sequence[Boxes], classes: int, threshold: float) -> npt.NDArray[np.int64]:
    """Count true boxes by class (rows) and the class they are found as (columns), at IoU 0.50: (K + 1, K + 1).

    Found boxes with at least the threshold's score take, best first, the free true box they overlap most, whatever its
    class. The last column: not found. The last row: found where nothing is. What is to be ignored does not count.
    """
    counts = np.zeros((classes + 1, classes + 1), np.int64)
    for one, true in zip(said, truth, strict=True):
        wanted = np.flatnonzero(~true.ignore)
        free = np.ones(len(wanted), np.bool_)
        shown = one.scores >= threshold
        overlap = iou(one.boxes[shown], true.boxes[wanted])
        passed = covered(one.boxes[shown], true.boxes[true.ignore]).max(1, initial=0) >= THRESHOLDS[0]
        for place, label in enumerate(one.labels[shown].tolist()):
            open_to = np.where(free, overlap[place], -1.0)
            if len(open_to) and open_to.max() >= THRESHOLDS[0]:
                free[open_to.argmax()] = False
                counts[true.labels[wanted[open_to.argmax()]], label] += 1
            elif not passed[place]:
                counts[classes, label] += 1
        counts[:, classes] += np.bincount(true.labels[wanted[free]], minlength=classes + 1)
    return counts


def all_found(said: Said, true: Boxes) -> bool:
    """Whether every true box is found at IoU 0.50, as what it is, and nothing else."""
    classes = 1 + int(max(said.labels.max(initial=0), true.labels.max(initial=0)))
    counts = confusions([said], [true], classes, 0.0)
    return int(counts.sum()) == int(counts.diagonal()[:classes].sum())


def best_threshold(matches: Sequence[Matches]) -> float:
    """The score at which F1 of all classes together is highest at IoU 0.50; 0.5 where nothing is found rightly."""
    scores = np.concatenate([np.zeros(0), *(one.scores for one in matches)])
    right = np.concatenate([np.zeros(0, np.bool_), *(one.right[0] for one in matches)])
    counted = np.concatenate([np.zeros(0, np.bool_), *(one.counted[0] for one in matches)])
    if not right.any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    total = sum(int(one.sought.sum()) for one in matches)
    f1 = 2 * np.cumsum(right[order]) / (np.cumsum(counted[order]) + total)
    return float(np.floor(scores[order][f1.argmax()] * 1000) / 1000)  # what stands there finds the same boxes
