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
_BLOCK, _BLOCK_ROWS = 1 << 26, 2048  # cells and rows of the similarity matrix at a time: a quarter of a gigabyte
MANY = 20  # images that are alike, beyond which not every pair is worth a line


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
    """Pairs whose pixels are equal, and those whose thumbnails (N, 256) correlate above `threshold`, best first.

    Compares every image with every other: N^2 / 2 scalar products of length 256, in blocks. The pairs stay few where
    many are alike, as frames of a camera that does not move: of more than `MANY` equal images each is paired with the
    first; an image has its `MANY` most similar later ones; of the similar pairs about `at_most` are kept, the best.
    """
    equal = _equal(images)
    pairs = [AlikePair(*pair, 1.0, True) for pair in sorted(pair for same in equal for pair in _pairs_of(same))]
    group = np.arange(len(thumbnails))  # equal images have one number
    for same in equal:
        group[same] = same[0]
    similar: list[AlikePair] = []
    rows = max(1, min(_BLOCK_ROWS, _BLOCK // max(1, len(thumbnails))))
    for start in range(0, len(thumbnails), rows):
        similar += _similar(thumbnails, group, range(start, min(start + rows, len(thumbnails))), threshold)
        if len(similar) > 2 * at_most:
            similar = _best(similar)[:at_most]
    return pairs + _best(similar)[:at_most]


def _similar(
    thumbnails: npt.NDArray[np.float32], group: npt.NDArray[np.int64], rows: range, threshold: float
) -> list[AlikePair]:
    """The most similar later images of each of some images that are not equal to it."""
    block = thumbnails[rows.start : rows.stop] @ thumbnails[rows.start :].T
    pairs: list[AlikePair] = []
    for row in np.flatnonzero((block > threshold).sum(1) > 1).tolist():  # one: the image itself
        first = rows.start + row
        later = row + 1 + np.flatnonzero(block[row, row + 1 :] > threshold)
        later = later[group[rows.start + later] != group[first]]
        likeness = block[row, later]
        for place in np.argsort(-likeness, kind="stable")[:MANY].tolist():
            pairs.append(AlikePair(first, rows.start + int(later[place]), float(likeness[place]), False))
    return pairs


def _equal(images: Iterable[Pixels]) -> list[list[int]]:
    """The groups of images of which every pixel is equal, each in order."""
    same: defaultdict[bytes, list[int]] = defaultdict(list)
    for index, pixels in enumerate(images):
        same[hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()].append(index)
    return [indices for indices in same.values() if len(indices) > 1]


def _pairs_of(same: list[int]) -> Iterable[tuple[int, int]]:
    return combinations(same, 2) if len(same) <= MANY else ((same[0], other) for other in same[1:])


def _best(pairs: list[AlikePair]) -> list[AlikePair]:
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.first, pair.second))
