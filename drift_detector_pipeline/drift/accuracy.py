"""How accurate is the model on images without labels? The risks of the images, corrected by what looks like them.

In: signals of images with known mistakes, clean and corrupted (`MistakeSample`). Out: `Accuracy`, what was learned from
them; an `Estimate` for a window, with an interval from windows whose kind or severity of corruption was left out. Read
by the reference, the verdict and the study.

It assumes that images which look alike to the model are mistaken alike: a change of what things are called, without a
change of how they look, cannot be seen by this or any method without labels.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from drift_detector_pipeline.arrays import Float32s, Float64s, Indices, Labels
from drift_detector_pipeline.drift.risk import CLEAN_SHARE, MistakeSample, Risk, fit_risk, unseen_risks

SIZES = (16, 32, 64, 128, 256, 512)  # of the windows on which errors are measured
COVERAGE = 0.9
_WINDOWS = 40  # windows of each size and twin
_NEW_KINDS = 0.75  # of the weight of corrupted windows in intervals: kinds left out; of the others, the severity was
_AMPLITUDES = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15)  # of accuracy, among which one is chosen
ODDS = 3.0  # to one, that a loss is real before anybody is woken
_REACH = 0.1  # distance of looks, per column, at which windows still have much in common


def weighted_quantiles(values: Float64s, weights: Float64s, coverage: float) -> tuple[float, float]:
    """The two values between which `coverage` (0..1) of the weight lies, as much below as above."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    places = [
        min(int(np.searchsorted(reached, tail)), len(values) - 1) for tail in ((1 - coverage) / 2, (1 + coverage) / 2)
    ]
    low, high = (float(values[order[place]]) for place in places)
    return low, high


class Lookalikes(NamedTuple):
    """How far off risks were for known kinds: a Gaussian process over mean looks (Rasmussen & Williams 2006)."""

    places: Float32s  # (T, Q) mean looks of each sample
    weights: Float32s  # (T,)
    inverse: Float32s  # (T, T) of the kernel with noise, times the squared amplitude
    amplitude: Float32s  # (1,) of accuracy by which risks may be off, under which the samples are likeliest


class Errors(NamedTuple):
    """Quantiles of (true accuracy - estimate) / its expected spread, by window size."""

    low: Float32s  # (len(SIZES),)
    high: Float32s  # (len(SIZES),)


class Accuracy(NamedTuple):
    """All that is learned for estimates of accuracy."""

    risk: Risk
    lookalikes: Lookalikes
    errors: Errors


class Evidence(NamedTuple):
    """What estimates need to know of m images; of several windows at once if both have a further first axis."""

    risks: Float64s  # (m,) the probability that each prediction is wrong
    looks: Float32s  # (m, Q)

    def take(self, chosen: Indices) -> "Evidence":
        """What is known of some of the images."""
        return Evidence(self.risks[chosen], self.looks[chosen])


class Known(NamedTuple):
    """What labelled images of the training world are like."""

    accuracy: float
    share_wrong: float  # that is expected of them without their labels
    error: float = 0.0  # standard error of accuracy + share_wrong: as many others would have given other numbers


class Estimate(NamedTuple):
    """An accuracy in 0..1, and an interval that held the truth of COVERAGE of windows of what was left out."""

    accuracy: float
    low: float
    high: float
    likely_loss: float  # of accuracy (-1..1), at odds of ODDS (by a copy 2) at least so much; negative if probably none
    known: bool = True  # False: nothing that was taught is like this, so nothing can be said
    by_copy: bool = False  # asked of an adapted copy; else of the network itself
    undone: str = ""  # asked of the network once this fault was undone


def learn_accuracy(samples: Sequence[MistakeSample], folds: Labels, classes: int) -> Accuracy:
    """Learn from samples and the fold of each clean image. Raises ValueError if all are right, or all wrong."""
    risks = unseen_risks(samples, folds, classes)
    errors = measure_errors(samples, risks, folds, classes)
    return Accuracy(fit_risk(samples, folds, classes), fit_lookalikes(samples, risks), errors)


def share_wrong(window: Evidence, lookalikes: Lookalikes) -> float:
    """The share of wrong predictions that is expected of a window, in 0..1."""
    return float(_expected(window, lookalikes)[0])


def estimate(window: Evidence, known: Known, model: Accuracy) -> Estimate:
    """Accuracy of a window, from what is known of the training world."""
    accuracy, unit = map(float, _guess(window, known, model.lookalikes))
    place, sizes = np.log(len(window.risks)), np.log(SIZES)
    offs = (np.interp(place, sizes, values) * unit for values in model.errors)
    low, high = (float(np.clip(accuracy + off, 0, 1)) for off in offs)
    loss = known.accuracy - accuracy + float(ndtri(1 / (1 + ODDS))) * unit
    return Estimate(accuracy, low, high, loss)


