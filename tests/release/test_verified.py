"""make models_check: what a workflow may rely on after a pointer has changed."""

import json
import shutil

import numpy as np
import pytest
from small_artefact import make_artefact
from versioned import gate

from drift_detector_pipeline.console import log
from drift_detector_pipeline.release.artefact import Artefact, write_artefact
from drift_detector_pipeline.release.registry import promote, register
from drift_detector_pipeline.release.verified import check


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two models that answer, one of them champion, the other one let in after it by a gate."""
    place = tmp_path_factory.mktemp("made") / "models"
    for number in (1, 2):
        make_artefact(place / f"model_{number}", number, reference=False)
    first, second = (register(place / f"model_{number}", place) for number in (1, 2))
    promote(first, why="first", place=place)
    gate(place, second, first)
    promote(second, why="better", place=place)
    return place, first, second


@pytest.fixture
def own(made, tmp_path):
    """A copy to damage."""
    return shutil.copytree(made[0], tmp_path / "models"), *made[1:]


@pytest.fixture
def said(monkeypatch, caplog):
    """What is logged."""
    monkeypatch.setattr(log, "propagate", True)
    caplog.set_level("INFO", log.name)
    return caplog


def problems(place):
    return [str(problem) for problem in check(place)]


def test_models_that_answer_and_a_champion_with_a_gate_are_right(made, said):
    assert problems(made[0]) == []
    assert "answers 16 images alone as together" in said.text
    assert f"champion 2, {made[2]}: let in by gates/" in said.text


def test_a_damaged_version_is_a_problem_and_the_others_are_still_looked_at(own):
    place, first, second = own
    for version in (first, second):
        (place / "versions" / version / "model.onnx").write_bytes(b"rotten")
    found = problems(place)
    assert len(found) == 2 and all("model.onnx: damaged" in problem for problem in found)


def test_a_model_that_cannot_be_opened_is_a_problem(own):
    place, *_ = own
    folder = place / "model_1"
    (folder / "model.onnx").write_bytes(np.random.default_rng(0).bytes(999))
    write_artefact(Artefact(folder, "model.onnx", "onnxruntime", "fp32", "noise", ["a", "b"], 16, 16, True, {}, "", {}))
    version = register(folder, place)
    assert [problem for problem in problems(place) if version in problem and "cannot read it" in problem]


def test_a_model_of_other_classes_than_it_says_is_a_problem(own):
    place, *_ = own
    folder = place / "model_1"
    for side, said in ((24, "gives no probabilities of 2 classes"), (16, "does not answer: ")):
        artefact = Artefact(folder, "model.onnx", "onnxruntime", "fp32", "two", ["a", "b"], side, 16, True, {}, "", {})
        register(write_artefact(artefact).folder, place)
        assert any(said in problem for problem in problems(place))


def test_a_champion_whose_gate_is_gone_or_says_no_is_a_problem(own):
    place, first, second = own
    path = place / "gates" / f"{second}_against_{first}" / "gate.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"passed": False}))
    assert any("did not pass" in problem for problem in problems(place))
    path.unlink()
    assert any("no test's result" in problem for problem in problems(place))


def test_a_champion_of_which_only_the_pointer_is_here_is_named_and_passed_over(own, said):
    place, _, second = own
    shutil.rmtree(place / "versions" / second)
    (place / "versions" / f"{second}.dvc").write_text("outs: []")
    assert problems(place) == []
    assert f"{second}: only its pointer is here" in said.text


def test_nothing_at_all_is_no_problem(tmp_path):
    assert problems(tmp_path) == []
