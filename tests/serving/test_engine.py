"""An artefact, opened: warm, paired with its own reference, the same bits for an image in any company."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from small_artefact import SIDE_PX, make_artefact, network, png, world

from drift_detector_pipeline.errors import DataError, ModelError
from drift_detector_pipeline.release.artefact import read_artefact, write_artefact
from drift_detector_pipeline.serving.engine import open_engine

CROPS = world(40, 9)[0]


def test_an_image_has_the_same_answer_and_scores_in_batches_of_1_to_40(models) -> None:
    engine = open_engine(models / "first")
    whole = engine.answer(CROPS)
    for size in (1, 2, 3, 7, 16, 33):
        parts = [engine.answer(CROPS[start : start + size]) for start in range(0, 40, size)]
        assert np.array_equal(np.concatenate([part.probabilities for part in parts]), whole.probabilities)
        assert np.array_equal(np.concatenate([part.phi for part in parts]), whole.phi)


def test_scores_are_those_that_the_detector_reads_of_the_same_images(models) -> None:
    engine = open_engine(models / "first")
    said = engine.answer(CROPS)
    predicted = said.probabilities.argmax(axis=1)
    of_crops, of_scores = engine.detector.check_crops(CROPS), engine.detector.check_scores(said.phi, predicted)
    assert (of_crops.p, of_crops.p_values) == (of_scores.p, of_scores.p_values)


def test_a_model_that_gives_other_classes_than_are_named_is_refused_before_it_answers(tmp_path) -> None:
    artefact = make_artefact(tmp_path / "two", reference=False)
    write_artefact(artefact._replace(classes=artefact.classes[:2]))
    with pytest.raises(DataError, match="3 probabilities an image, and 2 classes are named"):
        open_engine(artefact.folder)


def test_a_reference_of_another_file_is_refused(models, tmp_path) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(models / "first", folder)
    network(folder / "model.onnx", seed=5)
    artefact = read_artefact(models / "first")
    write_artefact(artefact._replace(folder=folder))
    with pytest.raises(ModelError, match="built for the model"):
        open_engine(folder)


def test_a_changed_file_is_refused_before_it_is_loaded(tmp_path) -> None:
    make_artefact(tmp_path / "one", reference=False)
    (tmp_path / "one" / "model.onnx").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"model\.onnx: damaged or exchanged"):
        open_engine(tmp_path / "one")


def test_where_rows_depend_on_each_other_batches_are_filled_up(tmp_path) -> None:
    artefact = make_artefact(tmp_path / "one")
    write_artefact(artefact._replace(rows_independent=False))
    engine = open_engine(tmp_path / "one")
    assert len(engine.answer(CROPS[:3]).probabilities) == 3 and len(engine.answer(CROPS).phi) == 40


def test_ranks_say_how_many_of_the_training_world_have_less(models) -> None:
    engine = open_engine(models / "first")
    bright = engine.answer(world(1, 3, light=230.0)[0])
    ranks = {score["name"]: score["rank"] for score in engine.explain(bright.phi[0])}
    assert ranks["luma"] == 1.0 and all(0 <= rank <= 1 for rank in ranks.values())


def test_what_is_the_same_for_all_images_is_nothing_unusual(models) -> None:
    engine = open_engine(models / "first")
    engine._sorted[:, 3] = 7.0  # as the colour of gray images
    row = engine._sorted[5].copy()
    assert engine.explain(row)[3]["rank"] == 0.5


def test_a_file_becomes_the_crop_that_evaluation_sees(models) -> None:
    engine = open_engine(models / "first")
    assert np.array_equal(engine.prepare(png(CROPS[0])), CROPS[0])
    assert engine.prepare(png(np.zeros((90, 50, 3), np.uint8))).shape == (SIDE_PX, SIDE_PX, 3)


@pytest.mark.parametrize("module", ["app", "__main__"])
@pytest.mark.slow
def test_the_service_loads_nothing_that_training_needs(module) -> None:
    never = {"torch", "torchvision", "timm", "sklearn", "dvc", "wandb", "onnx", "onnxscript", "requests"}
    code = f"import sys, drift_detector_pipeline.serving.{module}; print(sorted({never} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).strip() == "[]"
