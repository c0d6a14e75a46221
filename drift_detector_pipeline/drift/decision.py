"""How loud to be about a window of images, and on what grounds: the test, the accuracy, the cause.

In: a `Reference`, scores and predicted classes of a window. Out: a `Decision`. Read by the verdict, which puts it into
words and pictures.
"""

from collections.abc import Callable
from functools import partial
from math import ceil
from typing import Literal, NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Indices, Labels
from drift_detector_pipeline.drift.accuracy import Estimate, estimate
from drift_detector_pipeline.drift.cause import CONTENT, UNKNOWN, Cause, Seen, find_cause
from drift_detector_pipeline.drift.content import doubted, only_strange_moved, share_of_others, share_of_rise
from drift_detector_pipeline.drift.parts import changed_part
from drift_detector_pipeline.drift.permutation import (
    WEIGHTS,
    Labellings,
    Scale,
    WindowTest,
    appearance,
    labellings_of,
    scale_of,
    test_window,
)
from drift_detector_pipeline.drift.reference import Learned, Reference, evidence_of
from drift_detector_pipeline.drift.scores.phi import describe_scores
from drift_detector_pipeline.errors import ConfigError

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
    accuracy: Estimate
    looks: float | None = None  # p with the class mix held fixed; None if quiet
    left_out: tuple[int, ...] = ()  # classes too rare for that
    cause: Cause | None = None  # asked after a notice only, of a reference that knows causes
    changed: Indices | None = None  # places of the images that changed, if the others look different; None: no others


class Again(NamedTuple):
    """What is known of a window once it was looked at again."""

    accuracy: Estimate
    cause: Cause | None = None  # with `accuracy.undone`


AskAgain = Callable[[bool], Again | None]  # did looks change? -> what a second look tells, if anything


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
    classes: list[str],
    limits: Limits,
    ask_again: AskAgain = lambda looks_changed: None,
) -> Decision:
    """Test a window (m, S) with predicted classes (m,), of as many images as `labellings` are for; how loud to be.

    `ask_again` is called after a notice and told whether looks have changed. If not, no copy should be asked: under
    another mix of classes alone it is led astray by up to ten points, and the network itself is not.
    """
    tested = test_window(labellings, scores, predicted)
    accuracy = estimate(evidence_of(scores, reference.learned), reference.known, reference.learned.accuracy)
    if tested.p > limits.alpha:  # to explain a notice would be most of what a quiet verdict costs
        return Decision("quiet", tested, accuracy)
    before, now = (reference.scores, reference.predicted), (scores, predicted)
    looks, left_out = appearance(before, now, labellings.scale, EXPLAINING)
    cause, changed = None, None
    if looks_changed := looks is None or looks <= CHANGED:
        changed = changed_part(reference, scores, partial(_looks_changed, before, now, labellings.scale))
    if again := ask_again(looks_changed):
        accuracy, cause = again
    others = 0.0 if cause else _share_of_others(reference, before, now)
    if others and accuracy.known:
        accuracy = doubted(accuracy, others, reference.known.accuracy)
    own = slice(None) if changed is None else changed
    cause = cause or _cause(reference, scores[own], predicted[own], classes)
    level = level_of(tested.p, accuracy.likely_loss, limits)
    found = Decision(level, tested, accuracy, looks, tuple(left_out), cause, changed)
    return _told_of_strangers(found, others > 0, reference.known.accuracy, before, now, labellings.scale, limits)


def level_of(p: float, loss: float, limits: Limits) -> Level:
    """How loud to be, from the test's p and the `loss` of accuracy that is likely."""
    if p > limits.alpha:
        return "quiet"
    return "alert" if loss > limits.tolerated_loss else "notice"


def _told_of_strangers(
    found: Decision, others: bool, usual: float, before: Looks, now: Looks, scale: Scale, limits: Limits
) -> Decision:
    """The same, where nothing known explains a change: of images of no known class nobody can say how accurate it is.

    `others`: whether they are stranger than their looks explain. `usual`: the accuracy without change.
    """
    cause, p_strangers = found.cause, found.tested.p_values["strangers"]
    if cause is None:
        return found
    unknown = cause.kind == UNKNOWN
    strange = unknown and p_strangers <= CERTAIN
    came = strange and found.changed is None and only_strange_moved(before, now, scale)
    if came or (strange and found.level == "notice" and p_strangers <= limits.alpha):
        accuracy = found.accuracy
        if accuracy.known:
            accuracy = doubted(accuracy, share_of_rise(before, now), usual)
        found = found._replace(level="alert", accuracy=accuracy)
    if came or (others and (unknown or cause.second)):
        found = found._replace(cause=Cause(CONTENT, None, 0.0, cause.far, cause.alternatives))
    return found


def _share_of_others(reference: Reference, before: Looks, now: Looks) -> float:
    learned = reference.learned
    if learned.steepest is None:
        return 0.0
    return share_of_others(learned.parameters, learned.steepest, before, now)


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
