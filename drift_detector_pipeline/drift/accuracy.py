"""How accurate is the model on images without labels? A model of its mistakes, learned from labelled twins.

In: signals (N, F) of images with known mistakes, clean and corrupted. Out: `Risk`, which gives each new image the
probability that its prediction is wrong; `Errors`, how far window estimates were off on kinds of corruption that were
left out. Read by the detector and the study.

It assumes that images which look alike to the model are mistaken alike: a change of what things are called, without a
change of how they look, cannot be seen by this or any method without labels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from drift_detector_pipeline.drift.signals import Floats

SIZES = (16, 32, 64, 128, 256, 512)  # of the windows on which errors are measured
COVERAGE = 0.9
CLEAN_SHARE = 0.25  # of the weight in learning; every twin has the same share of the rest
_WINDOWS = 40  # windows of each size and twin
_KNOTS = 200  # of the isotonic curve

Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Wrong = npt.NDArray[np.bool_]


class Sample(NamedTuple):
    """Images of one kind of change with known mistakes."""

    kind: str  # "" for clean ones
    rows: Labels  # (n,) which clean image each comes from
    signals: Floats  # (n, F), as if the images were new to whatever gave them
    wrong: Wrong  # (n,)


class Risk(NamedTuple):
    """A logistic model and, behind it, a monotone curve that makes its values probabilities."""

    centre: Floats  # (F,)
    weights: Floats  # (F,) of centred signals
    at: Floats  # (Q,) values of the logistic model, rising
    value: Floats  # (Q,) probabilities


class Errors(NamedTuple):
    """Quantiles of (true accuracy - estimate) / the standard error that coin tosses would have, by window size."""

    low: Floats  # (len(SIZES),)
    high: Floats  # (len(SIZES),)


class Estimate(NamedTuple):
    """An accuracy in 0..1 and the interval that held the truth in about COVERAGE of windows of left-out kinds."""

    accuracy: float
    low: float
    high: float


def fit_risk(samples: Sequence[Sample], folds: Labels) -> Risk:
    """Learn from samples and the fold of each clean image; the curve sees only images the logistic model did not.

    Raises ValueError if all predictions are right, or all wrong.
    """
    signals = np.concatenate([sample.signals for sample in samples]).astype(np.float64)
    wrong = np.concatenate([sample.wrong for sample in samples])
    fold = np.concatenate([folds[sample.rows] for sample in samples])
    weight = _weights(samples)
    if wrong.all() or not wrong.any():
        raise ValueError("expected right and wrong predictions to learn from")
    unseen = np.empty(len(wrong))
    for number in np.unique(fold):
        out = fold == number
        centre, weights = _logistic(signals[~out], wrong[~out], weight[~out])
        unseen[out] = (signals[out] - centre) @ weights
    curve = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(unseen, wrong, weight)
    at = np.unique(np.quantile(unseen, np.linspace(0, 1, _KNOTS)))
    centre, weights = _logistic(signals, wrong, weight)
    parts = centre, weights, at, curve.predict(at)
    return Risk(*(np.asarray(part, dtype=np.float32) for part in parts))


def risk(signals: Floats, model: Risk) -> Doubles:
    """The probability that each prediction is wrong: (N,) in 0..1."""
    values = (signals.astype(np.float64) - model.centre) @ model.weights
    return np.asarray(np.interp(values, model.at, model.value))


def unseen_risks(samples: Sequence[Sample], folds: Labels) -> list[Doubles]:
    """The risks of each sample from a model that saw neither its images nor its kind; a clean one's: not its images."""
    found = [np.empty(len(sample.rows)) for sample in samples]
    for kind in sorted({sample.kind for sample in samples}):
        for fold in np.unique(folds):
            others = [_take(each, folds[each.rows] != fold) for each in samples if not kind or each.kind != kind]
            model = fit_risk(others, folds)
            for sample, risks in zip(samples, found, strict=True):
                if sample.kind == kind:
                    inside = folds[sample.rows] == fold
                    risks[inside] = risk(sample.signals[inside], model)
    return found


