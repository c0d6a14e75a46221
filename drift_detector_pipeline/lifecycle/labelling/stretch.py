"""Which rows of the request log a basket is about, and what was thought of the accuracy on them.

In: an alarm, or words such as source=gate-3. Out: a `Stretch`, its rows, their files, an estimate. Read by
basket.py, and by whoever makes something of recent images.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.lifecycle.labelling.pictures import images_by_hash
from drift_detector_pipeline.lifecycle.watching.alarms import AlarmRow, alarm_of, alarms
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.rows import StoredRow
from drift_detector_pipeline.serving.stored_verdicts import newest_verdicts

MOST_ROWS = 20_000  # of a change, the newest: more are hardly more telling, and all of them lie in memory
_MOST_DIGITS = 18  # of a number of the log
LAST = 1000  # rows, where there is no alarm and nobody says how many


class Stretch(NamedTuple):
    """Which rows a basket is about."""

    model_id: int
    source: str | None = None  # None: all
    since: int = 0  # the first row
    last: int = MOST_ROWS  # so many, the newest
    alarm: AlarmRow | None = None


def stretch_of(log: RequestLog, own: Mapping[str, str]) -> Stretch:
    """What words such as alarm=7, source=gate-3 and last=500 mean. Raises ConfigError or DataError if nothing."""
    for name in ("alarm", "last"):
        if name in own and not (own[name].isdecimal() and len(own[name]) <= _MOST_DIGITS):
            raise ConfigError(f"{name}={own[name][:40]}: expected a whole number of at most {_MOST_DIGITS} digits")
    if "alarm" in own:
        if len(own) > 1:
            raise ConfigError(f"alarm={own['alarm']}: an alarm has its source and its rows; leave out the other words")
        return since_alarm(alarm_of(log, int(own["alarm"])))
    if not own and (newest := alarms(log, count=1)):
        return since_alarm(newest[0])
    source, last = own.get("source"), min(int(own.get("last", LAST)), MOST_ROWS)
    answered = [(rows[-1].id, one) for one in log.models() if (rows := _answered(log.newest(one, 1, source)))]
    if not answered:
        raise DataError(f"no request{f' of source {source}' if source else ''} in this log; make serve writes one")
    return Stretch(max(answered)[1], source, last=last)


def since_alarm(alarm: AlarmRow) -> Stretch:
    """The rows since its change, of its source."""
    return Stretch(alarm.model_id, alarm.source, alarm.since, alarm=alarm)


def rows_of(log: RequestLog, stretch: Stretch) -> list[StoredRow]:
    """The rows, the first one of each image, in the order of their ids; not those after an alarm was settled.

    Raises DataError if there is none.
    """
    end = stretch.alarm and stretch.alarm.acknowledged_at
    found = dict[bytes, StoredRow]()
    for row in _answered(log.newest(stretch.model_id, stretch.last, stretch.source)):
        if row.id >= stretch.since and (end is None or row.at <= end):
            found.setdefault(row.image_sha256, row)
    if not found:
        raise DataError(
            f"no row since request {stretch.since} is left in this log; serving.retention_days may be short"
        )
    return list(found.values())


def count_of(log: RequestLog, stretch: Stretch) -> int:
    """How many different images a stretch has; 0 if no row is left."""
    try:
        return len(rows_of(log, stretch))
    except DataError:
        return 0


def images_of(log: RequestLog, stretch: Stretch, folder: Path) -> list[Path]:
    """Files below `folder` of the images of a stretch, the newest last.

    Raises DataError if there is no such folder or no row.
    """
    order = [row.image_sha256 for row in rows_of(log, stretch)]
    found = images_by_hash(folder, set(order))
    return [found[one] for one in order if one in found]


def _answered(rows: Sequence[StoredRow]) -> list[StoredRow]:
    """Not those of a model on trial."""
    return [row for row in rows if not row.shadow]


def estimate_of(log: RequestLog, stretch: Stretch, first: int) -> dict[str, Any] | None:
    """What was thought of the accuracy: in the alarm, or in the newest verdict that holds rows from `first` on."""
    alarm = stretch.alarm
    if alarm is not None and (found := (alarm.detail.get("verdict") or {}).get("accuracy")):
        return {name: found[name] for name in ("accuracy", "low", "high", "known")} | {"of": f"alarm {alarm.id}"}
    newest = next(iter(newest_verdicts(log, stretch.model_id, 1, stretch.source)), None)
    if newest is None or newest.accuracy is None or newest.last_request < first:
        return None
    known = (newest.detail.get("accuracy") or {}).get("known", True)
    numbers = {"accuracy": newest.accuracy, "low": newest.low, "high": newest.high, "known": known}
    return numbers | {"of": f"verdict {newest.id}"}
