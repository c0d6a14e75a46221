"""Watch a folder that fills: `python -m drift_detector_pipeline.drift.watch RUN IMAGES`.

In: a run with a reference; a folder, whose files are judged in the order in which they were last written, then by name,
each once. Out: an alarm as a line of JSON and in words on stdout, then the verdict on the images since the change;
`<run>/watch/<folder's name>/` with state.json, alarms.jsonl, seen.jsonl and verdicts/. Ends when it is interrupted or
terminated, goes on where it was when it is called again. Exit status: 0 quiet, 3 a notice stands, 4 an alert, 1 an
error.
"""

import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from drift_detector_pipeline.commands import read_command, stopping
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, progress_bar, set_up_logging, tell
from drift_detector_pipeline.drift.decision import EXIT_STATUS
from drift_detector_pipeline.drift.kinds import detector_of_run
from drift_detector_pipeline.drift.since_change import due, judge, verdict_on
from drift_detector_pipeline.drift.stream.alarm import Alarm, Level, alarm_json, alarm_words
from drift_detector_pipeline.drift.stream.detector import StreamDetector, StreamLimits
from drift_detector_pipeline.drift.stream.inbox import (
    SETTLED_S,
    Found,
    Journal,
    group_of,
    is_settled,
    place_for,
    source_of,
    waiting,
)
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status, visible
from drift_detector_pipeline.files import held_alone
from drift_detector_pipeline.modeling.named import check_weights
from drift_detector_pipeline.runs.receipts import newest_finished
from drift_detector_pipeline.settings import Run, Watch
from drift_detector_pipeline.stopped import loading
from drift_detector_pipeline.takes import WATCH, check_settings

_AT_ONCE = 64  # images between two states
_LOOK_EVERY_S = 1.0


@exit_status
def main() -> int:
    """Watch the folder named on the command line with the run named before it."""
    command = read_command(sys.argv[1:], takes_images=True)
    if len(command.images) != 1 or not command.images[0]:
        raise ConfigError("name one folder: make watch RUN=outputs/DATE/TIME IMAGES=FOLDER")
    set_up_logging()
    return watch_folder(command.target or newest_finished(), Path(command.images[0]), command.overrides)


def watch_folder(run: Path, images: Path, overrides: Sequence[str]) -> int:
    """Watch `images` until stopped, or until all is judged if `watch.follow` is off; return the exit status.

    Raises a PipelineError if there is no folder or reference, another process watches, or the state is another's.
    """
    check_settings(overrides, WATCH)
    settings, machine_settings = load_section(Watch, overrides), load_section(Run, ["run.precision=fp32", *overrides])
    if not images.is_dir():
        raise DataError(f"{images}: no such folder; for files, patterns and archives: make drift IMAGES=...")
    check_weights(run / "final_model.safetensors")
    with loading():  # what is not there is said before torch comes
        from drift_detector_pipeline.modeling.trained import open_trained
        from drift_detector_pipeline.runs.machine import prepared

    with prepared(machine_settings) as machine, stopping() as stop:
        trained = open_trained(run / "final_model.safetensors", machine)
        if trained.clip is not None:
            raise ConfigError(
                f"{run}: is about clips, and those of one camera are alike, so no stream of them keeps a promise; "
                "judge windows of many sources: make drift RUN=... IMAGES=..."
            )
        limits = StreamLimits(settings.alpha, settings.horizon, settings.tolerated_loss)
        watch = StreamDetector(detector_of_run(run, trained), limits)
        place = place_for(run, images.resolve())
        with held_alone(place / ".lock") as alone:
            if not alone:
                raise DataError(f"{place}: another process watches {images}; stop that one first")
            return _Watch(watch, Journal(place, images.resolve()), settings, stop, run).run(images.resolve())


