"""What to say about a window of images: how loud, what moved, how accurate, which images show it.

In: a `Reference`, scores and predicted classes of a window. Out: a `Verdict`, numbers and words. Read by the detector
and the report.
"""

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from drift_detector_pipeline.arrays import Float32s, Labels
from drift_detector_pipeline.drift.accuracy import Estimate
from drift_detector_pipeline.drift.cause import Cause
from drift_detector_pipeline.drift.cause_words import words_for
from drift_detector_pipeline.drift.decision import CERTAIN, AskAgain, Level, Limits, decide
from drift_detector_pipeline.drift.permutation import WEIGHTS, Labellings, Scale, Shifts, shifts
from drift_detector_pipeline.drift.reference import Reference
from drift_detector_pipeline.drift.scores.phi import CHANNELS, Score, describe_scores

SHOWN = 8  # images that carry a change
POWER = 0.95


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


def judge(
    reference: Reference,
    labellings: Labellings,
    scores: Float32s,
    predicted: Labels,
    classes: list[str],
    limits: Limits,
    ask_again: AskAgain = lambda looks_changed: None,
) -> Verdict:
    """Judge a window as `decide` does, and say what moved and which images show it."""
    found = decide(reference, labellings, scores, predicted, classes, limits, ask_again)
    tested, cause = found.tested, found.cause
    mix = class_shares(reference.predicted, classes), class_shares(predicted, classes)
    carriers = _carriers(reference, labellings.scale, scores)
    moved = shifts(reference.scores, scores, labellings.scale)
    columns = describe_scores(reference.learned.parameters)
    channels = channels_of(columns, CHANNELS, moved, mix, tested.p_values["classes"])
    if cause is not None:
        channels = tuple(sorted(channels, key=lambda one: one.name != words_for(cause.kind).channel))
    return Verdict(
        found.level, len(scores), tested.p, found.looks, tested.p_values, channels,
        found.accuracy, reference.known.accuracy, reference.labelled, mix,
        tuple(classes[label] for label in found.left_out),
        carriers, tuple(classes[predicted[place]] for place in carriers),
        cause=cause,
        p_average=tested.p_average,
        strangers=tuple(np.argsort(-strangeness_of(scores), kind="stable")[:SHOWN].tolist()),
        images_for_strangers=_images_for_strangers(reference, scores, tested.p_values["strangers"], limits),
        apart=None if found.changed is None else len(found.changed),
    )  # fmt: skip


def along_change(reference: Reference, scale: Scale, scores: Float32s) -> Float32s:
    """How far each of m images lies along the way from the reference's mean to theirs: (m,), no unit."""
    whitened = (scores - reference.scores.mean(axis=0)) @ scale.whitener
    return np.asarray(whitened @ whitened.mean(axis=0))


def strangeness_of(scores: Float32s) -> Float32s:
    """How likely each of m images is to be of no known class: (m,) in 0..1, see scores/strangeness.py."""
    return scores[:, -1]


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
