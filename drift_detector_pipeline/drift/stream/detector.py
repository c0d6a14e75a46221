"""Images one after another: says once when they no longer look like the training world, and once that it hurts.

    watch = StreamDetector(DriftDetector.load("detector", model))
    for image in camera:
        if alarm := watch.update(image):
            print(alarm.level, alarm_words(alarm))
    watch.save("state.json")

In: a detector; images or their rows. Out: an `Alarm` or None; a state as JSON. Read by the command and the
study. K: channels, m: images of a call.

What is promised: P(any false notice within `horizon` images of all sources together) <= `alpha`, averaged over
references, if what comes is exchangeable with the reference. A channel that has seen t images exceeds the threshold
with a probability of at most t / threshold (`bets`); over channels and sources the t add up to K * horizon, whatever
the number of sources, as long as their lengths do not depend on what they show. So the threshold is K * horizon / alpha
and no source pays for another.
"""

import hashlib
import json
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Float64s, Labels
from drift_detector_pipeline.drift.detecting import Detector, Rows, Sure
from drift_detector_pipeline.drift.preparation import Images
from drift_detector_pipeline.drift.stream.alarm import Alarm, Level, Moved
from drift_detector_pipeline.drift.stream.bets import normal_scores
from drift_detector_pipeline.drift.stream.change import change_of
from drift_detector_pipeline.drift.stream.channels import channel_values, channels_of
from drift_detector_pipeline.drift.stream.harm import bound_of
from drift_detector_pipeline.drift.stream.ranks import bins_of, noise, places
from drift_detector_pipeline.drift.stream.source import Row, Source
from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.files import write_atomically
from drift_detector_pipeline.json_files import read_json

_NOTABLE = 0.5  # of the evidence for an alarm, on a log scale, from which a channel is named
_LUCK = 2**32  # seeds of streams lie above those of references
_DIGITS = 4  # of a predicted error that count: its last bits depend on how many images came together


class StreamLimits(NamedTuple):
    """What is asked of a stream."""

    alpha: float = 0.01  # the chance of any false notice
    horizon: int = 10**6  # within so many images of all sources together
    tolerated_loss: float = 0.05  # of accuracy, as it is predicted; a notice becomes an alert if more is lost


