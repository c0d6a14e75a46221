"""What to say about a window of images: how loud, what moved, how accurate, which images show it.

In: a `Reference`, scores and predicted classes of a window. Out: a `Verdict`, numbers and words. Read by the detector
and the report.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import ndtri

from drift_detector_pipeline.arrays import Float32s, Indices, Labels
from drift_detector_pipeline.drift.accuracy import Estimate, estimate
from drift_detector_pipeline.drift.cause import CONTENT, UNKNOWN, Cause, Seen, find_cause
from drift_detector_pipeline.drift.cause_words import words_for
from drift_detector_pipeline.drift.content import doubted, only_strange_moved, share_of_others, share_of_rise
from drift_detector_pipeline.drift.parts import changed_part
from drift_detector_pipeline.drift.permutation import (
    WEIGHTS,
    Labellings,
    Scale,
    Shifts,
    WindowTest,
    appearance,
    labellings_of,
    scale_of,
    shifts,
    test_window,
)
from drift_detector_pipeline.drift.reference import Learned, Reference, evidence_of
from drift_detector_pipeline.drift.scores.phi import CHANNELS, Score, describe_scores
from drift_detector_pipeline.errors import ConfigError

SHOWN = 8  # images that carry a change
POWER = 0.95
EXPLAINING = 199  # labellings for the p-value that explains and never alarms: it would cost most of a verdict
CHANGED = 0.01  # p of looks only, at or below which looks have changed
CERTAIN = 0.05  # p of one thing that is said to have moved; whether anything did is asked at alpha

Looks = tuple[Float32s, Labels]  # scores (N, S) and predicted classes (N,)
Level = Literal["quiet", "notice", "alert", "too few images"]
Promise = Literal["reference", "average"]
EXIT_STATUS: dict[Level, int] = {"quiet": 0, "notice": 3, "alert": 4, "too few images": 5}


class Limits(NamedTuple):
    """What is asked of a verdict."""

    alpha: float = 0.01  # the share of windows without change that may raise a notice
    tolerated_loss: float = 0.05  # of accuracy; a notice is an alert if more is probably lost
    permutations: int = 999
    min_images: int = 16
    promise: Promise = "reference"  # alpha holds for 95 % of references, each on its own; or averaged over references


class Decision(NamedTuple):
    """How loud to be, and on what grounds."""

    level: Level
    tested: WindowTest
    looks: float | None  # p with the class mix held fixed; None if quiet
    left_out: list[int]  # classes too rare for that
    accuracy: Estimate
    cause: Cause | None = None  # if an inverse told it
    others: float = 0.0  # about which share of the images seems to show something else
    changed: Indices | None = None  # places of the images that changed, if the others look different; None: no others


class Again(NamedTuple):
    """What is known of a window once it was looked at again."""

    accuracy: Estimate
    cause: Cause | None = None  # with `accuracy.undone`


AskAgain = Callable[[bool], Again | None]  # did looks change? -> what a second look tells, if anything


class Channel(NamedTuple):
    """How one of the nine channels moved: its score that moved most, for labels the class whose share did."""

    name: str
    score: str
    shift: float  # standard deviations of one image; for labels a difference of shares
    moved: bool  # more than chance does to any score in one of twenty windows; see permutation.shifts


class Verdict(NamedTuple):
    """The answer for one window. Without enough images everything after `images` is None or empty."""

    level: Level
    images: int
    p: float | None = None
    p_appearance: float | None = None  # with the class mix held fixed; explains a notice, never alarms
    p_values: dict[str, float] | None = None  # of each statistic alone
    channels: tuple[Channel, ...] = ()
    accuracy: Estimate | None = None
    reference_accuracy: float | None = None
    reference_labelled: bool = True  # that accuracy was counted; if not, it is an estimate, too
    mix: tuple[dict[str, float], dict[str, float]] | None = None  # share of each predicted class, then and now
    not_compared: tuple[str, ...] = ()  # classes too rare for p_appearance
    carriers: tuple[int, ...] = ()  # places, among the readable images, of those that carry the change most first
    carrier_classes: tuple[str, ...] = ()  # as predicted
    carrier_names: tuple[str, ...] = ()  # their files, where it is known which those are
    copies: int = 0  # images that are equal to another of the window; they make p too small
    unreadable: tuple[str, ...] = ()  # files that were left out
    cause: Cause | None = None  # why, asked after a notice only, of a reference that knows causes
    p_average: float | None = None  # exact averaged over references; `p` is at least that, see Limits.promise
    strangers: tuple[int, ...] = ()  # places of the images likeliest to be of no known class, likeliest first
    images_for_strangers: int | None = None  # so many, as these are, would show it; None: no lean that way, or no hope
    apart: int | None = None  # so many images changed, and the others look different; None: there is no such gap

    @property
    def worth(self) -> Estimate | None:
        """Accuracy."""
        return self.accuracy


def checked_limits(limits: Limits) -> Limits:
    """Return them. Raises ConfigError if one is out of range, or what stands out in one statistic is never noticed."""
    if not 0 < limits.alpha < 1 or not 0 <= limits.tolerated_loss < 1 or limits.min_images < 1:
        raise ConfigError(f"expected 0 < alpha < 1, 0 <= tolerated_loss < 1 and min_images of 1 or more, got {limits}")
    needed = ceil(sum(WEIGHTS) / limits.alpha) - 1
    if limits.permutations < needed:
        raise ConfigError(
            f"drift.alpha={limits.alpha:g} with drift.permutations={limits.permutations}: what stands out in one "
            f"statistic alone has a p of up to {sum(WEIGHTS) / (limits.permutations + 1):.2g} and would not be "
            f"noticed; drift.permutations={needed} or more"
        )
    return limits


def scale_for(learned: Learned) -> Scale:
    """The units of the scores, from `fit`."""
    parameters = learned.parameters
    return scale_of(parameters.centre, parameters.covariance, parameters.axes.features.weights.shape[1], strangers=1)


def labellings_for(reference: Reference, classes: int, size: int, limits: Limits) -> Labellings:
    """What windows of one size are compared with; costs more than a verdict, so keep it."""
    scale = scale_for(reference.learned)
    kept_alpha = limits.alpha if limits.promise == "reference" else None
    return labellings_of(
        reference.scores, reference.predicted, classes, size, scale, limits.permutations, kept_alpha=kept_alpha
    )


def decide(
    reference: Reference,
    labellings: Labellings,
    scores: Float32s,
    predicted: Labels,
    limits: Limits,
    ask_again: AskAgain = lambda looks_changed: None,
) -> Decision:
    """Test a window (m, S) with predicted classes (m,), of as many images as `labellings` are for; how loud to be.

    `ask_again` is called after a notice and told whether looks have changed. If not, no copy should be asked: under
    another mix of classes alone it is led astray by up to ten points, and the network itself is not.
    """
    tested = test_window(labellings, scores, predicted)
    looks, left_out, cause, others, changed = None, list[int](), None, 0.0, None
    accuracy = estimate(evidence_of(scores, reference.learned), reference.known, reference.learned.accuracy)
    if tested.p <= limits.alpha:  # it explains a notice and would be most of what a quiet verdict costs
        before, now = (reference.scores, reference.predicted), (scores, predicted)
        looks, left_out = appearance(before, now, labellings.scale, EXPLAINING)
        if looks_changed := looks is None or looks <= CHANGED:
            changed = changed_part(reference, scores, partial(_looks_changed, before, now, labellings.scale))
        if again := ask_again(looks_changed):
            accuracy, cause = again
        others = 0.0 if cause else _share_of_others(reference, scores, predicted)
        if others and accuracy.known:
            accuracy = doubted(accuracy, others, reference.known.accuracy)
    level = level_of(tested.p, accuracy.likely_loss, limits)
    return Decision(level, tested, looks, left_out, accuracy, cause, others, changed)


def judge(
    reference: Reference,
    labellings: Labellings,
    scores: Float32s,
    predicted: Labels,
    classes: list[str],
    limits: Limits,
    ask_again: AskAgain = lambda looks_changed: None,
) -> Verdict:
    """Judge a window as `decide` does, and say why."""
    level, tested, looks, left_out, accuracy, cause, others, changed = decide(
        reference, labellings, scores, predicted, limits, ask_again
    )
    mix = class_shares(reference.predicted, classes), class_shares(predicted, classes)
    carriers = _carriers(reference, labellings.scale, scores)
    if level != "quiet":
        own = slice(None) if changed is None else changed
        cause = cause or _cause(reference, scores[own], predicted[own], classes)
    before, now = (reference.scores, reference.predicted), (scores, predicted)
    strange = tested.p_values["strangers"] <= CERTAIN and cause is not None and cause.kind == UNKNOWN
    came = strange and changed is None and only_strange_moved(before, now, labellings.scale)
    if came or (level == "notice" and strange and tested.p_values["strangers"] <= limits.alpha):
        level = "alert"  # nothing known explains it, and images look stranger than chance makes them
        if accuracy.known:
            accuracy = doubted(accuracy, share_of_rise(before, now), reference.known.accuracy)
    if cause is not None and (came or (others and (cause.kind == UNKNOWN or cause.second))):
        cause = Cause(CONTENT, None, 0.0, cause.far, cause.alternatives)
    moved = shifts(reference.scores, scores, labellings.scale)
    columns = describe_scores(reference.learned.parameters)
    channels = channels_of(columns, CHANNELS, moved, mix, tested.p_values["classes"])
    if cause is not None:
        channels = tuple(sorted(channels, key=lambda one: one.name != words_for(cause.kind).channel))
    return Verdict(
        level, len(scores), tested.p, looks, tested.p_values, channels,
        accuracy, reference.known.accuracy, reference.labelled, mix,
        tuple(classes[label] for label in left_out), carriers, tuple(classes[predicted[place]] for place in carriers),
        cause=cause,
        p_average=tested.p_average,
        strangers=tuple(np.argsort(-strangeness_of(scores), kind="stable")[:SHOWN].tolist()),
        images_for_strangers=_images_for_strangers(reference, scores, tested.p_values["strangers"], limits),
        apart=None if changed is None else len(changed),
    )  # fmt: skip


def along_change(reference: Reference, scale: Scale, scores: Float32s) -> Float32s:
    """How far each of m images lies along the way from the reference's mean to theirs: (m,), no unit."""
    whitened = (scores - reference.scores.mean(axis=0)) @ scale.whitener
    return np.asarray(whitened @ whitened.mean(axis=0))


