"""Since which image? What the bins of the channel that alarmed say about the beginning.

In: the last bins of one channel, as they fell. Out: a place among them and an interval. Read by the detector.

Every place has a likelihood: the fixed bets, begun there and averaged. With all places equally likely beforehand they
are probabilities, and the interval holds 95 % of them. That is no promise: the bets are not the change, and an alarm
picks its data. How often the interval holds the truth is measured (docs/drift/study.md).
"""

from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Labels
from drift_detector_pipeline.drift.stream.bets import normal_scores, tilts_of

_HELD = 0.95


class Change(NamedTuple):
    """Places count from 0, the oldest of the bins that were given."""

    since: int  # likeliest place
    low: int
    high: int
    move: float  # mean normal score from `since` on, in standard deviations


def change_of(bins: Labels, gaps: Labels) -> Change:
    """Find where the newest bins (H,), oldest first, begin to differ from what `gaps` (B,) say."""
    tilts = tilts_of(gaps)
    gains = np.log(tilts / (gaps / gaps.sum() @ tilts))[bins]
    likely = np.cumsum(gains[::-1], axis=0)[::-1]
    weights = np.exp(likely - likely.max()).sum(axis=1)
    below = np.cumsum(weights) / weights.sum()
    since = int(weights.argmax())
    low, high = (int(np.searchsorted(below, share)) for share in ((1 - _HELD) / 2, (1 + _HELD) / 2))
    move = float(normal_scores(gaps)[bins[since:]].mean())
    return Change(since, min(low, since), min(max(high, since), len(bins) - 1), move)
