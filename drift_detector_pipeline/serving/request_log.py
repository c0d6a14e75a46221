"""What was asked and answered, as rows: 300 bytes a request, and no image unless thumbnails are sampled.

In: a `Row` an answered image, from any thread. Out: the same rows in the order of their ids, from which verdicts can be
repeated. A killed process loses what it was given in the last quarter of a second. Fed by the service, read by
verdicts.py and log_export.py.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, Subquery, delete, func, insert, select
from sqlalchemy.exc import DataError as UnfitError
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as AllTakenError

from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.serving.buffer import Buffer
from drift_detector_pipeline.serving.database import (
    ROWS_LOCK,
    asking,
    open_database,
    reason,
    writing,
)
from drift_detector_pipeline.serving.rows import ModelFacts, Row, StoredRow
from drift_detector_pipeline.serving.tables import model, request, thumbnail

PIECE = 10_000  # rows that are deleted, or read, at a time
_TIDY_EVERY_S, _DAY_S = 3600.0, 86_400.0
_ERRORS = (SQLAlchemyError, ValueError, TypeError, ArithmeticError)
# What PostgreSQL says of a right, schema, table or column that is missing until somebody gives it back.
_MAY_BE_MENDED = {"42501", "3F000", "42P01", "42703"}
_Item = tuple[int, Row, bytes | None]


class RequestLog:
    """A log of requests in SQLite or PostgreSQL, safe to use from several threads and by several services."""

    def __init__(self, url: str, *, buffer: int = 4096, keep_days: float | None = None, reading: bool = False) -> None:
        """Open or make it. `buffer`: rows that wait at most; `keep_days`: older rows are deleted, every hour.

        For `reading` alone, a file that cannot be written is enough. Raises ConfigError for an address that is none,
        DataError if it cannot be opened or is a newer program's.
        """
        self.engine = open_database(url, reading=reading)
        name = self.engine.url.database if self.engine.dialect.name == "sqlite" else None
        self._file = None if name is None else Path(name)
        self._inode = 0 if self._file is None else self._file.stat().st_ino
        self._keep_days, self._next_tidying = keep_days, 0.0
        self._refused = 0
        self._buffer: Buffer[_Item] = Buffer(buffer, self._write, self._tidy)

    @property
    def dropped(self) -> int:
        """Rows that were given and will never be in the log."""
        return self._buffer.dropped + self._refused

    @property
    def behind(self) -> bool:
        """Whether what is in the log is older than it should be."""
        return self._buffer.behind

    @property
    def waiting(self) -> int:
        """Rows that are not in the log yet."""
        return len(self._buffer)

    def register(self, facts: ModelFacts) -> int:
        """Name a model; the same facts give the same id. Raises DataError if the database cannot be written."""
        known = select(model.c.id).where(model.c.digest == facts.digest)
        values = {"digest": facts.digest, **facts._asdict(), "loaded_at": time.time()}
        with asking(), writing(self.engine, ROWS_LOCK) as connection:
            found = connection.execute(known).scalar()
            if found is None:
                found = connection.execute(insert(model).values(values).returning(model.c.id)).scalar_one()
        return int(found)

    def put(self, model_id: int, row: Row, thumbnail: bytes | None = None) -> None:
        """Take a row, and a small picture of its image as JPEG; never waits, never raises.

        If there is no more room the oldest row that waits is dropped and counted.
        """
        self._buffer.put((model_id, row, thumbnail))

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until all rows are written; False if the database did not take them in time."""
        return self._buffer.flush(timeout_s)

    def close(self, timeout_s: float = 10.0) -> None:
        """Flush and end; what cannot be written in time is dropped and counted."""
        self._buffer.close(timeout_s)
        self.engine.dispose()

    def facts_of(self, model_id: int) -> ModelFacts:
        """What was registered. Raises DataError if nothing was."""
        wanted = select(*(model.c[name] for name in ModelFacts._fields)).where(model.c.id == model_id)
        with asking(), self.engine.connect() as connection:
            found = connection.execute(wanted).one_or_none()
        if found is None:
            raise DataError(f"model {model_id}: not in this log")
        return ModelFacts(*found)

    def models(self) -> list[int]:
        """The ids of all models, the oldest first."""
        with asking(), self.engine.connect() as connection:
            return list(connection.execute(select(model.c.id).order_by(model.c.id)).scalars())

    def count(self, model_id: int) -> int:
        """How many rows of a model there are."""
        wanted = select(func.count()).select_from(request).where(request.c.model_id == model_id)
        with asking(), self.engine.connect() as connection:
            return connection.execute(wanted).scalar_one()

    def rows(self, model_id: int, first: int, last: int, source: str | None = None) -> list[StoredRow]:
        """Rows with ids from `first` to `last`, both included, of one source or of all."""
        wanted = _rows_of(model_id, source).where(request.c.id.between(first, last))
        return self._read(wanted.order_by(request.c.id))

    def rows_after(self, model_id: int, last: int, count: int, source: str | None = None) -> list[StoredRow]:
        """The next `count` rows after the one with the id `last`."""
        wanted = _rows_of(model_id, source).where(request.c.id > last)
        return self._read(wanted.order_by(request.c.id).limit(count))

    def newest(self, model_id: int, count: int, source: str | None = None) -> list[StoredRow]:
        """The newest `count` rows, in the order of their ids."""
        return self._read(_rows_of(model_id, source).order_by(request.c.id.desc()).limit(count))[::-1]

    def pieces(self, model_id: int) -> Iterator[list[StoredRow]]:
        """All rows of a model, PIECE at a time."""
        last = 0
        while rows := self.rows_after(model_id, last, PIECE):
            yield rows
            last = rows[-1].id

    def sources(self, model_id: int) -> list[str]:
        """The sources that rows of a model have."""
        with asking(), self.engine.connect() as connection:
            return list(connection.execute(select(sources_of(model_id).c.source)).scalars())

    def thumbnail_of(self, request: int) -> bytes | None:
        """The picture that was kept of a row, if one was."""
        with asking(), self.engine.connect() as connection:
            return connection.execute(
                select(thumbnail.c.jpeg).where(thumbnail.c.request_id == request)
            ).scalar_one_or_none()

    def pictured(self, first: int, last: int) -> list[int]:
        """Those of the rows with ids from `first` to `last` of which a picture was kept."""
        wanted = select(thumbnail.c.request_id).where(thumbnail.c.request_id.between(first, last))
        with asking(), self.engine.connect() as connection:
            return list(connection.execute(wanted).scalars())

    def _read(self, wanted: Select[Any]) -> list[StoredRow]:
        with asking(), self.engine.connect() as connection:
            return [StoredRow(*found) for found in connection.execute(wanted)]

    def forget(self, before: float) -> int:
        """Delete those of the PIECE oldest rows that are older than `before`, in seconds since 1970; return how many.

        Their verdicts stay.
        """
        oldest = select(request.c.id).order_by(request.c.id).limit(PIECE).subquery()
        old = delete(request).where(request.c.id.in_(select(oldest.c.id)), request.c.at < before)
        with asking(), writing(self.engine, ROWS_LOCK) as connection:
            found = connection.execute(old)
        if self.engine.dialect.name == "sqlite":
            with asking(), closing(self.engine.raw_connection()) as raw:
                # A page a step, and of what gives no rows `execute` takes one step.
                raw.cursor().executescript("PRAGMA incremental_vacuum")
        return found.rowcount

    def _write(self, items: Sequence[_Item]) -> None:
        """Write a batch, or, if something in it cannot be kept at all, the others. Raises OSError for another try."""
        self._find_file()
        try:
            try:
                with writing(self.engine, ROWS_LOCK) as connection:
                    _insert(connection, items)
            except _ERRORS as error:
                if not _unfit(error):
                    raise
                with writing(self.engine, ROWS_LOCK) as connection:
                    refused = [why for item in items if (why := _insert_if_fit(connection, item))]
                self._refused += len(refused)
                log.warning("request log: %d rows cannot be kept: %s", len(refused), refused[-1] if refused else "")
        except (DBAPIError, AllTakenError) as error:  # the latter: readers have all connections
            raise OSError(reason(error)) from error

    def _find_file(self) -> None:
        """Raise OSError if the file of SQLite is gone: it would still be written, and nobody could read it.

        One that was put in its place is opened.
        """
        if self._file is not None and (inode := self._file.stat().st_ino) != self._inode:
            self.engine.dispose()
            self._inode = inode

    def _tidy(self) -> None:
        """Delete a piece of what is too old; between pieces rows are written."""
        if self._keep_days is None or time.monotonic() < self._next_tidying:
            return
        self._next_tidying = time.monotonic() + _TIDY_EVERY_S
        try:
            if self.forget(time.time() - self._keep_days * _DAY_S):
                self._next_tidying = 0.0
        except DataError as error:
            log.warning("request log: old rows stay for now: %s", error)


