"""From a promise for the average reference to one for the reference a person has.

In: columns of a reference, as the window test compares their means, and a window size. Out: a margin, the factor by
which the window's squared difference must exceed what the test asks for. Read by the verdict.
n: reference images, m: window images, C: columns, R: random labellings, B: references that are imagined.

The permutation test keeps its rate of false notices averaged over references. One reference's own rate is higher or
lower, for three reasons, all of which can be simulated from the reference itself: its mean lies aside of the world's by
e, which every window then seems to have moved; its spread, the yardstick, is a little too small or too large; and the
labellings, drawn once, are a sample of R. For B imagined references that differ from this one as it may differ from the
world (multiplier bootstrap; Mammen 1993) the rate of each follows from the law of the statistics given e: squared
distances are matched by their first two moments (Patnaik 1949), the largest of many by the sum of their tails. The
margin is the smallest under which KEPT of them keep alpha.

Not so: calibration-conditional p-values (Bates et al. 2023). Theirs are of single images; of windows a reference of
2,000 holds 31 with 64 images, and no rank among 31 is below 3 %.
"""

from collections.abc import Callable, Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
from scipy.special import chdtrc, chdtri, ndtr

from drift_detector_pipeline.arrays import Float64s

KEPT = 0.95  # of references keep their own rate of false notices at or below alpha
IMAGINED = 1000
LARGEST = 16.0
_STEPS = 14  # halvings: to a thousandth


class Blocks(NamedTuple):
    """The columns of a reference as its statistics use them; each has n rows."""

    squared: Sequence[Float64s]  # of each sum of squared differences its columns
    largest: Float64s  # the columns whose largest difference counts
    rising: Float64s  # the column whose difference counts if it is positive; there may be none
    weight: int  # its share of alpha, where each of the others has 1


def margin_of(blocks: Blocks, size: int, alpha: float, permutations: int, seed: int = 0) -> float:
    """The factor on squared differences, 1 or more, for windows of `size` images; rounded up to a thousandth."""
    rng = np.random.default_rng(seed)
    rows = len(blocks.largest)
    weights = rng.standard_normal((IMAGINED, rows))
    weights = (weights - weights.mean(axis=1, keepdims=True)) / rows
    luck = rng.gamma(count := alpha * (permutations + 1), 1 / count, IMAGINED)  # of the labellings
    level = alpha / (len(blocks.squared) + 1 + blocks.weight * blocks.rising.shape[1])
    rates = [_squared(columns, weights, size, level) for columns in blocks.squared]
    rates.append(_largest(blocks.largest, weights, size, level))
    if blocks.rising.shape[1]:
        rates.append(_largest(blocks.rising, weights, size, blocks.weight * level, both=False))
    allowed = float(_summed(rates, 1.0).mean())  # the test is exact on average: this stands for alpha
    low, high = 1.0, LARGEST
    for _ in range(_STEPS):
        middle = (low + high) / 2
        own = _summed(rates, middle) * luck
        low, high = (middle, high) if np.quantile(own, KEPT) > allowed else (low, middle)
    return ceil(1000 * high - 1e-6) / 1000


def _summed(rates: Sequence[Callable[[float], Float64s]], margin: float) -> Float64s:
    return np.asarray(np.sum([rate(margin) for rate in rates], axis=0))


def _squared(columns: Float64s, weights: Float64s, size: int, level: float) -> Callable[[float], Float64s]:
    """Given a margin, how often each imagined reference (B,) exceeds it: sums of squares, as a scaled chi-square."""
    rows = len(columns)
    centred = columns - columns.mean(axis=0)
    covariance = centred.T @ centred / rows
    total, squares = covariance.trace(), (covariance**2).sum()
    aside = weights @ centred  # (B, C) means of imagined references
    lengths = (centred**2).sum(axis=1)
    yardstick = _yardstick(weights @ lengths / total, rows, size)
    freedom, unit = total**2 / squares, squares / total
    asked = chdtri(freedom, level) * unit * (1 / size + 1 / rows) * yardstick
    mean = total / size + (aside**2).sum(axis=1)
    variance = 2 * squares / size**2 + 4 * ((aside @ covariance) * aside).sum(axis=1) / size
    return lambda margin: np.asarray(chdtrc(2 * mean**2 / variance, margin * asked * 2 * mean / variance))


def _largest(
    columns: Float64s, weights: Float64s, size: int, level: float, both: bool = True
) -> Callable[[float], Float64s]:
    """The same of the largest of many differences, up or down: the sum of their normal tails. Or of rising ones."""
    rows = len(columns)
    centred = columns - columns.mean(axis=0)
    spread = np.maximum(centred.std(axis=0), 1e-9)
    aside = weights @ centred
    yardstick = np.sqrt(_yardstick((weights @ centred**2 / spread**2).mean(axis=1), rows, size))[:, None]
    error, noise = spread * np.sqrt(1 / size + 1 / rows), spread / np.sqrt(size)
    asked = _solved(lambda bound: float((1 + both) * ndtr(-bound / error).sum()), level, 40 * float(error.max()))

    def rate(margin: float) -> Float64s:
        bound = asked * yardstick * np.sqrt(margin)
        return np.asarray((ndtr((-aside - bound) / noise) + both * ndtr((aside - bound) / noise)).sum(axis=1))

    return rate


def _yardstick(off: Float64s, rows: int, size: int) -> Float64s:
    """By what factor the spread that permutations see differs: that of n reference rows and m of the window."""
    return np.asarray(np.maximum(1 + off * rows / (rows + size), 0.1))


def _solved(falling: Callable[[float], float], value: float, high: float) -> float:
    low = 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > value else (low, middle)
    return high
