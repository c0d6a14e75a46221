"""What to say about a window of images: how loud, what moved, how accurate, which images show it.

In: a `Reference`, scores and predicted classes of a window. Out: a `Verdict`, numbers and words. Read by the detector
and the report.
"""

from math import ceil
from typing import Any, Literal, NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Labels
from drift_detector_pipeline.drift.accuracy import Estimate, estimate
from drift_detector_pipeline.drift.cause import CONTENT, MIX, UNKNOWN, Cause, Seen, find_cause
from drift_detector_pipeline.drift.cause_words import in_words, remedy, words_for
from drift_detector_pipeline.drift.permutation import (
    STATISTICS,
    Labellings,
    Scale,
    appearance,
    labellings_of,
    scale_of,
    shifts,
    test_window,
)
from drift_detector_pipeline.drift.reference import Learned, Reference, evidence_of
from drift_detector_pipeline.drift.scores.phi import CHANNELS, describe_scores
from drift_detector_pipeline.errors import ConfigError

SHOWN = 8  # images that carry a change
EXPLAINING = 199  # labellings for the p-value that explains and never alarms: it would cost most of a verdict
_CERTAIN = 0.05  # p of one thing that is said to have moved; whether anything did is asked at alpha
_INVERSE = ("confidence", "margin", "feature_norm")  # scores that fall as mistakes and novelty become likelier
_NO_SIDE = ("black_level", "blockiness", "anisotropy", "red_green", "yellow_blue")  # whose sign is not the channel's

Level = Literal["quiet", "notice", "alert", "too few images"]
EXIT_STATUS: dict[Level, int] = {"quiet": 0, "notice": 3, "alert": 4, "too few images": 5}


class Limits(NamedTuple):
    """What is asked of a verdict."""

    alpha: float = 0.01  # the share of windows without change that may raise a notice
    tolerated_loss: float = 0.05  # of accuracy; a notice is an alert if more is probably lost
    permutations: int = 999
    min_images: int = 16


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
    p_appearance: float | None = None  # with the class mix held fixed; explains, never alarms
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


def checked_limits(limits: Limits) -> Limits:
    """Return them. Raises ConfigError if one is out of range, or what stands out in one statistic is never noticed."""
    if not 0 < limits.alpha < 1 or not 0 <= limits.tolerated_loss < 1 or limits.min_images < 1:
        raise ConfigError(f"expected 0 < alpha < 1, 0 <= tolerated_loss < 1 and min_images of 1 or more, got {limits}")
    needed = ceil(len(STATISTICS) / limits.alpha) - 1
    if limits.permutations < needed:
        raise ConfigError(
            f"drift.alpha={limits.alpha:g} with drift.permutations={limits.permutations}: what stands out in one "
            f"statistic alone has a p of up to {len(STATISTICS) / (limits.permutations + 1):.2g} and would not be "
            f"noticed; drift.permutations={needed} or more"
        )
    return limits


def scale_for(learned: Learned) -> Scale:
    """The units of the scores, from `fit`."""
    parameters = learned.parameters
    return scale_of(parameters.centre, parameters.covariance, parameters.axes.features.weights.shape[1])


def labellings_for(reference: Reference, classes: int, size: int, limits: Limits) -> Labellings:
    """What windows of one size are compared with; costs more than a verdict, so keep it."""
    scale = scale_for(reference.learned)
    return labellings_of(reference.scores, reference.predicted, classes, size, scale, limits.permutations)


def judge(
    reference: Reference,
    labellings: Labellings,
    scores: Float32s,
    predicted: Labels,
    classes: list[str],
    limits: Limits,
) -> Verdict:
    """Judge a window (m, S) with predicted classes (m,), of as many images as `labellings` are for."""
    tested = test_window(labellings, scores, predicted)
    looks, left_out = appearance(
        (reference.scores, reference.predicted), (scores, predicted), labellings.scale, EXPLAINING
    )
    accuracy = estimate(evidence_of(scores, reference.learned), reference.known, reference.learned.accuracy)
    mix = _shares(reference.predicted, classes), _shares(predicted, classes)
    carriers = _carriers(reference, labellings.scale, scores)
    level = level_of(tested.p, accuracy.likely_loss, limits)
    cause = None if level == "quiet" else _cause(reference, scores, predicted, classes)
    channels = _channels(reference, labellings.scale, scores, mix, tested.p_values["classes"])
    if cause is not None:
        channels = tuple(sorted(channels, key=lambda one: one.name != words_for(cause.kind).channel))
    return Verdict(
        level, len(scores), tested.p, looks, tested.p_values, channels,
        accuracy, reference.known.accuracy, reference.labelled, mix,
        tuple(classes[label] for label in left_out), carriers, tuple(classes[predicted[place]] for place in carriers),
        cause=cause,
    )  # fmt: skip