def sources_of(model_id: int) -> Subquery:
    """The sources of a model: a step from each to the next in the index, not a look at every row."""
    own = request.c.model_id == model_id
    first = select(func.min(request.c.source).label("source")).where(own).cte(recursive=True)
    following = select(func.min(request.c.source)).where(own, request.c.source > first.c.source).scalar_subquery()
    steps = first.union_all(select(following).where(first.c.source.is_not(None)))
    return select(steps.c.source).where(steps.c.source.is_not(None)).subquery()


def _rows_of(model_id: int, source: str | None) -> Select[Any]:
    wanted = select(*(request.c[name] for name in StoredRow._fields)).where(request.c.model_id == model_id)
    return wanted if source is None else wanted.where(request.c.source == source)


def _insert(connection: Connection, items: Sequence[_Item]) -> None:
    values = [{"model_id": model_id, **row._asdict()} for model_id, row, _ in items]
    if not any(jpeg for _, _, jpeg in items):
        connection.execute(insert(request), values)
        return
    asked = insert(request).returning(request.c.id, sort_by_parameter_order=True)
    ids = connection.execute(asked, values).scalars().all()
    kept = [{"request_id": own, "jpeg": jpeg} for own, (_, _, jpeg) in zip(ids, items, strict=True) if jpeg]
    connection.execute(insert(thumbnail), kept)


def _insert_if_fit(connection: Connection, item: _Item) -> str:
    """Insert a row; if that can never be, say why."""
    try:
        with connection.begin_nested():
            _insert(connection, [item])
    except _ERRORS as error:
        if not _unfit(error):
            raise
        return reason(error)
    return ""


def _unfit(error: Exception) -> bool:
    """Whether an error is of a row's own making; any other may pass."""
    if isinstance(error, AllTakenError):
        return False
    if isinstance(error, ProgrammingError) and getattr(error.orig, "sqlstate", None) in _MAY_BE_MENDED:
        return False
    return not isinstance(error, DBAPIError) or isinstance(error, IntegrityError | UnfitError | ProgrammingError)