def strangeness_of(scores: Float32s) -> Float32s:
    """How likely each of m images is to be of no known class: (m,) in 0..1, see scores/strangeness.py."""
    return scores[:, -1]


def level_of(p: float, loss: float, limits: Limits) -> Level:
    """How loud to be, from the test's p and the `loss` of accuracy that is likely."""
    if p > limits.alpha:
        return "quiet"
    return "alert" if loss > limits.tolerated_loss else "notice"


def _share_of_others(reference: Reference, scores: Float32s, predicted: Labels) -> float:
    learned, before = reference.learned, (reference.scores, reference.predicted)
    if learned.steepest is None:
        return 0.0
    return share_of_others(learned.parameters, learned.steepest, before, (scores, predicted))


def _looks_changed(before: Looks, now: Looks, scale: Scale, part: Indices) -> bool:
    """Whether a part of a window looks changed; also if that cannot be told, as its classes are too rare."""
    p, _ = appearance(before, (now[0][part], now[1][part]), scale, EXPLAINING)
    return p is None or p <= CHANGED


def _cause(reference: Reference, scores: Float32s, predicted: Labels, classes: list[str]) -> Cause | None:
    if reference.learned.causes is None:
        return None
    columns = describe_scores(reference.learned.parameters)
    content = np.array([column.group in ("outputs", "features") for column in columns])
    usual = Seen(reference.scores, reference.predicted)
    return find_cause(reference.learned.causes, usual, Seen(scores, predicted), classes, content)


