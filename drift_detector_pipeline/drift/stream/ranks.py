"""Where a number falls among the reference's: one of about two dozen bins, ties broken by a counter.

In: channels (n, K) of the reference, then (m, K) of the stream. Out: bins (m, K). n: reference images, m: images of the
stream, K: channels, B: bins. Read by the detector and the study.

The n reference numbers leave n + 1 gaps. If stream and reference are exchangeable, the gap of the next number is drawn
from an urn that holds a ball a gap, and one more for each number that fell there before: exact for any continuous
channel. Ties would break it, so a number is compared together with a random one: the reference's stay as they are, the
stream's are a function of seed, image and channel.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.arrays import Float32s, Labels

MIDDLE = 10  # bins between the tails
_TAILS = 7  # bins of 1, 2, 4, ... 64 gaps at either end, fewer for a small reference
_SHARE_OF_TAIL = 0.25  # most of the gaps that one tail may take

Keys = npt.NDArray[np.int64]
Noise = npt.NDArray[np.uint32]


class Bins(NamedTuple):
    """Where bins begin, for each channel."""

    edges: Keys  # (K, B - 1) a number above so many edges is in that bin
    gaps: Labels  # (B,) of the n + 1, in each bin


def bins_of(reference: Float32s, seed: int) -> Bins:
    """Divide the gaps between n reference numbers (n, K) into bins that are finest in the tails."""
    gaps = gaps_of(len(reference))
    ordered = np.sort(ordered_keys(reference, noise(seed, np.arange(len(reference)), reference.shape[1])), axis=0)
    return Bins(np.ascontiguousarray(ordered[np.cumsum(gaps)[:-1] - 1].T), gaps)


def gaps_of(reference: int) -> Labels:
    """How many of the n + 1 gaps are in each bin: 1, 2, 4, ... from either end, equal shares between."""
    tail = list[int]()
    while len(tail) < _TAILS and sum(tail) + 2 ** len(tail) <= _SHARE_OF_TAIL * (reference + 1):
        tail.append(2 ** len(tail))
    left = reference + 1 - 2 * sum(tail)
    middle = np.diff(np.linspace(0, left, min(MIDDLE, left) + 1).round().astype(np.int64))
    return np.array([*tail, *middle.tolist(), *reversed(tail)], dtype=np.int64)


def places(values: Float32s, luck: Noise, bins: Bins) -> Labels:
    """The bin of each number: (m, K) in 0..B-1."""
    return np.asarray(np.add.reduce(ordered_keys(values, luck)[:, :, None] > bins.edges, axis=2, dtype=np.int64))


def ordered_keys(values: Float32s, luck: Noise) -> Keys:
    """Whole numbers in the order of `values` (m, K), equal ones in that of `luck`: exact, on any machine."""
    bits = (np.asarray(values, dtype=np.float32) + np.float32(0)).view(np.int32).astype(np.int64)  # no -0
    rising = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return np.asarray((rising << 32) + luck.astype(np.int64))


def noise(seed: int, images: Labels, channels: int) -> Noise:
    """Random whole numbers (m, K), each a function of seed, image and channel (splitmix64, Steele et al. 2014)."""
    counter = (images[:, None] * channels + np.arange(channels)).astype(np.uint64)
    mixed = _mixed(_begun(seed) + counter)
    return np.asarray((mixed >> np.uint64(32)).astype(np.uint32))


@lru_cache
def _begun(seed: int) -> npt.NDArray[np.uint64]:
    return _mixed(np.array([[seed]], dtype=np.uint64))


def _mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    state: npt.NDArray[np.uint64] = numbers + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(state ^ (state >> np.uint64(31)))
