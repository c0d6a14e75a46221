"""How good are the boxes, without any true one? As good as their scores expect, corrected by what corruptions taught.

In: what was found in labelled images, clean and corrupted. Out: `Worth`; an `Estimate` of mAP50 for a window, with an
interval from windows of families of corruption that were left out. Read by the reference and the verdict.
K: classes, T: changes that were taught, m: window images.

Were scores chances, precision after each box and recall would follow from them: all boxes, the many unsure ones too,
with each as much of a right one as its score. The average precision of that curve is what a window expects of itself.
Of clean images it lies near the truth; how much truth falls while it falls is learned, one slope for all changes.

Tried and not better on BCCD for families left out: mean confidence of the boxes that are shown, nearly twice as far
off; their agreement with the boxes that were put away for them (Yoo et al. 2025, arXiv 2508.12082) alone, beside it or
as part of a model of which boxes are right; and the boxes of a copy that adapted to the images, taken for true, which
are as wrongly placed as the network's own where images are zoomed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from drift_detector_pipeline.arrays import Boxes, Float32s, Float64s, Indices
from drift_detector_pipeline.corruptions.faults import family_of
from drift_detector_pipeline.drift.accuracy import ODDS, Estimate
from drift_detector_pipeline.drift.boxes.signals import BoxSignals, BoxTwin
from drift_detector_pipeline.drift.copy_accuracy import bounds_for_another
from drift_detector_pipeline.drift.detecting import Sure
from drift_detector_pipeline.networks.boxes.found import Found
from drift_detector_pipeline.tasks.boxes.matching import RECALLS, Matches, Said, average_precision, match_class

SIZES = (16, 32, 64)  # of the windows that errors are measured on
_WINDOWS, _DRAWS = 3, 100  # of each size and change; of clean images
_LEAST_FALL = 1e-4  # of all expectations squared, where there is none to learn a slope from
_MUST_BE, _SEEN = 3.0, 0.5  # boxes of a class that a window should have, or seems to have, for the class to count
_AT_FIRST, _FAR = 0.3, 0.2  # of the method's spread where nothing fell, and the fall from which all of it counts
_REACH = 0.05  # of what is expected, beyond the changes that were taught


class Worth(NamedTuple):
    """What was learned."""

    rates: Float32s  # (K,) true boxes of each class in an image of `fit`
    slope: float  # how far mAP50 falls where what is expected falls by 1
    falls: Float32s  # (T,) by which it fell for each change that was taught
    method: float  # standard deviation of what the slope leaves open after a fall, for families left out
    image: float  # standard deviation of mAP50 by luck, of one image: that of m is 1 / sqrt(m) of it
    low: float  # quantiles of (truth - estimate) / its expected spread, for families left out
    high: float
    error: float  # mean |truth - estimate| of changes whose family was left out


class Usual(NamedTuple):
    """The training world, from which a window is measured."""

    expected: float  # mAP50 by scores
    map50: float
    error: float  # its standard error


class Cell(NamedTuple):
    """Images after one change, clean ones included."""

    family: str  # "" for clean images
    found: Sequence[Found]
    matches: Sequence[Matches]  # of each class


def map50_of(found: Sequence[Found], truth: Sequence[Boxes], classes: int) -> float:
    """mAP50 in 0..1; 0 if there is no box to be found."""
    return _precision(_matches(found, truth, classes))


def expected_map50(found: Sequence[Found | Sure], rates: Float32s) -> float:
    """The mAP50 that follows from the scores of m images, if these are chances: 0..1."""
    labels = np.concatenate([one.labels for one in found])
    scores = np.concatenate([one.scores for one in found]).astype(np.float64)
    each = [np.sort(scores[labels == label])[::-1] for label in range(len(rates))]
    counted = [
        one for one, rate in zip(each, rates, strict=True) if max(one.sum() / _SEEN, rate * len(found) / _MUST_BE) >= 1
    ]
    return float(np.mean([_expected_precision(one) for one in counted])) if counted else 0.0


def expected_of_each(found: Sequence[Found | Sure], rates: Float32s) -> Float32s:
    """The same of each image alone: (m,)."""
    return np.array([expected_map50([one], rates) for one in found], dtype=np.float32)


def learn_worth(clean: BoxSignals, truth: Sequence[Boxes], twins: Sequence[BoxTwin], classes: int) -> Worth:
    """Learn from clean images, their true boxes and their twins. Raises ValueError for fewer than two families."""
    cells = [Cell("", clean.found, _matches(clean.found, truth, classes))]
    for twin in twins:
        true = [truth[row] for row in twin.rows.tolist()]
        cells.append(Cell(family_of(twin.kind), twin.signals.found, _matches(twin.signals.found, true, classes)))
    families = sorted({cell.family for cell in cells} - {""})
    if len(families) < 2:
        raise ValueError(f"expected changes of two families or more to learn from, got {families}")
    labels = np.concatenate([one.labels[~one.ignore] for one in truth])
    rates = (np.bincount(labels, minlength=classes) / len(truth)).astype(np.float32)
    whole = _fit(cells, rates)._replace(image=_luck(cells[0]))
    parts = {name: [cell for cell in cells if cell.family == name] for name in families}
    left_out = {name: _fit([cell for cell in cells if cell.family != name], rates) for name in families}
    offs = np.concatenate([[_off(cell, cells[0], left_out[name]) for cell in parts[name]] for name in families])
    shares = np.array([_openness(fall) for name in families for fall in _falls(parts[name], cells[0], rates)])
    whole = whole._replace(method=float(np.sqrt(np.mean((offs / shares) ** 2))), error=float(np.abs(offs).mean()))
    rng, groups = np.random.default_rng(0), list[Float64s]()
    for name in families:
        model = whole._replace(slope=left_out[name].slope)
        groups.append(np.concatenate([_misses(cell, cells[0], model, rng) for cell in parts[name]]))
    low, high = bounds_for_another(groups)
    return whole._replace(low=low, high=high)


def usual_of(found: Sequence[Found], truth: Sequence[Boxes], worth: Worth, classes: int) -> Usual:
    """What a window is measured from: labelled images of the training world."""
    error = worth.image / len(found) ** 0.5
    return Usual(expected_map50(found, worth.rates), map50_of(found, truth, classes), error)


def estimate_worth(found: Sequence[Found | Sure], usual: Usual, worth: Worth) -> Estimate:
    """The mAP50 that these very images would show if their true boxes were known.

    Where they expect less, or more, than any change that was taught it is unknown: 0 to what it was.
    """
    expected = expected_map50(found, worth.rates)
    value, unit = _guess(expected, len(found), usual, worth)
    low, high = (float(np.clip(value + bound * unit, 0, 1)) for bound in (worth.low, worth.high))
    fall = usual.expected - expected
    if not min(0.0, worth.falls.min()) - _REACH <= fall <= worth.falls.max() + _REACH:
        return Estimate(value, 0.0, max(high, usual.map50), 1.0, known=False)
    return Estimate(value, low, high, usual.map50 - value + float(ndtri(1 / (1 + ODDS))) * unit)


def _guess(expected: float, images: int, usual: Usual, worth: Worth) -> tuple[float, float]:
    """mAP50 and its expected spread: luck of the window's images, of the reference's, and what the method leaves."""
    fall = usual.expected - expected
    unit = np.sqrt((worth.method * _openness(fall)) ** 2 + worth.image**2 / images + usual.error**2)
    return float(np.clip(usual.map50 - worth.slope * fall, 0, 1)), float(unit)


def _openness(fall: float) -> float:
    """What share of the method's spread is to be expected: the less fell, the less can be wrong."""
    return _AT_FIRST + (1 - _AT_FIRST) * min(1.0, abs(fall) / _FAR)


