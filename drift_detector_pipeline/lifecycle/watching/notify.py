"""Who is to be told of an alarm is told once: by a webhook, by a command such as one that sends mail.

In: rows of the table delivery, one an alarm and channel. Out: a JSON object a time, to an address or to a program. What
fails is tried again later and later, across restarts. Between an answer of 2xx and the note that it came a kill makes
the same news come twice: it carries the same id. Read by the monitor.
"""

import hashlib
import hmac
import http.client
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import and_, func, not_, or_, select, update

from drift_detector_pipeline.console import log as console
from drift_detector_pipeline.lifecycle.watching.alarms import COLUMNS, AlarmRow
from drift_detector_pipeline.serving.database import LOOP_LOCK, asking, writing
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.tables import alarm, delivery, silence
from drift_detector_pipeline.settings_in_use import Monitor

SECRET = "MONITOR_WEBHOOK_SECRET"  # noqa: S105  # the name of the variable that holds it
FIRST_S, MOST_S, TRIES = 10.0, 3600.0, 40  # waits double; with the last try a day and a half have passed
WEBHOOK_S, COMMAND_S = 10.0, 60.0  # so long may one take
_PASS_S = 10.0  # then rows are read again, whoever waits to be told
_NOT_HANDED_ON = (SECRET, "DATABASE_URL")
_SAID = 200  # characters of what went wrong that are kept

Send = Callable[[bytes, str], None]


class UntoldError(Exception):
    """Nobody was told, and why."""


class _Due(NamedTuple):
    alarm: AlarmRow
    channel: str
    tries: int


class Notifier:
    """Tells of alarms on the channels that are set."""

    def __init__(self, log: RequestLog, settings: Monitor, secret: str) -> None:
        self._log, self._channels = log, channels_of(settings, secret)

    @property
    def channels(self) -> list[str]:
        """Their names, as the table delivery has them."""
        return list(self._channels)

    def tell(self, *, at_once: bool = False) -> int:
        """Tell what is due; return how often that was. `at_once`: also what waits for its cause to be found.

        Raises DataError if the log cannot be used.
        """
        told, until = 0, time.monotonic() + _PASS_S
        for due in self._due(at_once) if self._channels else []:
            if time.monotonic() > until:
                break
            if self._claim(due):
                told += self._send(due)
        return told

    def failing(self) -> int:
        """How often somebody has not been told, after at least one try."""
        wanted = select(func.count()).select_from(delivery).where(delivery.c.problem.is_not(None))
        with asking(), self._log.engine.connect() as connection:
            return connection.execute(wanted.where(delivery.c.delivered_at.is_(None))).scalar_one()

    def _due(self, at_once: bool) -> list[_Due]:
        now = time.time()
        when = or_(delivery.c.next_at <= now, delivery.c.next_at > now + 2 * MOST_S)  # or a clock was put back
        if at_once:
            when = or_(when, and_(delivery.c.tries == 0, delivery.c.next_at.is_not(None)))
        held = select(silence.c.source).where(silence.c.until > now)
        own = (delivery.c.channel.in_(self._channels), when, not_(alarm.c.source.in_(held)))
        joined = alarm.join(delivery, delivery.c.alarm_id == alarm.c.id)
        wanted = select(*COLUMNS, delivery.c.channel, delivery.c.tries).select_from(joined).where(*own)
        with asking(), self._log.engine.connect() as connection:
            found = connection.execute(wanted.order_by(alarm.c.id, delivery.c.channel).limit(100)).all()
        return [_Due(AlarmRow(*one[: len(COLUMNS)]), *one[len(COLUMNS) :]) for one in found]

    def _claim(self, due: _Due) -> bool:
        """Count the try before it is made; False if another one was quicker."""
        values = {"tries": due.tries + 1, "next_at": time.time() + min(FIRST_S * 2**due.tries, MOST_S)}
        return self._note(due, due.tries, values)

    def _send(self, due: _Due) -> bool:
        body = json.dumps(news_of(due.alarm, self._log.facts_of(due.alarm.model_id)._asdict())).encode()
        try:
            self._channels[due.channel](body, f"{due.alarm.id}-{due.channel}")
        except UntoldError as error:
            given_up = due.tries + 1 >= TRIES
            problem = str(error)[:_SAID]
            self._note(due, due.tries + 1, {"problem": problem, **({"next_at": None} if given_up else {})})
            again = f"given up after {TRIES} tries" if given_up else "tried again later"
            console.warning("alarm %d, %s: %s; %s", due.alarm.id, due.channel, problem, again)
            return False
        self._note(due, due.tries + 1, {"delivered_at": time.time(), "next_at": None, "problem": None})
        return True

    def _note(self, due: _Due, tries: int, values: Mapping[str, Any]) -> bool:
        own = (delivery.c.alarm_id == due.alarm.id, delivery.c.channel == due.channel, delivery.c.tries == tries)
        with asking(), writing(self._log.engine, LOOP_LOCK) as connection:
            changed = connection.execute(update(delivery).where(*own, delivery.c.delivered_at.is_(None)).values(values))
        return changed.rowcount == 1


