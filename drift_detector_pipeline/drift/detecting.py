"""What a detector of drift is to whoever uses it, be it of labels, boxes or clips.

In: a network, through a way of its own; images, or rows that were kept of them. Out: verdicts of one form. Implemented
by detector.py, boxes/detector.py and clips/detector.py; used by streams, the service and the monitor, which need no
other difference. m: window images, S: scores.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Float64s, Labels, Pixels
from drift_detector_pipeline.drift.accuracy import Estimate
from drift_detector_pipeline.drift.cause import Cause
from drift_detector_pipeline.drift.decision import AskAgain, Level, Limits, checked_limits
from drift_detector_pipeline.drift.preparation import Album, Images, Preparation, Shown, Window, open_images
from drift_detector_pipeline.drift.reference import Learned, Moves
from drift_detector_pipeline.drift.scores.phi import Score, describe_scores
from drift_detector_pipeline.drift.verdict import Channel

SUMS = ("error", "energy", "novelty")  # channels of labels whose output scores count together
KEPT_FACTS = ("fit_images", "weights_sha256", "data_fingerprint", "sha256")  # of a reference, in its verdicts


class Sure(NamedTuple):
    """How sure a network is of all that it found in an image, best first."""

    scores: Float32s  # (M,) in 0..1
    labels: Labels  # (M,)


class Rows(NamedTuple):
    """What is kept of m images once they are gone, and enough to judge them."""

    scores: Float32s  # (m, S)
    predicted: Labels  # (m,)
    sure: Sequence[Sure] | None = None  # m, where boxes are found: what mAP50 is estimated from

    def take(self, places: Sequence[int]) -> "Rows":
        """The rows of some images."""
        chosen = list(places)
        sure = None if self.sure is None else [self.sure[place] for place in chosen]
        return Rows(self.scores[chosen], self.predicted[chosen], sure)


def joined_rows(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts, in their order; of none, no rows."""
    if not parts:
        return Rows(np.zeros((0, 0), np.float32), np.zeros(0, np.int64))
    scores, predicted, sure = zip(*parts, strict=True)
    together = None if sure[0] is None else [one for part in sure for one in part]
    return Rows(np.concatenate(scores), np.concatenate(predicted), together)


class Watchable(NamedTuple):
    """What a stream may watch of images, and in which units."""

    columns: list[Score]  # S
    centre: Float32s  # (S,) mean of clean images
    covariance: Float32s  # (S, S) of them
    moves: Moves | None  # where known changes lead
    sums: tuple[str, ...]  # channels whose output scores count together; if there are none each score counts alone


def watchable_of(learned: Learned) -> Watchable:
    """What a stream may watch of what was learned of labels."""
    parameters = learned.parameters
    return Watchable(describe_scores(parameters), parameters.centre, parameters.covariance, learned.moves, SUMS)


class AnyVerdict(Protocol):
    """What every verdict says."""

    @property
    def level(self) -> Level:
        """How loud."""

    @property
    def images(self) -> int:
        """How many were judged."""

    @property
    def p(self) -> float | None:
        """Of the window test; None of too few images."""

    @property
    def worth(self) -> Estimate | None:
        """How well the network does on them, in the measure of its task; `accuracy` is that measure."""

    @property
    def cause(self) -> Cause | None:
        """Why, if there is a notice."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What moved."""

    @property
    def carrier_names(self) -> tuple[str, ...]:
        """The images that show the change most."""


class Words(NamedTuple):
    """A kind of verdict in sentences and as plain values."""

    measure: str  # what `worth` is called there
    summary: Callable[[Any], list[str]]
    as_json: Callable[[Any], dict[str, Any]]
    from_json: Callable[[Any, float | None], Any]  # with the likely loss, which JSON leaves out
    things: str = "images"  # what is judged


class World(Protocol):
    """The training world's own rows."""

    @property
    def scores(self) -> Float32s:
        """(n, S)."""

    @property
    def predicted(self) -> Labels:
        """(n,)."""


class Detector(Protocol):
    """Knows one network's training world. What stands here is the same for all kinds."""

    task: ClassVar[str | None]  # as in a manifest: None of labels
    words: ClassVar[Words]
    pools_sources: ClassVar[bool] = False  # a window is of many sources, each of which counts once
    classes: list[str]
    preparation: Preparation
    facts: dict[str, Any]
    _limits: Limits

    @property
    def reference(self) -> World:
        """What everything is compared with."""

    @property
    def identity(self) -> str:
        """Names what the reference was built through."""

    @property
    def columns(self) -> list[Score]:
        """Name, channel and group of each of the S scores."""

    @property
    def watchable(self) -> Watchable:
        """What a stream may watch."""

    @property
    def limits(self) -> Limits:
        """What is asked of verdicts; may be set at any time. Raises ConfigError if nothing could be noticed."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = checked_limits(limits)

    def open(self, images: Images, names: Sequence[str] | None = None) -> Window:
        """Decode and crop a few images; arrays are named by their place. Raises DataError as `check` does."""
        return open_images(images, self.preparation, names)

    def album(self, images: Images, names: Sequence[str] | None = None) -> Album:
        """Any number of images, to be opened a chunk at a time. Raises DataError as `check` does."""
        return Album(images, self.preparation, names)

    def check(self, images: Images) -> AnyVerdict:
        """Judge a window. Files that cannot be read are left out and named in the verdict."""

    def check_album(self, album: Album) -> AnyVerdict:
        """Judge what `album` gives, in bounded memory. Raises DataError if the network gives no finite numbers."""

    def check_rows(self, rows: Rows, copies: int, window: Shown) -> AnyVerdict:
        """As `check_album`, of images that others have read; `copies` of them are equal to an earlier one."""

    def check_scores(
        self, scores: Float32s, predicted: Labels, sure: Sequence[Sure] | None = None,
        *, ask_again: AskAgain = lambda looks_changed: None, names: Sequence[str] = (),
    ) -> AnyVerdict:  # fmt: skip
        """Judge `Rows`. Raises DataError if they do not fit."""

    def rows_of(self, crops: Pixels) -> Rows:
        """The rows of uint8 (m, S, S, 3) crops. Raises DataError if the network gives no finite numbers for them."""

    def rows_from(self, kept: Sequence[bytes], predicted: Labels) -> Rows:
        """Undo what a service keeps of each image. Raises DataError if it is not of this detector's network."""

    def counted(self, rows: Rows, names: Sequence[str], sources: Sequence[str]) -> tuple[Sequence[str], Rows]:
        """What of m rows, with names and sources, is judged as one: names and rows of these. Here each by itself."""
        return names, rows

    def risks(self, rows: Rows) -> Float64s:
        """The predicted error of each image, (m,) in 0..1."""

    def world_risks(self) -> Float64s:
        """The same of the training world, (n,)."""

    def asker(self, crops: Pixels) -> AskAgain:
        """A second look at the images of a window, for `check_scores`."""

    def about(self) -> dict[str, Any]:
        """What is asked of a verdict, and which reference it compares with."""
