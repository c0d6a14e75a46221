"""make runs: receipts side by side, and of their settings nothing but what differs."""

import json
import os

import pytest
from conftest import called

from drift_detector_pipeline.config import load
from drift_detector_pipeline.errors import ResumeError
from drift_detector_pipeline.runs.folders import run_folder
from drift_detector_pipeline.runs.listing import compared, finished
from drift_detector_pipeline.runs.receipts import read_receipt

EPOCH = {"epoch": 2, "step": 20, "train_loss": 0.5, "val_loss": 0.6, "val_accuracy": 0.9, "learning_rate": 0.001,
         "images_per_second": 812.3, "seconds": 90}  # fmt: skip
RECEIPT = {
    "start": "2025-12-31T23:00:00+00:00", "command": ["python"], "git": {"commit": "abc", "dirty": True},
    "where": "host", "processed_path": "data/processed/digits", "packages": {}, "python": "3.11", "seed": 1,
    "device": "cpu", "instruction_set": "AVX2", "threads": 2, "precision": "fp32", "processes": 1,
    "overrides": ["data=digits"], "settings": {"data": {"name": "digits"}, "run": {}},
    "weights_sha256": {"final_model.safetensors": "a" * 64, "best_model.safetensors": "b" * 64},
}  # fmt: skip


def run(folder, end, accuracy, fingerprint="f" * 64, **identity):
    """A finished run's receipt."""
    folder.mkdir(parents=True)
    own = {"end": f"2026-01-01T{end}:00+00:00", "final": EPOCH | {"val_accuracy": accuracy}, "best": EPOCH}
    own |= {"identity": {"model.name": "mlp", "run.seed": 1} | identity, "data_fingerprint": fingerprint}
    (folder / "run.json").write_text(json.dumps(RECEIPT | own))
    return folder


@pytest.fixture
def three(tmp_path):
    run(tmp_path / "outputs" / "a" / "1", "00:00", 0.91)
    run(tmp_path / "outputs" / "a" / "2", "00:10", 0.93, **{"training.learning_rate": 0.01, "run.seed": 2})
    run(tmp_path / "outputs" / "b", "00:05", 0.92, "e" * 64, **{"training.learning_rate": 0.001})
    return tmp_path


def test_all_finished_runs_are_listed_the_newest_first_with_what_differs(three):
    lines = called("runs.listing", cwd=three).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["run", "outputs/a/2", "outputs/b", "outputs/a/1"]
    assert lines[1].split()[1:] == [
        "2026-01-01", "00:10", "93.00", "%", "90.00", "%", "4200", "ffffffff", "run.seed=2",
        "training.learning_rate=0.01"
    ]  # fmt: skip
    assert lines[3].endswith("run.seed=1 training.learning_rate=null")
    assert "model.name" not in "".join(lines)


def test_runs_that_are_named_are_compared_alone_and_in_their_order(three):
    done = called("runs.listing", "outputs/b", "outputs/a/1", "--json", cwd=three)
    found = json.loads(done.stdout)
    assert [(one["run"], one["result"], one["best"], one["seconds"]) for one in found] == [
        ("outputs/b", 0.92, 0.9, 3900.0), ("outputs/a/1", 0.91, 0.9, 3600.0)
    ]  # fmt: skip
    assert [one["differs"] for one in found] == [{"training.learning_rate": 0.001}, {"training.learning_rate": None}]
    assert found[0]["data_fingerprint"] == "e" * 64


def test_alike_runs_differ_in_nothing(three):
    assert compared([read_receipt(three / "outputs" / "b")])[0].differs == {}


def test_a_damaged_receipt_is_named_and_left_out(three):
    (three / "outputs" / "b" / "run.json").write_text("{")
    done = called("runs.listing", cwd=three)
    assert "outputs/b/run.json: no whole receipt" in done.stderr
    assert len(done.stdout.splitlines()) == 3
    assert len(finished(three / "outputs")) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "train one first: make train"),
        (["nosuch"], "nosuch: no run.json"),
        (["seed=1"], "seed=1: make runs takes no settings; name runs by their folders"),
    ],
)
def test_what_cannot_be_is_said(tmp_path, words, said):
    done = called("runs.listing", *words, cwd=tmp_path)
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr


def test_a_run_in_a_folder_that_reads_like_a_setting_is_listed(tmp_path):
    run(tmp_path / "seed=1", "00:00", 0.91)
    assert called("runs.listing", "seed=1", cwd=tmp_path).stdout.splitlines()[1].startswith("seed=1 ")


def test_a_run_is_refused_a_folder_whose_weights_nobody_could_read(tmp_path):
    composed = load([f"hydra.run.dir={tmp_path}/bad {os.fsdecode(bytes([255]))}"])
    with pytest.raises(ResumeError, match="all names are UTF-8"), run_folder(composed, {}):
        pass
    assert not list(tmp_path.iterdir())
