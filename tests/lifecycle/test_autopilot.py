"""`make autopilot`: what the policy says is done once, with its reasons as rows, and survives a kill on the way."""

import os
import shutil
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from changed import change_a_world, write_all
from conftest import ROOT, called
from filled import fill_basket
from small_artefact import CLASSES, make_artefact, world
from sqlalchemy import update

from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.lifecycle.autopilot import fly
from drift_detector_pipeline.lifecycle.decisions import INTERRUPTED, begin, decisions, end
from drift_detector_pipeline.lifecycle.labelling.basket_file import baskets
from drift_detector_pipeline.lifecycle.labelling.label_formats import Said
from drift_detector_pipeline.lifecycle.labelling.labels import take_labels
from drift_detector_pipeline.lifecycle.steps import Steps
from drift_detector_pipeline.lifecycle.watching.alarms import acknowledge, alarm_of
from drift_detector_pipeline.release.artefact import read_artefact, version_of, write_artefact
from drift_detector_pipeline.release.executable import open_executable
from drift_detector_pipeline.release.registry import champion, promote, register
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.tables import alarm, decision, request
from drift_detector_pipeline.settings_in_use import Basket, Gate, Heal, Lifecycle, Retrain


def make_bright_artefact(folder):
    """The same network, whose training world was brighter."""
    bare = make_artefact(folder, reference=False)
    fit, ref = world(120, 11, light=190.0), world(200, 12, light=190.0)
    kinds = ("gaussian_noise", "defocus_blur", "contrast")
    DriftDetector.build(open_executable(bare), *fit, *ref, classes=CLASSES, kinds=kinds, twins=60).save(folder)
    write_artefact(bare)


@pytest.fixture
def flight(models, made_once, tmp_path):
    """A log with an alarm about the champion, and everything that an autopilot may touch, in a folder of its own."""
    changed = change_a_world(f"sqlite:///{tmp_path}/log.sqlite", models)
    place = tmp_path / "models"
    first = register(models / "first", place)
    promote(first, why="the first", place=place)
    photos = write_all(changed.contents, tmp_path / "photos")

    def start(*words, stop=None, photos=photos):
        words = ["lifecycle.wait_images=100", *words]
        sections = [load_section(one, words) for one in (Basket, Heal, Retrain, Gate)]
        steps = Steps(*sections, photos, place, tmp_path / "baskets", tmp_path / "labels")
        return fly(changed.log, load_section(Lifecycle, words), steps, stop or threading.Event())

    start.log, start.alarm, start.place, start.baskets, start.first = (
        changed.log, changed.alarm, place, tmp_path / "baskets", first,
    )  # fmt: skip
    yield start
    changed.log.close()


@pytest.mark.slow
def test_an_alert_becomes_one_basket_and_one_row_with_reasons(flight) -> None:
    for _ in range(3):
        assert flight() == 0
    [folder] = baskets(flight.baskets)
    [one] = decisions(flight.log)
    assert (one.action, one.alarm_id, one.detail["basket"]) == ("basket", flight.alarm.id, str(folder))
    assert one.ended_at >= one.at and "cause brightness" in one.detail["reasons"]
    assert alarm_of(flight.log, flight.alarm.id).acknowledged_at is None  # a person has still to label


def test_a_dry_run_says_what_it_would_do_and_does_nothing(flight, caplog) -> None:
    with caplog.at_level("INFO"):
        flight("lifecycle.dry_run=true")
    assert "basket. alert of source 'gate'" in caplog.text
    assert decisions(flight.log) == [] and baskets(flight.baskets) == []


def test_what_cannot_be_healed_here_is_told_and_people_are_asked(flight) -> None:
    """The small model has no run, so nothing can be healed."""
    flight("lifecycle=heal")
    heal, basket = decisions(flight.log)
    assert heal.action == "heal" and heal.outcome.startswith("refused: ") and "its run is not here" in heal.outcome
    assert basket.action == "basket" and "heal: was tried" in basket.detail["reasons"]
    assert champion(flight.place).version == flight.first


