"""A dictionary of causes: how each known change moves the scores of images, and how far off the unknown is.

In: scores (N, S) of clean labelled images as if they were new, and those of their twins. Out: `Causes`, arrays of some
60 kB. N: images, S: scores, C: kinds at levels, K: classes, r: axes of class mixes. Read by cause.py, the reference.

Where a change is known, its window is normal around the movement its twins made, in units in which images of all twins
have the identity as covariance (linear discriminant analysis; what the units leave of each change's own spread counts).

A network that learned from mirrored images, too, cannot tell turned by half from upside down. Which of the two moved
its twins further is then chance, and named is what happens more often.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv

from drift_detector_pipeline.arrays import Float32s, Float64s, Indices, Labels

SIZES = (16, 64, 256)  # of windows that bounds are learned for
MIX_AXES = 10  # along which a change of class mix moves the scores most
EVENNESS = 5.0  # of class mixes that may come: the sum of a Dirichlet law's parameters

# A mirror is between the two. The first is commoner: cameras hang upside down, and phones are held upright.
MIRRORED = (("turned_180", "upside_down"), ("turned_90", "turned_270"))
RARER = 0.5  # odds of the second

_SHRUNK = 0.05  # of the correlations
_LIKENESS = 0.15  # one service's fog is another's to so much of its movement, in each score
_LEAST_SPREAD = 0.05  # of a mean in each score, in standard deviations of an image, whatever the window's size
_TRIES = 2  # windows of each size, kind and level that bounds are learned from
_KNOWN, _LEFT_OUT = 0.97, 0.1  # of known changes within a bound at least, of those left out at most
_BY_CHANCE = 0.99  # of windows whose looks did not change, and of pairs that a network cannot tell apart
_UNMOVED = 1e-3  # a change that moves less is none on these images: grey on grey ones


class Change(NamedTuple):
    """What became of some of the N images."""

    kind: str
    level: int
    rows: Indices  # (n,) which of the images
    scores: Float32s  # (n, S)


class Causes(NamedTuple):
    """What was learned; moves and spreads are in whitened units."""

    kinds: npt.NDArray[np.str_]  # (C,) kinds of corruptions and faults, levels rising within each
    levels: Float32s  # (C,)
    images: Float32s  # (C,) that each movement is a mean of
    moves: Float32s  # (C, S) changed less clean
    spreads: Float32s  # (C, S) variances of changed images
    whitener: Float32s  # (S, S)
    clean: Float32s  # (S, S) covariance of clean images
    classes: Float32s  # (K, S) mean of the clean images of each class, less that of all
    confusion: Float32s  # (K, K) share of the images of a class (row) that are predicted each class
    counts: Float32s  # (K,) images of the classes
    bounds: Float32s  # largest misfit of a known change in windows of each of SIZES


class Grid(NamedTuple):
    """All changes that a window may be compared with."""

    kinds: npt.NDArray[np.str_]  # (G,)
    levels: Float64s  # (G,)
    images: Float64s  # (G, 1)
    moves: Float64s  # (G, S)
    spreads: Float64s  # (G, S)


class Clean(NamedTuple):
    """Images as they are, each with scores as if it were new."""

    scores: Float32s  # (N, S)
    labels: Labels  # (N,)
    predicted: Labels  # (N,)
    classes: int  # K


def learn_causes(clean: Clean, changes: Sequence[Change]) -> Causes | None:
    """Learn from clean images and changed ones; None if nothing moves.

    Bounds come from halves of the images: one is learned from, of the other windows are made, and asked with and
    without their kind.
    """
    unit = clean.scores.std(axis=0).mean()
    moved = [one for one in changes if np.abs(one.scores - clean.scores[one.rows]).mean() > _UNMOVED * unit]
    return _described(clean, moved)._replace(bounds=_bounds(clean, moved)) if moved else None


def grid_of(causes: Causes) -> Grid:
    """Levels, and what lies halfway between and at either end of them."""
    kinds, levels, images, moves, spreads = list[str](), list[float](), list[float](), [], []
    usual = causes.clean.diagonal()
    for kind in dict.fromkeys(causes.kinds.tolist()):
        own = np.flatnonzero(causes.kinds == kind)
        for weights in _steps(len(own)):
            kinds.append(kind)
            levels.append(float(weights @ causes.levels[own]))
            images.append(float(causes.images[own].mean()))
            moves.append(weights @ causes.moves[own])
            inside = np.clip(weights, 0, 1)
            spreads.append(inside @ causes.spreads[own] + (1 - min(1, inside.sum())) * usual)
    grid = Grid(np.array(kinds), np.array(levels), np.array(images)[:, None], np.array(moves), np.array(spreads))
    for pair in MIRRORED:
        _make_one(grid, np.flatnonzero(np.isin(grid.kinds, pair)))
    return grid


def _make_one(grid: Grid, rows: Indices) -> None:
    """Give two rows the mean of both, in place, unless more than chance is between them."""
    if len(rows) != 2:
        return
    varied = (grid.spreads[rows] / grid.images[rows]).sum(axis=0)
    off = float((np.diff(grid.moves[rows], axis=0)[0] ** 2 / varied).sum())
    if off <= _by_chance(len(varied)):
        for values in (grid.moves, grid.spreads, grid.images):
            values[rows] = values[rows].mean(axis=0)


def _by_chance(scores: int) -> float:
    """The squared distance within which chance alone keeps so many scores."""
    return 2 * float(gammaincinv(scores / 2, _BY_CHANCE))


def variances(causes: Causes, grid: Grid, size: int, reference: int) -> Float64s:
    """Of the difference of a window's mean and a reference's: (G, S), for windows and references of so many images."""
    alike = _LIKENESS**2 * (grid.moves**2).mean(axis=1, keepdims=True) + _LEAST_SPREAD**2
    return np.asarray(grid.spreads * (1 / size + 1 / grid.images) + causes.clean.diagonal() / reference + alike)


def likelihoods(
    moves: Float64s, varied: Float64s, found: Float64s, axes: Float64s | None = None
) -> tuple[Float64s, Float64s]:
    """The log likelihood of a movement (S,) under each of G normal laws, and its squared distance: (G,) each.

    `axes` (S, r): along these it may have gone anywhere, by about as much as they are long.
    """
    off = found - moves
    distance, volume = (off**2 / varied).sum(axis=1), np.log(varied).sum(axis=1)
    if axes is not None and axes.shape[1]:  # Woodbury: an (r, r) matrix in place of an (S, S) one
        inner = np.eye(axes.shape[1]) + axes.T @ (axes[None] / varied[..., None])
        along = (off / varied) @ axes
        distance = distance - (along * np.linalg.solve(inner, along[..., None])[..., 0]).sum(axis=1)
        volume = volume + np.linalg.slogdet(inner)[1]
    return -0.5 * (distance + volume), distance


def likelihood_unchanged(
    causes: Causes, found: Float64s, unsure: float, axes: Float64s | None = None
) -> tuple[float, float]:
    """The same if looks are as they were, and scores went along `axes` (S, r) alone, or nowhere.

    `unsure`: variance of the movement where an image has 1.
    """
    covariance = causes.clean * unsure + _LEAST_SPREAD**2 * np.eye(len(found))
    if axes is not None:
        covariance += axes @ axes.T + _LIKENESS**2 * (found**2).mean() * np.eye(len(found))
    distance = float(found @ np.linalg.solve(covariance, found))
    return -0.5 * (distance + float(np.linalg.slogdet(covariance)[1])), distance


def shares_of(causes: Causes) -> Float64s:
    """The share of each class among the clean images, (K,)."""
    return np.asarray(causes.counts / causes.counts.sum(), dtype=np.float64)


def mix_axes(causes: Causes) -> Float64s:
    """How far and where a change of class mix alone moves the scores: (S, r)."""
    shares, classes = shares_of(causes), causes.classes.astype(np.float64)
    mixes = (np.diag(shares) - np.outer(shares, shares)) / (EVENNESS + 1)  # the covariance of Dirichlet shares
    lengths, axes = np.linalg.eigh(classes.T @ mixes @ classes)
    longest = np.argsort(-lengths)[: min(MIX_AXES, len(shares) - 1)]
    return np.asarray(axes[:, longest] * np.sqrt(np.maximum(lengths[longest], 0)))


def misfit(distance: float, causes: Causes) -> float:
    """A squared distance, a score: about 1 or less where only chance and likeness are between two movements."""
    return float(distance) / int(causes.moves.shape[1])


def bound_for(causes: Causes, size: int, *, looks_changed: bool = True) -> float:
    """The largest misfit of a known change in windows of `size` images; by chance alone where looks did not change."""
    scores = causes.moves.shape[1]
    learned = float(np.interp(np.log(size), np.log(SIZES), causes.bounds))
    return learned if looks_changed else max(learned, _by_chance(scores) / scores)


def _described(clean: Clean, changes: Sequence[Change]) -> Causes:
    whitener = _whitener(np.mean([np.cov(one.scores.T) for one in changes], axis=0))
    usual = (clean.scores - clean.scores.mean(axis=0)) @ whitener
    chosen = [clean.labels == label for label in range(clean.classes)]
    confusion = [np.bincount(clean.predicted[own], minlength=clean.classes) / max(1, own.sum()) for own in chosen]
    means = [usual[own].mean(axis=0) if own.any() else np.zeros(usual.shape[1]) for own in chosen]
    parts = {
        "levels": [one.level for one in changes],
        "images": [len(one.rows) for one in changes],
        "moves": [(one.scores - clean.scores[one.rows]).mean(axis=0) @ whitener for one in changes],
        "spreads": [(one.scores @ whitener).var(axis=0) for one in changes],
        "whitener": whitener,
        "clean": np.cov(usual.T),
        "classes": means,
        "confusion": confusion,
        "counts": [own.sum() for own in chosen],
        "bounds": np.full(len(SIZES), np.inf),
    }
    arrays = {name: np.asarray(values, dtype=np.float32) for name, values in parts.items()}
    return Causes(kinds=np.array([one.kind for one in changes]), **arrays)


def _whitener(covariance: Float64s) -> Float64s:
    spread = np.sqrt(covariance.diagonal()) + 1e-6
    correlation = (1 - _SHRUNK) * covariance / np.outer(spread, spread) + _SHRUNK * np.eye(len(spread))
    lengths, axes = np.linalg.eigh(correlation)
    return np.asarray(axes / np.sqrt(lengths) / spread[:, None])


def _steps(levels: int) -> list[Float64s]:
    """Weights (L,) of the levels: each alone, the middle of neighbours, half the first, half a step past the last."""
    alone = np.eye(levels)
    if levels == 1:
        return [alone[0]]
    between = [(one + other) / 2 for one, other in pairwise(alone)]
    return [alone[0] / 2, *alone, *between, 1.5 * alone[-1] - 0.5 * alone[-2]]


def _bounds(clean: Clean, changes: Sequence[Change], seed: int = 0) -> Float32s:
    rng = np.random.default_rng(seed)
    first = rng.permutation(len(clean.labels)) < len(clean.labels) / 2
    halves = [(one, first[one.rows]) for one in changes]
    halves = [(one, inside) for one, inside in halves if 2 < inside.sum() < len(inside) - 2]
    if not halves:
        return np.full(len(SIZES), np.inf, dtype=np.float32)
    causes = _described(clean, [one._replace(rows=one.rows[own], scores=one.scores[own]) for one, own in halves])
    grid, usual = grid_of(causes), clean.scores[~first].mean(axis=0)
    found = np.empty(len(SIZES), dtype=np.float32)
    for place, size in enumerate(SIZES):
        varied, known, left_out = variances(causes, grid, size, int((~first).sum())), list[float](), list[float]()
        for one, own in halves:
            for _ in range(_TRIES):
                window = one.scores[rng.choice(np.flatnonzero(~own), size)].mean(axis=0)
                logs, off = likelihoods(grid.moves, varied, (window - usual) @ causes.whitener)
                known.append(misfit(off[logs.argmax()], causes))
                left_out.append(misfit(off[np.where(grid.kinds == one.kind, -np.inf, logs).argmax()], causes))
        found[place] = max(np.quantile(known, _KNOWN), np.quantile(left_out, _LEFT_OUT))
    return found
