"""`make alarms`, `make acknowledge`, `make silence` as people type them."""

import json
import shutil
import subprocess
from contextlib import closing

import pytest
from conftest import ROOT, needs_clone
from logged import HAZE, Answering, make_models, monitor_settings, put, standing

from drift_detector_pipeline.lifecycle.watching.alarms import alarms, silences
from drift_detector_pipeline.lifecycle.watching.monitor import watch_log
from drift_detector_pipeline.serving.request_log import RequestLog

DESK = "lifecycle.watching.alarm_desk"


@pytest.fixture
def log(made_once, tmp_path, monkeypatch):
    """A log of two cameras, one of which has an alarm."""
    import threading

    monkeypatch.delenv("DATABASE_URL", raising=False)
    answering = Answering(made_once("small_models", make_models))
    address = f"sqlite:///{tmp_path}/log.sqlite"
    with closing(RequestLog(address)) as opened:
        opened.word, opened.model = f"monitor.database={address}", opened.register(answering.facts)
        put(opened, opened.model, answering.rows(60, 11, "gate\x1b[2J") + answering.rows(60, 21, "yard"))
        put(opened, opened.model, answering.rows(80, 12, "gate\x1b[2J", contrast=HAZE))
        watch_log(monitor_settings(address, answering.models), "", threading.Event())
        yield opened


def test_alarms_are_a_table_that_says_what_to_do_and_does_nothing_to_the_terminal(log, call_main):
    said = call_main(DESK, "alarms", log.word)
    head, alert, notice, *rest = said.stdout.splitlines()
    assert head.split()[:3] == ["alarm", "level", "source"] and "gate\\x1b[2J" in alert and "\x1b" not in said.stdout
    assert alert.split()[:2] == ["2", "alert"] and notice.split()[:2] == ["1", "notice"]
    assert "contrast" in notice and notice.split()[-1] == "open" and rest[-1].startswith("settle one: make acknowledge")
    assert call_main(DESK, "alarms", "source=yard", log.word).stdout == "no alarms\n"
    lines = call_main(DESK, "alarms", "json=true", "count=1", log.word).stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [2]


def test_acknowledging_and_silencing_say_what_they_did_and_do_it(log, call_main):
    said = call_main(DESK, "acknowledge", "alarm=2", "why=lens cleaned, 5 = good", "who=Ann", log.word)
    assert said.returncode == 0 and "alarm 2: settled by Ann" in said.stdout and "begins anew" in said.stdout
    assert [one.note for one in alarms(log)] == ["lens cleaned, 5 = good"] * 2
    assert standing(log, log.model, "gate\x1b[2J").state["restart"] is True
    assert call_main(DESK, "alarms", "open=true", log.word).stdout == "no alarms\n"
    said = call_main(DESK, "silence", "source=yard", "hours=0.5", "why=repairs", log.word)
    assert "news of yard waits until" in said.stdout
    [kept] = silences(log)
    assert (kept.source, kept.why) == ("yard", "repairs") and kept.who
    assert "news of yard waits until" in call_main(DESK, "alarms", log.word).stdout
    assert said.stderr == ""
    said = call_main(DESK, "silence", "source=yrad", "hours=1", "why=repairs", log.word)
    assert said.stderr == "warning: no image of yrad is in this log; the nearest are yard, gate\\x1b[2J\n"
    call_main(DESK, "silence", "source=yrad", "hours=0", "why=a slip", log.word)
    said = call_main(DESK, "silence", "source=yard", "hours=0", "why=done", log.word)
    assert said.stdout == "news of yard is sent again\n" and silences(log) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("acknowledge", "alarm=99", "why=x"), "alarm 99: not in this log"),
        (("acknowledge", "alarm=", "why=x"), "alarm=: expected a number"),
        (("acknowledge", "alarm=1.5", "why=x"), "expected a whole number"),
        (("acknowledge", "alarm=1", "why= "), "why: say it"),
        (("silence", "source=a", "hours=-1", "why=x"), "expected 0 to 87600"),
        (("silence", "source=a", "hours=1e300", "why=x"), "expected 0 to 87600"),
        (("acknowledge", "alarm=1e30", "why=x"), "expected a whole number from 1 on"),
        (("alarms", "source=\udcff"), "source=\\udcff: its letters are not UTF-8"),
        (("silence", "source=a", "hours=1", "why=\udcff"), "why=\\udcff: its letters are not UTF-8"),
        (("acknowledge", "alarm=1", "why=x", "who=\udcff"), "who=\\udcff: its letters are not UTF-8"),
        (("acknowledge", "alarm=1", "alarm=2", "why=x"), "alarm=2: alarm=1 is named before; name one"),
        (("silence", "source=a", "hours=", "why=x"), "hours=: expected a number"),
        (("alarms", "closed=true"), "closed=true: make alarms takes only source=..., open=..."),
        (("alarms", "open=yes"), "expected true or false"),
        (("forget",), "forget: expected one of alarms, acknowledge, silence"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(log, call_main, words, said):
    done = call_main(DESK, *words, log.word) if words != ("forget",) else call_main(DESK, *words)
    assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1


def test_no_log_is_made_by_asking(call_main, tmp_path, monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    done = call_main(DESK, "alarms", f"monitor.database=sqlite:///{tmp_path}/none.sqlite")
    assert done.returncode == 1 and "no log there; make serve writes one" in done.stderr
    assert list(tmp_path.iterdir()) == []


@needs_clone
def test_make_hands_on_what_people_type_as_it_is():
    if shutil.which("make") is None:
        pytest.skip("needs make")
    words = ["ALARM=7", 'WHY=$HOME costs 5 $ "quoted"; it\'s so', "SOURCE=gate 3"]
    asked = "import os; print([os.environ.get(name) for name in ('ALARM', 'WHY', 'SOURCE')])"
    probe = f'--eval=probe: ; @python3 -c "{asked}"'
    done = subprocess.run(["make", "-s", probe, "probe", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == str(["7", '$HOME costs 5 $ "quoted"; it\'s so', "gate 3"]), done.stderr


@pytest.mark.parametrize("words", [["alarms", "count=1e30"], ["acknowledge", "alarm=1e18", "why=x"]])
def test_a_number_that_no_database_holds_is_named_as_it_was_typed(words, tmp_path, monkeypatch, call_main):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    RequestLog(f"sqlite:///{tmp_path}/log.sqlite").close()
    said = call_main(DESK, *words, f"monitor.database=sqlite:///{tmp_path}/log.sqlite").stderr
    assert said == f"error: {words[1]}: expected a whole number from 1 on, of at most 18 digits\n"