class _Watch:
    """One call of the command."""

    def __init__(
        self, detector: StreamDetector, journal: Journal, settings: Watch, stop: threading.Event, trained: Path
    ) -> None:  # fmt: skip
        self.detector, self.journal, self.settings, self.stop = detector, journal, settings, stop
        self.trained = trained
        if journal.watch is not None:
            detector.restore(journal.watch, str(journal.place / "state.json"))
            log.info("%s: resumes after %d files", journal.place, len(journal.seen))
        standing = [(name, source.alarm) for name, source in detector.sources.items() if source.alarm]
        for name, alarm in standing:
            log.info("%s of %s at image %d, %s", alarm.level, alarm.source or "all", alarm.image, alarm.name)
            if settings.restart:
                detector.restart(name)
        if standing and settings.restart:
            log.info("these were looked at; their sources begin anew")
            self._count([], {}, [])

    def run(self, folder: Path) -> int:
        """Look, judge, wait; until stopped, or done."""
        with progress_bar(total=None, title="watch", unit=" images", done=len(self.journal.seen)) as bar:
            patient_until = time.monotonic() + 3 * SETTLED_S
            while not self.stop.is_set():
                started, found = time.monotonic(), waiting(folder, self.journal.seen)
                looked_s, before = time.monotonic() - started, len(self.journal.seen)
                for start in range(0, len(found), _AT_ONCE):
                    if not self.stop.is_set():
                        bar.update(self._judge(found[start : start + _AT_ONCE]))
                        self._explain(folder)
                if len(self.journal.seen) > before:
                    patient_until = time.monotonic() + 3 * SETTLED_S
                left = len(found) - (len(self.journal.seen) - before)
                if not self.settings.follow and (not left or time.monotonic() > patient_until):
                    break
                self.stop.wait(max(_LOOK_EVERY_S, looked_s))  # a folder of a million files takes seconds to list
        if not self.settings.follow and not self.stop.is_set():
            self._close_groups()
            self._explain(folder, all_came=True)
        return self._say_where_it_stands()

    def _judge(self, found: list[Found]) -> int:
        """Judge some files and write down that they were; return how many are counted now."""
        window = self.detector.detector.open([one.file for one in found], [one.name for one in found])
        by_name = {one.name: one for one in found}
        unreadable = {name: why for name, why in window.unreadable.items() if is_settled(by_name[name])}
        alarms = list[Alarm]()
        if window.names:
            rows = self.detector.detector.rows_of(window.crops)
            files = [by_name[name] for name in window.names]
            sources = [source_of(one, self.settings.sources) for one in files]
            for source in dict.fromkeys(sources):
                own = [place for place, name in enumerate(sources) if name == source]
                groups = [group_of(files[place], self.settings.groups) for place in own]
                names = [window.names[place] for place in own]
                alarms += self.detector.take(*rows.take(own), source=source, groups=groups, names=names)
        if window.names or unreadable:
            self._count(window.names, unreadable, alarms)
        for name, why in unreadable.items():
            log.warning("%s: %s", name, why)
        return len(window.names) + len(unreadable)

    def _close_groups(self) -> None:
        alarms = [alarm for source in list(self.detector.sources) for alarm in self.detector.close_group(source)]
        self._count([], {}, alarms)

    def _explain(self, folder: Path, *, all_came: bool = False) -> None:
        """Judge what came since a change, as a window, once there is enough of it."""
        for one in due(self.detector, self.journal, folder, self.settings, all_came=all_came):
            verdict, page = judge(one, self.detector, self.journal, self.trained, self.settings)
            self._count([], {}, [])
            words = " ".join(self.detector.detector.words.summary(verdict))
            tell(f"the {verdict.images} images{f' of {one.source}' if one.source else ''} since then: {words}")
            log.info("%s", page)

    def _count(self, names: Sequence[str], unreadable: dict[str, str], alarms: Sequence[Alarm]) -> None:
        lines: list[dict[str, Any]] = [alarm_json(alarm) for alarm in alarms]
        self.journal.count(names, unreadable, lines, self.detector.state())
        for alarm, line in zip(alarms, lines, strict=True):
            print(json.dumps(line))
            print(visible(f"{alarm.level}: {' '.join(alarm_words(alarm))}", names_only=True), flush=True)

    def _say_where_it_stands(self) -> int:
        levels: list[Level] = ["quiet", *(source.level for source in self.detector.sources.values())]
        alarms = [source.alarm for source in self.detector.sources.values() if source.alarm]
        said = [found.level for alarm in alarms if (found := verdict_on(alarm, self.journal))]
        levels += ["alert"] * ("alert" in said)
        loudest = max(levels, key=lambda level: EXIT_STATUS[level])
        log.info(
            "%s: %s after %d images, %d files unreadable; %s", self.journal.place, loudest,
            len(self.journal.seen) - len(self.journal.unreadable), len(self.journal.unreadable),
            "stopped; the same command resumes from here" if self.stop.is_set() else "all is judged",
        )  # fmt: skip
        return EXIT_STATUS[loudest]


if __name__ == "__main__":
    sys.exit(main())
