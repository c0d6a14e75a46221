"""News of alarms: signed, told once, tried again, held by a silence; by a real server and real programs."""

import hashlib
import hmac
import json
import socket
import sys
import threading
import time
from contextlib import closing

import pytest
from answered import FACTS
from hook import hook, news
from logged import HAZE, Answering, make_models, monitor_settings, put
from sqlalchemy import insert, select, update

from drift_detector_pipeline.lifecycle import notify, watcher
from drift_detector_pipeline.lifecycle.alarms import acknowledge, alarms, silence_source
from drift_detector_pipeline.lifecycle.monitor import watch_log
from drift_detector_pipeline.lifecycle.notify import Notifier, signature
from drift_detector_pipeline.serving.database import LOOP_LOCK, writing
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.tables import alarm, delivery


@pytest.fixture
def log(database):
    with closing(RequestLog(database)) as opened:
        opened.address, opened.model = database, opened.register(FACTS)
        yield opened


def raise_alarm(log, source="", channels=("webhook",), wait_s=0.0):
    """As the monitor writes it."""
    with writing(log.engine, LOOP_LOCK) as connection:
        count = len(connection.execute(select(alarm.c.id)).all())
        said = {"summary": ["The images changed.", "Contrast fell."]}
        values = {"at": 5.0, "model_id": log.model, "source": source, "level": "notice", "request": 90 + count,
                  "since": 70, "detail": {"alarm": said}}  # fmt: skip
        number = connection.execute(insert(alarm).values(values).returning(alarm.c.id)).scalar_one()
        for channel in channels:
            told = {"alarm_id": number, "channel": channel, "tries": 0, "next_at": time.time() + wait_s}
            connection.execute(insert(delivery), told)
    return number


def notifier(log, secret="", **settings):
    return Notifier(log, monitor_settings(log.address, "models", **settings), secret)


def deliveries(log):
    with log.engine.connect() as connection:
        return [row._asdict() for row in connection.execute(select(delivery).order_by(delivery.c.alarm_id))]


def due_again(log):
    """Let the time pass that a delivery waits."""
    with writing(log.engine, LOOP_LOCK) as connection:
        connection.execute(update(delivery).where(delivery.c.next_at.is_not(None)).values(next_at=time.time() - 1))


def test_a_webhook_gets_the_alarm_once_signed_and_with_an_id(log):
    number = raise_alarm(log, "gate")
    with hook() as server:
        teller = notifier(log, "a secret", webhook=server.address)
        assert [teller.tell(), teller.tell()] == [1, 0] and teller.failing() == 0
        [(headers, body, _)] = server.got
    said = json.loads(body)
    assert headers["X-Signature-256"] == "sha256=" + hmac.new(b"a secret", body, hashlib.sha256).hexdigest()
    assert headers["Idempotency-Key"] == f"{number}-webhook" and headers["Content-Type"] == "application/json"
    assert (said["id"], said["source"], said["level"], said["since"]) == (number, "gate", "notice", 70)
    assert said["model"]["sha256"] == FACTS.sha256 and said["summary"] == ["The images changed.", "Contrast fell."]
    assert (said["cause"], said["accuracy"]) == (None, None)
    [kept] = deliveries(log)
    assert (kept["tries"], kept["next_at"], kept["problem"]) == (1, None, None) and kept["delivered_at"] is not None


def test_the_signature_is_the_one_that_others_compute():
    expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"  # from GitHub's documentation
    assert signature(b"Hello, World!", "It's a Secret to Everybody") == expected


def test_what_fails_is_tried_again_later_and_later_across_restarts_until_it_is_taken(log):
    raise_alarm(log)
    waits = []
    with hook(500, 302, 404, 200) as server:
        for _ in range(4):
            teller = notifier(log, webhook=server.address)  # a new process
            assert teller.tell() == (len(waits) == 3)
            [kept] = deliveries(log)
            waits.append(kept["next_at"] and kept["next_at"] - time.time())
            assert teller.tell() == 0  # not due yet
            due_again(log)
        assert notifier(log, webhook=server.address).tell() == 0
        assert [status for _, _, status in server.got] == [500, 302, 404, 200]  # a redirect was not followed
        assert len({headers["Idempotency-Key"] for headers, _, _ in server.got}) == 1
        assert len({body for _, body, _ in server.got}) == 1
    assert waits[:3] == pytest.approx([10, 20, 40], abs=5) and waits[3] is None
    assert deliveries(log)[0]["tries"] == 4 and deliveries(log)[0]["problem"] is None


def test_nobody_there_and_nobody_answering_are_told_apart_and_do_not_hold_up_the_rest(log, monkeypatch):
    monkeypatch.setattr(notify, "WEBHOOK_S", 0.2)
    raise_alarm(log)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        teller = notifier(log, webhook=f"http://127.0.0.1:{silent.getsockname()[1]}/")
        assert teller.tell() == 0 and "timed out" in deliveries(log)[0]["problem"]
        address = silent.getsockname()[1]
    due_again(log)
    assert notifier(log, webhook=f"http://127.0.0.1:{address}/").tell() == 0
    assert "refused" in deliveries(log)[0]["problem"] and teller.failing() == 1


