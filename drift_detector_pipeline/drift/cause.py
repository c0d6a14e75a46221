"""Why do these images look different? The likeliest of the known changes, how strong; or a mix, strangers, unknown.

In: `Causes`, scores (m, S) and predicted classes (m,) of a window, the same of the reference. Out: a `Cause`. Read by
the verdict. S: scores, G: rows of a grid of changes, K: classes.

A posterior over all kinds and levels, each with the class mix as it was or as it may also have become; over a change of
mix alone; and over movements of what the network sees in the images while their looks stay. Nearest is not enough: what
lies further from all of these than known changes do is unknown, or two changes at once if their sum is near.

CONTENT is said by others, too: of an unknown cause, where only the strange images moved, which may well look different.
"""

from collections import defaultdict
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from drift_detector_pipeline.arrays import Float32s, Float64s, Labels
from drift_detector_pipeline.drift.causes import (
    MIRRORED,
    RARER,
    Causes,
    Grid,
    bound_for,
    grid_of,
    likelihood_unchanged,
    likelihoods,
    misfit,
    mix_axes,
    shares_of,
    variances,
)

MIX, CONTENT, UNKNOWN = "class mix", "unseen content", "unknown"
UNTOLD = (UNKNOWN, CONTENT)  # what more images, or undoing a fault, may tell better
SHOWN = 3  # alternatives, and classes whose share changed

_MIX_MOVES, _CONTENT_MOVES = 0.2, 0.05  # how often the one comes along with anything, the other instead of it
_CLOSER = 0.67  # of the bound, for two changes at once: with so many pairs one is always near


class Cause(NamedTuple):
    """What happened to a window, as far as it can be told."""

    kind: str  # a kind of corruption, a fault, MIX, CONTENT or UNKNOWN
    severity: float | None  # level of the kind, may lie between two; None where there is none
    probability: float  # of the kind among all that is known; 0 for UNKNOWN, two at once, CONTENT by strangeness
    far: float  # misfit over its bound: above 1 nothing known is near
    alternatives: tuple[tuple[str, float], ...] = ()  # the next likeliest kinds; for UNKNOWN the nearest ones
    second: str | None = None  # the other one of two changes at once
    second_severity: float | None = None
    mix: tuple[tuple[str, float, float], ...] = ()  # for MIX: class, its share then and now, the largest change first


class Seen(NamedTuple):
    """Images as the model sees them."""

    scores: Float32s  # (n, S)
    predicted: Labels  # (n,)


def find_cause(
    causes: Causes, reference: Seen, window: Seen, classes: list[str], content: npt.NDArray[np.bool_]
) -> Cause:
    """Name the cause of a difference; whether there is one is not asked here.

    `content` (S,): which scores tell what is shown rather than how it looks.
    """
    moved = (window.scores.mean(axis=0, dtype=np.float64) - reference.scores.mean(axis=0)) @ causes.whitener
    grid, size, known = grid_of(causes), len(window.predicted), len(reference.predicted)
    varied = variances(causes, grid, size, known)
    names = np.concatenate([grid.kinds, grid.kinds, [UNKNOWN, MIX, CONTENT]])
    logs, off = _weighed(causes, grid, varied, moved)
    counted = np.bincount(window.predicted, minlength=len(classes)) / size
    of_means = float((counted**2 / np.maximum(causes.counts, 1)).sum())  # the means of classes are uncertain, too
    unchanged = (
        (None, 1 - _MIX_MOVES, 0.0),
        (mix_axes(causes), _MIX_MOVES, of_means),
        (_content_axes(causes, content), _CONTENT_MOVES, 0.0),
    )
    for axes, prior, more in unchanged:
        log, distance = likelihood_unchanged(causes, moved, 1 / size + 1 / known + more, axes)
        logs, off = np.append(logs, log + np.log(prior)), np.append(off, distance)
    chances = _by_name(names, logs)
    kind = next(iter(chances))
    best = int(np.where(names == kind, logs, -np.inf).argmax())
    far = misfit(off[best], causes) / bound_for(causes, size, looks_changed=kind in causes.kinds)
    if far > 1:
        pair = _two(causes, grid, varied, moved)
        pair = pair._replace(far=pair.far / bound_for(causes, size))
        return pair if pair.far < _CLOSER else Cause(UNKNOWN, None, 0.0, far, _first(chances))
    found = Cause(kind, None, chances.pop(kind), far, _first(chances))
    if kind == MIX:
        return found._replace(mix=_new_shares(causes, window.predicted, classes))
    return found if kind in (CONTENT, UNKNOWN) else found._replace(severity=_severity(names == kind, logs, grid))


