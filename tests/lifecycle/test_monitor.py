"""The monitor over a real log: what it reads, raises and explains; alone, stopped, with odd rows and clocks."""

import signal
import subprocess
import threading
import time
from contextlib import closing, contextmanager

import httpx
import numpy as np
import pytest
from conftest import ci_environment, module_command
from logged import HAZE, Answering, make_models, monitor_settings, plain, put, standing

from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.lifecycle.watching import reasons, streams
from drift_detector_pipeline.lifecycle.watching.alarms import acknowledge, alarms, open_alarms
from drift_detector_pipeline.lifecycle.watching.monitor import settings_from, watch_log
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.stored_verdicts import as_stored
from drift_detector_pipeline.serving.verdicts import look_at


@pytest.fixture(scope="module")
def answering(made_once):
    return Answering(made_once("small_models", make_models))


@pytest.fixture
def log(database, answering):
    with closing(RequestLog(database)) as opened:
        opened.address, opened.model = database, opened.register(answering.facts)
        yield opened


def once(log, answering, **changes):
    settings = monitor_settings(log.address, answering.models, **changes)
    assert watch_log(settings, "", threading.Event()) == 0


def free_port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


@contextmanager
def monitoring(log, answering, *words):
    """The command in a process of its own, until the end of the `with`; gives it."""
    own = [f"monitor.database={log.address!r}", f"monitor.models_path={answering.models}", "monitor.poll_s=0.05"]
    command = module_command("lifecycle.watching.monitor", *own, *words)
    with subprocess.Popen(
        command, env=ci_environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as one:
        try:
            yield one
        finally:
            one.kill()


def until(holds, seconds=30):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_usual_images_raise_nothing_and_a_change_raises_a_notice_then_an_alert(log, answering):
    put(log, log.model, answering.rows(200, 11, "gate") + answering.rows(100, 21, "yard"))
    once(log, answering)
    assert alarms(log) == [] and standing(log, log.model, "gate").last_request == 200
    put(log, log.model, answering.rows(60, 12, "gate", contrast=HAZE) + answering.rows(60, 22, "yard"))
    once(log, answering)
    alert, notice = alarms(log)
    assert [(one.level, one.source) for one in (notice, alert)] == [("notice", "gate"), ("alert", "gate")]
    assert 300 < notice.since <= notice.request < alert.request <= 360
    once(log, answering)
    assert alarms(log) == [alert, notice]  # never twice


def test_the_cause_comes_with_the_accuracy_from_the_rows_since_the_change(log, answering):
    put(log, log.model, answering.rows(100, 11) + answering.rows(25, 12, contrast=HAZE))
    once(log, answering)
    assert {one.cause for one in alarms(log)} == {None}
    for more, images in ((30, 32), (30, 64)):  # a guess, and what settles it
        put(log, log.model, answering.rows(more, images, contrast=HAZE))
        once(log, answering)
        alert, notice = alarms(log)
        assert (notice.cause, alert.cause) == ("contrast", "contrast")
        detector = answering.engine.detector
        said = look_at(log.rows(log.model, notice.since, 999)[:images], detector).verdict
        verdict = notice.detail["verdict"]
        assert verdict["accuracy"] == as_stored(said, detector)["accuracy"] and verdict["images"] == images
        assert verdict["accuracy"]["accuracy"] < 0.8 and verdict["carrier_names"]
        assert "remedy" in verdict["cause"] and notice.detail["alarm"]["level"] == "notice"


def test_the_cause_does_not_depend_on_when_the_monitor_looked(log, answering, tmp_path):
    rows = answering.rows(150, 11) + answering.rows(400, 12, contrast=0.6)
    put(log, log.model, rows)
    once(log, answering)
    with closing(RequestLog(f"sqlite:///{tmp_path}/other.sqlite")) as other:
        other.address, other.model = f"sqlite:///{tmp_path}/other.sqlite", other.register(answering.facts)
        for start in range(0, len(rows), 37):
            put(other, other.model, rows[start : start + 37])
            once(other, answering)
        assert list(map(plain, alarms(other))) == list(map(plain, alarms(log))) != []
        assert standing(other, other.model) == standing(log, log.model)


def strange(rows):
    """Rows with scores that no known change has: a shift of every other one, against what hangs together."""
    shift = 1.5 * np.frombuffer(rows[0].phi, "<f4").std() * np.resize([1, -1], len(rows[0].phi) // 4)
    return [row._replace(phi=(np.frombuffer(row.phi, "<f4") + shift).astype("<f4").tobytes()) for row in rows]


def in_small_steps(rows, answering, place):
    """The alarms of the same rows, looked at every 37."""
    with closing(RequestLog(f"sqlite:///{place}/other.sqlite")) as other:
        other.address, other.model = f"sqlite:///{place}/other.sqlite", other.register(answering.facts)
        for start in range(0, len(rows), 37):
            put(other, other.model, rows[start : start + 37])
            once(other, answering)
        return list(map(plain, alarms(other)))


def half_hazy(answering):
    """The usual, then every other image hazy: noticed, and that it hurts is told by the verdict first."""
    every_other = zip(answering.rows(300, 12), answering.rows(300, 13, contrast=HAZE), strict=True)
    return answering.rows(150, 11) + [pair[number % 2] for number, pair in enumerate(every_other)]


def test_a_notice_becomes_an_alert_as_soon_as_its_verdict_says_that_it_hurts(log, answering, tmp_path):
    rows = half_hazy(answering)
    put(log, log.model, rows)
    once(log, answering)
    alert, notice = alarms(log)
    assert (alert.level, notice.level) == ("alert", "notice") and alert.since == notice.since
    assert alert.request == notice.since + 31  # the last of the 32 that the verdict is on; its own came later
    assert alert.detail["verdict"] == notice.detail["verdict"] and notice.detail["verdict"]["level"] == "alert"
    assert "it probably hurts" in alert.detail["alarm"]["summary"][0]
    assert in_small_steps(rows, answering, tmp_path) == list(map(plain, alarms(log)))


def test_a_notice_that_was_settled_while_its_rows_were_judged_raises_no_alert(log, answering, monkeypatch):
    put(log, log.model, half_hazy(answering)[:190])

    def judged_slowly(*given):
        acknowledge(log, alarms(log)[-1].id, "somebody", "seen")
        return look_at(*given)

    monkeypatch.setattr(reasons, "look_at", judged_slowly)
    once(log, answering)
    [notice] = alarms(log)
    assert notice.detail["verdict"]["level"] == "alert" and notice.acknowledged_by == "somebody"


def test_as_long_as_the_cause_is_unknown_more_rows_are_asked(log, answering, tmp_path):
    rows = answering.rows(150, 11) + strange(answering.rows(300, 12))
    seen = list[tuple[str, int]]()
    for start in range(0, len(rows), 50):
        put(log, log.model, rows[start : start + 50])
        once(log, answering)
        seen += [(one.cause, one.detail["verdict"]["images"]) for one in alarms(log) if one.cause]
    assert list(dict.fromkeys(seen)) == [("unknown", size) for size in (32, 64, 128, 256)]
    assert in_small_steps(rows, answering, tmp_path) == list(map(plain, alarms(log)))


def test_what_was_acknowledged_may_alarm_again_with_the_next_row(log, answering):
    put(log, log.model, answering.rows(100, 11) + answering.rows(60, 12, contrast=HAZE))
    once(log, answering)
    put(log, log.model, answering.rows(60, 13, contrast=HAZE))
    once(log, answering)
    assert len(alarms(log)) == 2
    acknowledge(log, open_alarms(log)[0].id, "Ann", "a lens")
    put(log, log.model, answering.rows(60, 14, contrast=HAZE))
    once(log, answering)
    assert [one.level for one in open_alarms(log)] == ["alert", "notice"]
    assert all(one.since > 220 for one in open_alarms(log))


def test_an_acknowledgement_during_a_step_counts_from_the_rows_of_that_step(log, answering, monkeypatch):
    put(log, log.model, answering.rows(100, 11) + answering.rows(60, 12, contrast=HAZE))
    once(log, answering)
    put(log, log.model, answering.rows(60, 13, contrast=HAZE))
    whole_step, acknowledged = streams.Streams.step, []

    def step(self, *given):
        done = whole_step(self, *given)
        if not acknowledged:
            acknowledged.append(acknowledge(log, open_alarms(log)[0].id, "Ann", "meanwhile"))
        return done

    monkeypatch.setattr(streams.Streams, "step", step)
    once(log, answering)
    assert [one.level for one in open_alarms(log)] == ["alert", "notice"]
    assert standing(log, log.model).state["counts"]["rows"] == 220


def test_answers_beside_those_that_were_given_are_not_watched(log, answering):
    hazy = [row._replace(shadow=True) for row in answering.rows(100, 12, contrast=HAZE)]
    put(log, log.model, answering.rows(50, 11) + hazy + answering.rows(50, 13))
    once(log, answering)
    assert alarms(log) == [] and standing(log, log.model).state["counts"]["rows"] == 100


def test_models_without_reference_or_artefact_are_named_once_and_watched_when_it_comes(
    log, answering, tmp_path, monkeypatch, caplog
):
    caplog.set_level("INFO", "drift_detector_pipeline")
    bare = log.register(answering.facts._replace(reference_sha256=""))
    put(log, bare, answering.rows(20, 12))
    put(log, log.model, answering.rows(100, 11) + answering.rows(60, 12, contrast=HAZE))
    stop = threading.Event()
    settings = monitor_settings(log.address, tmp_path / "models", once=False)
    monkeypatch.setattr("drift_detector_pipeline.lifecycle.watching.detectors._AGAIN_S", 0.2)
    thread = threading.Thread(target=watch_log, args=[settings, "", stop])
    thread.start()
    try:
        until(lambda: "is not watched" in caplog.text)
        time.sleep(0.5)
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "versions").symlink_to(answering.models)
        until(lambda: len(alarms(log)) == 2)
    finally:
        stop.set()
        thread.join()
    assert caplog.text.count(f"model {log.model}, stripes, is not watched") == 1
    assert caplog.text.count(f"model {bare}, stripes, was exported without reference") == 1
    assert standing(log, bare) is None


def test_rows_that_retention_deleted_are_not_missed(log, answering):
    put(log, log.model, answering.rows(100, 11, at=1000.0))
    once(log, answering)
    assert log.forget(5000.0) == 100
    put(log, log.model, answering.rows(50, 13, at=1100.0))
    assert log.forget(1125.0) == 25  # before anybody watched them
    put(log, log.model, answering.rows(60, 12, contrast=HAZE))
    once(log, answering)
    assert standing(log, log.model).state["counts"]["rows"] == 100 + 25 + 60
    assert [one.level for one in alarms(log)] == ["alert", "notice"]


def test_a_cause_that_lost_its_rows_is_unknown(log, answering):
    put(log, log.model, answering.rows(100, 11) + answering.rows(8, 12, contrast=HAZE))
    once(log, answering)
    for seed in range(30, 61):
        log.forget(1.8e9)
        put(log, log.model, answering.rows(8, seed, contrast=HAZE))
        once(log, answering, cause_images=32)
    assert {one.cause for one in alarms(log)} == {"unknown"}


def test_clocks_that_jump_change_nothing(log, answering, tmp_path):
    rows = answering.rows(150, 11) + answering.rows(60, 12, contrast=HAZE)
    put(log, log.model, [row._replace(at=2e9 - 1e6 * (number % 5)) for number, row in enumerate(rows)])
    once(log, answering)
    with closing(RequestLog(f"sqlite:///{tmp_path}/other.sqlite")) as other:
        other.address, other.model = f"sqlite:///{tmp_path}/other.sqlite", other.register(answering.facts)
        put(other, other.model, rows)
        once(other, answering)
        same = [plain(one)._replace(at=0.0) for one in alarms(other)]
        assert same == [plain(one)._replace(at=0.0) for one in alarms(log)] and len(same) == 2
        assert standing(other, other.model) == standing(log, log.model)


def test_more_sources_than_there_is_room_for_are_said_and_not_watched(log, answering, caplog):
    caplog.set_level("WARNING", "drift_detector_pipeline")
    for number in range(6):
        put(log, log.model, answering.rows(10, 30 + number, f"source {number}"))
    for _ in range(2):
        once(log, answering, max_sources=4)
    watched = [standing(log, log.model, f"source {number}") is not None for number in range(6)]
    assert watched == [True] * 4 + [False] * 2
    assert caplog.text.count("more than monitor.max_sources=4 sources") == 2  # once a start
    once(log, answering)
    assert standing(log, log.model, "source 5").state["counts"]["rows"] == 10


@pytest.mark.slow
def test_a_second_monitor_refuses_or_waits_until_the_first_ends(log, answering):
    put(log, log.model, answering.rows(50, 11))
    with monitoring(log, answering) as first:
        until(lambda: standing(log, log.model) is not None)
        with monitoring(log, answering, "monitor.once=true") as second:
            out, _ = second.communicate(timeout=60)
            assert second.returncode == 0 and "another monitor watches this log; nothing to do" in out
        with monitoring(log, answering) as third:
            assert "this one waits for it to end" in third.stderr.readline()
            first.send_signal(signal.SIGTERM)
            assert first.wait(30) == 0
            put(log, log.model, answering.rows(50, 13))
            until(lambda: standing(log, log.model).last_request == 100)
            assert third.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_a_signal_ends_it_with_status_0(log, answering, number):
    put(log, log.model, answering.rows(50, 11))
    with monitoring(log, answering) as one:
        until(lambda: standing(log, log.model) is not None)
        one.send_signal(number)
        out, err = one.communicate(timeout=30)
        assert (one.returncode, err) == (0, "") and "goes on from here" in out


@pytest.mark.slow
def test_prometheus_is_told_what_stands_and_how_far_it_is(log, answering):
    copies = answering.rows(5, 13)
    put(log, log.model, [*answering.rows(100, 11, "gate 17"), *copies, *copies])
    put(log, log.model, answering.rows(60, 12, "gate 17", contrast=HAZE))
    port = free_port()
    with monitoring(log, answering, f"monitor.metrics_port={port}"):
        said = lambda: httpx.get(f"http://127.0.0.1:{port}/metrics").text  # noqa: E731
        until(lambda: len(alarms(log)) == 2)
        until(lambda: 'drift_monitor_open_alarms{level="alert"} 1.0' in said())
        text = said()
    assert 'drift_monitor_open_alarms{level="notice"} 1.0' in text
    assert "drift_monitor_rows_behind 0.0" in text
    assert 'drift_monitor_rows_total{what="counted"} 165.0' in text
    assert 'drift_monitor_rows_total{what="repeated"} 5.0' in text
    assert "drift_monitor_look_age_seconds" in text and "gate 17" not in text


@pytest.mark.slow
def test_a_log_that_goes_away_is_waited_for(log, answering):
    if not log.address.startswith("postgresql"):
        pytest.skip("a file does not go away")
    import psycopg

    put(log, log.model, answering.rows(50, 11))
    server, _, name = log.address.rpartition("/")
    with monitoring(log, answering) as one, psycopg.connect(f"{server}/postgres", autocommit=True) as other:
        until(lambda: standing(log, log.model) is not None)
        other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        assert "request log:" in one.stderr.readline()
        other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        put(log, log.model, answering.rows(50, 13))
        until(lambda: standing(log, log.model).last_request == 100)
        assert one.poll() is None


def test_words_and_addresses_that_are_none_are_refused(answering, tmp_path, monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert settings_from(["monitor.alpha=0.05", "monitor.command=[mail, -s, drift]"]).command == ["mail", "-s", "drift"]
    with pytest.raises(ConfigError, match=r"watch\.alpha=0\.1: make monitor takes only"):
        settings_from(["watch.alpha=0.1"])
    with pytest.raises(ConfigError, match="somewhere"):
        settings_from(["somewhere"])
    for wrong in ("monitor.webhook=ftp://host", "monitor.webhook=file:///etc/passwd", "monitor.cause_images=4"):
        with pytest.raises(ConfigError, match=wrong.split("=")[0]):
            settings_from([wrong])
    monkeypatch.setenv("DATABASE_URL", "postgresql://host/name")
    assert settings_from(["monitor.database=sqlite:///x"]).database == "postgresql://host/name"
    with pytest.raises(DataError, match=r"127\.0\.0\.1:1"):
        watch_log(monitor_settings("postgresql://127.0.0.1:1/none", tmp_path), "", threading.Event())


def test_a_damaged_artefact_is_named_and_the_others_are_watched(log, answering, tmp_path, caplog):
    import shutil

    caplog.set_level("WARNING", "drift_detector_pipeline")
    shutil.copytree(answering.models / "first", tmp_path / "models" / "copy")
    (tmp_path / "models" / "copy" / "reference.json").write_text("{}")
    (tmp_path / "models" / "other").mkdir()
    (tmp_path / "models" / "other" / "artefact.json").write_text("no manifest")
    put(log, log.model, answering.rows(20, 11))
    settings = monitor_settings(log.address, tmp_path / "models")
    assert watch_log(settings, "", threading.Event()) == 0
    assert "reference.json: damaged or exchanged" in caplog.text and standing(log, log.model) is None


def test_a_log_that_is_not_there_yet_is_watched_empty_and_that_is_said_once(tmp_path, monkeypatch, call_main):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    words = [f"monitor.database=sqlite:///{tmp_path}/new/log.sqlite", "monitor.once=true"]
    first, second = (call_main("lifecycle.watching.monitor", *words) for _ in range(2))
    warned = "no log there yet; make serve writes one, monitor.database names another"
    assert first.stderr == f"warning: sqlite:///{tmp_path}/new/log.sqlite: {warned}\n"
    assert (first.returncode, second.returncode, second.stderr) == (0, 0, "")
