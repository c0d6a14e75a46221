"""make models: what is measured, what a test said and what the log says stand beside each version."""

import json
import sqlite3
import time

import pytest
from conftest import ROOT, called
from small_artefact import make_artefact
from sqlalchemy import insert

from drift_detector_pipeline.release.artefact import read_artefact, write_artefact
from drift_detector_pipeline.release.registry import promote, register
from drift_detector_pipeline.serving.models import listed
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.rows import ModelFacts, Row, StoredVerdict
from drift_detector_pipeline.serving.stored_verdicts import store
from drift_detector_pipeline.serving.tables import alarm

ROW = {"name": "ONNX", "accuracy": 0.9, "low": 0.85, "high": 0.93, "milliseconds_1": 1.234, "note": "served"}


@pytest.fixture
def two(tmp_path):
    """A place with two versions, the first of them champion."""
    place, found = tmp_path / "models", []
    for seed in (1, 2):
        artefact = make_artefact(place / f"model_{seed}", seed, reference=False)
        facts = {"table": [{"name": "PyTorch", "note": ""}, ROW], "when": "2026-01-02T03:04:05+00:00"}
        write_artefact(artefact._replace(facts=facts))
        found.append(register(artefact.folder, place))
    promote(found[0], why="first", place=place)
    return place, found


def address(place):
    return f"sqlite:///{place}/requests.sqlite"


def fill(place, version):
    """A log in which the version answered five images, was judged once, and has two alarms, one of them seen."""
    artefact = read_artefact(place / "versions" / version)
    log = RequestLog(address(place))
    facts = ModelFacts(artefact.sha256[artefact.file], "", "onnxruntime", "fp32", "stripes", artefact.classes, [])
    model = log.register(facts)
    for number in range(5):
        log.put(model, Row(time.time(), str(number), "", bytes(32), 0, 1.0, 1.0, b""))
    log.flush()
    store(log, StoredVerdict(0, 9.0, model, "", 1, 5, 5, 0, True, "notice", 0.004, 0.81, 0.7, 0.9, False, {}))
    with log.engine.begin() as connection:
        for number, seen in enumerate((None, 10.0)):
            values = {"at": 9.0, "model_id": model, "source": "", "level": "alert", "request": number, "since": 1}
            connection.execute(insert(alarm).values(**values, detail={}, acknowledged_at=seen))
    log.close()


def test_versions_whose_facts_another_program_wrote_are_listed_without_them(two):
    place, names = two
    odd = [{}, {"table": 1}, {"table": ["row"]}, {"table": [dict.fromkeys(ROW, "served")], "when": 7, "accuracy": "a"}]
    for number, facts in enumerate(odd):
        artefact = make_artefact(place / f"odd_{number}", 3, reference=False)
        names = [*names, register(write_artefact(artefact._replace(facts=facts)).folder, place)]
    done = called("serving.models", cwd=place.parent)
    assert done.returncode == 0 and done.stdout.count("90.00% (85.0% to 93.0%)") == 2
    assert all(name in done.stdout for name in names) and len(names) == 6


def test_each_version_has_what_was_measured_and_what_the_log_says(two):
    place, names = two
    fill(place, names[0])
    found = {one.version: one for one in listed(place, address(place))}
    first, second = found[names[0]], found[names[1]]
    assert (first.champion, second.champion) == (True, False)
    assert (first.accuracy, first.low, first.high, first.milliseconds, first.exported[:10]) == (
        0.9,
        0.85,
        0.93,
        1.234,
        "2026-01-02",
    )
    assert first.drift == (5, "notice", 0.004, 0.81, 0.7, 0.9, 1)
    assert second.drift is None


def test_it_is_a_table_for_people_and_json_for_programs(two, tmp_path):
    place, names = two
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    fill(place, names[0])
    folder = place / "gates" / f"{names[1]}_against_{names[0]}"
    folder.mkdir(parents=True)
    (folder / "gate.json").write_text(json.dumps({"passed": False, "champion": {"version": names[0]}}))
    said = called("serving.models", cwd=tmp_path).stdout
    line = next(line for line in said.splitlines() if line.startswith("champion"))
    assert "90.00% (85.0% to 93.0%)" in line and "1.23" in line
    assert line.endswith("5 images, notice, about 81% right (70% to 90%), 1 open alarm")
    assert f"failed against {names[0]}" in said
    plain = json.loads(called("serving.models", "--json", cwd=tmp_path).stdout)
    assert {one["version"]: one["champion"] for one in plain} == {names[0]: True, names[1]: False}
    assert {one["version"]: one["drift"] and one["drift"]["open_alarms"] for one in plain} == {
        names[0]: 1,
        names[1]: None,
    }


def test_a_damaged_version_and_a_log_that_is_none_are_named_and_the_rest_is_shown(two, tmp_path):
    place, names = two
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (place / "versions" / names[1] / "artefact.json").write_text("{")
    (place / "requests.sqlite").write_text("no database at all, and longer than its head would be" * 9)
    done = called("serving.models", cwd=tmp_path)
    assert done.returncode == 0
    assert f"{names[1]}/artefact.json: damaged" in done.stderr and "requests.sqlite" in done.stderr
    assert names[0] in done.stdout and names[1] not in done.stdout


def test_without_versions_it_says_how_to_get_one(tmp_path):
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    assert "make promote VERSION=models/artefact" in called("serving.models", cwd=tmp_path).stdout
    assert not (tmp_path / "models").exists()


def test_looking_makes_no_log(two):
    place, _ = two
    listed(place, address(place))
    assert not (place / "requests.sqlite").exists()
    with pytest.raises(sqlite3.OperationalError):
        sqlite3.connect(f"file:{place}/requests.sqlite?mode=ro", uri=True).execute("SELECT 1 FROM request")
