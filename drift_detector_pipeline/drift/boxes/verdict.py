"""What to say about a window of images in which boxes are sought: how loud, what moved, how good, which images show it.

In: a `BoxReference`, and what a network found in the window. Out: a `BoxVerdict`. Read by the detector and the report.
m: window images, S: scores.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Labels
from drift_detector_pipeline.drift.accuracy import Estimate
from drift_detector_pipeline.drift.boxes.phi import BOX_CHANNELS, box_scale, describe_box_scores
from drift_detector_pipeline.drift.boxes.reference import NOTHING, BoxReference
from drift_detector_pipeline.drift.cause import Cause, Seen, find_cause
from drift_detector_pipeline.drift.decision import Level, Limits, Promise, level_of
from drift_detector_pipeline.drift.permutation import Labellings, Scale, labellings_of, shifts, test_window
from drift_detector_pipeline.drift.verdict import SHOWN, Channel, channels_of, class_shares

_NAMES = {"distance": "looks", "features": "boxes"}  # of permutation.STATISTICS
LEAST = 100  # reference images; of fewer nobody can tell how often this very reference gives false notices


class BoxVerdict(NamedTuple):
    """The answer for one window. Without enough images everything after `images` is None or empty."""

    level: Level
    images: int
    p: float | None = None
    p_average: float | None = None  # exact averaged over references
    p_values: dict[str, float] | None = None  # of each statistic alone
    promise: Promise = "average"  # what `p` keeps; see verdict.Limits
    channels: tuple[Channel, ...] = ()
    map50: Estimate | None = None  # its `accuracy` is mAP50, of these very images if somebody drew the true boxes
    reference_map50: float | None = None
    reference_images: int = 0
    mix: tuple[dict[str, float], dict[str, float]] | None = None  # share of images by the class of most of their boxes
    carriers: tuple[int, ...] = ()  # places, among the readable images, of those that carry the change most first
    carrier_names: tuple[str, ...] = ()
    copies: int = 0  # images that are equal to another of the window; they make p too small
    unreadable: tuple[str, ...] = ()
    cause: Cause | None = None

    @property
    def worth(self) -> Estimate | None:
        """MAP50."""
        return self.map50


class Window(NamedTuple):
    """m images as the network sees them."""

    scores: Float32s  # (m, S)
    predicted: Labels  # (m,) the class of most boxes, K where there is none


def promise_of(reference: BoxReference, limits: Limits) -> Promise:
    """What a verdict can promise: of a few images only what holds averaged over references."""
    return limits.promise if len(reference.scores) >= LEAST else "average"


def box_labellings(reference: BoxReference, classes: int, size: int, limits: Limits) -> Labellings:
    """What windows of one size are compared with; costs more than a verdict, so keep it."""
    kept_alpha = limits.alpha if promise_of(reference, limits) == "reference" else None
    scale = box_scale(reference.learned.parameters)
    return labellings_of(
        reference.scores, reference.predicted, classes + 1, size, scale, limits.permutations, kept_alpha=kept_alpha
    )


def judge_boxes(
    reference: BoxReference, labellings: Labellings, window: Window, classes: Sequence[str], limits: Limits,
    worth: Callable[[bool], Estimate],
) -> BoxVerdict:  # fmt: skip
    """Judge a window of as many images as `labellings` are for; `worth` is told whether there is a notice."""
    tested = test_window(labellings, *window)
    noticed = tested.p <= limits.alpha
    map50 = worth(noticed)
    names = [*classes, NOTHING]
    mix = class_shares(reference.predicted, names), class_shares(window.predicted, names)
    moved = shifts(reference.scores, window.scores, labellings.scale)
    columns = describe_box_scores(reference.learned.parameters)
    return BoxVerdict(
        level_of(tested.p, map50.likely_loss, limits), len(window.scores), tested.p, tested.p_average,
        _named(tested.p_values),
        promise_of(reference, limits), channels_of(columns, BOX_CHANNELS, moved, mix, tested.p_values["classes"]),
        map50, reference.usual.map50, len(reference.scores), mix, _carriers(reference, labellings.scale, window.scores),
        cause=_cause(reference, window, names) if noticed else None,
    )  # fmt: skip


def _named(p_values: dict[str, float]) -> dict[str, float]:
    """By what they are about here."""
    return {_NAMES.get(name, name): p for name, p in p_values.items() if name != "strangers"}


def _cause(reference: BoxReference, window: Window, names: list[str]) -> Cause | None:
    if reference.learned.causes is None:
        return None
    columns = describe_box_scores(reference.learned.parameters)
    content = np.array([column.group in ("outputs", "features") for column in columns])
    return find_cause(
        reference.learned.causes, Seen(reference.scores, reference.predicted), Seen(*window), names, content
    )


def _carriers(reference: BoxReference, scale: Scale, scores: Float32s) -> tuple[int, ...]:
    whitened = (scores - reference.scores.mean(axis=0)) @ scale.whitener
    return tuple(np.argsort(-(whitened @ whitened.mean(axis=0)), kind="stable")[:SHOWN].tolist())