def test_images_that_are_not_there_yet_are_told_apart_from_a_refusal(flight, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    flight("lifecycle=heal", photos=tmp_path / "empty")
    heal, *_ = decisions(flight.log)
    assert heal.detail["too_few"] and heal.outcome.startswith("refused: 0 different readable images of 0")


def test_a_decision_that_was_killed_is_marked_and_taken_again(flight) -> None:
    begin(flight.log, "basket", flight.alarm.id, {"reasons": []})
    flight()
    before, after = decisions(flight.log)
    assert before.outcome == INTERRUPTED and after.outcome.endswith("make labels")


def test_a_basket_that_a_killed_autopilot_had_made_is_taken_up(flight) -> None:
    flight()
    [folder] = baskets(flight.baskets)
    [one] = decisions(flight.log)
    with flight.log.engine.begin() as connection:
        connection.execute(update(decision).values(ended_at=None, outcome=None))
    flight()
    assert baskets(flight.baskets) == [folder]
    cut_off, again = decisions(flight.log)
    assert (cut_off.id, cut_off.outcome, again.detail["basket"]) == (one.id, INTERRUPTED, str(folder))


def test_an_adoption_whose_row_was_cut_off_is_told_as_one(flight, made_once) -> None:
    number = begin(flight.log, "return", flight.alarm.id, {"reasons": [], "champion": champion(flight.place).number})
    other = register(make_artefact(flight.place / "other", seed=5).folder, flight.place)
    promote(other, who="autopilot", why="its world is back", force=True, place=flight.place)
    flight()
    [one] = decisions(flight.log)
    assert (one.id, one.outcome, one.detail["adopted"]) == (number, f"{other} answers now", True)


def test_the_schedule_keeps_to_the_budget_of_the_week(flight, tmp_path, caplog) -> None:
    basket = fill_basket(tmp_path / "basket", classes=CLASSES)
    said = [Said(Path(one.file).name, CLASSES[0], "Ann") for one in basket.images]
    take_labels(tmp_path / "basket/basket.csv", basket, said, tmp_path / "labels")
    end(flight.log, begin(flight.log, "heal", None, {}), "refused", {})
    words = ["lifecycle.retrain_every_days=1", "lifecycle.wait_images=9999"]
    with caplog.at_level("INFO"):
        flight(*words, "lifecycle.tries_a_week=1")
    assert "lifecycle.tries_a_week=1 are spent" in caplog.text
    assert [one.action for one in decisions(flight.log)] == ["heal"]
    flight(*words, "lifecycle.tries_a_week=2")
    assert [one.action for one in decisions(flight.log)] == ["heal", "retrain"]


def test_what_a_healing_has_left_lost_is_tried_once_while_no_alarm_stands(flight) -> None:
    """The small model has no run to train on, so it is refused; the row says what it was for."""
    acknowledge(flight.log, flight.alarm.id, "autopilot", "heal")
    facts = {"version": flight.first, "adopted": True, "of": "brightness", "left": 0.3}
    end(flight.log, begin(flight.log, "heal", flight.alarm.id, {}), f"{flight.first} answers now", facts)
    flight("lifecycle=heal")
    assert [one.action for one in decisions(flight.log)] == ["heal"]
    for _ in range(2):
        flight("lifecycle=retrain")
    _, one = decisions(flight.log)
    assert (one.action, one.alarm_id) == ("retrain", flight.alarm.id) and "its run is not here" in one.outcome
    assert one.detail["reasons"][0] == f"{flight.first}, healed of brightness, lacks 30 points of accuracy"


def test_an_alarm_whose_change_is_over_is_settled_and_nobody_else_answers(flight, made_once) -> None:
    """To the model of the brighter world all of these images look usual, so what it alarmed about is over."""
    bright = made_once("bright_model", lambda root: make_bright_artefact(root / "bright")) / "bright"
    promote(register(bright, flight.place), why="it is summer", force=True, place=flight.place)
    artefact = read_artefact(bright)
    facts = flight.log.facts_of(flight.alarm.model_id)
    hashes = {"sha256": artefact.sha256[artefact.file], "reference_sha256": artefact.sha256["reference.npz"]}
    own = flight.log.register(facts._replace(**hashes))
    with flight.log.engine.begin() as connection:
        for table in (request, alarm):
            connection.execute(update(table).values(model_id=own))
    flight("lifecycle=heal")
    [one] = decisions(flight.log)
    assert one.action == "return" and one.outcome.startswith("the change is over: 100 images look usual")
    assert alarm_of(flight.log, flight.alarm.id).note == "the change is over"
    assert champion(flight.place).version == version_of(bright)


def test_two_do_not_act_at_once(flight) -> None:
    hold = "import sys; from pathlib import Path; from drift_detector_pipeline.files import held_alone as held\n"
    hold += "with held(Path(sys.argv[1])) as alone: print(alone, flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(flight.place / ".autopilot.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as other:
        assert other.stdout.readline() == "True\n"
        with pytest.raises(ConfigError, match="another autopilot"):
            flight()
        other.stdin.close()
    assert flight() == 0


def test_without_a_champion_it_says_how_to_make_one(flight) -> None:
    shutil.rmtree(flight.place)
    flight.place.mkdir()
    with pytest.raises(ConfigError, match=r"no champion to replace; make promote"):
        flight()


def test_where_nothing_is_to_fly_nothing_is_made_and_a_log_that_is_made_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    said = called("lifecycle.autopilot", cwd=tmp_path)
    assert "no champion to replace" in said.stderr and not list(tmp_path.iterdir())
    place = tmp_path / "models"
    promote(register(make_artefact(place / "artefact", reference=False).folder, place), why="the first", place=place)
    said = called("lifecycle.autopilot", "serving.database=sqlite:///other.sqlite", cwd=tmp_path)
    assert said.returncode == 0
    assert said.stderr.startswith("warning: sqlite:///other.sqlite: no log there yet; make serve writes one")


def test_a_former_champion_answers_again_when_its_world_is_back(flight, made_once) -> None:
    bright = register(
        made_once("bright_model", lambda root: make_bright_artefact(root / "bright")) / "bright", flight.place
    )
    promote(bright, why="for summer", force=True, place=flight.place)
    promote(flight.first, why="autumn", force=True, place=flight.place)
    flight("lifecycle=heal")
    assert champion(flight.place).version == bright
    assert champion(flight.place).who == "autopilot" and "look usual" in champion(flight.place).why
    [one] = decisions(flight.log)
    assert (one.action, one.detail["adopted"], one.detail["version"]) == ("return", True, bright)
    assert alarm_of(flight.log, flight.alarm.id).acknowledged_by == "autopilot"


def test_a_former_champion_whose_world_is_another_stays_where_it_is(flight, made_once) -> None:
    other = make_artefact(flight.place / "other", seed=5).folder
    promote(register(other, flight.place), why="a try", force=True, place=flight.place)
    promote(flight.first, why="back", force=True, place=flight.place)
    flight("lifecycle=heal")
    assert champion(flight.place).version == flight.first
    assert [one.action for one in decisions(flight.log)] == ["return", "heal", "basket"]


@pytest.mark.timeout(120)
def test_without_kept_images_former_champions_are_asked_once_and_people_after_that(flight) -> None:
    other = make_artefact(flight.place / "other", seed=5).folder
    promote(register(other, flight.place), why="a try", force=True, place=flight.place)
    promote(flight.first, why="back", force=True, place=flight.place)
    for _ in range(2):
        flight("lifecycle=heal", photos=None)
    found = decisions(flight.log)
    assert [one.action for one in found] == ["return", "heal", "basket"]
    assert "no recent images" in found[0].outcome


def test_alarms_about_a_model_that_answers_no_more_are_settled(flight, made_once) -> None:
    other = register(make_artefact(flight.place / "other", seed=5).folder, flight.place)
    promote(other, why="a try", force=True, place=flight.place)
    flight()
    settled = alarm_of(flight.log, flight.alarm.id)
    assert settled.acknowledged_by == "autopilot" and other in settled.note and decisions(flight.log) == []


@pytest.mark.slow
def test_the_command_runs_once_by_its_settings(flight, tmp_path) -> None:
    words = ["serving.database=" + str(flight.log.engine.url), "lifecycle.dry_run=true"]
    command = [sys.executable, "-m", "drift_detector_pipeline.lifecycle.autopilot", *words]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and "alarm 1: wait" in done.stdout + done.stderr, done.stderr


def test_decisions_are_the_same_in_every_database(database) -> None:
    with closing(RequestLog(database)) as log:
        number = begin(log, "heal", None, {"reasons": ["schedule"]})
        assert [one.id for one in decisions(log)] == [number] and decisions(log, alarm_id=3) == []
