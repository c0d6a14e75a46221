"""Why has a stream changed, and what has it cost? The rows since the change, as soon as there are enough of them.

In: an alarm, and what its stream knows by then. Out: the alarm's row with its cause, and the verdict on those rows,
accuracy included, in its detail; an alert where that verdict says of a notice that it probably hurts. Read by the
monitor.

The first look takes half of `images` rows: enough for an alert, and a guess at the cause, which a second look at all of
them settles. As long as they do not show a change, or not which one, twice as many are waited for, and so on. Which
rows a look takes, and what it comes to, follows from the rows alone, not from when somebody looks.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import update

from drift_detector_pipeline.drift.cause import UNKNOWN, UNTOLD
from drift_detector_pipeline.drift.detecting import AnyVerdict, Detector
from drift_detector_pipeline.drift.stream.alarm import as_alert
from drift_detector_pipeline.lifecycle.watching.alarms import AlarmRow, alarms, raise_alert
from drift_detector_pipeline.lifecycle.watching.streams import requests_of
from drift_detector_pipeline.lifecycle.watching.watched import Stream, rows_with
from drift_detector_pipeline.serving.database import LOOP_LOCK, asking, writing
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.stored_verdicts import as_stored
from drift_detector_pipeline.serving.tables import alarm, delivery
from drift_detector_pipeline.serving.verdicts import look_at

_LOOKS = 5  # at half of the images, all, twice, four and eight times as many
_LOOKED = "looked"  # in an alarm's detail: the rows of its newest look
_NO_CHANGE = ("quiet", "too few images")
_OPEN = (None, *UNTOLD)


class _Look(NamedTuple):
    rows: list[int]  # their ids
    last: bool


def name_causes(
    log: RequestLog, stream: Stream, state: dict[str, Any], detector: Detector, images: int, channels: Sequence[str]
) -> list[AlarmRow]:  # fmt: skip
    """Ask about the open alarms of a stream whose cause is not known; return what is known now, alerts included.

    `state`: what the stream knows, no more than one step after the rows that are needed were there. `channels`: those
    that are told of an alert.
    """
    found, counted = list[AlarmRow](), list[int]()
    while standing := [one for one in alarms(log, **stream._asdict(), open_only=True) if _is_untold(one, images)]:
        counted = counted or requests_of(state)
        looks = ((one, look) for one in reversed(standing) if (look := _next_look(one, counted, images)))
        if (due := next(looks, None)) is None:
            break
        found += _answered(log, *due, detector, channels)
    return found


def cause_of(said: AnyVerdict) -> str:
    """The kind; "unknown"; or two kinds at once, which no table of kinds has: "fog and contrast"."""
    if said.cause is None:
        return UNKNOWN
    return said.cause.kind if said.cause.second is None else f"{said.cause.kind} and {said.cause.second}"


def _is_untold(one: AlarmRow, images: int) -> bool:
    """Whether the cause of an alarm is not known, or only guessed."""
    return one.cause in _OPEN or _looked(one) < images


def _looked(one: AlarmRow) -> int:
    """How many images were looked at."""
    return int(one.detail.get(_LOOKED, (one.detail.get("verdict") or {}).get("images", 0)))


def _next_look(one: AlarmRow, counted: list[int], images: int) -> _Look | None:
    """The next rows to ask about an alarm whose cause is not told; None as long as some are missing."""
    sizes = [(images << look) // 2 for look in range(_LOOKS)]
    since, most = [request for request in counted if request >= one.since], sizes[-1]
    for look, size in enumerate(sizes if one.cause is None else sizes[:-1]):  # later the change may be over
        if len(since) < size:
            return None
        last = max(one.request, since[size - 1])
        chosen = [request for request in since if request <= last][-most:]
        if len(chosen) > _looked(one):
            return _Look(chosen, look == _LOOKS - 1 or len(chosen) == most)
    return None


def _answered(
    log: RequestLog, one: AlarmRow, look: _Look, detector: Detector, channels: Sequence[str]
) -> list[AlarmRow]:  # fmt: skip
    """Judge the rows of a look and write down what came of it; one that sees no change says nothing but at last."""
    rows = rows_with(log, look.rows)
    said, detail = look_at(rows, detector).verdict, {**one.detail, _LOOKED: len(look.rows)}
    if said.level in _NO_CHANGE and (one.cause is not None or not look.last):
        _store(log, one._replace(detail=detail))
        return []
    told = one._replace(cause=cause_of(said), detail={**detail, "verdict": as_stored(said, detector)})
    if one.level != "notice" or said.level != "alert":
        _store(log, told)
        return [told]
    louder = {**told.detail, "alarm": as_alert(one.detail["alarm"])}
    alert = told._replace(id=0, at=rows[-1].at, level="alert", request=rows[-1].id, detail=louder)
    return [told, alert] if _store(log, told, alert, channels) else [told]


def _store(log: RequestLog, told: AlarmRow, alert: AlarmRow | None = None, channels: Sequence[str] = ()) -> bool:
    """Write down what is known, and the alert that a notice has become, all or nothing; whether that one is new.

    Once the cause is known, who is to be told need not wait any longer.
    """
    untold = (delivery.c.alarm_id == told.id, delivery.c.tries == 0, delivery.c.next_at.is_not(None))
    with asking(), writing(log.engine, LOOP_LOCK) as connection:
        connection.execute(update(alarm).where(alarm.c.id == told.id).values(cause=told.cause, detail=told.detail))
        if told.cause is not None:
            connection.execute(update(delivery).where(*untold).values(next_at=time.time()))
        return alert is not None and raise_alert(connection, told.id, alert, channels)
