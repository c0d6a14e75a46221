"""`make models`: every version, what it was measured at, what a test and the request log say of it.

In: models/ and, if there is one, the log that `make serve` writes. Out: a table on stdout, or JSON with --json. Another
log: serving.database=... or DATABASE_URL.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import func, select

from drift_detector_pipeline.commands import refuse_others
from drift_detector_pipeline.console import in_columns, set_up_logging, tell
from drift_detector_pipeline.console import log as console
from drift_detector_pipeline.errors import DataError, PipelineError, exit_status
from drift_detector_pipeline.release.admitted import newest_gate
from drift_detector_pipeline.release.artefact import MODELS, REFERENCE, VERSIONS, Artefact
from drift_detector_pipeline.release.registry import champion, listed_version, versions
from drift_detector_pipeline.serving.database import asking
from drift_detector_pipeline.serving.log_export import DATABASE
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.stored_verdicts import newest_verdicts
from drift_detector_pipeline.serving.tables import alarm

_HEAD = ("", "version", "accuracy", "MB", "ms", "exported", "tested", "in the log")


class Drift(NamedTuple):
    """What a log says of a model."""

    images: int  # that it answered
    level: str | None  # of the newest counted verdict
    p: float | None
    accuracy: float | None  # estimated
    low: float | None
    high: float | None
    open_alarms: int  # that nobody has acknowledged


class Listed(NamedTuple):
    """A version, as the table shows it."""

    version: str
    champion: bool
    accuracy: float | None  # on `val`, of the file that is served
    low: float | None
    high: float | None
    megabytes: float
    milliseconds: float | None  # an image alone, of one core
    exported: str | None  # when
    gate: str | None  # newest test as a candidate: "passed against VERSION"
    drift: Drift | None


@exit_status
def main() -> int:
    """Print all versions."""
    words = [word for word in sys.argv[1:] if word]
    plain = "--json" in words
    words = [word for word in words if word != "--json"]
    refuse_others(words, ("serving.database",), "make models", "--json prints it for programs")
    set_up_logging()
    given = dict(word.split("=", 1) for word in words)
    found = listed(MODELS, given.get("serving.database") or os.environ.get("DATABASE_URL") or DATABASE)
    if plain:
        print(json.dumps([_plain(one) for one in found], indent=2))
    elif found:
        print(in_columns([_HEAD, *map(_cells, found)]))
    else:
        tell(f"{MODELS / VERSIONS}: no version yet; make promote VERSION=models/artefact WHY=... registers the first")
    return 0


def listed(place: Path, database: str) -> list[Listed]:
    """All versions, their manifests read and no file hashed; one that is damaged is named and left out.

    Raises DataError if champion.json is damaged.
    """
    own, found = champion(place), list[tuple[Artefact, int]]()
    for version in versions(place):
        try:
            found.append(listed_version(version, place))
        except DataError as error:
            console.warning("%s", error)
    drift = _in_log([artefact for artefact, _ in found], database)
    return [_listed(*one, said, place, own and own.version) for one, said in zip(found, drift, strict=True)]


def _listed(artefact: Artefact, size: int, drift: Drift | None, place: Path, own: str | None) -> Listed:
    facts, version = artefact.facts, artefact.folder.name
    table = facts.get("table")
    known = table if isinstance(table, list) else []
    rows = (row for row in known if isinstance(row, dict) and str(row.get("note", "")).startswith("served"))
    row: dict[str, Any] = next(rows, {})
    accuracy, when = _number(row.get("accuracy", facts.get("accuracy"))), facts.get("when")
    low, high, speed = (_number(row.get(name)) for name in ("low", "high", "milliseconds_1"))
    return Listed(
        version, version == own, accuracy, low, high, round(size / 1e6, 2), speed,
        when if isinstance(when, str) else None, newest_gate(version, place), drift,
    )  # fmt: skip


def _number(value: Any) -> float | None:
    """What an export of another version may have written as something else is not shown."""
    return value if isinstance(value, int | float) else None


def _in_log(artefacts: Sequence[Artefact], database: str) -> list[Drift | None]:
    """What the log says of each, if there is a log and it answers."""
    unknown: list[Drift | None] = [None] * len(artefacts)
    if database.startswith("sqlite:///") and not Path(database.removeprefix("sqlite:///")).exists():
        return unknown
    try:
        log = RequestLog(database, reading=True)
    except PipelineError as error:
        console.warning("%s", error)
        return unknown
    try:
        ids = {number: log.facts_of(number) for number in log.models()}
        named = [(one.sha256[one.file], one.sha256.get(REFERENCE, "")) for one in artefacts]
        return [
            _drift(log, [number for number, facts in ids.items() if (facts.sha256, facts.reference_sha256) == pair])
            for pair in named
        ]
    except DataError as error:
        console.warning("%s", error)
        return unknown
    finally:
        log.close()


def _drift(log: RequestLog, ids: Sequence[int]) -> Drift | None:
    if not ids:
        return None
    newest = max((found for number in ids for found in newest_verdicts(log, number)), default=None, key=lambda v: v.at)
    open_ones = select(func.count()).where(alarm.c.model_id.in_(ids), alarm.c.acknowledged_at.is_(None))
    with asking(), log.engine.connect() as connection:
        alarms = connection.execute(open_ones).scalar_one()
    images = sum(map(log.count, ids))
    if newest is None:
        return Drift(images, None, None, None, None, None, alarms)
    return Drift(images, newest.level, newest.p, newest.accuracy, newest.low, newest.high, alarms)


def _plain(one: Listed) -> dict[str, Any]:
    return one._asdict() | {"drift": one.drift and one.drift._asdict()}


def _cells(one: Listed) -> list[str]:
    interval = "" if one.low is None or one.high is None else f" ({one.low:.1%} to {one.high:.1%})"
    accuracy = "" if one.accuracy is None else f"{one.accuracy:.2%}{interval}"
    speed = "" if one.milliseconds is None else f"{one.milliseconds:.2f}"
    day = (one.exported or "")[:10]
    mark = "champion" if one.champion else ""
    return [mark, one.version, accuracy, f"{one.megabytes:.1f}", speed, day, one.gate or "", _said(one.drift)]


def _said(drift: Drift | None) -> str:
    if drift is None:
        return ""
    parts = [f"{drift.images} images", drift.level or "no verdict yet"]
    if drift.accuracy is not None:
        parts.append(f"about {drift.accuracy:.0%} right ({drift.low:.0%} to {drift.high:.0%})")
    if drift.open_alarms:
        parts.append(f"{drift.open_alarms} open alarm{'s' * (drift.open_alarms > 1)}")
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