def summary(verdict: Verdict) -> list[str]:
    """The verdict in plain sentences, the most important first."""
    if verdict.p is None or verdict.accuracy is None or verdict.reference_accuracy is None:
        return [f"{verdict.images} images are too few to say anything; collect more."]
    words = [f"{_first(verdict)} (p = {verdict.p:.3g})."]
    if verdict.cause is not None:
        words.append(in_words(verdict.cause))
    if verdict.copies:
        words.append(f"{verdict.copies} of them are copies of others, so p is too small: leave them out.")
    named = verdict.cause is not None and verdict.cause.kind != UNKNOWN
    moved = [channel for channel in _loudest(verdict) if not (named and channel.name == "texture")]
    if moved and verdict.level != "quiet":
        words.append(f"What moved: {'; '.join(_in_words(channel) for channel in moved)}.")
    alone = verdict.p_values or {"features": 1.0, "distance": 1.0}
    content = not named or (verdict.cause is not None and verdict.cause.kind == CONTENT)
    if content and verdict.level != "quiet" and alone["features"] < min(alone["distance"], _CERTAIN):
        words.append("What they show moved more than how they look: other things, or others more often.")
    now, before = verdict.accuracy, verdict.reference_accuracy
    words.append(
        f"Estimated accuracy {100 * now.accuracy:.0f} % (90 % interval {100 * now.low:.0f} to {100 * now.high:.0f}), "
        f"in the training world {100 * before:.0f} %{'' if verdict.reference_labelled else ', an estimate, too'}."
    )
    if verdict.cause is not None:
        words.append(f"What to do: {remedy(verdict.cause)}")
    return words


def as_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict as plain values, words included; the likely loss is in its level."""
    found = verdict.accuracy
    plain = verdict._asdict() | {
        "summary": summary(verdict),
        "channels": [channel._asdict() for channel in verdict.channels],
        "accuracy": found and {"accuracy": found.accuracy, "low": found.low, "high": found.high},
        "cause": verdict.cause
        and verdict.cause._asdict() | {"words": in_words(verdict.cause), "remedy": remedy(verdict.cause)},
        "mix": None if verdict.mix is None else {"reference": verdict.mix[0], "window": verdict.mix[1]},
    }
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def level_of(p: float, loss: float, limits: Limits) -> Level:
    """How loud to be, from the test's p and the `loss` of accuracy that is likely."""
    if p > limits.alpha:
        return "quiet"
    return "alert" if loss > limits.tolerated_loss else "notice"


def _cause(reference: Reference, scores: Float32s, predicted: Labels, classes: list[str]) -> Cause | None:
    if reference.learned.causes is None:
        return None
    columns = describe_scores(reference.learned.parameters)
    content = np.array([column.group in ("outputs", "features") for column in columns])
    usual = Seen(reference.scores, reference.predicted)
    return find_cause(reference.learned.causes, usual, Seen(scores, predicted), classes, content)


def _first(verdict: Verdict) -> str:
    mixed = verdict.cause is not None and verdict.cause.kind == MIX
    if verdict.level == "quiet":
        return f"These {verdict.images} images look like the training world"
    hurts = ", and it probably hurts" if verdict.level == "alert" else ""
    if mixed:
        return f"These {verdict.images} images show classes in another mix than the training world{hurts}"
    return f"These {verdict.images} images do not look like the training world{hurts}"


def _loudest(verdict: Verdict) -> list[Channel]:
    """Channels that moved, that of the cause first, then by how far."""
    first = None if verdict.cause is None else words_for(verdict.cause.kind).channel
    moved = [channel for channel in verdict.channels if channel.moved]
    return sorted(moved, key=lambda one: (one.name != first, -abs(one.shift)))


def _channels(
    reference: Reference, scale: Scale, scores: Float32s, mix: tuple[dict[str, float], ...], p_labels: float
) -> tuple[Channel, ...]:
    shift, certain = shifts(reference.scores, scores, scale)
    found = list[Channel]()
    columns = describe_scores(reference.learned.parameters)
    for name in CHANNELS[:-1]:
        own = [number for number, one in enumerate(columns) if one.channel == name and one.group != "features"]
        if own:
            most = max(own, key=lambda number: (certain[number], abs(shift[number])))
            found.append(Channel(name, columns[most].name, float(shift[most]), bool(certain[most])))
    label = max(mix[0], key=lambda label: abs(mix[1][label] - mix[0][label]))
    found.append(Channel("labels", label, mix[1][label] - mix[0][label], p_labels <= _CERTAIN))
    return tuple(found)


def _in_words(channel: Channel) -> str:
    if channel.name == "labels":
        return f"class mix (predicted {channel.score}: {100 * channel.shift:+.0f} points)"
    rises = (channel.shift > 0) != (channel.score in _INVERSE)
    what = "mistakes look" if channel.name == "error" else channel.name
    how = ("likelier" if rises else "less likely") if channel.name == "error" else "rose" if rises else "fell"
    if channel.score in _NO_SIDE or channel.name == "texture":
        how = "changed"
    return f"{what} {how} ({channel.score} {channel.shift:+.1f} sd)"


def _shares(predicted: Labels, classes: list[str]) -> dict[str, float]:
    counts = np.bincount(predicted, minlength=len(classes)) / len(predicted)
    return dict(zip(classes, counts.tolist(), strict=True))


def _carriers(reference: Reference, scale: Scale, scores: Float32s) -> tuple[int, ...]:
    """The images that lie furthest along the way from the reference's mean to the window's."""
    whitened = (scores - reference.scores.mean(axis=0)) @ scale.whitener
    along = whitened @ whitened.mean(axis=0)
    return tuple(np.argsort(-along)[:SHOWN].tolist())
