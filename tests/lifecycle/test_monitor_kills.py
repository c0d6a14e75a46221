"""A monitor that is killed again and again ends with the alarms and states of one that was left alone, to the byte."""

import itertools
import random
import signal
import threading
import time
from contextlib import closing

import httpx
import numpy as np
import pytest
import sqlalchemy
from hook import hook
from logged import HAZE, Answering, make_models, monitor_settings, put
from monitors import Monitors
from postgres_server import PROGRAMS, server_of_its_own
from running import process
from small_artefact import png, world

from drift_detector_pipeline.lifecycle.watching.alarms import acknowledge, open_alarms
from drift_detector_pipeline.lifecycle.watching.monitor import watch_log
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.tables import request

WATCHED = "SELECT model_id, source, last_request, CAST(state AS TEXT) FROM watch ORDER BY source"
RAISED = (
    "SELECT model_id, source, level, request, since, cause, at, CAST(detail AS TEXT), acknowledged_by FROM alarm"
    " ORDER BY source, request"
)


@pytest.fixture(scope="module")
def answering(made_once):
    return Answering(made_once("small_models", make_models))


def traffic(answering, parts=1):
    """Rows of three cameras in turn: one stays as it is, one turns hazy and then clears, one is copied and hazy."""
    rows = list[list]()
    for part in range(parts):
        seed, later = 100 * part, part % 2 == 1
        gate = answering.rows(60, seed + 1, "gate") + answering.rows(60, seed + 2, "gate", contrast=HAZE)
        yard = answering.rows(120, seed + 3, "yard")
        door = answering.rows(80, seed + 4, "", contrast=0.6 if later else 1.0)
        rows += zip(gate, yard, [*door, *door[:40]], strict=True)
    return list(itertools.chain.from_iterable(rows))


def written(log):
    """All that a monitor left in a log, as text."""
    with log.engine.connect() as connection:
        return [connection.execute(sqlalchemy.text(asked)).all() for asked in (WATCHED, RAISED)]


def undisturbed(answering, place, rows, settles=()):
    """What a monitor leaves that nobody kills; alarms are settled once so many rows are watched."""
    address = f"sqlite:///{place}/undisturbed.sqlite"
    settings = monitor_settings(address, answering.models)
    with closing(RequestLog(address)) as log:
        model = log.register(answering.facts)
        for start, end in itertools.pairwise((0, *settles, len(rows))):
            put(log, model, rows[start:end])
            watch_log(settings, "", threading.Event())
            if end in settles:
                settle(log)
        return written(log)


def copied(log, place):
    """Another log with the same rows under the same ids."""
    with closing(RequestLog(f"sqlite:///{place}/copied.sqlite")) as copy:
        assert [copy.register(log.facts_of(number)) for number in log.models()] == log.models()
        for number in log.models():
            rows = [row._asdict() for piece in log.pieces(number) for row in piece]
            with copy.engine.begin() as connection:
                connection.execute(sqlalchemy.insert(request), rows)
    return f"sqlite:///{place}/copied.sqlite"


def left_alone(log, place, models):
    """What a monitor leaves of the rows of this log that nobody disturbs."""
    address = copied(log, place)
    watch_log(monitor_settings(address, models), "", threading.Event())
    with closing(RequestLog(address)) as copy:
        return written(copy)


def settle(log):
    for one in open_alarms(log):
        acknowledge(log, one.id, "Ann", "looked at it")


@pytest.mark.slow
def test_killed_before_any_statement_it_goes_on_as_if_nothing_had_been(answering, database, tmp_path):
    """Every child dies before a statement or commit of its own choice, until one comes to the end."""
    rows, choose, kills = traffic(answering), random.Random(3), 0
    with closing(RequestLog(database)) as log, hook() as server:
        put(log, log.register(answering.facts), rows)
        monitors = Monitors(monitor_settings(database, answering.models, webhook=server.address), at_once=60)
        try:
            while True:
                monitors.start(kill_at=choose.randint(10, 40 + 4 * kills))
                if monitors.wait() == 0:
                    break
                kills += 1
                assert kills < 100
            time.sleep(0.5)  # news whose try was counted and then not made waits its turn
            monitors.start()
            assert monitors.wait() == 0
        finally:
            monitors.close()
        assert kills >= 3, "hardly disturbed"
        print(f"{kills} kills before a statement")
        assert written(log) == undisturbed(answering, tmp_path, rows)
        assert len(set(server.told)) == len(written(log)[1]) > 0