def channels_of(settings: Monitor, secret: str) -> dict[str, Send]:
    """What sends a body that has an id; raises UntoldError where that fails."""
    found = dict[str, Send]()
    if settings.webhook is not None:
        address = settings.webhook
        found["webhook"] = lambda body, key: post(address, body, key, secret)
    if settings.command:
        argv = settings.command
        found["command"] = lambda body, key: run(argv, body)
    return found


def news_of(one: AlarmRow, model: Mapping[str, Any]) -> dict[str, Any]:
    """An alarm for whoever acts on it; `summary` is for people. `model`: what the log knows of it."""
    verdict = one.detail.get("verdict") or {}
    words = [*one.detail["alarm"]["summary"], *verdict.get("summary", [])]
    plain = {name: value for name, value in one._asdict().items() if name != "detail"}
    about = {name: model[name] for name in ("name", "sha256", "reference_sha256", "runtime", "precision")}
    worth = {"map50": verdict["map50"]} if "map50" in verdict else {"accuracy": verdict.get("accuracy")}
    return {**plain, "model": about, **worth, "summary": words}


def signature(body: bytes, secret: str) -> str:
    """What the header X-Signature-256 says of a body: `sha256=` and the HMAC in hexadecimal."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def post(address: str, body: bytes, key: str, secret: str) -> None:
    """Send `body` to an address of http or https. Raises UntoldError unless the answer is 2xx."""
    headers = {"Content-Type": "application/json", "User-Agent": "drift-detector-monitor", "Idempotency-Key": key}
    if secret:
        headers["X-Signature-256"] = signature(body, secret)
    asked = urllib.request.Request(address, body, headers, method="POST")  # noqa: S310  # the settings allow no other
    try:
        with urllib.request.build_opener(_StayHere).open(asked, timeout=WEBHOOK_S) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        error.close()
        raise UntoldError(f"answered with {error.code}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UntoldError(str(getattr(error, "reason", None) or error or type(error).__name__)) from error


def run(argv: list[str], body: bytes) -> None:
    """Run a program with `body` on its stdin. Raises UntoldError unless it ends with 0 in time."""
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_HANDED_ON}
    try:
        done = subprocess.run(argv, input=body, capture_output=True, timeout=COMMAND_S, env=environment)
    except subprocess.TimeoutExpired as error:
        raise UntoldError(f"{argv[0]}: not done after {COMMAND_S:.0f} s") from error
    except (OSError, ValueError) as error:
        raise UntoldError(f"{argv[0]}: {error}") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise UntoldError(f"{argv[0]}: status {done.returncode}{f', {said[-1]}' if said else ''}")


class _StayHere(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET without its body, and its answer would look like success."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None
