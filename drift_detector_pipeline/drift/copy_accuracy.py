"""How accurate is the model on images that changed? A copy that has adapted to them is asked about its predictions.

In: `Answers` of labelled windows, clean and changed. Out: `CopyJudge`; an `Estimate` for a window. Read by the
reference, the verdict and the study. m: window images, T: changes that were taught, B: sizes of windows.

Whoever listens to a network that was led astray is led astray with it. The copy's features lie again where they lay, so
its confidence means again what it meant: the probability it gives to the original's prediction says whether that is
right. Its mean, and how often it exceeds what it exceeds on right predictions of clean images (as Garg et al. 2022 use
confidence), are two estimates that need no example of a change and know no kinds. They part where the copy, too, is
led astray; by how much then, changes that were taught tell, through three signs that say nothing of how images look.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import softmax
from scipy.stats import norm

from drift_detector_pipeline.arrays import Float32s, Float64s, Labels
from drift_detector_pipeline.drift.accuracy import COVERAGE, ODDS, Estimate, Known, log_likelihood, weighted_quantiles
from drift_detector_pipeline.drift.scores.output_scores import temperature_of
from drift_detector_pipeline.drift.second_look import Answers

LARGEST = 256  # beyond, errors are those of the method and do not shrink
_AMPLITUDES = (0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.28)  # of accuracy, among which one is chosen
_REACH = 0.15  # distance of signs at which changes still have much in common
_LUCK = 2.0  # times the variance by luck, for what a copy adapts to is drawn, too: likeliest for twins of CIFAR-10
_LEAST_OFF = float(norm.isf((1 - COVERAGE) / 2))  # of the expected spread: where few families err little, or one way
_LEAST_NEAR = 0.3  # of what the signs of a window have in common with those that were taught; below, nothing is known


class LabelledWindow(NamedTuple):
    """A window whose truth is known."""

    change: str  # its kind and level; "" for clean images
    family: str  # of its change; "" for clean images
    strong: bool  # at the highest level of its kind
    answers: Answers
    labels: Labels  # (m,)


class Usual(NamedTuple):
    """What copies say of clean windows, by size; what they say of others is measured against it."""

    sizes: Float32s  # (B,) rising
    agreement: Float32s  # (B,) mean probability of the network's predictions
    threshold: Float32s  # (B,) that as many of these probabilities exceed as predictions are right
    sureness: Float32s  # (B,) mean of the copy's largest probability


class Process(NamedTuple):
    """How far off the plain estimate was, by signs: a Gaussian process (Rasmussen & Williams 2006)."""

    places: Float32s  # (T, 3)
    weights: Float32s  # (T,)
    inverse: Float32s  # (T, T) of the kernel with noise, times the squared amplitude
    amplitude: Float32s  # (1,)


class CopyErrors(NamedTuple):
    """Quantiles of (true accuracy - estimate) / its expected spread.

    Of windows of all sizes together, so B is 1; in older references by size, each from few windows.
    """

    sizes: Float32s  # (B,) rising
    low: Float32s  # (B,)
    high: Float32s  # (B,)


class CopyJudge(NamedTuple):
    """All that is learned on `fit`; what is usual there comes from the reference."""

    temperature: Float32s  # (1,) that a copy's logits are divided by
    process: Process
    errors: CopyErrors


def learn_copy(clean: Sequence[LabelledWindow], changed: Sequence[LabelledWindow], known: Known) -> CopyJudge:
    """Learn from clean and changed windows of `fit`, whose accuracy is `known`."""
    largest = max(len(window.labels) for window in clean)
    whole = [window for window in clean if len(window.labels) == largest]
    logits, labels = (
        np.concatenate(part) for part in zip(*((one.answers.copy, one.labels) for one in whole), strict=True)
    )
    temperature = np.array([temperature_of(logits, labels)], dtype=np.float32)
    usual = fit_usual([window.answers for window in clean], known.accuracy, temperature)
    process = _fit_process(changed, usual, known, temperature)
    return CopyJudge(temperature, process, _measure_errors(changed, usual, known, temperature))


def fit_usual(clean: Sequence[Answers], accuracy: float, temperature: Float32s) -> Usual:
    """Learn what is usual from clean windows of any sizes, of which `accuracy` of the predictions are right."""
    rows = list[tuple[float, ...]]()
    for size in sorted({len(answers.own) for answers in clean}):
        parts = [_chances(answers, temperature) for answers in clean if len(answers.own) == size]
        agreement, sureness = (np.concatenate(part) for part in zip(*parts, strict=True))
        rows.append((size, agreement.mean(), np.quantile(agreement, 1 - accuracy), sureness.mean()))
    return Usual(*(np.array(column, dtype=np.float32) for column in zip(*rows, strict=True)))


def estimate_by_copy(answers: Answers, usual: Usual, known: Known, judge: CopyJudge) -> Estimate:
    """Accuracy of a window. Signs that lie further out than anything taught leave it unknown: 0 to what it was."""
    accuracy, unit, near = _guess(answers, usual, known, judge.process, judge.temperature)
    place, sizes = np.log(len(answers.own)), np.log(judge.errors.sizes)
    offs = (np.interp(place, sizes, values) * unit for values in judge.errors[1:])
    low, high = (float(np.clip(accuracy + off, 0, 1)) for off in offs)
    loss = known.accuracy - accuracy - float(norm.isf(1 / (1 + ODDS))) * unit
    if near < _LEAST_NEAR:
        return Estimate(accuracy, 0.0, max(high, known.accuracy), 1.0, known=False, by_copy=True)
    return Estimate(accuracy, low, high, loss, by_copy=True)


def _chances(answers: Answers, temperature: Float32s) -> tuple[Float64s, Float64s]:
    """The probability a copy gives to each prediction of the network, and to its own: (m,) each."""
    chances = softmax(answers.copy.astype(np.float64) / temperature, axis=1)
    return chances[np.arange(len(chances)), answers.own.argmax(axis=1)], chances.max(axis=1)


def _signs(answers: Answers, usual: Usual, known: Known, temperature: Float32s) -> tuple[Float64s, float]:
    """Two estimates of the accuracy, by mean and by threshold, and how much less sure the copy is than usual: (3,).

    And what luck adds to the error of one image: the variance of right or wrong less the mean of both estimates, were
    the copy's probabilities true.
    """
    agreement, sureness = _chances(answers, temperature)
    place, sizes = np.log(len(agreement)), np.log(usual.sizes)
    mean, threshold, sure = (float(np.interp(place, sizes, values)) for values in usual[1:])
    by_mean = float(np.clip(known.accuracy + agreement.mean() - mean, 0, 1))
    luck = float((agreement * (1 - agreement)).mean() + ((agreement - (agreement > threshold)) / 2).var())
    return np.array([by_mean, (agreement > threshold).mean(), sureness.mean() - sure]), luck


def _fit_process(windows: Sequence[LabelledWindow], usual: Usual, known: Known, temperature: Float32s) -> Process:
    """Learn from the largest windows there are of each change."""
    windows = _largest(windows)
    places = np.stack([_signs(window.answers, usual, known, temperature)[0] for window in windows])
    right = np.array([_accuracy(window) for window in windows])
    noise = np.maximum(right * (1 - right), 0.02) / [len(window.labels) for window in windows]
    off = right - places[:, :2].mean(axis=1)
    kernel = _kernel(places, places)
    amplitude = max(_AMPLITUDES, key=lambda each: log_likelihood(off, each**2 * kernel + np.diag(noise)))
    inverse = np.linalg.inv(kernel + np.diag(noise / amplitude**2))
    return Process(*(np.asarray(part, dtype=np.float32) for part in (places, inverse @ off, inverse, [amplitude])))


def _largest(windows: Sequence[LabelledWindow]) -> list[LabelledWindow]:
    """Those of each change that are as large as any of it: there are fewer images of a fault than of a corruption."""
    sizes = defaultdict[str, int](int)
    for window in windows:
        sizes[window.change] = max(sizes[window.change], len(window.labels))
    return [window for window in windows if len(window.labels) == sizes[window.change]]


def _measure_errors(windows: Sequence[LabelledWindow], usual: Usual, known: Known, temperature: Float32s) -> CopyErrors:
    """Estimate windows of each family as if it, or all that is strong, was new, and see how far off that is."""
    found = list[Float64s]()
    for left_out in _omissions(windows):
        rest = [window for window, out in zip(windows, left_out, strict=True) if not out]
        process = _fit_process(rest, usual, known, temperature)
        off = list[float]()
        for window in (window for window, out in zip(windows, left_out, strict=True) if out):
            accuracy, unit, _ = _guess(window.answers, usual, known, process, temperature)
            off.append((_accuracy(window) - accuracy) / unit)
        found.append(np.array(off))
    low, high = bounds_for_another(found)
    size = max(len(window.labels) for window in windows)
    return CopyErrors(*(np.array([value], dtype=np.float32) for value in (size, low, high)))


def bounds_for_another(groups: Sequence[Float64s]) -> tuple[float, float]:
    """Two values between which COVERAGE of another group's errors will lie, for two groups of errors or more.

    Errors of a group are alike, so quantiles of all know only as many cases as there are groups, and are too near one
    another. How much, is seen by leaving out each group in turn: what the others' quantiles would have to be multiplied
    by to hold COVERAGE of it. Every group counts the same.
    """
    low, high = _bounds(groups)
    needed = list[Float64s]()
    for number, group in enumerate(groups):
        below, above = _bounds([*groups[:number], *groups[number + 1 :]])
        needed.append(np.maximum(group / above, group / below))
    widening = max(1.0, weighted_quantiles(np.concatenate(needed), _shares(needed), 2 * COVERAGE - 1)[1])
    return low * widening, high * widening


def _bounds(groups: Sequence[Float64s]) -> tuple[float, float]:
    low, high = weighted_quantiles(np.concatenate(groups), _shares(groups), COVERAGE)
    return min(low, -_LEAST_OFF), max(high, _LEAST_OFF)


def _shares(groups: Sequence[Float64s]) -> Float64s:
    return np.concatenate([np.full(len(group), 1 / len(group)) for group in groups])


def _omissions(windows: Sequence[LabelledWindow]) -> Iterator[list[bool]]:
    """Which windows to act as if never seen: each family once, and whatever is strong once."""
    for family in sorted({window.family for window in windows}):
        yield [window.family == family for window in windows]
    if len({window.strong for window in windows}) == 2:
        yield [window.strong for window in windows]


def _guess(
    answers: Answers, usual: Usual, known: Known, process: Process, temperature: Float32s
) -> tuple[float, float, float]:
    """Accuracy, its expected spread, and what share of the process's variance the taught changes explain."""
    signs, luck = _signs(answers, usual, known, temperature)
    near = _kernel(signs[None], process.places.astype(np.float64))[0]
    accuracy = float(np.clip(signs[:2].mean() + near @ process.weights, 0, 1))
    explained = float(np.clip(near @ process.inverse @ near, 0, 1))
    size = min(len(answers.own), LARGEST)
    tosses = _LUCK * max(luck, 1 / (4 * size)) / size
    left = float(process.amplitude[0]) ** 2 * (1 - explained)
    return accuracy, float(np.sqrt(tosses + left + known.error**2 + 0.01**2)), explained


def _kernel(one: Float64s, other: Float64s) -> Float64s:
    return np.asarray(np.exp(-((one[:, None] - other[None]) ** 2).mean(axis=2) / (2 * _REACH**2)))


def _accuracy(window: LabelledWindow) -> float:
    return float((window.answers.own.argmax(axis=1) == window.labels).mean())
