"""trackio: a folder, and its own server on loopback; from an environment of its own, as its Pillow is not ours."""

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from importlib.util import find_spec

import numpy as np
import pytest
import wandb_server
from conftest import ROOT, ci_environment

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.runs.tracking.tracker import NoTracker, Result, SamplePrediction, epoch_scalars
from drift_detector_pipeline.runs.tracking.trackio_tracking import trackio_tracker

PYTHON = os.environ.get("TRACKIO_PYTHON") or (sys.executable if find_spec("trackio") else "")
needs_trackio = pytest.mark.skipif(not PYTHON, reason="TRACKIO_PYTHON names no Python that has trackio")


def test_off_is_a_tracker_that_does_nothing_and_is_what_nobody_asked_for(tmp_path):
    assert isinstance(trackio_tracker(load(["data=digits"]).settings, tmp_path, "id", 0), NoTracker)
    assert list(tmp_path.iterdir()) == []


def test_a_python_that_is_not_there_is_named_with_the_way_to_one(tmp_path):
    settings = load(["data=digits", "trackio.enabled=true", f"trackio.python={tmp_path}/bin/python"]).settings
    with pytest.raises(ConfigError, match=r"trackio\.python=.*no such program.*pip install trackio"):
        trackio_tracker(settings, tmp_path, "id", 0)


def test_a_token_in_an_address_is_refused_because_receipts_keep_settings():
    with pytest.raises(ConfigError, match="TRACKIO_WRITE_TOKEN"):
        load(["data=digits", "trackio.server_url='http://here:80/?write_token=x'"])
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_PASSWORD"):
        load(["data=digits", "mlflow.tracking_uri='https://me:x@there'"])


ROW = {"step": 4, "train_loss": 2.0, "val_loss": 1.0, "val_accuracy": 0.5, "images_per_second": 9.0}


def logged(database):
    """What trackio keeps of the one run of a project: step, numbers."""
    with sqlite3.connect(database) as opened:
        rows = opened.execute("SELECT run_name, step, metrics FROM metrics ORDER BY id").fetchall()
        (models,) = opened.execute("SELECT COUNT(*) FROM artifact_versions").fetchone()
    assert len({name for name, _, _ in rows}) == 1
    return [(step, json.loads(text)) for _, step, text in rows], models


@pytest.mark.slow
@needs_trackio
def test_a_killed_and_resumed_run_is_one_run_of_a_folder_and_nobody_else_is_told(tmp_path, monkeypatch):
    digits = ["data=digits", f"data.processed_path={tmp_path}/digits", "data.stored_side_px=8", "data.img_size=8",
              "data.val_fraction=0.7", "data.dataloader_workers=0", "model.name=mlp", "training.epochs=2",
              "training.batch_size=120", "run.checkpoint_every=3", "run.threads=1", "trackio.enabled=true",
              f"trackio.folder={tmp_path}/store", f"trackio.python={PYTHON}", "trackio.log_freq=2"]  # fmt: skip
    process(load(digits).settings.data)
    command = [sys.executable, str(ROOT / "tests" / "interrupted_training.py"), str(tmp_path / "steps"), "SIGKILL"]
    monkeypatch.setenv("HF_TOKEN", "hf_nobodys")
    with wandb_server.serving() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        for words in (["7", f"hydra.run.dir={tmp_path}/run"], ["0", f"run.resume={tmp_path}/run"]):
            done = subprocess.run([*command, words[0], *digits, words[1]], env=ci_environment(), capture_output=True,
                                  text=True, timeout=300)  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert proxy.elsewhere == []
    rows, models = logged(tmp_path / "store" / "drift_detector_pipeline.db")
    assert [step for step, said in rows if "train/batch_loss" in said] == [2, 4, 6, 8]
    epochs = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    accuracies = [(step, said["val/accuracy"]) for step, said in rows if "val/accuracy" in said]
    assert accuracies == [(row["step"], row["val_accuracy"]) for row in epochs]
    assert (sum("val/samples/00" in said for _, said in rows), models) == (1, 1)


@pytest.mark.slow
@needs_trackio
def test_a_server_of_ones_own_has_the_run_and_the_token_stands_nowhere(tmp_path, monkeypatch, caplog):
    show = "import trackio; trackio.show(open_browser=False, block_thread=True, host='127.0.0.1')"
    environment = os.environ | {"TRACKIO_DIR": str(tmp_path / "kept"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": "",
                                "GRADIO_ANALYTICS_ENABLED": "False"}  # fmt: skip
    with (tmp_path / "shown").open("wb") as file:
        server = subprocess.Popen([PYTHON, "-u", "-c", show], env=environment, stdout=file, stderr=file, cwd=tmp_path)
    try:
        address, token = wait_for(tmp_path / "shown")
        monkeypatch.setenv("TRACKIO_WRITE_TOKEN", token)
        settings = load(["data=digits", "trackio.enabled=true", f"trackio.server_url='{address}'",
                         f"trackio.python={PYTHON}", "trackio.log_freq=2",
                         f"trackio.folder={tmp_path}/buffer"]).settings  # fmt: skip
        (tmp_path / "run").mkdir()
        (tmp_path / "weights").write_bytes(b"best")
        tracker = trackio_tracker(settings, tmp_path / "run", "0123456789ab", 4)
        tracker.batch(2, 2.0, 0.1)
        tracker.epochs([ROW])
        picture = SamplePrediction(np.zeros((2, 2, 3), np.uint8), "cat", "dog", 0.5)
        tracker.finished(Result(ROW, ROW, tmp_path / "weights", lambda: [picture]))
        tracker.close()
        assert [text for _, level, text in caplog.record_tuples if level > 20] == []
        rows, models = logged(tmp_path / "kept" / "drift_detector_pipeline.db")
    finally:
        server.kill()
        server.wait()
    assert (4, epoch_scalars(ROW)) in rows
    assert models == 1
    written = [path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert not any(token.encode() in text for text in [*written, caplog.text.encode()])


def wait_for(said, timeout_s=60):
    """The address and the token that trackio prints."""
    end = time.monotonic() + timeout_s
    while not (found := re.search(r"(http://127\.0\.0\.1:\d+)/?\?write_token=([\w-]+)", said.read_text())):
        assert time.monotonic() < end, said.read_text()
        time.sleep(0.2)
    return found.groups()
