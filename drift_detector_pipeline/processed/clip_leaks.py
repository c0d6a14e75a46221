"""Clips of two splits that show the same: what sources should have kept apart, found by looking.

In: frames of each clip as thumbnails, and its split. Out: pairs. Pure. Fed and read by clip_report.py.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# Of clips of one source 15 % (street cameras) to 78 % (indoors) of all pairs have two frames that correlate above this;
# of other pairs one in 600 to 6,000, and those that were looked at had the same room or camera.
ALIKE = 0.9
_CELLS = 1 << 24  # of the similarity matrix at a time


class Leak(NamedTuple):
    """A clip of a split that is not trained on, and the most similar one of the splits before it."""

    clip: int
    other: int
    frame: int  # of `clip`, in 0..F: the two that are most alike
    other_frame: int
    similarity: float  # correlation of thumbnails


def find_leaks(
    thumbnails: npt.NDArray[np.float32], splits: Sequence[str], threshold: float = ALIKE
) -> tuple[list[Leak], dict[str, int]]:
    """Leaks above `threshold`, the most similar first, and how many clips of each split were looked at.

    `thumbnails`: (N, F, 256), F frames of each clip as `duplicates.thumbnail` makes them. Every clip of fit is compared
    with all of train, every clip of val with all of both: 2 * 256 * F * F operations a pair.
    """
    found, looked, seen = list[Leak](), dict[str, int](), ["train"]
    for split in ("fit", "val"):
        ours = np.flatnonzero(np.array(splits) == split)
        theirs = np.flatnonzero(np.isin(splits, seen))
        if len(ours) and len(theirs):
            looked[split] = len(ours)
            found += [leak for leak in _nearest(thumbnails, ours, theirs) if leak.similarity > threshold]
        seen.append(split)
    return sorted(found, key=lambda leak: (-leak.similarity, leak.clip)), looked


def _nearest(
    thumbnails: npt.NDArray[np.float32], ours: npt.NDArray[np.int64], theirs: npt.NDArray[np.int64]
) -> list[Leak]:
    frames, found = thumbnails.shape[1], list[Leak]()
    others = thumbnails[theirs].reshape(-1, thumbnails.shape[2]).T
    rows = max(1, _CELLS // (others.shape[1] * frames))
    for start in range(0, len(ours), rows):
        block = ours[start : start + rows]
        likeness = (thumbnails[block].reshape(-1, len(others)) @ others).reshape(len(block), -1)
        for clip, place, best in zip(block, likeness.argmax(axis=1), likeness.max(axis=1), strict=True):
            frame, other = divmod(int(place), others.shape[1])
            found.append(Leak(int(clip), int(theirs[other // frames]), frame, other % frames, float(best)))
    return found
