"""What people do about alarms: `make alarms`, `make acknowledge ALARM=7 WHY=...`, `make silence SOURCE=gate-3 HOURS=8`.

In: the request log of monitor.database; DATABASE_URL in the environment wins. Out: a table, or a line of JSON an alarm;
a settled alarm; a source whose news waits.
"""

import difflib
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing

from drift_detector_pipeline.commands import values_of
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import in_columns, set_up_logging, tell
from drift_detector_pipeline.console import log as console
from drift_detector_pipeline.drift.kinds import told_by
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.lifecycle.watching.alarms import AlarmRow, acknowledge, alarms, silence_source, silences
from drift_detector_pipeline.release.registry import name_of_user
from drift_detector_pipeline.serving.database import is_missing
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.settings_in_use import Monitor

_WORDS = {
    "alarms": ("source", "open", "json", "count"),
    "acknowledge": ("alarm", "why", "who"),
    "silence": ("source", "hours", "why", "who"),
}
_MOST = 10**18  # more is no number of a database
_SHOWN = 20  # alarms, unless another count is given
_HEAD = ("alarm", "level", "source", "at (UTC)", "since request", "cause", "accuracy", "settled")


@exit_status
def main() -> int:
    """Do what the first word says."""
    verb, *words = sys.argv[1:] or ["alarms"]
    if verb not in _WORDS:
        raise ConfigError(f"{verb}: expected one of {', '.join(_WORDS)}")
    set_up_logging()
    database = [word for word in words if word.startswith("monitor.database=")]
    given = _given(verb, [word for word in words if word not in database])
    with closing(_opened(database, reading=verb == "alarms")) as log:
        {"alarms": _list, "acknowledge": _acknowledge, "silence": _silence}[verb](log, given)
    return 0


def table(found: Sequence[AlarmRow]) -> str:
    """Alarms, one a line."""
    return in_columns([_HEAD, *map(_cells, found)])


def _list(log: RequestLog, given: dict[str, str]) -> None:
    open_only, as_json = (_yes(given, name) for name in ("open", "json"))
    count = int(_number(given, "count", _SHOWN))
    found = alarms(log, source=given.get("source"), open_only=open_only, count=count)
    if as_json:
        for one in found:
            print(json.dumps(one._asdict()))
        return
    print(table(found) if found else "no alarms")
    for kept in silences(log):
        source = kept.source or "the unnamed source"
        tell(f"news of {source} waits until {_time(kept.until)} UTC: {kept.why} ({kept.who})")
    if any(one.acknowledged_at is None for one in found):
        tell('settle one: make acknowledge ALARM=NUMBER WHY="..."')


def _acknowledge(log: RequestLog, given: dict[str, str]) -> None:
    number, why = _number(given, "alarm"), _why(given)
    who = given.get("who") or name_of_user()
    done = acknowledge(log, int(number), who, why)
    when = _time(done.acknowledged_at or 0.0)
    console.info("alarm %d: settled by %s at %s UTC: %s", done.id, done.acknowledged_by, when, done.note)
    console.info("its stream, %s, begins anew with its next image", done.source or "without a name")


def _silence(log: RequestLog, given: dict[str, str]) -> None:
    hours, why = _number(given, "hours"), _why(given)
    kept = silence_source(log, given.get("source", ""), hours, who=given.get("who") or name_of_user(), why=why)
    source = kept.source or "the unnamed source"
    if hours:
        console.info("news of %s waits until %s UTC; its alarms are kept", source, _time(kept.until))
        known = {one for model in log.models() for one in log.sources(model)}
        if kept.source not in known:
            near = ", ".join(difflib.get_close_matches(kept.source, known, n=3, cutoff=0.0))
            console.warning("no image of %s is in this log; the nearest are %s", source, near or "none")
    else:
        console.info("news of %s is sent again", source)


def _given(verb: str, words: Sequence[str]) -> dict[str, str]:
    for word in words:
        name, sign, _ = word.partition("=")
        if name not in _WORDS[verb] or not sign:
            further = ", ".join(f"{one}=..." for one in (*_WORDS[verb], "monitor.database"))
            raise ConfigError(f"{word}: make {verb} takes only {further}")
    return values_of(words, ("source", "why", "who"))


def _opened(words: Sequence[str], *, reading: bool) -> RequestLog:
    """The log; one that is not there is not made."""
    own = [f"monitor.database={address!r}"] if (address := os.environ.get("DATABASE_URL")) else []
    database = load_section(Monitor, [*words, *own]).database
    if is_missing(database):
        raise DataError(f"{database}: no log there; make serve writes one, monitor.database=... names another")
    return RequestLog(database, reading=reading)


def _number(given: dict[str, str], name: str, otherwise: float | None = None) -> float:
    value = given.get(name) or otherwise
    try:
        number = float(value if value is not None else "")
    except ValueError as error:
        raise ConfigError(f"{name}={given.get(name, '')}: expected a number, as in {name}=7") from error
    if name != "hours" and not (number.is_integer() and 0 < number < _MOST):
        raise ConfigError(f"{name}={given.get(name, '')}: expected a whole number from 1 on, of at most 18 digits")
    return number


def _why(given: dict[str, str]) -> str:
    if not given.get("why", "").strip():
        raise ConfigError('why: say it for whoever asks later: WHY="lens cleaned"')
    return given["why"].strip()


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at))


def _yes(given: dict[str, str], name: str) -> bool:
    value = given.get(name, "false")
    if value not in ("true", "false"):
        raise ConfigError(f"{name}={value}: expected true or false")
    return value == "true"


def _cells(one: AlarmRow) -> tuple[str, ...]:
    told = told_by(one.detail.get("verdict") or {})
    worth = "-" if told is None else f"{told.value:.2f} ({told.low:.2f}-{told.high:.2f})"
    if told is not None and told.measure != _HEAD[6]:
        worth = f"{told.measure} {worth}"
    settled = "open" if one.acknowledged_at is None else f"{one.acknowledged_by}: {one.note}"
    cells = (str(one.id), one.level, one.source or "-", _time(one.at), str(one.since), one.cause or "-", worth, settled)
    return tuple(cell.replace("\n", " ") for cell in cells)


if __name__ == "__main__":
    sys.exit(main())
