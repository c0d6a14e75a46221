"""The tables of the request log and of what follows from it: what is kept where, and how an older log gets them.

Read by database.py, which opens a log, and by whoever asks one table.
"""

from collections.abc import Callable

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    false,
    text,
)
from sqlalchemy.types import REAL

TABLES = MetaData()
_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only what is an INTEGER

version = Table("schema_version", TABLES, Column("number", Integer, nullable=False))
model = Table(
    "model", TABLES,
    Column("id", _Id, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),  # of the facts: the same ones are one model
    Column("sha256", Text, nullable=False),
    Column("reference_sha256", Text, nullable=False),
    Column("runtime", Text, nullable=False),
    Column("precision", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("classes", JSON, nullable=False),
    Column("scores", JSON, nullable=False),
    Column("loaded_at", Double, nullable=False),
)  # fmt: skip
request = Table(
    "request", TABLES,
    Column("id", _Id, primary_key=True),
    Column("at", Double, nullable=False),
    Column("model_id", _Id, ForeignKey("model.id"), nullable=False),
    Column("request_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("image_sha256", LargeBinary, nullable=False),
    Column("predicted", SmallInteger, nullable=False),
    Column("probability", REAL, nullable=False),
    Column("milliseconds", REAL, nullable=False),
    Column("phi", LargeBinary, nullable=False),
    Column("shadow", Boolean, nullable=False, server_default=false()),  # answered beside the one that was given
    Index("request_by_source", "model_id", "source", "id"),
    sqlite_autoincrement=True,  # an id is never used again, also after the newest rows were deleted
)  # fmt: skip
thumbnail = Table(
    "thumbnail", TABLES,
    Column("request_id", _Id, ForeignKey("request.id", ondelete="CASCADE"), primary_key=True),
    Column("jpeg", LargeBinary, nullable=False),
)  # fmt: skip
verdict = Table(
    "verdict", TABLES,
    Column("id", _Id, primary_key=True),
    Column("at", Double, nullable=False),
    Column("model_id", _Id, ForeignKey("model.id"), nullable=False),
    Column("source", Text, nullable=False),
    Column("first_request", _Id, nullable=False),  # no foreign keys: verdicts outlive their rows
    Column("last_request", _Id, nullable=False),
    Column("images", Integer, nullable=False),
    Column("repeated", Integer, nullable=False),
    Column("counted", Boolean, nullable=False),
    Column("level", Text, nullable=False),
    Column("p", Double),
    Column("accuracy", Double),
    Column("low", Double),
    Column("high", Double),
    Column("by_copy", Boolean, nullable=False),
    Column("detail", JSON, nullable=False),
)  # fmt: skip
counted_once = Index(
    "verdict_counted_once", verdict.c.model_id, verdict.c.source, verdict.c.first_request, unique=True,
    postgresql_where=verdict.c.counted, sqlite_where=verdict.c.counted,
)  # fmt: skip

# What the monitor has read of a stream, with what it knows by then: the two change together or not at all.
watch = Table(
    "watch", TABLES,
    Column("model_id", _Id, ForeignKey("model.id"), primary_key=True),
    Column("source", Text, primary_key=True),
    Column("last_request", _Id, nullable=False),
    Column("state", JSON, nullable=False),
)  # fmt: skip
alarm = Table(
    "alarm", TABLES,
    Column("id", _Id, primary_key=True),
    Column("at", Double, nullable=False),
    Column("model_id", _Id, ForeignKey("model.id"), nullable=False),
    Column("source", Text, nullable=False),
    Column("level", Text, nullable=False),
    Column("request", _Id, nullable=False),  # the row that raised it; no foreign key: alarms outlive their rows
    Column("since", _Id, nullable=False),  # likeliest first row of the change
    Column("cause", Text),  # once it is known
    Column("detail", JSON, nullable=False),
    Column("acknowledged_at", Double),
    Column("acknowledged_by", Text),
    Column("note", Text),
    Index("alarm_once", "model_id", "source", "request", "level", unique=True),
)  # fmt: skip
delivery = Table(
    "delivery", TABLES,
    Column("alarm_id", _Id, ForeignKey("alarm.id", ondelete="CASCADE"), primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("tries", Integer, nullable=False),
    Column("next_at", Double),  # None: delivered, or given up
    Column("delivered_at", Double),
    Column("problem", Text),
)  # fmt: skip
silence = Table(
    "silence", TABLES,
    Column("source", Text, primary_key=True),
    Column("until", Double, nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
)  # fmt: skip
decision = Table(
    "decision", TABLES,
    Column("id", _Id, primary_key=True),
    Column("at", Double, nullable=False),
    Column("ended_at", Double),  # None: under way, or killed on the way
    Column("alarm_id", _Id),  # None: by schedule
    Column("action", Text, nullable=False),
    Column("outcome", Text),
    Column("detail", JSON, nullable=False),  # reasons, settings, what was made
)  # fmt: skip
_OF_THE_LOOP = (watch, alarm, delivery, silence, decision)


def _close_the_loop(connection: Connection) -> None:
    """Version 1 had requests, thumbnails and verdicts alone."""
    connection.execute(text("ALTER TABLE request ADD COLUMN shadow BOOLEAN NOT NULL DEFAULT FALSE"))
    TABLES.create_all(connection, tables=_OF_THE_LOOP)


# Number n brings a database of version n to n + 1; a new database gets today's tables at once.
MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_close_the_loop,)