def estimate(risks: Doubles, known: tuple[float, float], errors: Errors) -> Estimate:
    """Accuracy of a window from its risks (m,), and accuracy and mean risk of labelled images of the training world."""
    accuracy = _estimated(float(risks.mean()), known)
    place, sizes = np.log(len(risks)), np.log(SIZES)
    low, high = (np.interp(place, sizes, values) for values in errors)
    unit = _unit(risks, min(len(risks), SIZES[-1]))  # beyond, errors are those of the model and do not shrink
    reached = accuracy, accuracy + low * unit, accuracy + high * unit
    return Estimate(*(float(np.clip(value, 0, 1)) for value in reached))


def measure_errors(samples: Sequence[Sample], risks: Sequence[Doubles], seed: int = 0) -> Errors:
    """Estimate windows of every sample from `unseen_risks` and see how far off that is. Clean ones count a quarter."""
    rng = np.random.default_rng(seed)
    clean = next(number for number, sample in enumerate(samples) if not sample.kind)
    known = 1 - float(samples[clean].wrong.mean()), float(risks[clean].mean())
    twins = len(samples) - 1
    low, high = list[float](), list[float]()
    for size in SIZES:
        found, weight = list[float](), list[float]()
        for number, sample in enumerate(samples):
            share = CLEAN_SHARE if number == clean else (1 - CLEAN_SHARE) / max(1, twins)
            for _ in range(_WINDOWS):
                chosen = rng.choice(len(sample.rows), size, replace=size > len(sample.rows))
                own = risks[number][chosen]
                miss = 1 - sample.wrong[chosen].mean() - _estimated(float(own.mean()), known)
                found.append(miss / _unit(own, size))
                weight.append(share)
        lower, upper = _quantiles(np.array(found), np.array(weight))
        low.append(lower)
        high.append(upper)
    return Errors(np.array(low, dtype=np.float32), np.array(high, dtype=np.float32))


def _estimated(mean_risk: float, known: tuple[float, float]) -> float:
    return float(np.clip(known[0] + known[1] - mean_risk, 0, 1))


def _unit(risks: Doubles, size: int) -> float:
    """The standard error of the share of right ones among coin tosses with these risks; never quite zero."""
    return float(np.sqrt(max(float((risks * (1 - risks)).mean()), 1 / (4 * size)) / size))


def _quantiles(values: Doubles, weights: Doubles) -> tuple[float, float]:
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    tails = (1 - COVERAGE) / 2, (1 + COVERAGE) / 2
    places = [min(int(np.searchsorted(reached, tail)), len(values) - 1) for tail in tails]
    low, high = (float(values[order[place]]) for place in places)
    return low, high


def _logistic(signals: Doubles, wrong: Wrong, weight: Doubles) -> tuple[Doubles, Doubles]:
    """Centre and weights in the signals' own units; the intercept is left to the curve."""
    centre, spread = signals.mean(axis=0), np.maximum(signals.std(axis=0), 1e-6)
    model = LogisticRegression(max_iter=200).fit((signals - centre) / spread, wrong, weight * len(weight))
    return centre, model.coef_[0] / spread


def _weights(samples: Sequence[Sample]) -> Doubles:
    """Of each image, adding up to 1."""
    twins = sum(bool(sample.kind) for sample in samples)
    shares = [(1 - CLEAN_SHARE) / twins if sample.kind else CLEAN_SHARE for sample in samples]
    counts = [len(sample.rows) for sample in samples]
    weight = np.repeat([share / count for share, count in zip(shares, counts, strict=True)], counts)
    return np.asarray(weight / weight.sum())


def _take(sample: Sample, chosen: Wrong) -> Sample:
    return Sample(sample.kind, sample.rows[chosen], sample.signals[chosen], sample.wrong[chosen])
