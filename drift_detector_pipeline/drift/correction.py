"""How far off is what a copy says of a window? Learned from changes that were taught, by their signs and their looks.

In: `Place`s of windows whose errors are known. Out: a `Process`; for another window a `Correction`. Read by
copy_accuracy.py. T: windows that were taught, Q: looks.

A Gaussian process (Rasmussen & Williams 2006) over two things. Signs say how a copy and the network part, whatever the
images look like: errors that come with them hold for changes never met. Looks tell one change from another with the
same signs: what a banner does to a copy is known of other banners and of nothing else. Both kinds of error grow with
what was lost: where a copy agrees with the network as it does on clean images, there is little to be wrong about.
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Float64s
from drift_detector_pipeline.drift.accuracy import log_likelihood

# Amplitudes of errors where half is lost, among which one is chosen; of accuracy. With coarser steps the choice, and so
# the width of intervals, was one of chance.
_BY_SIGNS = (0.02, 0.035, 0.05, 0.07, 0.1, 0.14, 0.2)
_BY_LOOKS = (0.0, 0.02, 0.03, 0.04, 0.055, 0.07, 0.1)
_REACH, _REACH_OF_LOOKS = 0.15, 0.3  # distance of signs, and of looks per column, at which much is still in common


class Place(NamedTuple):
    """What is seen of a window without labels."""

    signs: Float64s  # (3,) two estimates of accuracy, and how much less sure than usual a copy is
    looks: Float64s  # (Q,) mean of its images; Q may be 0
    aside: float  # squared distance per column at which the looks of so few images lie by chance
    scale: float  # 0..1, how large errors are compared with windows of which half is lost


class Process(NamedTuple):
    """What was taught."""

    places: Float32s  # (T, 3) signs
    looks: Float32s  # (T, Q); Q is 0 in older references, which knew signs only and errors of one size
    scales: Float32s  # (T,)
    weights: Float32s  # (T,)
    inverse: Float32s  # (T, T) of the covariance of their errors
    amplitudes: Float32s  # (2,) by signs and by looks


class Correction(NamedTuple):
    """What is to be added to the accuracy of a window."""

    accuracy: float
    left: float  # variance of what is not known
    near: float  # 0..1, how near the most alike signs lie that were taught


def scale_of(lost: float, images: int) -> float:
    """How large errors are if about `lost` (-1..1) of accuracy is lost, seen in so many images: Laplace's rule."""
    share = (max(0.0, lost) * images + 1) / (images + 2)
    return float(2 * np.sqrt(share * (1 - share)))


def fit_process(places: Sequence[Place], off: Float64s, luck: Float64s) -> Process:
    """Learn from T windows how far `off` (T,) they were; `luck` (T,) is the variance that chance adds to each."""
    signs, looks, scales = (np.array([place[column] for place in places]) for column in (0, 1, 3))
    both = np.outer(scales, scales)
    by_signs, by_looks = both * _alike(signs, signs, _REACH), both * _alike(looks, looks, _REACH_OF_LOOKS)

    def covariance(amplitudes: tuple[float, float]) -> Float64s:
        return np.asarray(amplitudes[0] ** 2 * by_signs + amplitudes[1] ** 2 * by_looks + np.diag(luck))

    likeliest = max(product(_BY_SIGNS, _BY_LOOKS), key=lambda each: log_likelihood(off, covariance(each)))
    inverse = np.linalg.inv(covariance(likeliest))
    parts = signs, looks, scales, inverse @ off, inverse, likeliest
    return Process(*(np.asarray(part, dtype=np.float32) for part in parts))


def older_process(places: Float32s, weights: Float32s, inverse: Float32s, amplitude: Float32s) -> Process:
    """A process as references had it that knew signs only, whose inverse was in units of the squared amplitude."""
    squared, taught = amplitude[0] ** 2, len(places)
    amplitudes = np.array([amplitude[0], 0], dtype=np.float32)
    none = np.empty((taught, 0), dtype=np.float32)
    return Process(places, none, np.ones(taught, np.float32), weights / squared, inverse / squared, amplitudes)


def correct(place: Place, process: Process) -> Correction:
    """What is known of the error at a place; nothing of its looks if the process knows none."""
    known = process.looks.shape[1]
    looks, scale = (place.looks, place.scale) if known else (np.empty(0), 1.0)
    signs, taught = process.places.astype(np.float64), process.looks.astype(np.float64)
    near = _alike(place.signs[None], signs, _REACH)[0]
    alike = _alike(looks[None], taught, _REACH_OF_LOOKS, place.aside)[0]
    by_signs, by_looks = (process.amplitudes.astype(np.float64) * scale) ** 2
    shared = (by_signs * near + by_looks * alike) * process.scales / scale
    left = by_signs + by_looks - float(shared @ process.inverse @ shared)
    return Correction(float(shared @ process.weights), max(0.0, left), float(near.max()))


def _alike(one: Float64s, other: Float64s, reach: float, aside: float = 0.0) -> Float64s:
    squared = ((one[:, None] - other[None]) ** 2).sum(axis=2) / max(1, one.shape[1])
    return np.asarray(np.exp(-np.maximum(squared - aside, 0) / (2 * reach**2)))
