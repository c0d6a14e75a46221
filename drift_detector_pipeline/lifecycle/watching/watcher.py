"""Follow the log: read what is new, stream by stream, name causes, tell people, wait.

In: an open log that nobody else watches. Out: what watched.py stores, reasons.py finds and notify.py sends. Read by the
command.
"""

import threading
from collections.abc import Callable, Sequence
from itertools import groupby

from drift_detector_pipeline.console import log as console
from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.lifecycle.watching.alarms import AlarmRow, alarms, open_counts
from drift_detector_pipeline.lifecycle.watching.detectors import Models
from drift_detector_pipeline.lifecycle.watching.gauges import Gauges
from drift_detector_pipeline.lifecycle.watching.notify import Notifier
from drift_detector_pipeline.lifecycle.watching.reasons import name_causes
from drift_detector_pipeline.lifecycle.watching.streams import AT_ONCE, Kept, Streams
from drift_detector_pipeline.lifecycle.watching.watched import (
    News,
    Stream,
    all_streams,
    kept_of,
    newest_request,
    next_rows,
    positions,
    store,
    streams_of,
    streams_with_rows,
)
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.settings_in_use import Monitor

_CAUSE_S = 30.0  # so long does news of an alarm wait for its cause
_BEHIND = 20 * AT_ONCE  # rows from which a bar shows how far it is


class Watcher:
    """One that is alone with its log. It keeps nothing that a kill would lose."""

    def __init__(
        self, log: RequestLog, settings: Monitor, notifier: Notifier, gauges: Gauges, stop: threading.Event
    ) -> None:
        self._log, self._settings, self._notifier, self._gauges, self._stop = log, settings, notifier, gauges, stop
        self._models = Models(log, settings)
        self._news = News(notifier.channels, 0.0 if settings.once else _CAUSE_S)
        self._crowded = set[int]()  # models with more sources than are watched
        self._looked: int | None = None  # rows up to this id were watched; None: not known yet

    def follow(self, check: Callable[[], None]) -> None:
        """Watch until stopped, or once.

        Raises DataError if the log cannot be used, or `check` does because somebody else may watch it by now.
        """
        self._looked = None
        while True:
            check()
            first = self._looked is None
            self._read_to_the_end()
            self._notifier.tell(at_once=self._settings.once)
            self._gauges.looked(self._log, self._notifier.failing(), self._models.missing)
            if first:
                self._say_where_it_stands()
            if self._settings.once or self._stop.wait(self._settings.poll_s):
                return

    def _say_where_it_stands(self) -> None:
        streams, counts = len(positions(self._log)), open_counts(self._log)
        standing = ", ".join(f"{count} {level}" for level, count in sorted(counts.items())) or "none"
        console.info("%d streams watched to row %d; open alarms: %s", streams, self._looked or 0, standing)

    def _read_to_the_end(self) -> None:
        """Watch all rows that there are now."""
        newest = newest_request(self._log)
        streams, first = self._streams(newest)
        with progress_bar(total=newest - first, title="monitor", unit=" rows", hidden=newest - first < _BEHIND) as bar:
            for _, own in groupby(streams, lambda stream: stream.model_id):
                waiting = list(own)
                while waiting and not self._stop.is_set():  # a step of each in turn
                    taken = {stream: self._visit(stream, newest) for stream in waiting}
                    bar.update(sum(taken.values()))
                    waiting = [stream for stream, rows in taken.items() if rows == AT_ONCE]
                    self._gauges.behind.set(newest - first - bar.n if waiting else 0)
        if not self._stop.is_set():
            self._looked = newest

    def _streams(self, newest: int) -> tuple[list[Stream], int]:
        """Those that may have rows which were not watched, by model, and a row before all of these."""
        if self._looked is None:
            streams, known = sorted(all_streams(self._log)), positions(self._log)
            return streams, min((known.get(stream, 0) for stream in streams), default=newest)
        late = [Stream(model, source) for model in self._models.due() for source in self._log.sources(model)]
        return sorted({*streams_with_rows(self._log, self._looked, newest), *late}), self._looked

    def _visit(self, stream: Stream, newest: int) -> int:
        """Take a step of a stream; return how many rows that were, AT_ONCE if there may be more."""
        streams = None if self._stop.is_set() else self._models.streams_of(stream.model_id)
        if streams is None:
            return 0
        kept = kept_of(self._log, stream)
        if kept is None and self._is_crowded(stream.model_id):
            return 0
        if kept is not None and self._looked is None:
            self._name_causes(stream, kept, streams)  # somebody was killed before he could
        rows = next_rows(self._log, stream, 0 if kept is None else kept.last_request, newest, AT_ONCE)
        if not rows:
            return 0
        step = streams.step(stream.source, kept, rows)
        if not store(self._log, stream, kept, step.kept, step.raised, self._news):
            return AT_ONCE  # its alarm was acknowledged just now: once more, from what is kept by that
        for one in self._written(stream, step.raised):
            console.info("%s: %s", one.level, " ".join(one.detail["alarm"]["summary"]))
        self._gauges.count(step, len(rows), rows[-1].at)
        self._name_causes(stream, step.kept, streams)
        return len(rows)

    def _written(self, stream: Stream, raised: Sequence[AlarmRow]) -> list[AlarmRow]:
        """Alarms that are in the log: of a change that alerted already, as a verdict said, there is no second alert."""
        if not raised:
            return []
        known = {(one.level, one.request) for one in alarms(self._log, **stream._asdict())}
        return [one for one in raised if (one.level, one.request) in known]

    def _name_causes(self, stream: Stream, kept: Kept, streams: Streams) -> None:
        if kept.state["stream"]["sources"][stream.source]["level"] == "quiet":
            return
        images = self._settings.cause_images
        for one in name_causes(self._log, stream, kept.state, streams.detector, images, self._notifier.channels):
            about = "alert" if one.id == 0 else f"alarm {one.id}"
            console.info("%s: %s", about, " ".join(one.detail["verdict"]["summary"]))

    def _is_crowded(self, model_id: int) -> bool:
        """Whether there is no room for another source."""
        if streams_of(self._log, model_id) < self._settings.max_sources:
            return False
        if model_id not in self._crowded:
            self._crowded.add(model_id)
            most = self._settings.max_sources
            console.warning(
                "model %d: more than monitor.max_sources=%d sources; others are not watched", model_id, most
            )
        self._gauges.refused.inc()
        return True
