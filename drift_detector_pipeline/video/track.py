"""Boxes of one frame after another -> which of them are the same thing.

M boxes of a frame, T things followed. A Kalman filter a thing says where it should be now (SORT, Bewley et al., ICIP
2016); boxes are given to things by overlap: those the detector is sure of, then faint ones to what was in sight a frame
ago (ByteTrack, Zhang et al., ECCV 2022), then sure ones to what is near (C-BIoU, Yang et al., WACV 2023). NumPy and
SciPy alone: the same boxes give the same numbers. Fed by boxed.py.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from drift_detector_pipeline.arrays import Flags, Float32s, Float64s, Indices
from drift_detector_pipeline.box_geometry import iou

SURE = 0.5  # the score from which on a box is drawn, and begins a new thing, unless a threshold is given
FAINT = 0.1  # a box of a lower score is nothing
LONGEST_OUT_OF_SIGHT_S = 1.0  # then a thing is forgotten, and has a new number if it comes back
_LEAST_OVERLAP, _LEAST_OVERLAP_OF_FAINT = 0.2, 0.5  # IoU of a box with where a thing should be
_GROWN = 2.5  # times its sides, a box overlaps with what has jumped beside it
# Deviations as shares of a thing's side: of a measured box, of what a frame adds to place and speed. With the growth
# above, chosen among 24 on scenes of proof/video_tracking.py with other seeds: they suit such scenes.
_OF_MEASURING, _OF_PLACE, _OF_SPEED = 1 / 20, 1 / 40, 1 / 80
_OF_FIRST_SPEED = 1 / 8  # a frame; how fast a new thing is, nobody knows


class Tracker:
    """Numbers for things, from 1 in the order of their coming; a number is never given twice."""

    def __init__(self, rate: float, sure: float) -> None:
        """`rate`: frames a second; `sure`: a box of at least this score is the beginning of a new thing."""
        self._rate, self._sure = rate, sure
        self._given = 0
        self._seconds: float | None = None  # of the frame before
        self._numbers: Indices = np.zeros(0, np.int64)  # (T,)
        self._labels: Indices = np.zeros(0, np.int64)  # (T,)
        self._seen_s: Float64s = np.zeros(0)  # (T,) when last
        self._mean: Float64s = np.zeros((0, 2, 4))  # (T, place and speed, centre x y width height); px, px a frame
        self._cov: Float64s = np.zeros((0, 2, 2, 4))  # (T, ., ., the same four, which are independent)

    def update(
        self, seconds: float, boxes: Sequence[Sequence[float]], labels: Sequence[int], scores: Sequence[float]
    ) -> list[int | None]:
        """The number of each box of the next frame, None for a box that is too faint to be a thing of its own.

        `boxes` (M, 4) are x0 y0 x1 y1 in px, `labels` (M,) classes, which a thing never changes, `scores` (M,) in 0..1.
        """
        measured = _as_centres(np.array(boxes, dtype=np.float64).reshape(-1, 4))
        label, score = np.array(labels, dtype=np.int64), np.array(scores, dtype=np.float64)
        self._move(seconds)
        thing_of = self._things_of(measured, label, score >= self._sure, (score >= FAINT) & (score < self._sure))
        held = np.flatnonzero(thing_of >= 0)
        self._correct(thing_of[held], measured[held])
        self._seen_s[thing_of[held]] = seconds
        new = np.flatnonzero((thing_of < 0) & (score >= self._sure))
        thing_of[new] = len(self._numbers) + np.arange(len(new))
        self._begin(seconds, measured[new], label[new])
        numbers = [int(self._numbers[thing]) if thing >= 0 else None for thing in thing_of]
        self._keep(seconds - self._seen_s <= LONGEST_OUT_OF_SIGHT_S)
        self._seconds = seconds
        return numbers

    def _move(self, seconds: float) -> None:
        """Predict where all things are after the time that has passed."""
        frames = 0.0 if self._seconds is None else (seconds - self._seconds) * self._rate
        step = np.array([[1.0, frames], [0.0, 1.0]])
        self._mean = np.einsum("ij,tjc->tic", step, self._mean)
        self._mean[:, 0, 2:] = np.maximum(self._mean[:, 0, 2:], 1.0)  # no thing shrinks to nothing out of sight
        self._cov = np.einsum("ij,tjkc,lk->tilc", step, self._cov, step)
        side = _side(self._mean[:, 0])
        self._cov[:, 0, 0] += frames * (_OF_PLACE * side) ** 2
        self._cov[:, 1, 1] += frames * (_OF_SPEED * side) ** 2

    def _things_of(self, measured: Float64s, labels: Indices, sure: Flags, faint: Flags) -> Indices:
        """The place of each box's thing among the things, -1: none yet."""
        thing_of = np.full(len(measured), -1)
        everything = np.ones(len(self._numbers), bool)
        in_sight = everything if self._seconds is None else self._seen_s >= self._seconds
        alike = self._labels[:, None] == labels
        near = _overlaps(self._mean[:, 0], measured) * alike
        _assign(near, sure, everything, _LEAST_OVERLAP, thing_of)
        _assign(near, faint, in_sight, _LEAST_OVERLAP_OF_FAINT, thing_of)
        grown = _overlaps(_grown(self._mean[:, 0]), _grown(measured)) * alike
        _assign(grown, sure, everything, _LEAST_OVERLAP, thing_of)
        return thing_of

    def _correct(self, things: Indices, measured: Float64s) -> None:
        """Kalman's update of the things that were seen."""
        mean, cov = self._mean[things], self._cov[things]
        noise = (_OF_MEASURING * _side(mean[:, 0])) ** 2
        gain = cov[:, :, 0] / (cov[:, 0, 0] + noise)[:, None]  # (T, 2, 4)
        self._mean[things] = mean + gain * (measured - mean[:, 0])[:, None]
        self._cov[things] = cov - gain[:, :, None] * cov[:, 0][:, None]

    def _begin(self, seconds: float, measured: Float64s, labels: Indices) -> None:
        count = len(measured)
        mean, cov = np.zeros((count, 2, 4)), np.zeros((count, 2, 2, 4))
        mean[:, 0] = measured
        cov[:, 0, 0], cov[:, 1, 1] = (_OF_MEASURING * _side(measured)) ** 2, (_OF_FIRST_SPEED * _side(measured)) ** 2
        self._numbers = np.append(self._numbers, self._given + 1 + np.arange(count))
        self._given += count
        self._labels = np.append(self._labels, labels)
        self._seen_s = np.append(self._seen_s, np.full(count, seconds))
        self._mean, self._cov = np.concatenate([self._mean, mean]), np.concatenate([self._cov, cov])

    def _keep(self, which: Flags) -> None:
        self._numbers, self._labels, self._seen_s = self._numbers[which], self._labels[which], self._seen_s[which]
        self._mean, self._cov = self._mean[which], self._cov[which]