def _fit(cells: Sequence[Cell], rates: Float32s) -> Worth:
    """A line through the clean images, the first cell, by least squares."""
    true = np.array([_precision(cell.matches) for cell in cells])
    falls = _falls(cells[1:], cells[0], rates)
    slope = float(falls @ (true[0] - true[1:]) / max(falls @ falls, _LEAST_FALL))
    return Worth(rates, slope, falls.astype(np.float32), method=0.0, image=0.0, low=0.0, high=0.0, error=0.0)


def _falls(cells: Sequence[Cell], clean: Cell, rates: Float32s) -> Float64s:
    """How far what is expected fell in each cell."""
    return expected_map50(clean.found, rates) - np.array([expected_map50(cell.found, rates) for cell in cells])


def _off(cell: Cell, clean: Cell, worth: Worth) -> float:
    """True mAP50 less the estimate, of all images of a change."""
    expected = expected_map50(cell.found, worth.rates)
    return _precision(cell.matches) - _guess(expected, len(cell.found), _of_clean(clean, worth), worth)[0]


def _misses(cell: Cell, clean: Cell, worth: Worth, rng: np.random.Generator) -> Float64s:
    """The same of random windows, by the expected spread."""
    found, usual = list[float](), _of_clean(clean, worth)
    for size in SIZES * _WINDOWS:
        chosen = rng.integers(0, len(cell.found), size)
        expected = expected_map50([cell.found[one] for one in chosen.tolist()], worth.rates)
        value, unit = _guess(expected, size, usual, worth)
        truth = _precision(cell.matches, np.bincount(chosen, minlength=len(cell.found)))
        found.append((truth - value) / max(unit, 1e-6))
    return np.array(found)


def _of_clean(clean: Cell, worth: Worth) -> Usual:
    return Usual(expected_map50(clean.found, worth.rates), _precision(clean.matches), 0.0)


def _luck(clean: Cell, size: int = 32) -> float:
    """Standard deviation of mAP50 in random windows of clean images, times the root of their size."""
    rng, images = np.random.default_rng(0), len(clean.found)
    drawn = [np.bincount(rng.integers(0, images, size), minlength=images) for _ in range(_DRAWS)]
    return float(np.std([_precision(clean.matches, weights) for weights in drawn]) * size**0.5)


def _expected_precision(scores: Float64s) -> float:
    """Of the boxes of a class, surest first: average precision if each is right with a chance that is its score."""
    if not len(scores):
        return 0.0
    right = np.cumsum(scores)
    precision = np.maximum.accumulate((right / np.arange(1, len(scores) + 1))[::-1])[::-1]
    return float(np.append(precision, 0.0)[np.searchsorted(right / right[-1], RECALLS)].mean())


def _matches(found: Sequence[Found], truth: Sequence[Boxes], classes: int) -> list[Matches]:
    said = [Said(one.boxes, one.scores, one.labels) for one in found]
    every = (match_class(said, truth, label) for label in range(classes))
    return [one._replace(right=one.right[:1], counted=one.counted[:1]) for one in every]  # at IoU 0.50


def _precision(matches: Sequence[Matches], weights: Indices | None = None) -> float:
    each = np.array([average_precision(one, weights)[0] for one in matches])
    return float(np.nanmean(each)) if np.isfinite(each).any() else 0.0
