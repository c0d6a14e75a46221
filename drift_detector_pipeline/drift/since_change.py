"""After an alarm of a watched folder: what changed, why, and what the model is worth on it.

In: the watch's detector and its journal. Out: which images are to be judged as a window, and what was said of them; the
report that `make drift` writes. Read by the command.

They are the first ones since the change, whenever they came: so the verdict is the same, however often the watch was
stopped. It is no alarm and promises nothing: that something changed was known before.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from drift_detector_pipeline.drift.decision import Limits
from drift_detector_pipeline.drift.detecting import AnyVerdict
from drift_detector_pipeline.drift.kinds import write_page_of
from drift_detector_pipeline.drift.stream.alarm import Alarm
from drift_detector_pipeline.drift.stream.detector import StreamDetector
from drift_detector_pipeline.drift.stream.inbox import Found, Journal, Verdict, group_of, source_of
from drift_detector_pipeline.runs.facts import now, this_command
from drift_detector_pipeline.settings import Watch

ENOUGH = 64  # images of a verdict, or groups; if no more will come, as few as a verdict needs


class Due(NamedTuple):
    """Images whose change was noticed and is not explained yet."""

    source: str
    since: int  # the number of the first one
    files: list[Found]


def due(watch: StreamDetector, journal: Journal, folder: Path, settings: Watch, *, all_came: bool) -> Iterator[Due]:
    """What is to be judged now, by source; `all_came` if no more images will come."""
    for source, state in watch.sources.items():
        alarm, least = state.alarm, Limits().min_images if all_came else ENOUGH
        if alarm is None or verdict_on(alarm, journal) or state.images - alarm.since + 1 < least:
            continue
        files = [one for one in _readable(journal, folder) if source_of(one, settings.sources) == source]
        files = list(_one_a_group(files[alarm.since - 1 :], settings.groups))[:ENOUGH]
        if len(files) >= least:
            yield Due(source, alarm.since, files)


def judge(one: Due, watch: StreamDetector, journal: Journal, run: Path, settings: Watch) -> tuple[AnyVerdict, Path]:
    """The verdict on them and the page about it, below the journal; what was said is in the journal from then on.

    Raises DataError if the network gives no finite numbers.
    """
    detector = watch.detector
    detector.limits = Limits(tolerated_loss=settings.tolerated_loss)
    album = detector.album([found.file for found in one.files], [found.name for found in one.files])
    verdict = detector.check_album(album)
    facts = {"run": str(run), "named": [found.name for found in one.files], "command": this_command(), "when": now()}
    page = write_page_of(journal.place / "verdicts", verdict, album, detector, facts)
    journal.verdicts[one.source] = Verdict(one.since, verdict.level)
    return verdict, page


def verdict_on(alarm: Alarm, journal: Journal) -> Verdict | None:
    """What was said of the images since this change, if they were judged."""
    found = journal.verdicts.get(alarm.source)
    return found if found and found.since == alarm.since else None


def _readable(journal: Journal, folder: Path) -> Iterator[Found]:
    for name in journal.seen:
        if name not in journal.unreadable:
            yield Found(name, folder / name, 0)


def _one_a_group(files: list[Found], kind: str) -> Iterator[Found]:
    """The first of each group, for neighbours of one group resemble each other; files that are gone are left out."""
    before: str | None = None
    for one in files:
        try:
            key = group_of(one._replace(changed_ns=one.file.stat().st_mtime_ns), kind)
        except OSError:
            continue
        if key is None or key != before:
            yield one
        before = key
