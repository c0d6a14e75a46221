"""MLflow: a SQLite file, and MLflow's own server on loopback; one run across resumes, and no third party is told."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import wandb_server
from conftest import ROOT, ci_environment

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.runs.receipts import read_receipt
from drift_detector_pipeline.runs.tracking.mlflow_tracking import mlflow_tracker
from drift_detector_pipeline.runs.tracking.tracker import NoTracker, Result, SamplePrediction, epoch_scalars

STEPS, LOG_FREQ = 8, 2
# MLflow's own libraries warn of each other; what its client is asked here is the test's business.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Overrides for a short run on real digits: four steps an epoch, a checkpoint every third step."""
    overrides = [
        "data=digits", f"data.processed_path={tmp_path_factory.mktemp('data')}/digits", "data.stored_side_px=8",
        "data.img_size=8", "data.val_fraction=0.7", "data.dataloader_workers=0", "model.name=mlp",
        "training.epochs=2", "training.batch_size=120", "run.checkpoint_every=3", "run.threads=1",
        f"mlflow.log_freq={LOG_FREQ}",
    ]  # fmt: skip
    process(load(overrides).settings.data)
    return overrides


def test_off_is_a_tracker_that_does_nothing_and_is_what_nobody_asked_for(tmp_path):
    assert isinstance(mlflow_tracker(load(["data=digits"]).settings, tmp_path, "id", 0), NoTracker)
    assert list(tmp_path.iterdir()) == []


def run_of(uri):
    """The one run there is, with a client of that store."""
    mlflow = pytest.importorskip("mlflow", reason="an extra: pip install -e .[mlflow]")
    client = mlflow.MlflowClient(uri, registry_uri=uri)
    experiments = [one for one in client.search_experiments() if one.name == "mine"]
    (found,) = client.search_runs([one.experiment_id for one in experiments])
    return client, found


def trained(*overrides, steps, killed_at):
    script = ROOT / "tests" / "interrupted_training.py"
    command = [sys.executable, str(script), str(steps), "SIGKILL", str(killed_at), *overrides]
    return subprocess.run(command, cwd=steps.parent, env=ci_environment(), capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_killed_and_resumed_run_is_one_run_of_a_file_with_all_that_its_own_files_say(digits, tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="an extra: pip install -e .[mlflow]")
    folder, steps, uri = tmp_path / "run", tmp_path / "steps", f"sqlite:///{tmp_path}/store/mlflow.db"
    asked = ["mlflow.enabled=true", f"mlflow.tracking_uri='{uri}'", "mlflow.project=mine", "mlflow.run_name=small",
             "mlflow.registered_model=digits"]  # fmt: skip
    with wandb_server.serving() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        killed = trained(*digits, *asked, f"hydra.run.dir={folder}", steps=steps, killed_at=7)
        assert killed.returncode == -9, killed.stderr
        done = trained(*digits, *asked, f"run.resume={folder}", steps=steps, killed_at=0)
        assert (done.returncode, done.stderr) == (0, "")
        assert (proxy.elsewhere, proxy.unknown) == ([], [])
    train(load([*digits, f"hydra.run.dir={tmp_path / 'alone'}"]))
    assert read_receipt(folder).weights_sha256 == read_receipt(tmp_path / "alone").weights_sha256

    client, found = run_of(uri)
    assert (found.info.run_name, found.info.status) == ("small", "FINISHED")
    assert found.data.params["training.batch_size"] == "120"
    assert found.data.params["mlflow.registered_model"] == "digits"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        for name, value in epoch_scalars(row).items():
            if name != "perf/images_per_second":  # of an epoch that was done twice
                there = [one.value for one in client.get_metric_history(found.info.run_id, name)
                         if one.step == row["step"]]  # fmt: skip
                assert there == [value]
    steps_there = [one.step for one in client.get_metric_history(found.info.run_id, "train/batch_loss")]
    assert steps_there == list(range(LOG_FREQ, STEPS + 1, LOG_FREQ))
    samples = [one.path for one in client.list_artifacts(found.info.run_id, "samples")]
    assert len(samples) == 16
    weights = Path(client.download_artifacts(found.info.run_id, "model/best_model.safetensors", str(tmp_path)))
    assert weights.read_bytes() == (folder / "best_model.safetensors").read_bytes()
    (version,) = client.search_model_versions("name = 'digits'")
    assert (version.run_id, version.tags["model"]) == (found.info.run_id, "digits-mlp")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """MLflow's own tracking server."""
    for package in ("mlflow", "flask"):  # the latter comes with moto
        pytest.importorskip(package, reason="an extra: pip install -e .[mlflow], and Flask for its server")
    place = tmp_path_factory.mktemp("server")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
               "--backend-store-uri", f"sqlite:///{place}/server.db", "--artifacts-destination",
               str(place / "kept")]  # fmt: skip
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true",
                                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # fmt: skip
    with (place / "log").open("wb") as log:
        running = subprocess.Popen(command, env=environment, cwd=place, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/health", place / "log")
        yield f"http://127.0.0.1:{port}", running
    finally:
        if running.poll() is None:
            os.killpg(running.pid, 9)
        running.wait()


def wait_until_it_answers(address, log, timeout_s=120):
    end = time.monotonic() + timeout_s
    while True:
        try:
            return urllib.request.urlopen(address, timeout=5).read()
        except OSError:
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.3)