class StreamDetector:
    """Watches streams of images, one state a source, all against one reference."""

    def __init__(self, detector: Detector, limits: StreamLimits | None = None, seed: int = 0) -> None:
        self.detector, self.limits, self.seed = detector, checked(limits or StreamLimits()), seed
        reference = detector.reference
        self._channels = channels_of(detector.watchable)
        self.channels = tuple(channel.name for channel in self._channels.named)
        self.threshold = len(self.channels) * self.limits.horizon / self.limits.alpha
        self._bins = bins_of(channel_values(reference.scores, reference.predicted, self._channels), seed)
        self._scores = normal_scores(self._bins.gaps)
        risks = detector.world_risks()
        self._error, self._bound = float(risks.mean()), bound_of(risks, self.limits.tolerated_loss)
        self.sources: dict[str, Source] = {}

    def update(
        self, images: Images, *, source: str = "", groups: Sequence[str | None] | None = None
    ) -> Alarm | None:  # fmt: skip
        """Take images: uint8 (H, W, 3), (m, H, W, 3), or a list of paths; return the loudest alarm they raise.

        `groups`: a key an image; neighbours of one key, such as frames of one scene, count as one image. A notice comes
        once, then perhaps an alert, then nothing until `restart`. Raises DataError if an image cannot be read.
        """
        given = images[None] if isinstance(images, np.ndarray) and images.ndim == 3 else images
        window = self.detector.open(given)
        if window.unreadable:
            name, why = next(iter(window.unreadable.items()))
            raise DataError(f"{name}: {why}; nothing of this call was counted")
        alarms = self.take(*self.detector.rows_of(window.crops), source=source, groups=groups)
        return alarms[-1] if alarms else None

    def take(
        self, scores: Float32s, predicted: Labels, sure: Sequence[Sure] | None = None,
        *, source: str = "", groups: Sequence[str | None] | None = None, names: Sequence[str] | None = None,
    ) -> list[Alarm]:  # fmt: skip
        """Take images of which `Rows` are known, as the detector's `rows_of` gives them; return their alarms, in order.

        The same images give the same state to the bit, in one call or in many. Raises DataError if shapes do not fit or
        a score is not finite.
        """
        scores = self._checked(scores, predicted)
        state = self._source(source)
        if not len(scores):
            return []
        values = channel_values(scores, predicted, self._channels)
        numbers = state.images + 1 + np.arange(len(values))
        luck = noise(_LUCK + zlib.crc32(f"{self.seed} {source}".encode()), numbers, len(self.channels) + 1)
        bins = places(values, luck[:, :-1], self._bins)
        risks = self.detector.risks(Rows(scores, predicted, sure)).round(_DIGITS).tolist()
        keys, shown = groups or [None] * len(values), names or [""] * len(values)
        alarms = list[Alarm]()
        for place, (number, risk) in enumerate(zip(numbers.tolist(), risks, strict=True)):
            state.images = number
            state.dependence.see(values[place].tobytes())
            complete = state.rows_from(Row(number, bins[place], risk), keys[place], int(luck[place, -1]))
            alarms += self._stepped(source, complete, shown[place])
        return alarms

    def close_group(self, source: str = "") -> list[Alarm]:
        """Count the last group of a source, whose end nothing else shows."""
        return self._stepped(source, self._source(source).rows_from(None, None, 0), "")

    def restart(self, source: str = "") -> None:
        """Begin a source anew, once its alarm was read and its cause mended."""
        self._source(source).restart()

    def state(self) -> dict[str, Any]:
        """Everything that continues the watch, as plain values; below 40 kB a source."""
        sources = {name: source.state() for name, source in self.sources.items()}
        return {"reference": self.reference_key(), "limits": self.limits._asdict(), "seed": self.seed,
            "channels": list(self.channels), "sources": sources}  # fmt: skip

    def restore(self, state: dict[str, Any], place: str = "state") -> None:
        """Undo `state`. Raises DataError if it is damaged or another reference's, ConfigError for other limits."""
        try:
            known, limits, seed = str(state["reference"]), StreamLimits(**state["limits"]), state["seed"]
            if known != self.reference_key() or state["channels"] != list(self.channels):
                raise DataError(
                    f"{place}: begun with a different reference ({known:.12}..., not {self.reference_key():.12}...); "
                    "what was seen against that one says nothing about this: move the file away and begin anew"
                )
            if limits != self.limits or seed != self.seed:
                raise ConfigError(
                    f"{place}: begun with {limits} and seed {seed}; a promise cannot change on the way: go on with "
                    "those, or move the file away and begin anew"
                )
            for name, kept in state["sources"].items():
                self._source(name).restore(kept)
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            raise DataError(
                f"{place}: damaged ({type(error).__name__}: {error}); move it away and begin anew"
            ) from error

    def save(self, path: str | Path) -> None:
        """Write the state, atomically."""
        write_atomically(Path(path), json.dumps(self.state()).encode())

    @classmethod
    def load(
        cls, path: str | Path, detector: Detector, limits: StreamLimits | None = None, seed: int = 0
    ) -> Self:  # fmt: skip
        """Continue from a saved state. Raises DataError or ConfigError as `restore` does."""
        watch = cls(detector, limits, seed)
        try:
            state = read_json(Path(path))
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read ({error}); begin anew: StreamDetector(detector)") from error
        watch.restore(state, str(path))
        return watch

    def reference_key(self) -> str:
        """What a state is tied to: the model's identity and the reference's channels."""
        known = hashlib.sha256(f"{self.detector.identity} {self.channels}".encode())
        known.update(self._bins.edges.tobytes())
        return known.hexdigest()

    def _source(self, name: str) -> Source:
        if name not in self.sources:
            harm = (self._bound, self.limits.alpha, self.limits.horizon)
            self.sources[name] = Source(self._bins.gaps, len(self.channels), harm)
        return self.sources[name]

    def _checked(self, scores: Float32s, predicted: Labels) -> Float32s:
        given, columns = np.asarray(scores), self.detector.reference.scores.shape[1]
        if given.ndim != 2 or given.shape[1] != columns or given.dtype.kind not in "fiu":
            raise DataError(f"scores: expected numbers (m, {columns}), got {given.dtype} {given.shape}")
        if len(predicted) != len(given) or not np.isfinite(given).all():
            raise DataError(f"scores: expected {len(predicted)} rows of finite numbers, one a predicted class")
        return given

    def _stepped(self, source: str, rows: Sequence[Row], name: str) -> list[Alarm]:
        state, alarms = self._source(source), list[Alarm]()
        for row in rows:
            if level := state.step(row, self.threshold):
                alarms.append(self._alarm(level, source, state, name))
        return alarms

    def _alarm(self, level: Level, source: str, state: Source, name: str) -> Alarm:
        rows = list(state.last)
        if state.alarm:  # the bets rest since the notice, so what moved and since when is the notice's
            since = state.alarm.since
            alarm = state.alarm._replace(level=level, image=rows[-1].image, name=name)
        else:
            bins = np.array([row.bins for row in rows])
            strength = np.log(np.maximum(state.evidence, 1)) / math.log(self.threshold)
            first = change_of(bins[:, int(strength.argmax())], self._bins.gaps)
            since, low, high = (rows[place].image for place in (first.since, first.low, first.high))
            moved = self._moved(strength, bins[first.since :])
            alarm = Alarm(
                level, source, rows[-1].image, name, moved, since, low, high, 0.0, self._error, 0.5, 0,
                self.detector.words.measure,
            )  # fmt: skip
        error = float(np.mean([row.risk for row in rows if row.image >= since]))
        seen = state.dependence
        state.alarm = alarm._replace(error_now=error, alike=seen.alike, copies=seen.copies)
        return state.alarm

    def _moved(self, strength: Float64s, bins: Labels) -> tuple[Moved, ...]:
        named, scores = self._channels.named, self._scores[bins].mean(axis=0)
        strongest = dict[str, int]()  # of each word
        for place in np.argsort(-strength, kind="stable").tolist():
            if strength[place] >= _NOTABLE:
                strongest.setdefault(named[place].word, place)
        return tuple(
            Moved(self.channels[place], word, float(scores[place]), not named[place].length, float(strength[place]))
            for word, place in strongest.items()
        )


def checked(limits: StreamLimits) -> StreamLimits:
    """Return them. Raises ConfigError if one is out of range."""
    if not 0 < limits.alpha < 1 or limits.horizon < 1 or not 0 <= limits.tolerated_loss < 1:
        raise ConfigError(f"expected 0 < alpha < 1, horizon of 1 or more and 0 <= tolerated_loss < 1, got {limits}")
    return limits
