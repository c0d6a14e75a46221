"""Images that appear twice: byte for byte, or nearly.

N images. Pure: arrays in, pairs out. Fed and read by data_report.py.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from drift_detector_pipeline.arrays import Indices, Pixels

_THUMB_PX = 16
_PLAIN = 0.01  # standard deviation of a thumbnail's grey values (0..1) below which there is nothing to compare
_BLOCK, _BLOCK_ROWS = 1 << 26, 2048  # cells and rows of the similarity matrix at a time: a quarter of a gigabyte
EXACT = 20_000  # images up to which every pair is compared
_ORDERS, _NEIGHBOURS, _PLANES = 8, 256, 32  # random orders, places to either side in them, planes that make them
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

    Equal ones are all found. Up to `EXACT` images every thumbnail is compared with every other; beyond, in time that
    grows as N, with its neighbours in some random orders (see `_neighbourhoods`), and a few similar pairs are missed.
    The pairs stay few where many are alike, as frames of a camera that does not move: of more than `MANY` equal images
    each is paired with the first; an image has its `MANY` most similar later ones; of the similar pairs about `at_most`
    are kept, the best.
    """
    equal = _equal(images)
    pairs = [AlikePair(*pair, 1.0, True) for pair in sorted(pair for same in equal for pair in _pairs_of(same))]
    group = np.arange(len(thumbnails))  # equal images have one number
    for same in equal:
        group[same] = same[0]
    similar = dict[tuple[int, int], AlikePair]()
    parts = _blocks if len(thumbnails) <= EXACT else _neighbourhoods
    for members, rows in parts(thumbnails):
        for pair in _similar(thumbnails[members], group[members], rows, threshold):
            first, second = int(members[pair.first]), int(members[pair.second])
            similar[first, second] = pair._replace(first=first, second=second)
        if len(similar) > 2 * at_most:
            similar = {(pair.first, pair.second): pair for pair in _best(similar.values())[:at_most]}
    return pairs + _best(similar.values())[:at_most]


def _blocks(thumbnails: npt.NDArray[np.float32]) -> Iterator[tuple[Indices, range]]:
    """All images, and which of them to compare with the later ones: every pair, in blocks of rows."""
    count = len(thumbnails)
    rows = max(1, min(_BLOCK_ROWS, _BLOCK // max(1, count)))
    for start in range(0, count, rows):
        yield np.arange(start, count), range(min(rows, count - start))


def _neighbourhoods(thumbnails: npt.NDArray[np.float32], seed: int = 0) -> Iterator[tuple[Indices, range]]:
    """Images that lie on the same side of the first of some random planes, in several orders of planes.

    Two images at an angle a are parted by a plane with probability a / pi (Charikar 2002), 0.08 at a correlation of
    0.97. Windows of one size over the sorted sides, instead of buckets, bound the work where many images are alike.
    """
    rng, centred = np.random.default_rng(seed), thumbnails - thumbnails.mean(axis=0)
    for _ in range(_ORDERS):
        planes = rng.standard_normal((thumbnails.shape[1], _PLANES)).astype(np.float32)
        sides = np.packbits(centred @ planes > 0, axis=1).view(">u4")[:, 0]
        order = np.argsort(sides, kind="stable")
        for start in range(0, max(1, len(order) - _NEIGHBOURS), _NEIGHBOURS):
            members = np.sort(order[start : start + 2 * _NEIGHBOURS])
            yield members, range(len(members))


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


def _best(pairs: Iterable[AlikePair]) -> list[AlikePair]:
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.first, pair.second))
