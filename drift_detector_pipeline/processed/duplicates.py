"""Images that appear twice: byte for byte, or nearly.

N images. Pure: arrays in, pairs out. Fed and read by data_report.py.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from drift_detector_pipeline.arrays import Pixels

_THUMB_PX = 16
_PLAIN = 0.01  # standard deviation of a thumbnail's grey values (0..1) below which there is nothing to compare
_BLOCK = 2048  # rows of the similarity matrix at a time: at 60,000 images half a gigabyte of float32


class AlikePair(NamedTuple):
    """Two images that look alike, `first` before `second`."""

    first: int
    second: int
    similarity: float  # correlation of thumbnails in -1..1; 1: also when every pixel is equal
    exact: bool


def thumbnail(pixels: Pixels) -> npt.NDArray[np.float32]:
    """An image as 16 x 16 grey values, mean 0 and length 1: float32 (256,). Zeros where there is nothing to see."""
    grey = Image.fromarray(pixels).convert("L").resize((_THUMB_PX, _THUMB_PX), Image.Resampling.BOX)
    values = np.asarray(grey, dtype=np.float32).ravel() / 255
    centred = values - values.mean()
    plain = float(values.std()) < _PLAIN
    return np.zeros_like(centred) if plain else centred / np.linalg.norm(centred)


def find_pairs(
    images: Iterable[Pixels], thumbnails: npt.NDArray[np.float32], *, threshold: float, at_most: int = 100_000
) -> list[AlikePair]:
    """All pairs whose pixels are equal, and those whose thumbnails (N, 256) correlate above `threshold`, best first.

    Compares every image with every other: N^2 / 2 scalar products of length 256, in blocks. Of the similar ones at
    most about `at_most` are kept, the most similar.
    """
    exact = _equal(images)
    pairs = [AlikePair(*pair, 1.0, True) for pair in sorted(exact)]
    similar: list[AlikePair] = []
    for start in range(0, len(thumbnails), _BLOCK):
        block = thumbnails[start : start + _BLOCK] @ thumbnails[start:].T
        for row, column in np.argwhere(np.triu(block > threshold, k=1)):
            pair = (start + int(row), start + int(column))
            if pair not in exact:
                similar.append(AlikePair(*pair, float(block[row, column]), False))
        if len(similar) > 2 * at_most:
            similar = _best(similar)[:at_most]
    return pairs + _best(similar)[:at_most]


def _equal(images: Iterable[Pixels]) -> set[tuple[int, int]]:
    same: defaultdict[bytes, list[int]] = defaultdict(list)
    for index, pixels in enumerate(images):
        same[hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()].append(index)
    return {pair for indices in same.values() for pair in combinations(indices, 2)}


def _best(pairs: list[AlikePair]) -> list[AlikePair]:
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.first, pair.second))
