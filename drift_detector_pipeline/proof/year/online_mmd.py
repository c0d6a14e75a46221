"""The online MMD test of alibi-detect, written anew: that package wants an older numpy and cannot stand beside ours.

In: features of a reference, then of a stream. Out: the place of the image that raises an alarm. Read by others.py.

As `MMDDriftOnline` does it: the squared maximum mean discrepancy (Gretton et al. 2012) of the last WINDOW images from
the reference, a Gaussian kernel as wide as the median distance, and a threshold that windows drawn from the reference
exceed once in `run_length` images.
"""

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Float64s

WINDOW, MOST, DRAWS = 16, 1000, 100_000
_AT_ONCE = 500


class OnlineMmd:
    """Knows a reference and looks at one image after another."""

    def __init__(self, reference: Float32s, run_length: int, seed: int = 0) -> None:
        """Learn the threshold from features (n, D), of which at most MOST are used."""
        rng = np.random.default_rng(seed)
        rows = np.asarray(reference, dtype=np.float64)[rng.permutation(len(reference))[:MOST]]
        self._rows, squared = rows, _squared_distances(rows, rows)
        self._width = float(np.median(squared[np.triu_indices(len(rows), 1)]))
        gram = np.exp(-squared / self._width)
        self._own = (gram.sum() - len(rows)) / (len(rows) * (len(rows) - 1))
        drawn = [self._drawn(gram, rng) for _ in range(DRAWS // _AT_ONCE)]
        self._limit = float(np.quantile(np.concatenate(drawn), 1 - 1 / run_length))

    def first(self, stream: Float32s) -> int | None:
        """How many of the rows (m, D) had come when the alarm was raised; None: there was none."""
        rows = np.asarray(stream, dtype=np.float64)
        across = np.exp(-_squared_distances(rows, self._rows) / self._width).mean(axis=1)
        for end in range(WINDOW, len(rows) + 1):
            window = rows[end - WINDOW : end]
            inside = np.exp(-_squared_distances(window, window) / self._width)
            within = (inside.sum() - WINDOW) / (WINDOW * (WINDOW - 1))
            if within + self._own - 2 * across[end - WINDOW : end].mean() > self._limit:
                return end
        return None

    def _drawn(self, gram: Float64s, rng: np.random.Generator) -> Float64s:
        """The statistic of _AT_ONCE windows of the reference, each against all others of it."""
        picks = rng.random((_AT_ONCE, len(gram))).argpartition(WINDOW, axis=1)[:, :WINDOW]
        inside = gram[picks[:, :, None], picks[:, None, :]].sum(axis=(1, 2))
        within = (inside - WINDOW) / (WINDOW * (WINDOW - 1))
        across = (gram.sum(axis=1)[picks].sum(axis=1) - inside) / (WINDOW * (len(gram) - WINDOW))
        return np.asarray(within + self._own - 2 * across)


def _squared_distances(one: Float64s, other: Float64s) -> Float64s:
    squared = (one**2).sum(axis=1)[:, None] - 2 * one @ other.T + (other**2).sum(axis=1)
    return np.asarray(np.maximum(squared, 0))
