"""How good are the boxes, without any true one? What a network says of its own boxes, learned on corrupted images.

In: what was found in labelled images, clean and corrupted. Out: `Worth`; an `Estimate` of mAP50 for a window, with an
interval from windows of families of corruption that were left out. Read by the reference and the verdict.
F: signs, T: changes that were taught, m: window images.

Signs are how sure the network is of the boxes that it shows, and how well these agree with the boxes that were put away
for them (prediction consistency; Yoo et al. 2025, arXiv 2508.12082). A box that is really there is found many times,
nearly alike.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from drift_detector_pipeline.arrays import Boxes, Float32s, Float64s, Indices
from drift_detector_pipeline.corruptions.faults import family_of
from drift_detector_pipeline.drift.accuracy import ODDS, Estimate
from drift_detector_pipeline.drift.boxes.signals import BoxSignals, BoxTwin
from drift_detector_pipeline.drift.copy_accuracy import bounds_for_another
from drift_detector_pipeline.networks.boxes.found import Found
from drift_detector_pipeline.tasks.boxes.matching import Matches, Said, average_precision, match_class

SIZES = (16, 32, 64)  # of the windows that errors are measured on
_WINDOWS = 3  # of each size and change
_DRAWS = 100
_RIDGE = 1.0  # on standardised signs, in changes
_REACH = 1.0  # standardised distance of signs at which changes still have much in common


class Worth(NamedTuple):
    """What was learned; signs are standardised."""

    threshold: float  # least score of a box that is shown
    centre: Float32s  # (F,) signs of the clean images
    spread: Float32s  # (F,)
    weights: Float32s  # (F,) rise of mAP50
    places: Float32s  # (T, F) how far signs moved, for each change that was taught
    method: float  # standard deviation of what the signs leave open, for families left out
    image: float  # standard deviation of mAP50 by luck, of one image: that of m is 1 / sqrt(m) of it
    low: float  # quantiles of (truth - estimate) / its expected spread, for families left out
    high: float
    error: float  # mean |truth - estimate| of changes whose family was left out


class Usual(NamedTuple):
    """The training world, from which a window is measured."""

    signs: Float32s  # (F,)
    map50: float
    error: float  # its standard error


class Cell(NamedTuple):
    """Images after one change, clean ones included."""

    family: str  # "" for clean images
    found: Sequence[Found]
    matches: Sequence[Matches]  # of each class that is to be found


def map50_of(found: Sequence[Found], truth: Sequence[Boxes], classes: int) -> float:
    """mAP50 in 0..1; 0 if there is no box to be found."""
    return _precision(_matches(found, truth, classes))


def signs_of(found: Sequence[Found], threshold: float) -> Float64s:
    """Mean score, and mean agreement, of all boxes that are shown in a window: (F,); without one as low as can be."""
    shown = [one.scores >= threshold for one in found]
    scores, agreement = (
        np.concatenate([part[inside] for part, inside in zip(parts, shown, strict=True)])
        for parts in ([one.scores for one in found], [one.agreement for one in found])
    )
    return np.array([scores.mean(), agreement.mean()] if len(scores) else [threshold, 0.0], dtype=np.float64)


def learn_worth(
    clean: BoxSignals, truth: Sequence[Boxes], twins: Sequence[BoxTwin], threshold: float, classes: int
) -> Worth:
    """Learn from clean images, their true boxes and their twins. Raises ValueError for fewer than two families."""
    cells = [Cell("", clean.found, _matches(clean.found, truth, classes))]
    for twin in twins:
        true = [truth[row] for row in twin.rows.tolist()]
        cells.append(Cell(family_of(twin.kind), twin.signals.found, _matches(twin.signals.found, true, classes)))
    families = sorted({cell.family for cell in cells} - {""})
    if len(families) < 2:
        raise ValueError(f"expected changes of two families or more to learn from, got {families}")
    image = _luck(cells[0])
    whole = _fit(cells, threshold)
    left_out = [(name, _fit([cell for cell in cells if cell.family != name], threshold)) for name in families]
    offs = [
        np.array([_off(cell, cells[0], model) for cell in cells if cell.family == name]) for name, model in left_out
    ]
    method = float(np.sqrt(np.mean(np.concatenate(offs) ** 2)))
    whole = whole._replace(method=method, image=image, error=float(np.abs(np.concatenate(offs)).mean()))
    rng, groups = np.random.default_rng(0), []
    for name, model in left_out:
        model = model._replace(method=method, image=image)
        groups.append(np.concatenate([_misses(cell, cells[0], model, rng) for cell in cells if cell.family == name]))
    low, high = bounds_for_another(groups)
    return whole._replace(low=low, high=high)


def usual_of(found: Sequence[Found], truth: Sequence[Boxes], worth: Worth, classes: int) -> Usual:
    """What a window is measured from: labelled images of the training world."""
    return Usual(
        signs_of(found, worth.threshold).astype(np.float32), map50_of(found, truth, classes),
        worth.image / len(found) ** 0.5,
    )  # fmt: skip


def estimate_worth(found: Sequence[Found], usual: Usual, worth: Worth) -> Estimate:
    """The mAP50 that these very images would show if their true boxes were known.

    Signs that lie further out than anything taught leave it unknown: 0 to what it was.
    """
    value, unit = _guess(signs_of(found, worth.threshold), len(found), usual, worth)
    low, high = (float(np.clip(value + bound * unit, 0, 1)) for bound in (worth.low, worth.high))
    if not _known(signs_of(found, worth.threshold), usual, worth):
        return Estimate(value, 0.0, max(high, usual.map50), 1.0, known=False)
    return Estimate(value, low, high, usual.map50 - value - float(norm.isf(1 / (1 + ODDS))) * unit)


def _guess(signs: Float64s, images: int, usual: Usual, worth: Worth) -> tuple[float, float]:
    """mAP50 and its expected spread: luck of the window's images, of the reference's, and what the method leaves."""
    moved = (signs - usual.signs) / worth.spread
    unit = np.sqrt(worth.method**2 + worth.image**2 / images + usual.error**2)
    return float(np.clip(usual.map50 + moved @ worth.weights, 0, 1)), float(unit)


def _known(signs: Float64s, usual: Usual, worth: Worth) -> bool:
    """Whether something taught is near: it moved from clean images as these signs did from the usual ones."""
    moved = (signs - usual.signs) / worth.spread
    return bool((((worth.places - moved) ** 2).sum(axis=1) <= _REACH**2).any())


def _fit(cells: Sequence[Cell], threshold: float) -> Worth:
    """Ridge regression of mAP50 on signs, both as far as they moved from those of clean images, the first cell."""
    signs = np.stack([signs_of(cell.found, threshold) for cell in cells])
    fallen = np.array([_precision(cell.matches) for cell in cells])
    spread = np.maximum(signs.std(axis=0), 1e-6)
    places = (signs - signs[0]) / spread
    weights = np.linalg.solve(places.T @ places + _RIDGE * np.eye(places.shape[1]), places.T @ (fallen - fallen[0]))
    parts = (np.asarray(part, dtype=np.float32) for part in (signs[0], spread, weights, places))
    return Worth(threshold, *parts, method=0.0, image=0.0, low=0.0, high=0.0, error=0.0)


def _of_clean(clean: Cell, worth: Worth) -> Usual:
    return Usual(worth.centre, _precision(clean.matches), 0.0)


def _off(cell: Cell, clean: Cell, worth: Worth) -> float:
    """True mAP50 less the estimate, of all images of a change."""
    signs = signs_of(cell.found, worth.threshold)
    return _precision(cell.matches) - _guess(signs, len(cell.found), _of_clean(clean, worth), worth)[0]


def _misses(cell: Cell, clean: Cell, worth: Worth, rng: np.random.Generator) -> Float64s:
    """The same of random windows, by the expected spread."""
    found, usual = list[float](), _of_clean(clean, worth)
    for size in SIZES * _WINDOWS:
        chosen = rng.integers(0, len(cell.found), size)
        signs = signs_of([cell.found[one] for one in chosen.tolist()], worth.threshold)
        value, unit = _guess(signs, size, usual, worth)
        found.append((_precision(cell.matches, np.bincount(chosen, minlength=len(cell.found))) - value) / unit)
    return np.array(found)


def _luck(clean: Cell, size: int = 32) -> float:
    """Standard deviation of mAP50 in random windows of clean images, times the root of their size."""
    rng, images = np.random.default_rng(0), len(clean.found)
    drawn = [np.bincount(rng.integers(0, images, size), minlength=images) for _ in range(_DRAWS)]
    return float(np.std([_precision(clean.matches, weights) for weights in drawn]) * size**0.5)


def _matches(found: Sequence[Found], truth: Sequence[Boxes], classes: int) -> list[Matches]:
    said = [Said(one.boxes, one.scores, one.labels) for one in found]
    every = (match_class(said, truth, label) for label in range(classes))
    return [one._replace(right=one.right[:1], counted=one.counted[:1]) for one in every]


def _precision(matches: Sequence[Matches], weights: Indices | None = None) -> float:
    each = np.array([average_precision(one, weights)[0] for one in matches])
    return float(np.nanmean(each)) if np.isfinite(each).any() else 0.0
