"""The files of an evaluation for any number of classes, any class names, and models that are always or never right."""

import csv
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.modeling import evaluation_report
from drift_detector_pipeline.tasks.classification.metrics import measure
from drift_detector_pipeline.tasks.classification.task import CLASSIFICATION
from drift_detector_pipeline.tasks.task import Evaluation

ODD = ["$x^2$", "猫", "a name that is far too long to draw", "<b>&", os.fsdecode(b"caf\xe9"), "{{ 1 }}", "ok"]
FACTS = {
    "split": "val", "weights": "final", "selected_on_val": False, "training": None, "run": "outputs/a/b",
    "model": "mlp", "weights_sha256": "0" * 64, "data": "data/processed/odd", "data_fingerprint": "1" * 64,
    "img_size": 8, "command": ["python", "-m", "evaluate"], "when": "today", "device": "cpu", "threads": 2,
    "instruction_set": "abacus", "precision": "fp32", "seconds_total": 1.0, "seconds_forward": 1.0,
}  # fmt: skip


def evaluation(classes, images=60, sharpness=1.0, seed=0):
    """An evaluation of drawn logits; the sharper, the more of them are right."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(classes), images)
    logits = (rng.normal(size=(images, len(classes))) + sharpness * np.eye(len(classes))[labels]).astype(np.float32)
    return Evaluation(
        FACTS, measure(logits, labels), classes,
        paths=[f"{classes[label]}/{number}.png" for number, label in enumerate(labels)],
        targets=labels.tolist(),
        answers=CLASSIFICATION.answer(logits, classes),
        picture=lambda place: np.full((8, 8, 3), place % 256, dtype=np.uint8),
    )  # fmt: skip


def write_evaluation(target, evaluation):
    return evaluation_report.write_evaluation(target, evaluation, CLASSIFICATION)


def page_of(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 10, 21, 200])
def test_any_number_of_classes_is_drawn(count, tmp_path):
    folder = write_evaluation(tmp_path / "evaluation" / "val", evaluation([f"class_{n:03}" for n in range(count)]))
    assert len(json.loads((folder / "metrics.json").read_text())["confusion"]) == count
    for picture in folder.glob("*.png"):
        with Image.open(picture) as opened:
            assert 400 < opened.width < 2000, picture.name


def test_odd_class_names_break_neither_pictures_nor_page_nor_table(tmp_path):
    folder = write_evaluation(tmp_path / "val", evaluation(ODD))
    page = page_of(folder)
    assert "&lt;b&gt;&amp;" in page
    assert "<b>&" not in page
    assert "猫" in page
    assert "{{ 1 }}" in page
    assert json.loads((folder / "metrics.json").read_text())["classes"] == ODD
    with (folder / "predictions.csv").open(encoding="utf-8", errors="surrogateescape") as file:
        assert {row["true_label"] for row in csv.DictReader(file)} <= set(ODD)


@pytest.mark.slow
def test_no_cell_of_the_table_is_a_formula(tmp_path):
    folder = write_evaluation(tmp_path / "val", evaluation(["=1+1", "@sum", "-x", "plain"]))
    with (folder / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["true_label"] for row in rows} == {"'=1+1", "'@sum", "'-x", "plain"}
    assert not [cell for row in rows for cell in row.values() if cell[0] in "=+-@"]


def test_a_model_that_is_always_right_has_no_worst_mistakes(tmp_path):
    folder = write_evaluation(tmp_path / "val", evaluation(["a", "b", "c"], sharpness=50))
    assert "There are none." in page_of(folder)
    assert "100.00&nbsp;% of 60 val images" in page_of(folder)
    assert (folder / "worst_mistakes.png").exists()


def test_the_worst_mistakes_are_the_surest_ones(tmp_path):
    found = evaluation(["a", "b", "c"], sharpness=0)
    page = page_of(write_evaluation(tmp_path / "val", found))
    wrong = sorted(
        (-answer["probability"], path)
        for answer, label, path in zip(found.answers, found.targets, found.paths, strict=True)
        if answer["label"] != found.classes[label]
    )
    places = [page.rindex(f'alt="{path}"') for _, path in wrong[:12]]
    assert places == sorted(places)
    assert page.index("The worst mistakes") < places[0]


def test_one_image_is_enough(tmp_path):
    folder = write_evaluation(tmp_path / "val", evaluation(["a", "b"], images=1))
    assert json.loads((folder / "metrics.json").read_text())["n"] == 1


def test_a_class_without_images_has_no_recall_and_the_page_says_so(tmp_path):
    found = evaluation(["a", "b", "nobody"], sharpness=50)
    logits = np.full((4, 3), -50, dtype=np.float32)
    logits[:, 0] = 0
    found = found._replace(metrics=measure(logits, np.array([0, 0, 1, 1])))
    folder = write_evaluation(tmp_path / "val", found)
    assert json.loads((folder / "metrics.json").read_text())["per_class"][2]["recall"] is None
    assert '<td>nobody</td><td class="number">0</td><td class="number">\u2013</td>' in page_of(folder)


@pytest.mark.slow
def test_the_same_evaluation_gives_the_same_bytes(tmp_path):
    first, second = (write_evaluation(tmp_path / name, evaluation(["a", "b", "c"])) for name in ("one", "two"))
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


@pytest.mark.slow
def test_two_evaluations_of_a_run_at_once_both_succeed_and_the_later_one_stays(tmp_path):
    target, first_is_writing, second_has_begun = tmp_path / "val", threading.Event(), threading.Event()
    slow = evaluation(["a", "b"])

    def late(place):
        first_is_writing.set()
        assert second_has_begun.wait(20)
        time.sleep(0.05)  # in which the second comes as far as it can
        return slow.picture(place)

    with ThreadPoolExecutor(1) as other:
        first = other.submit(write_evaluation, target, slow._replace(picture=late))
        assert first_is_writing.wait(20)
        second_has_begun.set()
        write_evaluation(target, evaluation(["c", "d", "e"]))
        assert first.result() == target
    assert json.loads((target / "metrics.json").read_text())["classes"] == ["c", "d", "e"]
    assert {"report.html", "predictions.csv"} < {path.name for path in target.iterdir()}
    assert not list(tmp_path.glob(".*.partial"))


@pytest.mark.slow
def test_a_place_that_cannot_be_written_is_an_error_that_leaves_the_old_files(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match="the run's folder must be writable"):
        write_evaluation(tmp_path / "file" / "val", evaluation(["a", "b"]))
    target = write_evaluation(tmp_path / "val", evaluation(["a", "b"]))
    before = (target / "metrics.json").read_bytes()

    def fails(place):
        raise RuntimeError("no picture")

    with pytest.raises(RuntimeError):
        write_evaluation(target, evaluation(["a", "b"], seed=1)._replace(picture=fails))
    assert (target / "metrics.json").read_bytes() == before
    assert not list(tmp_path.glob(".*.partial"))
