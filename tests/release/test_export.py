"""`make export`: a run becomes a folder that answers without PyTorch; what is refused leaves the old folder alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, ci_environment
from finished_runs import finished_run

from drift_detector_pipeline.config import load, load_section
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.errors import ConfigError, DataError, ModelError
from drift_detector_pipeline.files import file_hash
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.processed.roles import crops_of, roles_of
from drift_detector_pipeline.release.artefact import read_artefact
from drift_detector_pipeline.release.executable import open_executable
from drift_detector_pipeline.release.export import export_run, served_by
from drift_detector_pipeline.settings_in_use import Export

pytestmark = pytest.mark.slow  # a run is trained and exported first


def settings(path, **changes):
    return load_section(Export, [f"export.path={path}", *(f"export.{key}={value}" for key, value in changes.items())])


@pytest.fixture(scope="module")
def answers(made_once):
    """A run of 84 validation images, and what `make export` made of it: no reference, as there are too few images."""
    run = finished_run(made_once, "fp32") / "run"
    return made_once("exported", lambda root: export_run(run, settings(root / "artefact"))), run


def test_everything_a_service_needs_lies_in_one_folder(answers):
    root, run = answers
    artefact = read_artefact(root / "artefact")
    assert {"model.onnx", "second_look.onnx", "MODEL_CARD.md"} <= artefact.sha256.keys()
    assert (artefact.file, artefact.runtime, artefact.precision) == ("model.onnx", "onnxruntime", "fp32")
    assert (artefact.side_px, artefact.stored_side_px, artefact.name) == (16, 24, "conv_small")
    assert artefact.classes == ["cat", "dog", "über fish"]
    assert artefact.receipt_sha256 == file_hash(run / "run.json")
    rows = {row["name"]: row for row in artefact.facts["table"]}
    assert rows["ONNX Runtime fp32"]["parity"] < 1e-4 and rows["ONNX Runtime fp32"]["labels_changed"] == 0
    assert rows["ONNX Runtime fp32"]["images"] == 84 and rows["ONNX Runtime fp32"]["megabytes"] > 0.1
    card = (root / "artefact" / "MODEL_CARD.md").read_text()
    assert "## Served" in card and "ONNX Runtime fp32" in card and "No reference" in card


def test_the_command_that_serves_an_artefact_names_it_where_another_would_answer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert served_by(Path("models/artefact")) == "make serve"
    assert served_by(Path("models/fast")) == 'make serve ARGS="export.path=models/fast"'
    Path("models").mkdir()
    Path("models/champion.json").touch()
    assert served_by(Path("models/artefact")) == 'make serve ARGS="export.path=models/artefact"'


def test_without_enough_images_drift_is_said_to_be_missing(answers):
    root, _ = answers
    assert not (root / "artefact" / "reference.npz").exists()
    assert "at least 100 of each are needed" in read_artefact(root / "artefact").facts["drift"]


def test_it_answers_in_a_process_that_never_saw_pytorch(answers):
    root, _ = answers
    code = f"""
