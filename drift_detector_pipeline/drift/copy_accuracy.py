"""How accurate is the model on images that changed? A copy that has adapted to them is asked about its predictions.

In: `Answers` of labelled windows, clean and changed. Out: `CopyJudge`; an `Estimate` for a window. Read by the
reference, the verdict and the study. m: window images, T: changes that were taught, B: sizes of windows.

Whoever listens to a network that was led astray is led astray with it. The copy's features lie again where they lay, so
its confidence means again what it meant: the probability it gives to the original's prediction says whether that is
right. Its mean, and how often it exceeds what it exceeds on right predictions of clean images (as Garg et al. 2022 use
confidence), are two estimates that need no example of a change and know no kinds. They part where the copy, too, is
led astray; by how much then, changes that were taught tell (correction.py).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri, softmax

from drift_detector_pipeline.arrays import Float32s, Float64s, Labels
from drift_detector_pipeline.drift.accuracy import COVERAGE, Estimate, Known, weighted_quantiles
from drift_detector_pipeline.drift.correction import Place, Process, correct, fit_process, scale_of
from drift_detector_pipeline.drift.scores.output_scores import temperature_of
from drift_detector_pipeline.drift.second_look import Answers

LARGEST = 256  # beyond, errors are those of the method and do not shrink
_LUCK, _ROUGH = 1.2, 0.005  # times the variance by luck, for what a copy adapts to is drawn, too; of the method itself
_LUCK_OLDER, _ROUGH_OLDER = 2.0, 0.01  # where errors of one size were assumed; their bounds were measured with these
_LEAST_OFF = -float(ndtri((1 - COVERAGE) / 2))  # of the expected spread: where few families err little, or one way
_ODDS = 2.0  # to one, that a loss is real before anybody is woken: no more harmless twins of new families than at 3
_CARRIED = 0.2  # loss of accuracy at which 1/e is left of what right and wrong on clean images tell of changed ones
_LEAST_NEAR = 0.5  # of what the signs of a window have in common with the nearest taught; below, nothing is known


class LabelledWindow(NamedTuple):
    """A window whose truth is known."""

    change: str  # its kind and level; "" for clean images
    family: str  # of its change; "" for clean images
    strong: bool  # at the highest level of its kind
    answers: Answers
    labels: Labels  # (m,)
    looks: Float32s  # (m, Q) of its images, see accuracy.Evidence


class Usual(NamedTuple):
    """What copies say of clean windows, by size; what they say of others is measured against it."""

    sizes: Float32s  # (B,) rising
    agreement: Float32s  # (B,) mean probability of the network's predictions
    threshold: Float32s  # (B,) that as many of these probabilities exceed as predictions are right
    sureness: Float32s  # (B,) mean of the copy's largest probability


class Observed(NamedTuple):
    """What is known of a window without labels."""

    plain: float  # accuracy, the mean of both estimates that know no changes
    place: Place
    luck: float  # variance that the luck of so few images adds to their accuracy, were the copy's probabilities true


class CopyErrors(NamedTuple):
    """Quantiles of (true accuracy - estimate) / its expected spread.

    Of windows of all sizes together, so B is 1, and the size is the number of images that were taught. In older
    references by size, each from few windows, or as large as the largest window, LARGEST at most.
    """

    sizes: Float32s  # (B,) rising
    low: Float32s  # (B,)
    high: Float32s  # (B,)


class CopyJudge(NamedTuple):
    """All that is learned on `fit`; what is usual there comes from the reference."""

    temperature: Float32s  # (1,) that a copy's logits are divided by
    process: Process
    errors: CopyErrors


def learn_copy(
    clean: Sequence[LabelledWindow], changed: Sequence[LabelledWindow], known: Known, images: int
) -> CopyJudge:
    """Learn from clean and changed windows of `fit`, of so many images, whose accuracy is `known`."""
    largest = max(len(window.labels) for window in clean)
    whole = [window for window in clean if len(window.labels) == largest]
    logits, labels = (
        np.concatenate(part) for part in zip(*((one.answers.copy, one.labels) for one in whole), strict=True)
    )
    temperature = np.array([temperature_of(logits, labels)], dtype=np.float32)
    usual = fit_usual([window.answers for window in clean], known.accuracy, temperature)
    seen = [_seen(window.answers, window.looks, usual, known, temperature) for window in changed]
    return CopyJudge(temperature, _fit_process(changed, seen), _measure_errors(changed, seen, known, images))


def fit_usual(clean: Sequence[Answers], accuracy: float, temperature: Float32s) -> Usual:
    """Learn what is usual from clean windows of any sizes, of which `accuracy` of the predictions are right."""
    rows = list[tuple[float, ...]]()
    for size in sorted({len(answers.own) for answers in clean}):
        parts = [_chances(answers, temperature) for answers in clean if len(answers.own) == size]
        agreement, sureness = (np.concatenate(part) for part in zip(*parts, strict=True))
        rows.append((size, agreement.mean(), np.quantile(agreement, 1 - accuracy), sureness.mean()))
    return Usual(*(np.array(column, dtype=np.float32) for column in zip(*rows, strict=True)))


def estimate_by_copy(answers: Answers, looks: Float32s, usual: Usual, known: Known, judge: CopyJudge) -> Estimate:
    """Accuracy of a window whose images have looks (m, Q), see accuracy.Evidence.

    Signs that lie further out than anything taught leave it unknown: 0 to what it was.
    """
    accuracy, unit, near = _guess(_seen(answers, looks, usual, known, judge.temperature), known, judge.process)
    place, sizes = np.log(len(answers.own)), np.log(judge.errors.sizes)
    spread = np.hypot(unit, _shared_luck(accuracy, judge.errors))
    offs = (np.interp(place, sizes, values) * spread for values in judge.errors[1:])
    low, high = (float(np.clip(accuracy + off, 0, 1)) for off in offs)
    loss = known.accuracy - accuracy + float(ndtri(1 / (1 + _ODDS))) * unit
    if near < _LEAST_NEAR:
        return Estimate(accuracy, 0.0, max(high, known.accuracy), 1.0, known=False, by_copy=True)
    return Estimate(accuracy, low, high, loss, by_copy=True)


def _shared_luck(accuracy: float, errors: CopyErrors) -> float:
    """The standard error that an accuracy has which is counted on the images that were taught.

    All that was taught are these very images, changed in many ways. Families that are left out have them in common
    with those that are not, so their errors do not show it. Nothing where an older reference does not say how many.
    """
    taught = float(errors.sizes[-1])
    return 0.0 if taught == LARGEST else float(np.sqrt(accuracy * (1 - accuracy) / taught))


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
    astray = _of_clean_images_only(usual, known, mean - float(agreement.mean()))
    plain = np.array([known.accuracy + agreement.mean() - mean, (agreement > threshold).mean()]) - astray
    luck = float((agreement * (1 - agreement)).mean() + ((agreement - (agreement > threshold)) / 2).var())
    return np.array([*np.clip(plain, 0, 1), sureness.mean() - sure]), luck


def _of_clean_images_only(usual: Usual, known: Known, lost: float) -> float:
    """How much of what copies are wrong about clean images they are not wrong about where `lost` of accuracy is lost.

    The same images, changed, are right and wrong anew: the more is lost, the less has in common who is right by luck.
    """
    return float((known.accuracy - usual.agreement[-1]) * (1 - np.exp(-max(0.0, lost) / _CARRIED)))


def _seen(answers: Answers, looks: Float32s, usual: Usual, known: Known, temperature: Float32s) -> Observed:
    signs, luck = _signs(answers, usual, known, temperature)
    images, plain = len(looks), float(signs[:2].mean())
    aside = float(looks.var(axis=0, dtype=np.float64).mean()) / images if looks.shape[1] else 0.0
    place = Place(signs, looks.mean(axis=0, dtype=np.float64), aside, scale_of(known.accuracy - plain, images))
    size = min(images, LARGEST)
    return Observed(plain, place, max(luck, 1 / (4 * size)) / size)


def _fit_process(windows: Sequence[LabelledWindow], seen: Sequence[Observed]) -> Process:
    """Learn from the largest windows there are of each change."""
    largest = _largest(windows)
    pairs = [pair for pair in zip(windows, seen, strict=True) if len(pair[0].labels) == largest[pair[0].change]]
    off = np.array([_accuracy(window) - one.plain for window, one in pairs])
    luck = np.array([_LUCK * one.luck + _ROUGH**2 for _, one in pairs])
    return fit_process([one.place for _, one in pairs], off, luck)


def _largest(windows: Sequence[LabelledWindow]) -> dict[str, int]:
    """The most images of a window of each change: there are fewer of a fault than of a corruption."""
    sizes = defaultdict[str, int](int)
    for window in windows:
        sizes[window.change] = max(sizes[window.change], len(window.labels))
    return sizes


def _measure_errors(
    windows: Sequence[LabelledWindow], seen: Sequence[Observed], known: Known, images: int
) -> CopyErrors:
    """Estimate windows of each family as if it, or all that is strong, was new, and see how far off that is."""
    found = list[Float64s]()
    for left_out in _omissions(windows):
        rest, new = ([place for place, out in enumerate(left_out) if out == wanted] for wanted in (False, True))
        process = _fit_process([windows[place] for place in rest], [seen[place] for place in rest])
        off = list[float]()
        for place in new:
            accuracy, unit, _ = _guess(seen[place], known, process)
            off.append((_accuracy(windows[place]) - accuracy) / unit)
        found.append(np.array(off))
    low, high = bounds_for_another(found)
    return CopyErrors(*(np.array([value], dtype=np.float32) for value in (images, low, high)))


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


def _guess(seen: Observed, known: Known, process: Process) -> tuple[float, float, float]:
    """Accuracy, its expected spread, and how near the nearest signs lie that were taught."""
    luck, rough = (_LUCK, _ROUGH) if process.looks.shape[1] else (_LUCK_OLDER, _ROUGH_OLDER)
    correction = correct(seen.place, process)
    spread = np.sqrt(luck * seen.luck + correction.left + known.error**2 + rough**2)
    return float(np.clip(seen.plain + correction.accuracy, 0, 1)), float(spread), correction.near


def _accuracy(window: LabelledWindow) -> float:
    return float((window.answers.own.argmax(axis=1) == window.labels).mean())
