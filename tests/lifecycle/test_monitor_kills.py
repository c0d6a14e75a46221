"""A monitor that is killed again and again ends with the alarms and states of one that was left alone, to the byte."""

import itertools
import random
import threading
import time
from contextlib import closing

import pytest
import sqlalchemy
from hook import hook
from logged import HAZE, Answering, make_models, monitor_settings, put
from monitors import Monitors

from drift_detector_pipeline.lifecycle.alarms import acknowledge, open_alarms
from drift_detector_pipeline.lifecycle.monitor import watch_log
from drift_detector_pipeline.serving.request_log import RequestLog

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


def settle(log):
    for one in open_alarms(log):
        acknowledge(log, one.id, "Ann", "looked at it")


def test_killed_before_any_statement_it_goes_on_as_if_nothing_had_been(answering, database, tmp_path):
    """Every child dies before a statement or commit of its own choice, until one comes to the end."""
    rows, choose, kills = traffic(answering), random.Random(3), 0
    with closing(RequestLog(database)) as log, hook() as server:
        put(log, log.register(answering.facts), rows)
        monitors = Monitors(monitor_settings(database, answering.models, webhook=server.address), at_once=30)
        try:
            while True:
                monitors.start(kill_at=choose.randint(10, 60))
                if monitors.wait() == 0:
                    break
                kills += 1
            time.sleep(0.5)  # news whose try was counted and then not made waits its turn
            monitors.start()
            assert monitors.wait() == 0
        finally:
            monitors.close()
        assert kills >= 4
        assert written(log) == undisturbed(answering, tmp_path, rows)
        assert len(set(server.told)) == len(written(log)[1]) > 0


@pytest.mark.slow
def test_killed_at_100_moments_over_a_log_that_fills_it_loses_nothing_and_counts_nothing_twice(
    answering, database, tmp_path, record_property
):
    rows, choose, kills = traffic(answering, parts=8), random.Random(4), 0
    settles = (len(rows) // 2,)
    with closing(RequestLog(database)) as log, hook() as server:
        model = log.register(answering.facts)
        settings = monitor_settings(database, answering.models, webhook=server.address, once=False, poll_s=0.01)
        monitors = Monitors(settings)
        try:
            for start, end in itertools.pairwise((0, *settles, len(rows))):
                filling = threading.Thread(target=fill, args=[log, model, rows[start:end], 20.0])
                filling.start()
                for _ in range(55):
                    monitors.start()
                    time.sleep(choose.uniform(0.0, 0.5))
                    monitors.kill()
                    kills += 1
                filling.join()
                monitors.start()
                caught_up(log, end)
                monitors.kill()
                if end in settles:
                    settle(log)
        finally:
            monitors.close()
        left = written(log)
        assert left == undisturbed(answering, tmp_path, rows, settles)
        assert kills >= 100 and len(left[1]) >= 4 and set(server.told) == {f"{n}-webhook" for n in numbers(log)}
        twice = len(server.told) - len(set(server.told))
        record_property("kills", kills)
        record_property("told twice, with the same id", twice)
        print(f"{kills} kills, {len(left[1])} alarms, {twice} of them told twice with the same id")


def fill(log, model, rows, seconds):
    """Put rows over so long."""
    for row in rows:
        log.put(model, row)
        time.sleep(seconds / len(rows))
    assert log.flush()


def caught_up(log, rows):
    """Wait until so many rows are watched, every cause that can be is named and all news are out."""
    deadline = time.monotonic() + 60
    asked = [
        f"SELECT COALESCE(MAX(last_request), 0) >= {rows} FROM watch",
        "SELECT COUNT(*) = 0 FROM delivery WHERE delivered_at IS NULL",
    ]
    while True:
        with log.engine.connect() as connection:
            if all(connection.execute(sqlalchemy.text(one)).scalar() for one in asked):
                break
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1.0)


def numbers(log):
    with log.engine.connect() as connection:
        return connection.execute(sqlalchemy.text("SELECT id FROM alarm")).scalars().all()