def channels_of(
    columns: Sequence[Score], names: Sequence[str], moved: Shifts, mix: tuple[dict[str, float], ...], p_labels: float
) -> tuple[Channel, ...]:
    """How each channel of `names` moved, the last one of labels; `columns` describe the scores, `mix` is of classes."""
    shift, certain = moved
    found = list[Channel]()
    for name in names[:-1]:
        own = [number for number, one in enumerate(columns) if one.channel == name and one.group != "features"]
        if own:
            most = max(own, key=lambda number: (certain[number], abs(shift[number])))
            found.append(Channel(name, columns[most].name, float(shift[most]), bool(certain[most])))
    label = max(mix[0], key=lambda label: abs(mix[1][label] - mix[0][label]))
    found.append(Channel("labels", label, mix[1][label] - mix[0][label], p_labels <= CERTAIN))
    return tuple(found)


def _images_for_strangers(reference: Reference, scores: Float32s, p: float, limits: Limits) -> int | None:
    """How many images would raise a notice in POWER of windows, were strangers as frequent as they seem here."""
    if p > CERTAIN:
        return None
    before, now = reference.scores[:, -1], scores[:, -1]
    rise = float(now.mean() - before.mean()) / float(before.std())
    needed = ndtri(POWER) - ndtri(limits.alpha * WEIGHTS[-1] / sum(WEIGHTS))
    room = (rise / needed) ** 2 - 1 / len(before)
    return ceil(1 / room) if room > 0 else None


def class_shares(predicted: Labels, classes: list[str]) -> dict[str, float]:
    """The share of each predicted class, by name."""
    counts = np.bincount(predicted, minlength=len(classes)) / len(predicted)
    return dict(zip(classes, counts.tolist(), strict=True))


def _carriers(reference: Reference, scale: Scale, scores: Float32s) -> tuple[int, ...]:
    return tuple(np.argsort(-along_change(reference, scale, scores))[:SHOWN].tolist())