ROW = {"step": 4, "train_loss": 2.0, "val_loss": 1.0, "val_accuracy": 0.5, "images_per_second": 9.0}


def reported(uri, folder, run_id="0123456789ab"):
    """Tell MLflow of a run, as training would."""
    settings = load(["data=digits", "mlflow.enabled=true", f"mlflow.tracking_uri='{uri}'", "mlflow.project=mine",
                     f"mlflow.log_freq={LOG_FREQ}", "mlflow.registered_model=cats"]).settings  # fmt: skip
    folder.mkdir()
    (folder / "weights").write_bytes(b"best")
    tracker = mlflow_tracker(settings, folder, run_id, 4)
    tracker.batch(2, 2.0, 0.1)
    tracker.epochs([ROW])
    picture = SamplePrediction(np.zeros((2, 2, 3), np.uint8), "cat", "dog/ü", 0.5)
    tracker.finished(Result(ROW, ROW, folder / "weights", lambda: [picture]))
    tracker.close()


@pytest.mark.slow
def test_a_server_of_mlflow_has_the_run_its_files_and_the_models_version(server, tmp_path, caplog):
    uri, running = server
    reported(uri, tmp_path / "run")
    assert [text for _, level, text in caplog.record_tuples if level > 20] == []
    client, found = run_of(uri)
    assert found.data.metrics == {"train/batch_loss": 2.0, "train/learning_rate": 0.1, **epoch_scalars(ROW)}
    assert [one.path for one in client.list_artifacts(found.info.run_id, "samples")] == [
        "samples/00_dog_ü_50%_wrong_it_is_cat.png"
    ]
    weights = client.download_artifacts(found.info.run_id, "model/weights", str(tmp_path))
    assert Path(weights).read_bytes() == b"best"
    (version,) = client.search_model_versions("name = 'cats'")
    assert (version.run_id, version.version) == (found.info.run_id, "1")
    reported(uri, tmp_path / "again")  # finished before, and told of once more: nothing twice
    assert len(client.get_metric_history(run_of(uri)[1].info.run_id, "val/accuracy")) == 1
    os.killpg(running.pid, 9)
    running.wait()
    caplog.clear()
    reported(uri, tmp_path / "dead")
    (said,) = [text for _, level, text in caplog.record_tuples if level > 20]
    assert said.startswith("MLflow: stopped (") and "metrics.jsonl and tensorboard/ have everything" in said
