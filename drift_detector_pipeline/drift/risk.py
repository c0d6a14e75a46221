"""Which predictions are wrong? A model of a model's mistakes, learned from labelled twins.

In: signals (N, F) of images with known mistakes, clean and corrupted. Out: `Risk`, which gives each new image the
probability that its prediction is wrong. Read by accuracy.py and the reference.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.arrays import Float32s, Float64s, Indices, Labels

CLEAN_SHARE = 0.25  # of the weight in learning; every twin has the same share of the rest
_KNOTS = 200  # of the isotonic curve

Wrong = npt.NDArray[np.bool_]


class MistakeSample(NamedTuple):
    """Images of one kind of change with known mistakes."""

    kind: str  # "" for clean ones
    rows: Indices  # (n,) which clean image each comes from
    signals: Float32s  # (n, F) that risks are computed from, as if the images were new to whatever gave them
    looks: Float32s  # (n, Q) by which images are found to look alike
    wrong: Wrong  # (n,)


class Risk(NamedTuple):
    """A logistic model and, behind it, a monotone curve that makes its values probabilities."""

    centre: Float32s  # (F,)
    weights: Float32s  # (F,) of centred signals
    at: Float32s  # (V,) values of the logistic model, rising
    value: Float32s  # (V,) probabilities


def fit_risk(samples: Sequence[MistakeSample], folds: Labels, classes: int) -> Risk:
    """Learn from samples and the fold of each clean image; the curve sees only images the logistic model did not.

    Nothing is riskier than guessing one of `classes`: a model that is led astray is still right by accident.
    Raises ValueError if all predictions are right, or all wrong.
    """
    from sklearn.isotonic import IsotonicRegression  # whoever only judges does without

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
    curve = IsotonicRegression(y_min=0, y_max=1 - 1 / classes, out_of_bounds="clip").fit(unseen, wrong, weight)
    at = np.unique(np.quantile(unseen, np.linspace(0, 1, _KNOTS)))
    centre, weights = _logistic(signals, wrong, weight)
    parts = centre, weights, at, curve.predict(at)
    return Risk(*(np.asarray(part, dtype=np.float32) for part in parts))


def risk(signals: Float32s, model: Risk) -> Float64s:
    """The probability that each prediction is wrong: (N,) in 0..1."""
    values = (signals.astype(np.float64) - model.centre) @ model.weights
    return np.asarray(np.interp(values, model.at, model.value))


def unseen_risks(samples: Sequence[MistakeSample], folds: Labels, classes: int, kind: str = "") -> list[Float64s]:
    """The risks of each sample from models that saw neither its images nor, if given, any of `kind`."""
    found = [np.empty(len(sample.rows)) for sample in samples]
    others = [sample for sample in samples if not kind or sample.kind != kind]
    for fold in np.unique(folds):
        model = fit_risk([_take(each, folds[each.rows] != fold) for each in others], folds, classes)
        for sample, risks in zip(samples, found, strict=True):
            inside = folds[sample.rows] == fold
            risks[inside] = risk(sample.signals[inside], model)
    return found


def _logistic(signals: Float64s, wrong: Wrong, weight: Float64s) -> tuple[Float64s, Float64s]:
    """Centre and weights in the signals' own units; the intercept is left to the curve."""
    from sklearn.linear_model import LogisticRegression

    centre, spread = signals.mean(axis=0), np.maximum(signals.std(axis=0), 1e-6)
    model = LogisticRegression(max_iter=200).fit((signals - centre) / spread, wrong, weight * len(weight))
    return centre, model.coef_[0] / spread


def _weights(samples: Sequence[MistakeSample]) -> Float64s:
    """Of each image, adding up to 1."""
    twins = sum(bool(sample.kind) for sample in samples)
    shares = [(1 - CLEAN_SHARE) / twins if sample.kind else CLEAN_SHARE for sample in samples]
    counts = [len(sample.rows) for sample in samples]
    weight = np.repeat([share / count for share, count in zip(shares, counts, strict=True)], counts)
    return np.asarray(weight / weight.sum())


def _take(sample: MistakeSample, chosen: Wrong) -> MistakeSample:
    rows, signals, looks, wrong = sample[1:]
    return MistakeSample(sample.kind, rows[chosen], signals[chosen], looks[chosen], wrong[chosen])