def fit_lookalikes(samples: Sequence[MistakeSample], risks: Sequence[Float64s]) -> Lookalikes:
    """Learn how far off `unseen_risks` were for each sample."""
    places = np.stack([sample.looks.mean(axis=0) for sample in samples]).astype(np.float64)
    wrong = np.array([sample.wrong.mean() for sample in samples])
    noise = np.maximum(wrong * (1 - wrong), 0.02) / [len(sample.wrong) for sample in samples]
    off = wrong - [each.mean() for each in risks]
    kernel = _kernel(((places[:, None] - places[None]) ** 2).mean(axis=2))
    amplitude = max(_AMPLITUDES, key=lambda each: log_likelihood(off, each**2 * kernel + np.diag(noise)))
    inverse = np.linalg.inv(kernel + np.diag(noise / amplitude**2))
    parts = places, inverse @ off, inverse, [amplitude]
    return Lookalikes(*(np.asarray(part, dtype=np.float32) for part in parts))


def log_likelihood(values: Float64s, covariance: Float64s) -> float:
    """Of values around 0 with this covariance, but for a constant."""
    return float(-(values @ np.linalg.solve(covariance, values) + np.linalg.slogdet(covariance).logabsdet) / 2)


def measure_errors(
    samples: Sequence[MistakeSample], risks: Sequence[Float64s], folds: Labels, classes: int, seed: int = 0
) -> Errors:
    """Estimate windows of every sample as if its kind, or only its severity, was new, and see how far off that is.

    `risks`: of models that saw all kinds but not the same images.
    """
    rng = np.random.default_rng(seed)
    twins = sum(bool(sample.kind) for sample in samples)
    found: list[list[float]] = [[] for _ in SIZES]
    weight: list[list[float]] = [[] for _ in SIZES]
    for left_out, then, importance in _omissions(samples, risks, folds, classes):
        rest = [number for number, sample in enumerate(samples) if number not in left_out or not sample.kind]
        lookalikes = fit_lookalikes([samples[number] for number in rest], [then[number] for number in rest])
        clean = next(number for number in rest if not samples[number].kind)
        world = Evidence(then[clean], samples[clean].looks)
        known = Known(1 - float(samples[clean].wrong.mean()), share_wrong(world, lookalikes))
        for number in left_out:
            share = (1 - CLEAN_SHARE) * importance / twins if samples[number].kind else CLEAN_SHARE
            for column, size in enumerate(SIZES):
                found[column] += _misses(samples[number], then[number], lookalikes, known, size, rng)
                weight[column] += [share] * _WINDOWS
    bounds = [
        weighted_quantiles(np.array(misses), np.array(shares), COVERAGE)
        for misses, shares in zip(found, weight, strict=True)
    ]
    return Errors(*(np.array(values, dtype=np.float32) for values in zip(*bounds, strict=True)))


def _omissions(
    samples: Sequence[MistakeSample], risks: Sequence[Float64s], folds: Labels, classes: int
) -> Iterator[tuple[list[int], Sequence[Float64s], float]]:
    """Samples to act as if never seen, the risks of all then, and a weight: every kind once, and every sample once."""
    for kind in sorted({sample.kind for sample in samples} - {""}):
        left_out = [number for number, sample in enumerate(samples) if sample.kind == kind]
        yield left_out, unseen_risks(samples, folds, classes, kind), _NEW_KINDS
    yield from (([number], risks, 1 - _NEW_KINDS) for number in range(len(samples)))


def _misses(
    sample: MistakeSample, risks: Float64s, lookalikes: Lookalikes, known: Known, size: int, rng: np.random.Generator
) -> list[float]:  # fmt: skip
    """(True accuracy - estimate) / its expected spread, in windows of one size.

    Drawn with replacement: without, a window of most images would be as `known` says by construction.
    """
    chosen = rng.choice(len(sample.rows), (_WINDOWS, size))
    accuracy, unit = _guess(Evidence(risks, sample.looks).take(chosen), known, lookalikes)
    misses: list[float] = ((1 - sample.wrong[chosen].mean(axis=1) - accuracy) / unit).tolist()
    return misses


def _guess(window: Evidence, known: Known, lookalikes: Lookalikes) -> tuple[Float64s, Float64s]:
    """A window's accuracy, and its expected spread: coin tosses with its risks, what lookalikes and `known` leave."""
    wrong, spread = _expected(window, lookalikes)
    size = min(window.risks.shape[-1], SIZES[-1])  # beyond, errors are those of the model and do not shrink
    tosses = np.maximum((window.risks * (1 - window.risks)).mean(axis=-1), 1 / (4 * size)) / size
    accuracy = np.clip(known.accuracy + known.share_wrong - wrong, 0, 1)
    return accuracy, np.sqrt(tosses + spread**2 + known.error**2)


def _expected(window: Evidence, lookalikes: Lookalikes) -> tuple[Float64s, Float64s]:
    """The expected share of wrong predictions, and the standard error of what lookalikes say of it."""
    looks = window.looks.astype(np.float64)
    place = looks.mean(axis=-2)
    squared = ((lookalikes.places - place[..., None, :]) ** 2).mean(axis=-1)
    by_chance = looks.var(axis=-2).mean(axis=-1) / looks.shape[-2]  # a mean of few images lies aside
    near = _kernel(np.maximum(squared - by_chance[..., None], 0))
    wrong = window.risks.mean(axis=-1) + near @ lookalikes.weights
    left = np.maximum(0, 1 - ((near @ lookalikes.inverse) * near).sum(axis=-1))
    return np.clip(wrong, 0, 1), float(lookalikes.amplitude[0]) * left**0.5


def _kernel(squared: Float64s) -> Float64s:
    return np.asarray(np.exp(-squared / (2 * _REACH**2)))
