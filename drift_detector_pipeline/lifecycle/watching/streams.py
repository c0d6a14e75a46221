"""Rows of one stream -> what is known of it, and its alarms: the same rows give the same bits, in one step or in many.

In: what was known before, as plain values, and the next rows of the log in the order of their ids. Out: what is known
now, and alarms. Read by the monitor, which stores both together. Nothing here reads a clock or a file.

An image whose bytes are among the last SEEN of its stream is left out, as in windows: a client that tries again is no
news, and six copies in a row would raise a notice. They are counted, for a camera that stands still is worth knowing.
"""

import base64
import zlib
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from drift_detector_pipeline.console import log as console
from drift_detector_pipeline.drift.detecting import Detector
from drift_detector_pipeline.drift.kept_rows import fits
from drift_detector_pipeline.drift.stream.alarm import Alarm, alarm_json
from drift_detector_pipeline.drift.stream.detector import StreamDetector, StreamLimits
from drift_detector_pipeline.drift.stream.source import REMEMBERED
from drift_detector_pipeline.errors import PipelineError
from drift_detector_pipeline.lifecycle.watching.alarms import RESTART, AlarmRow
from drift_detector_pipeline.release.artefact import BOXES
from drift_detector_pipeline.serving.rows import StoredRow, rows_of

AT_ONCE = 1024  # rows of a step, at most
SEEN = 256  # images among which a copy is found
_KEPT = REMEMBERED + AT_ONCE  # ids: after a step those since a change that it noticed are still known
_PREFIX = 8  # bytes of an image's SHA-256 that are kept


class Kept(NamedTuple):
    """How far a stream was read, and what is known of it by then."""

    last_request: int
    state: dict[str, Any]


class Step(NamedTuple):
    """What some rows came to."""

    kept: Kept
    raised: list[AlarmRow]  # with the id 0
    repeated: int  # of the rows, left out as copies
    unusable: int  # left out as their scores are none of this model's


class Streams:
    """All streams of one model. It keeps nothing between steps."""

    def __init__(self, model_id: int, detector: Detector, limits: StreamLimits) -> None:
        self.model_id, self.detector, self._limits = model_id, detector, limits
        self._watches = dict[StreamLimits, StreamDetector]()

    def step(self, source: str, before: Kept | None, rows: Sequence[StoredRow]) -> Step:
        """Take the next rows of a source, at most AT_ONCE and at least one; `before` is None for its first ones."""
        watch, state = self._opened(source, {} if before is None else before.state)
        memory, fitting = _Memory(state), [row for row in rows if self._fits(row)]
        fresh = memory.fresh_of(fitting)
        given = rows_of(fresh, self.detector)
        alarms = watch.take(*given, source=source, names=[row.request_id for row in fresh])
        memory.images = watch.sources[source].images
        raised = [memory.row_of(alarm, self.model_id, fresh) for alarm in alarms]
        more = {"rows": len(rows), "repeated": len(fitting) - len(fresh), "unusable": len(rows) - len(fitting)}
        counts = {name: state.get("counts", {}).get(name, 0) + count for name, count in more.items()}
        after = {RESTART: False, "counts": counts, **memory.state(), "stream": watch.state()}
        watch.sources.clear()
        return Step(Kept(rows[-1].id, after), raised, more["repeated"], more["unusable"])

    def _fits(self, row: StoredRow) -> bool:
        columns = len(self.detector.columns)
        if not fits(row.phi, columns, boxes=self.detector.task == BOXES):
            return False
        finite = np.isfinite(np.frombuffer(row.phi, "<f4", columns)).all()
        return bool(finite) and 0 <= row.predicted < len(self.detector.classes)

    def _opened(self, source: str, state: dict[str, Any]) -> tuple[StreamDetector, dict[str, Any]]:
        """The watch of a source as it was left, and its state; begun anew if its alarm was acknowledged.

        A promise cannot change on the way. So limits that were changed count for what begins anew, and a stream without
        alarm does so at once. What cannot be continued, as another version's, begins anew, too.
        """
        if not state:
            return self._watch(self._limits), state
        try:
            _Memory(state)
            kept, limits = state["stream"], StreamLimits(**state["stream"]["limits"])
            quiet = kept["sources"][source]["level"] == "quiet"
            anew = state[RESTART] or (quiet and limits != self._limits)
            watch = self._watch(self._limits if anew else limits)
            watch.restore({**kept, "limits": watch.limits._asdict()})
        except (LookupError, TypeError, ValueError, AttributeError, zlib.error, PipelineError) as error:
            console.warning("stream %r of model %d begins anew: %s", source, self.model_id, error)
            return self._watch(self._limits), {}
        if anew:
            watch.restart(source)
        return watch, state

    def _watch(self, limits: StreamLimits) -> StreamDetector:
        """One without any source; learning from the reference again would cost more than most steps."""
        if limits not in self._watches:
            self._watches[limits] = StreamDetector(self.detector, limits)
        self._watches[limits].sources.clear()
        return self._watches[limits]


class _Memory:
    """What a stream remembers of rows beside their numbers: which images they were, and which row each image is."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.images = 0  # counted by the stream, ever
        self._seen = deque(_parts(_bytes(state.get("seen", "")), _PREFIX), maxlen=SEEN)
        self._ids = requests_of(state)
        self._since: list[int] | None = state.get("since")

    def fresh_of(self, rows: Sequence[StoredRow]) -> list[StoredRow]:
        """Those rows whose images are no copies of the last ones."""
        fresh = list[StoredRow]()
        for row in rows:
            if (image := row.image_sha256[:_PREFIX]) not in self._seen:
                self._seen.append(image)
                fresh.append(row)
        self._ids = [*self._ids, *(row.id for row in fresh)]
        return fresh

    def row_of(self, alarm: Alarm, model_id: int, fresh: Sequence[StoredRow]) -> AlarmRow:
        """An alarm with the ids of rows for the numbers of images."""
        if alarm.level == "notice" or self._since is None:
            self._since = [self._id_of(image) for image in (alarm.since, alarm.since_low, alarm.since_high)]
        request, (since, low, high) = self._id_of(alarm.image), self._since
        at = next(row.at for row in fresh if row.id == request)
        detail = {"alarm": alarm_json(alarm), "since_low": low, "since_high": high}
        return AlarmRow(
            0, at, model_id, alarm.source, alarm.level, request, since, None, detail, None, None, None
        )  # fmt: skip

    def _id_of(self, image: int) -> int:
        return self._ids[max(image - 1 - self.images, -len(self._ids))]

    def state(self) -> dict[str, Any]:
        """All of it as plain values."""
        ids = np.array(self._ids[-_KEPT:], np.int64)
        steps = np.diff(ids, prepend=0).astype("<i8").tobytes()
        return {"since": self._since, "seen": _text(b"".join(self._seen)), "requests": _text(zlib.compress(steps, 6))}


def requests_of(state: dict[str, Any]) -> list[int]:
    """The ids of the last rows that a stream counted, the oldest first."""
    packed = state.get("requests")
    steps = np.frombuffer(zlib.decompress(_bytes(packed)), "<i8") if packed else np.zeros(0, np.int64)
    ids: list[int] = np.cumsum(steps).tolist()
    return ids


def _parts(content: bytes, size: int) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)]


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
