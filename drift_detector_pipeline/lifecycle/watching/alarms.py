"""Alarms of streams as rows: which stand, who looked at them and why, whose news is held back for a while.

In: the request log, whose tables alarm, watch and silence are read and written here. Out: `AlarmRow`s. Written by the
monitor, read by people, by what tells them and by the policy. One change of a stream has a notice and perhaps an alert;
then the stream rests until somebody has acknowledged it.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.serving.database import LOOP_LOCK, asking, writing
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.tables import alarm, delivery, silence, watch

RESTART = "restart"  # in a stream's state: its alarm was acknowledged, so its next row begins it anew
MOST_HOURS = 87_600  # of a silence
_HOUR_S = 3600.0


class AlarmRow(NamedTuple):
    """A stream has changed ("notice"), or that probably hurts ("alert")."""

    id: int
    at: float  # seconds since 1970, when the row that raised it was answered
    model_id: int
    source: str
    level: str
    request: int  # id of the row that raised it
    since: int  # likeliest first row of the change
    cause: str | None  # a kind, as drift/cause.py names it, "unknown", or "fog and contrast"; None: not known yet
    detail: dict[str, Any]  # "alarm": what the stream says; "verdict", once there is one: what the rows since then say
    acknowledged_at: float | None  # None: it stands
    acknowledged_by: str | None
    note: str | None


class Silence(NamedTuple):
    """News of a source is held back; its alarms are kept."""

    source: str
    until: float  # seconds since 1970
    who: str
    why: str


COLUMNS = tuple(alarm.c[name] for name in AlarmRow._fields)


def alarms(
    log: RequestLog, *, model_id: int | None = None, source: str | None = None, open_only: bool = False,
    count: int | None = None,
) -> list[AlarmRow]:  # fmt: skip
    """Alarms, the newest first, of one model and source or of all. Raises DataError if the log cannot be read."""
    wanted = select(*COLUMNS).order_by(alarm.c.id.desc()).limit(count)
    if model_id is not None:
        wanted = wanted.where(alarm.c.model_id == model_id)
    if source is not None:
        wanted = wanted.where(alarm.c.source == source)
    if open_only:
        wanted = wanted.where(alarm.c.acknowledged_at.is_(None))
    with asking(), log.engine.connect() as connection:
        return [AlarmRow(*found) for found in connection.execute(wanted)]


def open_alarms(log: RequestLog, model_id: int | None = None) -> list[AlarmRow]:
    """Alarms that nobody has acknowledged, the newest first."""
    return alarms(log, model_id=model_id, open_only=True)


def alarm_of(log: RequestLog, alarm_id: int) -> AlarmRow:
    """One alarm. Raises DataError if there is none of that id."""
    with asking(), log.engine.connect() as connection:
        return _one(connection, alarm_id)


def severity_of(one: AlarmRow) -> float | None:
    """How strong its cause is, as far as the verdict tells."""
    cause = (one.detail.get("verdict") or {}).get("cause") or {}
    severity = cause.get("severity")
    return None if severity is None else float(severity)


def raise_alert(connection: Connection, notice: int, one: AlarmRow, channels: Sequence[str]) -> bool:
    """Write down what a notice has become, and whom to tell; whether that is a new alert.

    It is none if somebody has acknowledged the notice by now, or if an earlier row alerted. An alert that a later row
    raised gives way: which alarms there are must not depend on who came first.
    """
    values = {name: value for name, value in one._asdict().items() if name != "id"}
    standing = standing_alert(connection, one)
    if _one(connection, notice).acknowledged_at is not None or (standing and standing.request <= one.request):
        return False
    if standing is not None:
        connection.execute(update(alarm).where(alarm.c.id == standing.id).values(values))
        return False
    number = connection.execute(insert(alarm).values(values).returning(alarm.c.id)).scalar_one()
    for channel in channels:
        told = {"alarm_id": number, "channel": channel, "tries": 0, "next_at": time.time()}
        connection.execute(insert(delivery), told)
    return True


def standing_alert(connection: Connection, one: AlarmRow) -> AlarmRow | None:
    """The alert about the same change of the same stream, if nobody has acknowledged it."""
    own = (alarm.c.model_id == one.model_id, alarm.c.source == one.source, alarm.c.since == one.since)
    standing = (alarm.c.level == "alert", alarm.c.acknowledged_at.is_(None))
    found = connection.execute(select(*COLUMNS).where(*own, *standing)).first()
    return None if found is None else AlarmRow(*found)


def open_counts(log: RequestLog) -> dict[str, int]:
    """How many alarms of each level stand."""
    wanted = select(alarm.c.level, func.count()).where(alarm.c.acknowledged_at.is_(None)).group_by(alarm.c.level)
    with asking(), log.engine.connect() as connection:
        return {found[0]: found[1] for found in connection.execute(wanted)}


def acknowledge(log: RequestLog, alarm_id: int, who: str, note: str) -> AlarmRow:
    """Write down that somebody looked at an alarm and why it is settled; its stream begins anew with its next row.

    Notice and alert of one change are settled together. Of an alarm that was acknowledged before nothing changes: the
    row says who did. Raises DataError if there is no such alarm.
    """
    with asking(), writing(log.engine, LOOP_LOCK) as connection:
        found = _one(connection, alarm_id)
        if found.acknowledged_at is None:
            own = (alarm.c.model_id == found.model_id, alarm.c.source == found.source)
            settled = {"acknowledged_at": time.time(), "acknowledged_by": who, "note": note}
            connection.execute(update(alarm).where(*own, alarm.c.acknowledged_at.is_(None)).values(settled))
            _restart(connection, found.model_id, found.source)
        return _one(connection, alarm_id)


def silence_source(log: RequestLog, source: str, hours: float, *, who: str, why: str) -> Silence:
    """Hold back the news of a source for so many hours from now; 0 ends a silence. What was held is sent afterwards.

    Raises ConfigError for a negative number, or a silence of more than ten years.
    """
    if not 0 <= hours <= MOST_HOURS:
        raise ConfigError(f"hours={hours:g}: expected 0 to {MOST_HOURS}")
    kept = Silence(source, time.time() + hours * _HOUR_S, who, why)
    with asking(), writing(log.engine, LOOP_LOCK) as connection:
        connection.execute(delete(silence).where(silence.c.source == source))
        connection.execute(insert(silence), kept._asdict())
    return kept


def silences(log: RequestLog) -> list[Silence]:
    """Those that hold now, by source."""
    wanted = select(*(silence.c[name] for name in Silence._fields)).where(silence.c.until > time.time())
    with asking(), log.engine.connect() as connection:
        return [Silence(*found) for found in connection.execute(wanted.order_by(silence.c.source))]


def _one(connection: Connection, alarm_id: int) -> AlarmRow:
    found = connection.execute(select(*COLUMNS).where(alarm.c.id == alarm_id)).one_or_none()
    if found is None:
        raise DataError(f"alarm {alarm_id}: not in this log; make alarms lists those that are")
    return AlarmRow(*found)


def _restart(connection: Connection, model_id: int, source: str) -> None:
    """Leave word for the monitor, in the state that it goes on from."""
    own = (watch.c.model_id == model_id, watch.c.source == source)
    state = connection.execute(select(watch.c.state).where(*own)).scalar_one_or_none()
    if state is not None:
        connection.execute(update(watch).where(*own).values(state={**state, RESTART: True}))