@pytest.mark.slow
def test_killed_at_50_moments_over_a_log_that_fills_it_loses_nothing_and_counts_nothing_twice(
    answering, database, tmp_path
):
    rows, choose, kills = traffic(answering, parts=8), random.Random(4), 0
    at_work, settles = 0, (len(rows) // 2,)
    with closing(RequestLog(database)) as log, hook() as server:
        model = log.register(answering.facts)
        settings = monitor_settings(database, answering.models, webhook=server.address, once=False, poll_s=0.01)
        monitors = Monitors(settings)
        try:
            for start, end in itertools.pairwise((0, *settles, len(rows))):
                for kill in range(25):
                    part = rows[start + (end - start) * kill // 25 : start + (end - start) * (kill + 1) // 25]
                    filling = threading.Thread(target=put, args=[log, model, part])
                    filling.start()
                    before = watched(log)
                    monitors.start()
                    if kill % 2:  # else it has perhaps not begun
                        wait_until(lambda before=before: watched(log) > before)
                    time.sleep(choose.uniform(0.0, 0.1))
                    monitors.kill()
                    filling.join()
                    kills, at_work = kills + 1, at_work + (watched(log) > before)
                monitors.start()
                caught_up(log, end)
                monitors.kill()
                if end in settles:
                    settle(log)
        finally:
            monitors.close()
        left = written(log)
        assert left == undisturbed(answering, tmp_path, rows, settles)
        assert (
            kills >= 50
            and at_work >= 20
            and len(left[1]) >= 4
            and set(server.told) == {f"{n}-webhook" for n in numbers(log)}
        )
        twice = len(server.told) - len(set(server.told))
        print(f"{kills} kills, {at_work} after steps, {len(left[1])} alarms, {twice} told again with the same id")


@pytest.mark.slow
def test_a_database_that_crashes_again_and_again_loses_and_doubles_nothing_of_the_watch(answering, tmp_path):
    pytest.importorskip("psycopg")
    if not PROGRAMS:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    rows, crashes = traffic(answering, parts=4), 4
    with server_of_its_own() as server, hook() as told:
        address = f"{server.address}postgres"
        settings = monitor_settings(address, answering.models, webhook=told.address, once=False, poll_s=0.01)
        monitors = Monitors(settings)
        try:
            with closing(RequestLog(address)) as log:
                model = log.register(answering.facts)
                monitors.start()
                for crash in range(crashes):
                    for row in rows[len(rows) * crash // crashes : len(rows) * (crash + 1) // crashes]:
                        log.put(model, row)
                    before = watched(log)
                    wait_until(lambda before=before: watched(log) > before)
                    server.stop()
                    server.start()
                assert log.flush(60) and log.dropped == 0
                caught_up(log, ask(log, "SELECT MAX(id) FROM request"))
                assert monitors.lives()  # it was never restarted
                left = written(log)
                assert left == left_alone(log, tmp_path, answering.models)
                assert len(left[1]) > 0 and len(told.told) == len(set(told.told)) == len(left[1])
                print(f"{crashes} crashes of PostgreSQL, {len(left[1])} alarms, each told once")
        finally:
            monitors.close()


@pytest.mark.slow
def test_a_service_that_is_killed_again_and_again_leaves_a_watch_of_just_what_is_in_its_log(answering, tmp_path):
    images = [
        png(image) for image in np.concatenate([world(150, 11)[0], (0.2 * world(60, 12)[0] + 96).astype(np.uint8)])
    ]
    address, sent, kills = f"sqlite:///{tmp_path}/requests.sqlite", iter(images), 0
    settings = monitor_settings(address, answering.models, once=False, poll_s=0.01)
    with closing(RequestLog(address)) as log:
        monitors = Monitors(settings)
        try:
            monitors.start()
            for _ in range(3):
                with (
                    process(answering.models / "first", tmp_path) as (service, url),
                    httpx.Client(base_url=url) as client,
                ):
                    for image in itertools.islice(sent, len(images) // 3):
                        assert client.post("/predict?source=gate", content=image).status_code == 200
                    service.kill()
                    kills += service.wait() == -signal.SIGKILL
            caught_up(log, ask(log, "SELECT MAX(id) FROM request"))
            left = written(log)
            assert left == left_alone(log, tmp_path, answering.models)
            assert kills == 3 and [row.level for row in left[1]][:1] == ["notice"]
            print(
                f"{kills} kills of the service, {ask(log, 'SELECT COUNT(*) FROM request')} of {len(images)} rows logged"
            )
        finally:
            monitors.close()


def ask(log, question):
    with log.engine.connect() as connection:
        return connection.execute(sqlalchemy.text(question)).scalar()


def watched(log):
    """Grows with every step."""
    return ask(log, "SELECT COALESCE(SUM(last_request), 0) FROM watch")


def wait_until(holds):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def caught_up(log, rows):
    """Wait until the last of so many rows is watched and all news are out, with their causes."""
    wait_until(lambda: ask(log, "SELECT MAX(last_request) FROM watch") == rows)
    wait_until(lambda: ask(log, "SELECT COUNT(*) FROM delivery WHERE delivered_at IS NULL") == 0)
    time.sleep(1.0)


def numbers(log):
    with log.engine.connect() as connection:
        return connection.execute(sqlalchemy.text("SELECT id FROM alarm")).scalars().all()
