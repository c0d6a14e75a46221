"""Alarms as rows: listed, acknowledged once, silenced; on SQLite and PostgreSQL."""

import threading
import time
from contextlib import closing

import pytest
from answered import FACTS
from sqlalchemy import insert, select

from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.lifecycle.watching.alarms import (
    AlarmRow,
    acknowledge,
    alarm_of,
    alarms,
    open_alarms,
    silence_source,
    silences,
)
from drift_detector_pipeline.serving.database import LOOP_LOCK, writing
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.tables import alarm, watch


@pytest.fixture
def log(database):
    with closing(RequestLog(database)) as opened:
        opened.first, opened.second = (opened.register(FACTS._replace(reference_sha256=letter * 64)) for letter in "ab")
        yield opened


def raise_alarm(log, model, source="", level="notice", request=90, since=70):
    with writing(log.engine, LOOP_LOCK) as connection:
        values = {"at": 5.0, "model_id": model, "source": source, "level": level, "request": request, "since": since,
                  "detail": {"alarm": {"level": level}}}  # fmt: skip
        return connection.execute(insert(alarm).values(values).returning(alarm.c.id)).scalar_one()


def keep_state(log, model, source, state):
    with writing(log.engine, LOOP_LOCK) as connection:
        connection.execute(insert(watch), {"model_id": model, "source": source, "last_request": 90, "state": state})


def state_of(log, model, source):
    with log.engine.connect() as connection:
        own = (watch.c.model_id == model, watch.c.source == source)
        return connection.execute(select(watch.c.state).where(*own)).scalar_one()


def test_alarms_come_newest_first_of_a_model_a_source_or_all(log):
    notice = raise_alarm(log, log.first, "gate")
    other = raise_alarm(log, log.second)
    alert = raise_alarm(log, log.first, "gate", "alert", request=99)
    assert [one.id for one in alarms(log)] == [alert, other, notice]
    assert [one.id for one in alarms(log, model_id=log.first)] == [alert, notice]
    assert [one.id for one in alarms(log, source="")] == [other]
    assert [one.id for one in alarms(log, count=1)] == [alert]
    assert open_alarms(log) == alarms(log) and open_alarms(log, log.second) == [alarm_of(log, other)]
    detail = {"alarm": {"level": "notice"}}
    expected = AlarmRow(notice, 5.0, log.first, "gate", "notice", 90, 70, None, detail, None, None, None)
    assert alarm_of(log, notice) == expected


def test_acknowledging_settles_a_change_and_restarts_its_stream_and_no_other(log):
    notice, alert = (raise_alarm(log, log.first, "gate", level) for level in ("notice", "alert"))
    others = [raise_alarm(log, log.first, "yard"), raise_alarm(log, log.second, "gate")]
    for model, source in ((log.first, "gate"), (log.first, "yard"), (log.second, "gate")):
        keep_state(log, model, source, {"kept": [1, 2]})
    before = time.time()
    said = acknowledge(log, alert, "Ann", "lens cleaned")
    assert (said.acknowledged_by, said.note) == (
        "Ann",
        "lens cleaned",
    ) and before <= said.acknowledged_at <= time.time()
    assert alarm_of(log, notice).note == "lens cleaned"
    assert {one.id for one in open_alarms(log)} == set(others)
    assert state_of(log, log.first, "gate") == {"kept": [1, 2], "restart": True}
    assert state_of(log, log.first, "yard") == state_of(log, log.second, "gate") == {"kept": [1, 2]}


def test_who_acknowledged_first_is_kept(log):
    own = raise_alarm(log, log.first)
    threads = [threading.Thread(target=acknowledge, args=[log, own, who, f"{who} did"]) for who in ("Ann", "Bo", "Cy")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = alarm_of(log, own)
    assert first.note == f"{first.acknowledged_by} did"
    assert acknowledge(log, own, "Di", "again") == first


def test_an_alarm_that_is_not_there_is_named_with_what_lists_them(log):
    with pytest.raises(DataError, match=r"alarm 77: not in this log; make alarms"):
        acknowledge(log, 77, "Ann", "no such")
    with pytest.raises(DataError, match="alarm 77"):
        alarm_of(log, 77)


def test_a_silence_holds_until_its_end_or_the_next_word(log):
    kept = silence_source(log, "gate", 8, who="Ann", why="repairs")
    assert kept.until == pytest.approx(time.time() + 8 * 3600, abs=60)
    silence_source(log, "", 1, who="Bo", why="tests")
    assert [one.source for one in silences(log)] == ["", "gate"] and silences(log)[1] == kept
    silence_source(log, "gate", 0, who="Ann", why="done")
    assert [one.source for one in silences(log)] == [""]
    for wrong in (-1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="expected 0 to 87600"):
            silence_source(log, "gate", wrong, who="Ann", why="?")
