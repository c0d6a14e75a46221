"""What was done about changes, as rows: when, why, what came of it. A row stands before anything is done.

In: the request log, whose table decision is read and written here. Out: `Decision`s. Written by the autopilot, read by
people, and by the autopilot for what it has tried and what its budget has left.
"""

import time
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from sqlalchemy import func, insert, select, update

from drift_detector_pipeline.serving.database import LOOP_LOCK, asking, writing
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.tables import decision

Action = Literal["nothing", "return", "basket", "heal", "retrain"]
INTERRUPTED = "interrupted"  # killed on the way; what it was about is taken up again


class Decision(NamedTuple):
    """What was decided, and what came of it."""

    id: int
    at: float  # seconds since 1970
    ended_at: float | None  # None: under way
    alarm_id: int | None  # None: by schedule
    action: str
    outcome: str | None  # a sentence; None: under way
    detail: dict[str, Any]  # "reasons"; "version", "gate", "basket", "adopted", as far as there are some


_COLUMNS = tuple(decision.c[name] for name in Decision._fields)


def begin(log: RequestLog, action: Action, alarm_id: int | None, detail: Mapping[str, Any]) -> int:
    """Write down what is going to be done; return its number."""
    values = {"at": time.time(), "alarm_id": alarm_id, "action": action, "detail": dict(detail)}
    with asking(), writing(log.engine, LOOP_LOCK) as connection:
        return int(connection.execute(insert(decision).values(values).returning(decision.c.id)).scalar_one())


def end(log: RequestLog, number: int, outcome: str, detail: Mapping[str, Any]) -> None:
    """Write down what came of it."""
    values = {"ended_at": time.time(), "outcome": outcome, "detail": dict(detail)}
    with asking(), writing(log.engine, LOOP_LOCK) as connection:
        connection.execute(update(decision).where(decision.c.id == number).values(values))


def end_the_interrupted(log: RequestLog) -> int:
    """Mark what a killed autopilot had begun; return how many. Whoever calls this is the only one that acts.

    They count as if they had ended at once: nobody knows when they did.
    """
    values = {"ended_at": decision.c.at, "outcome": INTERRUPTED}
    with asking(), writing(log.engine, LOOP_LOCK) as connection:
        return connection.execute(update(decision).where(decision.c.ended_at.is_(None)).values(values)).rowcount


def decisions(log: RequestLog, *, alarm_id: int | None = None, since: float = 0.0) -> list[Decision]:
    """All since a time, the oldest first, about one alarm or any."""
    wanted = select(*_COLUMNS).where(decision.c.at >= since).order_by(decision.c.id)
    if alarm_id is not None:
        wanted = wanted.where(decision.c.alarm_id == alarm_id)
    with asking(), log.engine.connect() as connection:
        return [Decision(*found) for found in connection.execute(wanted)]


def last_of(log: RequestLog, action: Action) -> float | None:
    """When something was last begun, in seconds since 1970."""
    with asking(), log.engine.connect() as connection:
        wanted = select(func.max(decision.c.at)).where(decision.c.action == action)
        return connection.execute(wanted).scalar_one_or_none()
