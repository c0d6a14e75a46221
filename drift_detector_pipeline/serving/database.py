"""Where the request log lives: SQLite or PostgreSQL; one from an older version is brought up to date.

In: an address. Out: an open SQLAlchemy engine with the tables of tables.py. Read by request_log.py.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from json import JSONDecodeError
from math import ceil
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, text, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as AllTakenError

from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.files import from_home, is_there
from drift_detector_pipeline.serving.tables import MIGRATIONS, TABLES, version

_NAMED_BY = "serving.database, monitor.database or DATABASE_URL"
WAIT_S = 5.0  # for another process that writes, a server that does not answer, a connection that others have
_NOT_WRITABLE = ("SQLITE_READONLY", "SQLITE_CANTOPEN")
_HINTS = {
    "SQLITE_FULL": " (is the disk full?)",
    "SQLITE_IOERR": " (is the disk full?)",
    **dict.fromkeys(_NOT_WRITABLE, " (it and its folder must be writable)"),
}
# Of this log's advisory locks in PostgreSQL, where two services write side by side.
ROWS_LOCK, VERDICTS_LOCK, SCHEMA_LOCK, LOOP_LOCK = 7_241_001, 7_241_002, 7_241_003, 7_241_004


def open_database(
    address: str, migrations: Sequence[Callable[[Connection], None]] = MIGRATIONS, *, reading: bool = False
) -> Engine:
    """Open, and make or bring up to date, the database at `sqlite:///PATH` or `postgresql://...`.

    For `reading` alone, a file that cannot be written is enough. Raises ConfigError for another address, DataError if
    it cannot be opened or is of a newer version.
    """
    url, newest = _checked(address), 1 + len(migrations)
    try:
        return _checked_engine(_engine(url), lambda engine: _bring_up_to_date(engine, migrations))
    except DataError as error:
        code = getattr(getattr(error.__cause__, "orig", None), "sqlite_errorname", "")
        if not (reading and code.startswith(tuple(_HINTS))):
            raise
    return _checked_engine(_reading_engine(url), lambda engine: _refuse_other_version(engine, newest))


def is_missing(address: str) -> bool:
    """Whether `address` is that of a file which is not there, and so would be made."""
    url = _checked(address)
    return url.drivername == "sqlite" and not is_there(Path(str(url.database)))


def reason(error: Exception) -> str:
    """What the database itself said, in a line, without the statement and its values."""
    if isinstance(error, AllTakenError):
        return f"all connections were taken for {WAIT_S:g} s"
    own = getattr(error, "orig", None) or error
    said = str(own).strip()
    code = getattr(own, "sqlite_errorname", "")
    hint = next((words for start, words in _HINTS.items() if code.startswith(start)), "")
    return (said.splitlines()[0] if said else type(error).__name__) + hint


@contextmanager
def asking() -> Iterator[None]:
    """Turn an error of the database, a value that it cannot hold, or one that is damaged in it, into a DataError."""
    try:
        yield
    except (OverflowError, UnicodeError) as error:
        raise DataError(f"request log: {error}; expected whole numbers below 2^63, and text in UTF-8") from error
    except JSONDecodeError as error:
        raise DataError(f"request log: a value in it is damaged ({error}); restore the database from a copy") from error
    except SQLAlchemyError as error:
        raise DataError(f"request log: {reason(error)}; serving.database must be there and writable") from error


@contextmanager
def writing(engine: Engine, lock: int) -> Iterator[Connection]:
    """A transaction that writes; who holds the same lock in another process or thread waits.

    SQLite has one lock for all. In PostgreSQL it also makes ids appear in their order: without it a batch with smaller
    ids could become visible after one with larger ones, and windows of rows would not be what they were a moment ago.
    """
    with engine.connect().execution_options(begins="BEGIN IMMEDIATE") as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})
        yield connection


def _checked(address: str) -> URL:
    wanted = "expected sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"
    try:
        url = make_url(address.replace("postgres://", "postgresql://", 1))  # as some hosts write it
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        raise ConfigError(f"{_NAMED_BY}: {wanted}") from error
    if url.drivername in ("postgresql", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername == "sqlite" and url.database not in (None, "", ":memory:"):
        if "?" in address:
            raise ConfigError(f"{address}: a ? ends the file's name there; rename the file; {_NAMED_BY} names it")
        database = from_home(str(url.database))
        if is_there(Path(database)) and not Path(database).is_file():
            raise ConfigError(f"{_shown(url)}: a folder, a pipe or a device; a file is expected; {_NAMED_BY} names it")
        return url.set(database=database)
    raise ConfigError(f"{_shown(url)}: {wanted}; {_NAMED_BY} names it")


def _shown(url: URL) -> str:
    """Without what may be secret."""
    return url.set(query={}).render_as_string(hide_password=True)


def _engine(url: URL) -> Engine:
    if url.drivername == "sqlite":
        Path(url.database or "").absolute().parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url, connect_args={"timeout": WAIT_S}, pool_timeout=WAIT_S)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # its warnings repeat what is raised
    try:
        # A server that went away is noticed, not waited for: the log drops rows meanwhile and says so.
        patience = {"connect_timeout": ceil(WAIT_S), "tcp_user_timeout": ceil(1000 * WAIT_S)}
        # Of a database without encoding (SQL_ASCII, where a container has no locale) psycopg would read bytes, no text.
        words = {"client_encoding": "utf8"}
        return create_engine(url, connect_args=patience | words, pool_pre_ping=True, pool_timeout=WAIT_S)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise ConfigError(
            "serving.database: PostgreSQL needs psycopg; install it: pip install -e .[postgres]"
        ) from error


def _reading_engine(url: URL) -> Engine:
    """Of a file in a place where SQLite cannot make its own files beside it, which it needs even to read.

    Without rows that wait beside it, nobody writes there: it is read as a file that stays as it is.
    """
    path = Path(str(url.database)).absolute()
    waiting = path.with_name(f"{path.name}-wal")
    how = "mode=ro" if waiting.exists() and waiting.stat().st_size else "immutable=1"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(f"{path.as_uri()}?{how}", uri=True, timeout=WAIT_S, check_same_thread=False)

    return create_engine(url, creator=connect, pool_timeout=WAIT_S)


def _checked_engine(engine: Engine, check: Callable[[Engine], None]) -> Engine:
    try:
        check(engine)
    except SQLAlchemyError as error:
        engine.dispose()
        raise DataError(f"{_shown(engine.url)}: {reason(error)}; {_NAMED_BY} names another one") from error
    except DataError:
        engine.dispose()
        raise
    return engine


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says, see `_begin_sqlite`
    # The first one counts in a new file only, before anything else is written.
    for setting in ("auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        _ask_patiently(connection, f"PRAGMA {setting}")


def _ask_patiently(connection: Any, statement: str) -> None:
    """Wait for others that open a new file at the same time: for a change of its journal SQLite itself does not."""
    until = time.monotonic() + WAIT_S
    while True:
        try:
            connection.execute(statement).fetchall()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)


def _begin_sqlite(connection: Connection) -> None:
    """Who is going to write says so at once: a transaction that reads first may find that it cannot write any more."""
    connection.exec_driver_sql(connection.get_execution_options().get("begins", "BEGIN"))


def _bring_up_to_date(engine: Engine, migrations: Sequence[Callable[[Connection], None]]) -> None:
    newest = 1 + len(migrations)
    with writing(engine, SCHEMA_LOCK) as connection:
        if not inspect(connection).has_table(version.name):
            TABLES.create_all(connection)
            connection.execute(version.insert(), {"number": newest})
            return
        found = _version_of(connection, newest)
        for migrate in migrations[found - 1 :]:
            migrate(connection)
        if found < newest:
            connection.execute(update(version), {"number": newest})


def _refuse_other_version(engine: Engine, newest: int) -> None:
    with engine.connect() as connection:
        found = _version_of(connection, newest) if inspect(connection).has_table(version.name) else 0
    if found < newest:
        raise DataError(
            f"{_shown(engine.url)}: a log of version {found} where nothing can be written, so it cannot be brought to "
            f"version {newest}; copy it into a folder that can be written, and name the copy: {_NAMED_BY}"
        )


def _version_of(connection: Connection, newest: int) -> int:
    found = int(connection.execute(select(version.c.number)).scalar_one())
    if found > newest:
        raise DataError(
            f"{_shown(connection.engine.url)}: a log of version {found}, and this program knows {newest}; "
            "use the newer program, or name another database: serving.database=..."
        )
    return found