def test_it_is_given_up_in_the_end(log, monkeypatch):
    monkeypatch.setattr(notify, "TRIES", 3)
    raise_alarm(log)
    with hook(503) as server:
        teller = notifier(log, webhook=server.address)
        for _ in range(5):
            teller.tell()
            due_again(log)
        assert len(server.got) == 3 and teller.failing() == 1
    assert deliveries(log)[0]["next_at"] is None and deliveries(log)[0]["problem"] == "answered with 503"


def test_two_at_once_tell_once(log):
    for _ in range(20):
        raise_alarm(log)
    with hook() as server:
        tellers = [threading.Thread(target=notifier(log, webhook=server.address).tell) for _ in range(3)]
        for one in tellers:
            one.start()
        for one in tellers:
            one.join()
        assert len(server.told) == len(set(server.told)) == 20


def test_a_silenced_source_is_told_of_afterwards_and_others_at_once(log):
    held, other = raise_alarm(log, "gate"), raise_alarm(log, "yard")
    silence_source(log, "gate", 8, who="Ann", why="repairs")
    with hook() as server:
        teller = notifier(log, webhook=server.address)
        assert teller.tell() == 1 and server.told == [f"{other}-webhook"]
        acknowledge(log, held, "Bo", "a new lens")
        silence_source(log, "gate", 0, who="Ann", why="done")
        assert teller.tell() == 1 and server.told[1:] == [f"{held}-webhook"]
        assert news(server.got[1])["acknowledged_by"] == "Bo" and news(server.got[1])["note"] == "a new lens"


def test_a_clock_that_was_put_back_holds_nothing_up_for_long(log):
    raise_alarm(log, wait_s=30.0)
    raise_alarm(log, wait_s=86_400.0)
    with hook() as server:
        assert notifier(log, webhook=server.address).tell() == 1
        assert server.told == ["2-webhook"]
        assert notifier(log, webhook=server.address).tell(at_once=True) == 1


def test_a_command_gets_it_on_stdin_without_the_secrets(log, tmp_path, monkeypatch):
    monkeypatch.setenv("MONITOR_WEBHOOK_SECRET", "hidden")
    monkeypatch.setenv("DATABASE_URL", "hidden")
    raise_alarm(log, channels=("command",))
    code = "import os, sys; open(sys.argv[1], 'w').write(sys.stdin.read() + repr('hidden' in os.environ.values()))"
    assert notifier(log, command=[sys.executable, "-c", code, str(tmp_path / "got")]).tell() == 1
    body, _, hidden = (tmp_path / "got").read_text().rpartition("}")
    assert json.loads(body + "}")["summary"][0] == "The images changed." and hidden == "False"


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import sys; sys.exit('no mail today')", "status 1, no mail today"),
        ("import time; time.sleep(9)", "not done after 0 s"),
    ],
)
def test_a_command_that_fails_or_hangs_is_tried_again(log, code, problem, monkeypatch):
    monkeypatch.setattr(notify, "COMMAND_S", 0.3)
    raise_alarm(log, channels=("command",))
    teller = notifier(log, command=[sys.executable, "-c", code])
    assert teller.tell() == 0 and problem in deliveries(log)[0]["problem"]
    assert notifier(log, command=["/no/such/program"]).tell() == 0
    due_again(log)
    assert notifier(log, command=["/no/such/program"]).tell() == 0
    assert "/no/such/program" in deliveries(log)[0]["problem"] and deliveries(log)[0]["tries"] == 2


def test_a_channel_that_is_not_set_any_more_waits_and_disturbs_nobody(log):
    raise_alarm(log, channels=("webhook", "command"))
    assert notifier(log).tell() == 0
    with hook() as server:
        assert notifier(log, webhook=server.address).tell() == 1
    assert [kept["channel"] for kept in deliveries(log) if kept["delivered_at"] is None] == ["command"]


def test_the_monitor_tells_with_the_cause_if_that_is_found_in_time(database, made_once, monkeypatch):
    answering = Answering(made_once("small_models", make_models))
    monkeypatch.setattr(watcher, "_CAUSE_S", 4.0)
    stop = threading.Event()
    with closing(RequestLog(database)) as log, hook() as server:
        model = log.register(answering.facts)
        settings = monitor_settings(database, answering.models, once=False, webhook=server.address)
        thread = threading.Thread(target=watch_log, args=[settings, "", stop])
        thread.start()
        try:
            put(log, model, answering.rows(60, 11, "gate") + answering.rows(80, 12, "gate", contrast=HAZE))
            put(log, model, answering.rows(60, 21, "yard") + answering.rows(10, 22, "yard", contrast=HAZE))
            deadline = time.monotonic() + 30
            while len(server.told) < 3 and time.monotonic() < deadline:
                time.sleep(0.02)
        finally:
            stop.set()
            thread.join()
        said = [(one["source"], one["level"], one["cause"]) for one in map(news, server.got)]
        assert said == [("gate", "notice", "contrast"), ("gate", "alert", "contrast"), ("yard", "notice", None)]
        assert news(server.got[0])["accuracy"]["high"] < 1 and len(alarms(log)) == 3
