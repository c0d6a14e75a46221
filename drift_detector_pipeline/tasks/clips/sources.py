"""What accuracy is worth where clips of a source are alike: sources are drawn anew, not clips.

N clips, G sources. Pure NumPy and SciPy. Read by metrics.py and proof.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from drift_detector_pipeline.arrays import Flags, Indices
from drift_detector_pipeline.tasks.classification.metrics import wilson_interval

DRAWS = 2000
_SEED = 0


class SourceScores(NamedTuple):
    """How the clips of one source fare."""

    source: str
    n: int  # clips
    right: int

    @property
    def accuracy(self) -> float:
        """Share that is right."""
        return self.right / self.n


def by_source(sources: Sequence[str], right: Flags) -> list[SourceScores]:
    """Each source once, in the order of names, from the sources (N,) of clips and whether each is right (N,)."""
    names, places = np.unique(np.array(sources, dtype=object).astype(str), return_inverse=True)
    counts, hits = np.bincount(places).tolist(), np.bincount(places, right).astype(np.int64).tolist()
    return [SourceScores(*one) for one in zip(names.tolist(), counts, hits, strict=True)]


def drawn_accuracies(counts: Indices, right: Indices) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Accuracies over clips, ascending, when as many sources are drawn with replacement, `DRAWS` times.

    `counts` and `right`: clips of each source, (G,), and those that are right.
    """
    rng, groups = np.random.default_rng(_SEED), len(counts)
    times = rng.multinomial(groups, np.full(groups, 1 / groups), DRAWS)
    return np.sort((times @ right) / (times @ counts))


def interval(counts: Indices, right: Indices, level: float = 0.95) -> tuple[float, float] | None:
    """Where the accuracy over clips lies for other sources of this kind: cluster bootstrap; None of a single source.

    Expanded percentiles (Hesterberg 2015, The American Statistician 69:371): those of a t distribution, as with a few
    dozen sources plain ones cover too seldom. Where all clips are right, or none: Wilson's interval over sources.
    """
    groups = len(counts)
    if groups < 2:
        return None
    if int(right.sum()) in (0, int(counts.sum())):  # nothing varies, so drawing tells nothing: sources as coins
        return wilson_interval(groups * bool(right.sum()), groups, level)
    wide = math.sqrt(groups / (groups - 1)) * float(stdtrit(groups - 1, (1 + level) / 2))
    tail = NormalDist().cdf(-wide)
    low, high = np.quantile(drawn_accuracies(counts, right), [tail, 1 - tail]).tolist()
    return low, high