def _assign(overlap: Float64s, boxes: Flags, things: Flags, least: float, thing_of: Indices) -> None:
    """Give `boxes` without a thing to `things` without a box, so that their overlaps, of (T, M), sum to the most."""
    free = things.copy()
    free[thing_of[thing_of >= 0]] = False
    rows, columns = np.flatnonzero(free), np.flatnonzero(boxes & (thing_of < 0))
    allowed = overlap[np.ix_(rows, columns)]
    allowed[allowed < least] = 0.0
    for row, column in zip(*linear_sum_assignment(allowed, maximize=True), strict=True):
        if allowed[row, column] > 0:
            thing_of[columns[column]] = rows[row]


def _as_centres(boxes: Float64s) -> Float64s:
    """x0 y0 x1 y1 -> centre x y, width, height, which are 1 px at least."""
    return np.hstack([(boxes[:, :2] + boxes[:, 2:]) / 2, np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)])


def _grown(centres: Float64s) -> Float64s:
    return centres * (1, 1, _GROWN, _GROWN)


def _side(centres: Float64s) -> Float64s:
    """Geometric mean of width and height, (T, 1) in px."""
    return np.sqrt(np.maximum(centres[:, 2:3] * centres[:, 3:4], 1.0))


def _overlaps(one: Float64s, other: Float64s) -> Float64s:
    """IoU of each of (T, 4) with each of (M, 4), both as centres and sizes: (T, M) in 0..1."""
    return iou(_as_corners(one), _as_corners(other)).astype(np.float64)


def _as_corners(centres: Float64s) -> Float32s:
    half = centres[:, 2:] / 2
    return np.hstack([centres[:, :2] - half, centres[:, :2] + half]).astype(np.float32)