def _weighed(causes: Causes, grid: Grid, varied: Float64s, moved: Float64s) -> tuple[Float64s, Float64s]:
    """Log posteriors of the grid up to a constant, and distances, with the old mix, then with a new one: (2 G,)."""
    _, place, rows = np.unique(grid.kinds, return_inverse=True, return_counts=True)
    rarer = np.isin(grid.kinds, [second for _, second in MIRRORED])
    prior = np.log(np.where(rarer, RARER, 1.0)) - np.log(rows[place])
    alone, near = likelihoods(grid.moves, varied, moved)
    mixed, near_mixed = likelihoods(grid.moves, varied, moved, mix_axes(causes))
    logs = alone + prior + np.log(1 - _MIX_MOVES), mixed + prior + np.log(_MIX_MOVES)
    return np.concatenate(logs), np.concatenate([near, near_mixed])


def _content_axes(causes: Causes, content: npt.NDArray[np.bool_]) -> Float64s:
    """Where the scores of content alone may go, in whitened units, by a standard deviation of clean images: (S, r)."""
    spread = np.sqrt(np.linalg.inv(causes.whitener @ causes.whitener.T).diagonal())
    return np.asarray((spread[:, None] * causes.whitener)[content].T, dtype=np.float64)


def _by_name(names: npt.NDArray[np.str_], logs: Float64s) -> dict[str, float]:
    """The posterior of each name, the likeliest first."""
    weights, sums = np.exp(logs - logs.max()), defaultdict[str, float](float)
    for name, weight in zip(names.tolist(), (weights / weights.sum()).tolist(), strict=True):
        sums[name] += weight
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def _first(chances: dict[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple((kind, chance) for kind, chance in chances.items() if kind != UNKNOWN)[:SHOWN]


def _severity(own: npt.NDArray[np.bool_], logs: Float64s, grid: Grid) -> float:
    """The mean level of a kind, weighed by posterior."""
    levels = np.append(np.tile(grid.levels, 2), np.zeros(3))[own]
    return float(np.average(levels, weights=np.exp(logs[own] - logs[own].max())))


def _two(causes: Causes, grid: Grid, varied: Float64s, moved: Float64s) -> Cause:
    """The nearest pair of kinds at their levels, if movements add up."""
    whole = np.flatnonzero((grid.levels % 1 == 0) & (grid.levels <= _highest(causes, grid)))
    moves, spreads, kinds = grid.moves[whole], varied[whole], grid.kinds[whole]
    best, found = -np.inf, Cause(UNKNOWN, None, 0.0, np.inf)
    for first in range(len(whole)):
        logs, off = likelihoods(moves[first] + moves, np.maximum(spreads[first], spreads), moved)
        logs[kinds == kinds[first]] = -np.inf
        other = int(logs.argmax())
        if logs[other] > best:
            best, far = logs[other], misfit(off[other], causes)
            levels = (float(grid.levels[whole[place]]) for place in (first, other))
            found = Cause(str(kinds[first]), next(levels), 0.0, far, (), str(kinds[other]), next(levels))
    return found


def _highest(causes: Causes, grid: Grid) -> Float64s:
    """The highest level of each row's kind: (G,)."""
    return np.array([causes.levels[causes.kinds == kind].max(initial=0) for kind in grid.kinds])


def _new_shares(causes: Causes, predicted: Labels, classes: list[str]) -> tuple[tuple[str, float, float], ...]:
    """The shares of classes that would be predicted as these are, by what is mistaken for what (Lipton et al. 2018)."""
    counted = np.bincount(predicted, minlength=len(classes)) / len(predicted)
    before = shares_of(causes)
    shares, _ = nnls(causes.confusion.T.astype(np.float64), counted)
    shares /= max(shares.sum(), 1e-12)
    order = np.argsort(-np.abs(shares - before))[:SHOWN]
    return tuple((classes[label], float(before[label]), float(shares[label])) for label in order)
