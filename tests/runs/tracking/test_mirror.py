"""Mirrors: real trainings, and a tracker that this package has never heard of (toy_writer.py), in a real process."""

import base64
import io
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, ci_environment
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toy_training import LOG_EVERY, toy_tracker

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.runs.receipts import read_receipt
from drift_detector_pipeline.runs.tracking.tracker import AllOf, NoTracker, Result, SamplePrediction, epoch_scalars
from drift_detector_pipeline.runs.tracking.writer import ELSEWHERE

SIDE_PX, STEPS_PER_EPOCH, EPOCHS = 8, 4, 3
STEPS = STEPS_PER_EPOCH * EPOCHS


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Overrides for a short run on real digits, with a checkpoint every third step."""
    overrides = [
        "data=digits", f"data.processed_path={tmp_path_factory.mktemp('data')}/digits",
        f"data.stored_side_px={SIDE_PX}", f"data.img_size={SIDE_PX}", "data.val_fraction=0.7",
        "data.dataloader_workers=1", "model.name=mlp", f"training.epochs={EPOCHS}", "training.batch_size=120",
        "run.checkpoint_every=3", "run.threads=1",
    ]  # fmt: skip
    process(load(overrides).settings.data)
    return overrides


@pytest.fixture(scope="module")
def alone(digits, tmp_path_factory):
    """The hashes of the weights of a run that nobody mirrors."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    train(load([*digits, f"hydra.run.dir={folder}", "wandb.mode=disabled"]))
    return read_receipt(folder).weights_sha256


def mirrored(tmp_path, *overrides, killed_at=0):
    """Train in a process that mirrors to the toy, and kills itself after a step."""
    script = ROOT / "tests" / "toy_training.py"
    command = [sys.executable, "-W", "error", str(script), str(tmp_path / "steps"), "SIGKILL", str(killed_at)]
    return subprocess.run(
        [*command, *overrides], cwd=tmp_path, env=ci_environment(), capture_output=True, text=True, timeout=300
    )


def calls(folder):
    """What the toy was called with, in order: the call, and what was said."""
    noted = folder / "toy" / "calls.jsonl"
    lines = noted.read_text().splitlines() if noted.exists() else []
    return [(said.pop("call"), said) for said in map(json.loads, lines)]


def called(folder, name):
    return [said for call, said in calls(folder) if call == name]


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def wait_until(condition, timeout_s=20):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_another_tracker_is_one_writer(digits, alone, tmp_path):
    folder = tmp_path / "run"
    done = mirrored(tmp_path, *digits, f"hydra.run.dir={folder}")
    assert (done.returncode, done.stderr) == (0, "")
    receipt = read_receipt(folder)
    assert receipt.weights_sha256 == alone
    assert [line for line in done.stdout.splitlines() if "Toy" in line] == [f"Toy: writing to {folder / 'toy'}"]

    (start,), (samples,), (model,) = (called(folder, name) for name in ("start", "samples", "model"))
    assert start["name"] == "/".join(folder.parts[-3:])
    assert start["config"] == receipt.recorded
    logged = [(said["step"], said["metrics"]) for said in called(folder, "log")]
    epochs = [(row["step"], epoch_scalars(row)) for row in rows(folder)]
    assert [one for one in logged if "val/accuracy" in one[1]] == epochs
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    for name in ("train/batch_loss", "train/learning_rate"):
        written = {event.step: event.value for event in events.Scalars(name)}
        sent = {step: metrics[name] for step, metrics in logged if name in metrics}
        assert sent == {step: pytest.approx(written[step]) for step in range(LOG_EVERY, STEPS + 1, LOG_EVERY)}
    shown = [Image.open(io.BytesIO(base64.b64decode(one["png"]))) for one in samples["pictures"]]
    assert [image.size for image in shown] == [(SIDE_PX, SIDE_PX)] * 16
    assert (folder / "toy" / "model").read_bytes() == (folder / "best_model.safetensors").read_bytes()
    assert model == {"name": "digits-mlp", "about": receipt.best.model_dump()}
    assert calls(folder)[-1] == ("close", {"exit_code": 0})
    assert (folder / "toy" / "messages.log").read_text() == "nothing is lost\n"


