"""Verdicts on their way into the database and back, nothing lost.

In: a verdict of any kind. Out: a row of the table `verdict`; the same verdict again. Read by verdicts.py, the service
and log_export.py.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import func, insert, select

from drift_detector_pipeline.drift.decision import Again
from drift_detector_pipeline.drift.detecting import AnyVerdict, Detector
from drift_detector_pipeline.drift.kinds import words_of
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.serving.database import VERDICTS_LOCK, asking, writing
from drift_detector_pipeline.serving.request_log import RequestLog, sources_of
from drift_detector_pipeline.serving.rows import StoredVerdict
from drift_detector_pipeline.serving.tables import request, verdict

_PIECE = 1000  # verdicts that are read at a time, some 5 kB each
_COLUMNS = tuple(verdict.c[name] for name in StoredVerdict._fields)


def as_stored(said: AnyVerdict, detector: Detector) -> dict[str, Any]:
    """A verdict as verdict.json has it, what its detector is, and the likely loss, which that leaves out."""
    loss = None if said.worth is None else said.worth.likely_loss
    own = {"likely_loss": loss, **({} if detector.task is None else {"task": detector.task})}
    found: dict[str, Any] = as_json_gives({**detector.words.as_json(said), **detector.about(), **own})
    return found


def as_json_gives(value: Any) -> Any:
    """What comes back of plain values that went through JSON."""
    return json.loads(json.dumps(value, allow_nan=False))


def verdict_of(stored: StoredVerdict) -> AnyVerdict:
    """Undo `as_stored`."""
    found: AnyVerdict = words_of(stored.detail.get("task")).from_json(stored.detail, stored.detail["likely_loss"])
    return found


def again_of(stored: StoredVerdict) -> Again | None:
    """What a second look at the images told; None if there was none, or it told nothing."""
    said = verdict_of(stored)
    if said.worth is None or not (said.worth.by_copy or said.worth.undone):
        return None
    return Again(said.worth, said.cause if said.worth.undone else None)


class Span(NamedTuple):
    """Where a window lies: the rows of a source with ids after `after` and up to `last`."""

    source: str | None  # None: of all sources
    after: int
    last: int


def full_windows(log: RequestLog, model_id: int, window: int) -> list[Span]:
    """The next window of each source that has `window` rows after the last one that was counted; one question for all.

    Windows of a source follow one another, so the last one is the one that begins last: no look at earlier ones.
    """
    known = sources_of(model_id)
    of_source = (verdict.c.model_id == model_id, verdict.c.source == known.c.source, verdict.c.counted)
    newest = select(verdict.c.last_request).where(*of_source).order_by(verdict.c.first_request.desc()).limit(1)
    begun = select(known.c.source, func.coalesce(newest.scalar_subquery(), 0).label("after")).subquery()
    own = (request.c.model_id == model_id, request.c.source == begun.c.source, request.c.id > begun.c.after)
    last = select(request.c.id).where(*own).order_by(request.c.id).offset(window - 1).limit(1).scalar_subquery()
    with asking(), log.engine.connect() as connection:
        found = connection.execute(select(begun.c.source, begun.c.after, last))
        return [Span(source, after, end) for source, after, end in found if end is not None]


def full_window(log: RequestLog, model_id: int, window: int) -> list[Span]:
    """The next window of all sources together, if it is full; its verdict has the source ""."""
    counted = (verdict.c.model_id == model_id, verdict.c.source == "", verdict.c.counted)
    newest = select(func.coalesce(func.max(verdict.c.last_request), 0)).where(*counted)
    with asking(), log.engine.connect() as connection:
        after = int(connection.execute(newest).scalar_one())
        own = (request.c.model_id == model_id, request.c.id > after)
        last = select(request.c.id).where(*own).order_by(request.c.id).offset(window - 1).limit(1)
        end = connection.execute(last).scalar()
    return [] if end is None else [Span(None, after, end)]


def store(log: RequestLog, judged: StoredVerdict) -> StoredVerdict:
    """Count a verdict, unless its rows, or some of them, are in a window that was counted meanwhile.

    Returns what is stored of its first row then, by whoever came first.
    """
    values = {name: value for name, value in judged._asdict().items() if name != "id"}
    covering = (verdict.c.model_id == judged.model_id, verdict.c.source == judged.source, verdict.c.counted)
    first = select(*_COLUMNS).where(*covering, verdict.c.last_request >= judged.first_request).order_by(verdict.c.id)
    with asking(), writing(log.engine, VERDICTS_LOCK) as connection:
        known = connection.execute(first.limit(1)).one_or_none()
        if known is not None:
            return StoredVerdict(*known)
        own = connection.execute(insert(verdict).values(values).returning(verdict.c.id)).scalar_one()
    return judged._replace(id=own)


def stored_verdict(log: RequestLog, verdict_id: int) -> StoredVerdict:
    """One verdict. Raises DataError if there is none of that id."""
    wanted = select(*_COLUMNS).where(verdict.c.id == verdict_id)
    with asking(), log.engine.connect() as connection:
        found = connection.execute(wanted).one_or_none()
    if found is None:
        raise DataError(f"verdict {verdict_id}: not in this log")
    return StoredVerdict(*found)


def newest_verdicts(
    log: RequestLog, model_id: int | None = None, count: int = 1, source: str | None = None
) -> list[StoredVerdict]:
    """The newest `count` verdicts, the newest first, of one model and source or of all."""
    wanted = select(*_COLUMNS).order_by(verdict.c.id.desc()).limit(count)
    if model_id is not None:
        wanted = wanted.where(verdict.c.model_id == model_id)
    if source is not None:
        wanted = wanted.where(verdict.c.source == source)
    with asking(), log.engine.connect() as connection:
        return [StoredVerdict(*found) for found in connection.execute(wanted)]


def verdict_pieces(log: RequestLog) -> Iterator[list[StoredVerdict]]:
    """All verdicts, the oldest first, _PIECE at a time."""
    last = 0
    while True:
        wanted = select(*_COLUMNS).where(verdict.c.id > last).order_by(verdict.c.id).limit(_PIECE)
        with asking(), log.engine.connect() as connection:
            found = [StoredVerdict(*one) for one in connection.execute(wanted)]
        if not found:
            return
        yield found
        last = found[-1].id
