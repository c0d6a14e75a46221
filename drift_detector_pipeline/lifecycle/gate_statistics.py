"""How much better or worse is one model than another, at least? Bounds that hold at any number of images.

In: what two models made of the same images. Out: one-sided bounds of the gain, and how many images a claim needs. Read
by gate.py. n: images; fixed: right by the candidate alone; broken: right by the champion alone. Pure NumPy and SciPy.

Labels: the exact unconditional test of a paired difference of proportions (Suissa & Shuster 1991; with a margin, Sidik
2003), ordered by Tango's score (1998), the unknown rate of broken images kept within what is credible (Berger & Boos
1994). The usual normal approximations promise less than they say where few images change. Probabilities: bets on a
bounded mean (Waudby-Smith & Ramdas 2024). Both keep their level whatever the images are, as long as they are a random
sample.
"""

import math
from functools import lru_cache

import numpy as np
from scipy.stats import beta, binom, norm

from drift_detector_pipeline.arrays import Float64s

_IGNORED = 1e-8  # probability that the rate of broken images lies outside of what is looked at; p counts it
_RATES = 64  # of broken images that are tried
_STEPS = 24  # of halving: a bound to a ten-millionth
_BOLD = 0.9  # of all that may be bet at once
_POWER = 0.8  # with which a claim should succeed in so many images as are said to be needed


def alpha_at(look: int, alpha: float) -> float:
    """What the `look`-th test against the same images, from 1 on, may spend: all together at most `alpha`.

    The terms 6 / (pi k)^2 sum to 1, so a union bound covers any number of looks.
    """
    return alpha * 6 / (math.pi * look) ** 2


def gain_bounds(fixed: int, broken: int, n: int, alpha: float) -> tuple[float, float]:
    """One-sided bounds, each of level `alpha`, of accuracy gained in -1..1."""
    return _lower(fixed, broken, n, alpha), -_lower(broken, fixed, n, alpha)


def chance(fixed: int, broken: int, n: int, gain: float) -> float:
    """p-value, in (0, 1], of the hypothesis that the true gain is `gain`, -1 < gain < 1, or less."""
    seen = float(_score(np.array([fixed]), np.array([broken]), n, gain)[0])
    low = max(0.0, -gain, float(beta.ppf(_IGNORED / 2, broken, n - broken + 1)) if broken else 0.0)
    high = min((1 - gain) / 2, float(beta.ppf(1 - _IGNORED / 2, broken + 1, n - broken)) if broken < n else 1.0)
    rates = np.linspace(low, max(low, high), _RATES)
    ends = binom.ppf(_IGNORED / 100, n, rates[0]), binom.ppf(1 - _IGNORED / 100, n, rates[-1])
    others = np.arange(int(ends[0]), int(ends[1]) + 1, dtype=np.float64)  # counts of broken images that could have been
    least = _least_fixed(seen, others, n, gain)
    share = np.minimum((rates + gain) / np.maximum(1 - rates, 1e-12), 1)[:, None]
    beyond = binom.sf(least - 1, n - others, np.maximum(share, 0))
    found = (binom.pmf(others, n, rates[:, None]) * beyond).sum(axis=1).max()
    return float(min(1.0, found + 2 * _IGNORED))


def mean_bounds(gains: Float64s, largest: float, alpha: float) -> tuple[float, float]:
    """One-sided bounds, each of level `alpha`, of the mean of n `gains` in -largest..largest."""
    shuffled = np.random.default_rng(0).permutation(gains)  # bets need an order that says nothing
    scaled = (shuffled / largest + 1) / 2
    low, high = _lower_mean(scaled, alpha), 1 - _lower_mean(1 - scaled, alpha)
    return largest * (2 * low - 1), largest * (2 * high - 1)


def images_for(margin: float, alpha: float) -> int:
    """Images without a single broken one that show a loss to be below `margin`: with fewer nothing can."""
    return math.ceil(math.log(max(alpha - 2 * _IGNORED, _IGNORED)) / math.log1p(-margin))


def images_for_mean(margin: float, largest: float, alpha: float) -> int:
    """Images that all gain nothing and show the mean loss, of at most `largest`, to be below `margin`."""
    shift = margin / largest / 2
    return math.ceil(math.log(1 / alpha) / math.log1p(_BOLD / (0.5 - shift) * shift)) + 1


def images_likely(changed: float, away: float, alpha: float) -> int | None:
    """Images that would do if the share `changed` of answers changes and the gain is `away` from what is asked.

    With probability 0.8, by the normal approximation (Connor 1987). None if it is away on the wrong side.
    """
    if away <= 0:
        return None
    return math.ceil(max(changed, away) * float((norm.isf(alpha) + norm.isf(1 - _POWER)) / away) ** 2)


@lru_cache(maxsize=4096)
def _lower(fixed: int, broken: int, n: int, alpha: float) -> float:
    """The largest gain that is refuted as too small."""
    low, high = -1 + 1e-9, min((fixed - broken) / n + 1e-9, 1 - 1e-9)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if chance(fixed, broken, n, middle) <= alpha else (low, middle)
    return low


def _score(fixed: Float64s, broken: Float64s, n: int, gain: float) -> Float64s:
    """Tango's score: how far the seen gain lies above `gain`, in standard deviations of what `gain` implies."""
    linear = -(fixed + broken) + (2 * n - fixed + broken) * gain
    root = np.sqrt(np.maximum(linear**2 + 8 * n * broken * gain * (1 - gain), 0))
    rate = (root - linear) / (4 * n)  # of broken images, likeliest under this gain
    variance = n * (2 * np.maximum(rate, max(0.0, -gain)) + gain * (1 - gain))
    off = fixed - broken - n * gain
    return np.where(np.abs(off) < 1e-9, 0.0, off / np.sqrt(np.maximum(variance, 1e-12)))


def _least_fixed(seen: float, broken: Float64s, n: int, gain: float) -> Float64s:
    """The fewest fixed images beside so many broken ones that speak as strongly; n + 1 where none do."""
    low, high = np.zeros(len(broken)), n - broken + 1.0
    while (low < high).any():
        middle = np.floor((low + high) / 2)
        enough = (_score(middle, broken, n, gain) >= seen - 1e-9) | (middle > n - broken)
        low, high = np.where(enough, low, np.minimum(middle + 1, high)), np.where(enough, middle, high)
    return np.asarray(low)


def _lower_mean(values: Float64s, alpha: float) -> float:
    """A lower bound of the mean of values in 0..1, in the order they are bet on."""
    count = np.arange(1, len(values) + 1)
    mean = (0.5 + values.cumsum()) / (count + 1)
    spread = (0.25 + ((values - mean) ** 2).cumsum()) / (count + 1)
    before = np.concatenate([[0.25], spread[:-1]])  # a bet may know only what came before
    bets = np.sqrt(2 * math.log(1 / alpha) / (len(values) * before))
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        wealth = np.log1p(np.minimum(bets, _BOLD / max(middle, 1e-12)) * (values - middle)).cumsum()
        low, high = (middle, high) if wealth.max(initial=0) >= math.log(1 / alpha) else (low, middle)
    return low
