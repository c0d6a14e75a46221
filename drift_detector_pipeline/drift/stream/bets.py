"""Evidence that bins are no longer drawn as the reference says: bets against an urn, begun anew at every image.

In: the bin of each channel, image by image. Out: evidence (K,), whose expectation after t images is exactly t as long
as stream and reference are exchangeable. K: channels, B: bins, J: bets. Read by the detector and the study.

The law that bets are made against is Polya's urn (`ranks`): after t images a bin of g gaps in which f numbers fell has
the probability (g + f) / (n + 1 + t), averaged over references. Each bet multiplies its money by what it gave the bin
that came, over what the urn gave it. The sum over all beginnings is the statistic of Shiryaev (1963) and Roberts
(1966); it exceeds c before the T-th image with a probability of at most T / c (Doob), and so does the mean over bets.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from drift_detector_pipeline.arrays import Float64s, Labels

SLOPES = (0.25, 0.5, 1.0, 2.0, 4.0)  # up and down, in standard deviations: exp(slope z)
SPREADS = (0.25, -0.5)  # wider and narrower: exp(spread (z^2 - 1))
MEMORIES = (1 / 32,)  # the weight of the newest image in what bets learn from the stream itself
_CAUTION = 0.2  # of the money of a learning bet stays with the urn
BETS = 2 * len(SLOPES) + len(SPREADS) + len(MEMORIES)


class Bets:
    """The state of all bets of K channels; `step` takes an image."""

    def __init__(self, gaps: Labels, channels: int) -> None:
        self.tilts = tilts_of(gaps)  # (B, J') what fixed bets give a bin, before it is made a distribution
        self.total = float(gaps.sum())  # n + 1 + t
        self.balls = np.tile(gaps.astype(np.float64), (channels, 1))  # (K, B)
        self.tilted = self.balls @ self.tilts  # (K, J') by which the tilts are divided
        self.learned = np.tile(self.balls / self.total, (len(MEMORIES), 1, 1))  # (M, K, B) distributions
        self.money = np.zeros((channels, BETS))  # (K, J) each bet's Shiryaev-Roberts sum
        self._rows = np.arange(channels) * len(gaps)
        self._blocks = np.arange(len(MEMORIES))[:, None] * self.balls.size
        self._fresh = np.array(MEMORIES)[:, None]
        self._kept = (1 - self._fresh)[:, :, None]

    def step(self, bins: Labels) -> Float64s:
        """Take the bins (K,) of an image; return the evidence (K,) of each channel."""
        at = self._rows + bins
        there = self._blocks + at
        given, balls, learned = self.tilts.take(bins, axis=0), self.balls.reshape(-1), self.learned.reshape(-1)
        fixed = given.shape[1]
        known = balls.take(at)
        self.money += 1
        self.money[:, :fixed] *= given * self.total / self.tilted
        share = learned.take(there) * ((1 - _CAUTION) * self.total) / known + _CAUTION
        self.money[:, fixed:] *= share.T
        self.tilted += given
        balls[at] = known + 1
        self.learned *= self._kept
        learned[there] += self._fresh
        self.total += 1
        return np.asarray(self.money.sum(axis=1) / BETS)


def normal_scores(gaps: Labels) -> Float64s:
    """What a standard normal number is on average in each bin: (B,)."""
    edges = ndtri(np.cumsum(gaps)[:-1] / gaps.sum())
    density = np.concatenate([[0], np.exp(-(edges**2) / 2) / math.sqrt(2 * math.pi), [0]])
    return np.asarray(-np.diff(density) * gaps.sum() / gaps)


def tilts_of(gaps: Labels) -> Float64s:
    """What each fixed bet gives each bin: (B, J')."""
    z = normal_scores(gaps)
    steep = [sign * slope for slope in SLOPES for sign in (1, -1)]
    columns = [[math.exp(slope * one) for one in z] for slope in steep]
    columns += [[math.exp(spread * (one**2 - 1)) for one in z] for spread in SPREADS]
    return np.array(columns).T.copy()


def arrays_of(bets: Bets) -> dict[str, npt.NDArray[np.float64]]:
    """All that changes, to be saved; `tilted` beside `balls`, for sums in another order have other bits."""
    return {name: getattr(bets, name) for name in ("balls", "tilted", "learned", "money")}