import sys
from pathlib import Path
import numpy as np
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.release.artefact import read_artefact
from drift_detector_pipeline.release.executable import open_executable
artefact = read_artefact(Path({str(root / "artefact")!r}))
executable = open_executable(artefact)
images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
print(executable.say(images).probabilities.shape, executable.adapted(images)(images).logits.shape)
print({{"torch", "sklearn", "timm", "matplotlib", "dvc", "wandb", "onnx", "hydra"}} & set(sys.modules))
"""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=ci_environment(), capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("(3, 3) (3, 3)\nset()\n", "")


def test_a_second_look_that_is_opened_when_needed_is_the_file_of_back_then_with_the_same_bits(answers, tmp_path):
    root, _ = answers
    folder = shutil.copytree(root / "artefact", tmp_path / "artefact")
    artefact = read_artefact(folder)
    kept, seldom = (open_executable(artefact, seldom=late) for late in (False, True))
    shutil.rmtree(folder)  # as when another artefact takes its place
    images = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
    for some in (images, images[:4]):
        expected, found = (way.adapted(some)(images) for way in (kept, seldom))
        np.testing.assert_array_equal(found.logits, expected.logits)
        np.testing.assert_array_equal(found.features, expected.features)


def test_the_command_prints_the_table_and_what_comes_next(answers, call_main, tmp_path):
    _, run = answers
    done = call_main("release.export", str(run), f"export.path={tmp_path / 'answers'}")
    assert done.returncode == 0
    assert "ONNX Runtime fp32" in done.stdout and "labels changed" in done.stdout and "make serve" in done.stdout
    assert "at least 100 of each are needed" in done.stderr  # why there is no drift
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["answers"]


@pytest.fixture(scope="module")
def without_fit(made_once):
    """A run that kept no images to learn drift from."""

    def make(place):
        overrides = [
            "data=digits", f"data.processed_path={place / 'digits'}", "data.stored_side_px=8", "data.img_size=8",
            "data.dataloader_workers=0", "model=mlp", "data.fit_fraction=0", "training.epochs=1",
            "wandb.mode=disabled", f"hydra.run.dir={place / 'run'}",
        ]  # fmt: skip
        process(load(overrides).settings.data)
        assert train(load(overrides)).exit_status == 0

    return made_once("without_fit", make) / "run"


def test_a_run_without_fit_answers_and_says_how_to_keep_fit(without_fit, call_main, tmp_path):
    done = call_main("release.export", str(without_fit), f"export.path={tmp_path / 'artefact'}")
    assert done.returncode == 0
    assert "train a run with data.fit_fraction=0.1" in done.stderr
    assert "not tried: no fit images to calibrate on" in done.stdout
    artefact = read_artefact(tmp_path / "artefact")
    assert "reference.npz" not in artefact.sha256 and "second_look.onnx" not in artefact.sha256  # an mlp adapts nothing


def test_what_is_refused_leaves_the_old_folder_as_it_was(answers, without_fit, tmp_path):
    root, _ = answers
    old = shutil.copytree(root / "artefact", tmp_path / "artefact")
    with pytest.raises(ConfigError, match=r"export.precision=int8: refused on onnxruntime, no fit images"):
        export_run(without_fit, settings(old, precision="int8"))
    assert read_artefact(old) == read_artefact(root / "artefact")._replace(folder=old)
    assert [path.name for path in tmp_path.iterdir() if ".partial" in path.name or ".old" in path.name] == []


def test_a_precision_of_another_runtime_is_refused():
    with pytest.raises(ConfigError, match=r"export\.runtime=openvino"):
        settings("x", precision="bf16")


def test_a_folder_with_other_things_is_not_replaced(answers, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(DataError, match="holds other things than an exported model"):
        export_run(answers[1], settings(tmp_path))
    assert (tmp_path / "photo.jpg").read_bytes() == b"mine"


@pytest.fixture(scope="module")
def digits(made_once):
    """Digits learned in a moment and exported as int8, with a reference."""

    def make(place):
        overrides = [
            "data=digits", f"data.processed_path={place / 'digits'}", "data.stored_side_px=16", "data.img_size=16",
            "data.dataloader_workers=0", "model.name=conv_small", "model.options.channels=[16,16,32]",
            "training.epochs=2", "data.fit_fraction=0.1", "training.batch_size=50", "wandb.mode=disabled",
            f"hydra.run.dir={place / 'run'}",
        ]  # fmt: skip
        composed = load(overrides)
        process(composed.settings.data)
        assert train(composed).exit_status == 0
        wide = {"max_labels_changed": 0.1, "max_accuracy_lost": 0.1}
        export_run(place / "run", settings(place / "artefact", precision="int8", **wide))

    return made_once("exported_digits", make)


def test_windows_of_unchanged_images_are_quiet_through_the_file_that_serves(digits):
    artefact = read_artefact(digits / "artefact")
    assert (artefact.file, artefact.precision) == ("model.int8.onnx", "int8")
    detector = DriftDetector.load(digits / "artefact", open_executable(artefact))
    data = load(["data=digits", f"data.processed_path={digits / 'digits'}", "data.stored_side_px=16",
                 "data.img_size=16", "data.fit_fraction=0.1"]).settings.data  # fmt: skip
    processed = open_processed(data)
    pool = crops_of(processed, roles_of(processed).pool, 16)
    windows = np.array_split(np.random.default_rng(0).permutation(len(pool)), 4)
    levels = [detector.check(pool[window]).level for window in windows]
    assert levels.count("quiet") >= 3
    assert detector.check(pool[windows[0]] // 2).level != "quiet"  # it would have said so


def test_a_reference_is_of_one_executable_only(digits):
    artefact = read_artefact(digits / "artefact")
    other = open_executable(artefact._replace(file="model.onnx", precision="fp32"))  # of the same folder
    with pytest.raises(ModelError, match="built for the model"):
        DriftDetector.load(digits / "artefact", other)


def test_the_table_compares_what_was_measured(digits):
    table = {row["name"]: row for row in read_artefact(digits / "artefact").facts["table"]}
    ours, own = table["ONNX Runtime int8"], table["PyTorch fp32"]
    assert "served" in ours["note"] and "convolutions in fp32" in ours["note"]
    assert 0 < ours["parity"] < 0.5 and own["parity"] == 0
    assert own["low"] < own["accuracy"] < own["high"]
    assert json.dumps(table)


def test_a_place_whose_name_is_no_utf8_is_refused_before_the_export(call_main, tmp_path):
    """ONNX Runtime would say something of its constructors once all was done."""
    place = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    done = call_main("release.export", "README.md", f"export.path={place}/model")
    assert "models are read only where all names are UTF-8; choose another export.path" in done.stderr
