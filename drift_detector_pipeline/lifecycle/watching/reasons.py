"""Why has a stream changed, and what has it cost? The rows since the change, as soon as there are enough of them.

In: an alarm without a cause, and what its stream knows by then. Out: the alarm's row with its cause, and the verdict on
those rows, accuracy included, in its detail. Read by the monitor.

The first look takes `images` rows. If they do not show a change yet, though the stream has noticed one, twice as many
are waited for, and so on. Which rows a look takes follows from the rows alone, not from when somebody looks.
"""

import time
from typing import Any

from sqlalchemy import update

from drift_detector_pipeline.drift.cause import UNKNOWN
from drift_detector_pipeline.drift.detecting import AnyVerdict, Detector
from drift_detector_pipeline.lifecycle.watching.alarms import AlarmRow, alarms
from drift_detector_pipeline.lifecycle.watching.streams import requests_of
from drift_detector_pipeline.lifecycle.watching.watched import Stream, rows_with
from drift_detector_pipeline.serving.database import LOOP_LOCK, asking, writing
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.stored_verdicts import as_stored
from drift_detector_pipeline.serving.tables import alarm, delivery
from drift_detector_pipeline.serving.verdicts import look_at

_LOOKS = 4  # of images, twice, four times and eight times as many


def name_causes(
    log: RequestLog, stream: Stream, state: dict[str, Any], detector: Detector, images: int
) -> list[AlarmRow]:  # fmt: skip
    """Find the cause of the open alarms of a stream that have none; return those that have one now.

    `state`: what the stream knows, no more than one step after the rows that are needed were there.
    """
    waiting = [one for one in alarms(log, **stream._asdict(), open_only=True) if one.cause is None]
    counted = requests_of(state) if waiting else []
    found = list[AlarmRow]()
    for one in reversed(waiting):
        if (said := _judged(log, one, counted, detector, images)) is not None:
            detail = {**one.detail, "verdict": as_stored(said, detector)}
            found.append(one._replace(cause=cause_of(said), detail=detail))
            _store(log, found[-1])
    return found


def cause_of(said: AnyVerdict) -> str:
    """The kind; "unknown"; or two kinds at once, which no table of kinds has: "fog and contrast"."""
    if said.cause is None:
        return UNKNOWN
    return said.cause.kind if said.cause.second is None else f"{said.cause.kind} and {said.cause.second}"


def _judged(log: RequestLog, one: AlarmRow, counted: list[int], detector: Detector, images: int) -> AnyVerdict | None:
    """The verdict of the first look that sees a change, or of the last one; None as long as rows are missing."""
    since, most, before = [request for request in counted if request >= one.since], images << (_LOOKS - 1), list[int]()
    for look in range(_LOOKS):
        if len(since) < (size := images << look):
            return None
        last = max(one.request, since[size - 1])
        chosen = [request for request in since if request <= last][-most:]
        if chosen == before:
            continue
        before, said = chosen, look_at(rows_with(log, chosen), detector).verdict
        if said.cause is not None:
            return said
    return said


def _store(log: RequestLog, one: AlarmRow) -> None:
    """Write it down once; who is to be told need not wait any longer."""
    own = (alarm.c.id == one.id, alarm.c.cause.is_(None))
    untold = (delivery.c.alarm_id == one.id, delivery.c.tries == 0, delivery.c.next_at.is_not(None))
    with asking(), writing(log.engine, LOOP_LOCK) as connection:
        connection.execute(update(alarm).where(*own).values(cause=one.cause, detail=one.detail))
        connection.execute(update(delivery).where(*untold).values(next_at=time.time()))
