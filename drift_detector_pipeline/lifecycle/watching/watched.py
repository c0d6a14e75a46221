"""How far the streams of a log were read: rows out, and state and alarms back in one transaction.

In: the log's tables. Out: the next rows of a stream; whether what they came to was stored. Read by the monitor. A kill
leaves a stream either before a step or after it, alarms included.

Rows are taken in the order of their ids, in which they also become visible, whoever writes them: a row that came late
has a larger id, and no clock is asked.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, func, insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import held_alone
from drift_detector_pipeline.lifecycle.watching.alarms import RESTART, AlarmRow, standing_alert
from drift_detector_pipeline.lifecycle.watching.streams import Kept
from drift_detector_pipeline.serving.database import LOOP_LOCK, asking, reason, writing
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.rows import StoredRow
from drift_detector_pipeline.serving.tables import alarm, delivery, request, watch

_MONITOR_LOCK = 7_241_005  # beside those of serving/database.py; held as long as a monitor runs


class Stream(NamedTuple):
    """Rows of one model and source."""

    model_id: int
    source: str


class News(NamedTuple):
    """Whom to tell of an alarm, and not before when."""

    channels: Sequence[str]
    wait_s: float  # so long may the cause take to be found


def newest_request(log: RequestLog) -> int:
    """The id of the newest row of all; 0 of an empty log."""
    with asking(), log.engine.connect() as connection:
        return connection.execute(select(func.max(request.c.id))).scalar_one() or 0


def streams_with_rows(log: RequestLog, after: int, upto: int) -> list[Stream]:
    """The streams of the rows with ids above `after` up to `upto`; answers beside those that were given are none."""
    columns = (request.c.model_id, request.c.source)
    own = (request.c.id > after, request.c.id <= upto, request.c.shadow.is_(False))
    with asking(), log.engine.connect() as connection:
        return [Stream(*found) for found in connection.execute(select(*columns).where(*own).distinct())]


def all_streams(log: RequestLog) -> list[Stream]:
    """Every stream that the log has rows of, by a step in its index for each."""
    return [Stream(model, source) for model in log.models() for source in log.sources(model)]


def positions(log: RequestLog) -> dict[Stream, int]:
    """The last row that was read of each stream."""
    with asking(), log.engine.connect() as connection:
        found = connection.execute(select(watch.c.model_id, watch.c.source, watch.c.last_request))
        return {Stream(model, source): last for model, source, last in found}


def next_rows(log: RequestLog, stream: Stream, after: int, upto: int, count: int) -> list[StoredRow]:
    """The next `count` rows of a stream."""
    own = (request.c.model_id == stream.model_id, request.c.source == stream.source, request.c.shadow.is_(False))
    return _rows(log, [*own, request.c.id > after, request.c.id <= upto], count)


def rows_with(log: RequestLog, ids: Sequence[int]) -> list[StoredRow]:
    """The rows with these ids, a few hundred, as far as they are still there."""
    return _rows(log, [request.c.id.in_(ids)], len(ids))


def kept_of(log: RequestLog, stream: Stream) -> Kept | None:
    """What is known of a stream; None if nothing is."""
    with asking(), log.engine.connect() as connection:
        return _kept(connection, stream)


def streams_of(log: RequestLog, model_id: int) -> int:
    """How many streams of a model are watched."""
    wanted = select(func.count()).select_from(watch).where(watch.c.model_id == model_id)
    with asking(), log.engine.connect() as connection:
        return connection.execute(wanted).scalar_one()


def store(
    log: RequestLog, stream: Stream, before: Kept | None, after: Kept, raised: Sequence[AlarmRow], news: News
) -> bool:
    """Write down where a stream stands and what it raised, all or nothing.

    False, and nothing is written, if it does not stand at `before` any more: somebody acknowledged its alarm. Of a
    change that alerted already, as a verdict said, there is no second alert.
    """
    with asking(), writing(log.engine, LOOP_LOCK) as connection:
        if _place(_kept(connection, stream)) != _place(before):
            return False
        for one in raised:
            if one.level == "alert" and standing_alert(connection, one) is not None:
                continue
            values = {name: value for name, value in one._asdict().items() if name != "id"}
            number = connection.execute(insert(alarm).values(values).returning(alarm.c.id)).scalar_one()
            for channel in news.channels:
                told = {"alarm_id": number, "channel": channel, "tries": 0, "next_at": time.time() + news.wait_s}
                connection.execute(insert(delivery), told)
        if before is None:
            connection.execute(insert(watch), {**stream._asdict(), **after._asdict()})
        else:
            connection.execute(update(watch).where(*_row_of(stream)).values(after._asdict()))
    return True


@contextmanager
def the_only_one(log: RequestLog) -> Iterator[Connection | None]:
    """Hold what only one monitor of a log can: gives a connection to ask whether it still does, None if another does.

    Two at once would count nothing twice, but tell people twice.
    """
    if log.engine.dialect.name == "sqlite":
        place = Path(f"{log.engine.url.database}.monitor")
        with held_alone(place) as alone, log.engine.connect() if alone else nullcontext() as connection:
            yield connection
        return
    with asking(), closing(log.engine.connect()) as connection:
        asked = {"lock": _MONITOR_LOCK}
        alone = connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), asked).scalar_one()
        connection.commit()
        try:
            yield connection if alone else None
        finally:
            connection.invalidate()  # closed, and not given back to the pool with the lock


def still_there(connection: Connection) -> None:
    """Raise DataError if the connection that holds the lock was lost, and the lock with it."""
    try:
        connection.execute(text("SELECT 1"))
        connection.commit()
    except SQLAlchemyError as error:
        raise DataError(f"request log: {reason(error)}") from error


def _rows(log: RequestLog, own: Sequence[ColumnElement[bool]], count: int) -> list[StoredRow]:
    wanted = select(*(request.c[name] for name in StoredRow._fields)).where(*own)
    with asking(), log.engine.connect() as connection:
        return [StoredRow(*found) for found in connection.execute(wanted.order_by(request.c.id).limit(count))]


def _place(kept: Kept | None) -> tuple[int, bool] | None:
    """What of it somebody else may change: only this makes another step of it."""
    return None if kept is None else (kept.last_request, bool(kept.state.get(RESTART)))


def _kept(connection: Connection, stream: Stream) -> Kept | None:
    wanted = select(watch.c.last_request, watch.c.state).where(*_row_of(stream))
    found = connection.execute(wanted).one_or_none()
    return None if found is None else Kept(*found)


def _row_of(stream: Stream) -> tuple[ColumnElement[bool], ...]:
    return watch.c.model_id == stream.model_id, watch.c.source == stream.source