@pytest.mark.slow
def test_a_killed_training_is_read_to_its_last_word_and_goes_on_as_the_same_run(digits, alone, tmp_path):
    folder = tmp_path / "run"
    assert mirrored(tmp_path, *digits, f"hydra.run.dir={folder}", killed_at=7).returncode == -9
    wait_until(lambda: called(folder, "close"))
    assert called(folder, "close") == [{"exit_code": 1}]
    assert [said["step"] for said in called(folder, "log")] == [2, 4, STEPS_PER_EPOCH, 6]
    done = mirrored(tmp_path, *digits, f"run.resume={folder}")
    assert (done.returncode, done.stderr) == (0, "")
    assert read_receipt(folder).weights_sha256 == alone
    first, second = called(folder, "start")
    assert (first["run_id"], first["name"]) == (second["run_id"], second["name"])
    assert [said["step"] for said in called(folder, "log")][4:] == [8, 8, 10, 12, STEPS]  # from a checkpoint at 6
    assert called(folder, "close") == [{"exit_code": 1}, {"exit_code": 0}]


ROW = {"step": 4, "train_loss": 2.0, "val_loss": 1.0, "val_accuracy": 0.5, "images_per_second": 9.0}
STOPPED, NOT_ALL = "stopped (OSError: no room for {0}); {1}", "not everything arrived (OSError: no room for {0}); {2}"


@pytest.mark.parametrize(
    ("mood", "at", "said", "heard"),
    [
        ("works", "", None, "start log log samples model close"),
        ("raises", "start", STOPPED, ""),
        ("raises", "log", STOPPED, "start"),
        ("raises", "model", NOT_ALL, "start log log samples close"),
        ("raises", "close", NOT_ALL, "start log log samples model"),
        ("dies", "samples", "its process died, see {3}; {1}", "start log log"),
    ],
)
def test_a_writer_that_fails_costs_one_warning_and_what_else_can_be_written_is(mood, at, said, heard, tmp_path, caplog):
    tracker = toy_tracker(load(["data=digits"]).settings, tmp_path, "id", 0, mood=mood, at=at)
    (tmp_path / "weights").write_bytes(b"best")
    picture = SamplePrediction(np.zeros((2, 2, 3), np.uint8), "cat", "dog", 0.5)
    tracker.batch(1, 2.0, 0.1)  # of every second step
    tracker.batch(2, 2.0, 0.1)
    tracker.epochs([ROW])
    tracker.finished(Result(ROW, ROW, tmp_path / "weights", lambda: [picture]))
    tracker.close()
    assert [call for call, _ in calls(tmp_path)] == heard.split()
    log = tmp_path / "toy" / "messages.log"
    expected = [said.format(at, ELSEWHERE, "to send it later: toy send", log)] if said else []
    assert [text for _, level, text in caplog.record_tuples if level == logging.WARNING] == [
        f"Toy: {text}" for text in expected
    ]


def test_what_a_library_of_a_writer_prints_as_a_warning_is_said(tmp_path, caplog):
    tracker = toy_tracker(load(["data=digits"]).settings, tmp_path, "id", 0, mood="grumbles")
    tracker.close()
    assert "Toy: not everything arrived (WARNING" in caplog.text


def test_a_writer_that_cannot_be_started_is_one_warning_and_no_tracker(tmp_path, caplog):
    nowhere = tmp_path / "not there"
    tracker = toy_tracker(load(["data=digits"]).settings, nowhere, "id", 0)
    assert isinstance(tracker, NoTracker)
    ((_, level, said),) = caplog.record_tuples
    assert level == logging.WARNING
    assert said.startswith("Toy: cannot be started (")


FAR_END = """
import json, time
from pathlib import Path
from drift_detector_pipeline.runs.tracking.writer import Parent, ParentGoneError
parent, found = Parent(), []
parent.info("ready")
time.sleep(1)  # busy, while the training dies
try:
    found += parent.messages()
except ParentGoneError:
    pass
Path("found.part").write_text(json.dumps(found))
Path("found.part").rename("found")
"""
NEAR_END = """
import os, subprocess, sys
writer = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
writer.stdout.readline()
writer.stdin.write(b'{"step": 1}\\n{"step": 2}\\n')
writer.stdin.flush()
os._exit(0)
"""


def test_what_a_training_said_before_it_died_is_not_lost(tmp_path):
    command = [sys.executable, "-c", NEAR_END, FAR_END]
    subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    wait_until(lambda: Path(tmp_path / "found").exists())
    assert json.loads((tmp_path / "found").read_text()) == [{"step": 1}, {"step": 2}]


def test_all_of_passes_everything_on_in_order():
    calls = []

    class Noting:
        def __init__(self, name):
            self.name = name

        def __getattr__(self, method):
            return lambda *arguments: calls.append((self.name, method, *arguments))

    both = AllOf(Noting("a"), Noting("b"))
    both.batch(1, 2.0, 3.0)
    both.epochs([{}])
    both.finished("result")
    both.close()
    wanted = [("batch", 1, 2.0, 3.0), ("epochs", [{}]), ("finished", "result"), ("close",)]
    assert calls == [(name, *call) for call in wanted for name in "ab"]
