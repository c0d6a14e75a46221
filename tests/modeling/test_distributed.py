"""Real torchrun, two processes on one CPU: the same run as one process makes, and one that can be interrupted.

BatchNorm is what differs: each process normalises its own part of a batch by the statistics of that part, so a model
with BatchNorm learns a little differently in two processes than in one; the running statistics that are evaluated and
saved are those of the first process. Models without BatchNorm (`mlp` here) have the same loss curve but for rounding.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ci_environment

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.runs.receipts import read_receipt

pytestmark = pytest.mark.slow

BATCH = 120


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """An MLP on real digits, in fp32 on one thread a process: four steps an epoch."""
    overrides = [
        "data=digits", f"data.processed_path={tmp_path_factory.mktemp('data')}/digits", "data.stored_side_px=8",
        "data.img_size=8", "data.val_fraction=0.7", "data.dataloader_workers=0", "model.name=mlp",
        "training.epochs=3", "training.learning_rate=0.01", "run.precision=fp32", "run.device=cpu", "run.threads=1",
    ]  # fmt: skip
    process(load(overrides).settings.data)
    return overrides


@pytest.fixture(scope="module")
def alone(settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone") / "run"
    assert train(load([*settings, f"training.batch_size={BATCH}", f"hydra.run.dir={folder}"])).exit_status == 0
    return folder


def torchrun(module, *arguments, processes=2):
    """Start torchrun on this machine, in a process group of its own."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.Popen(
        [*command, "-m", f"drift_detector_pipeline.{module}", *arguments], env=ci_environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def ended(running, timeout_s=300):
    """Wait; return exit status, stdout, stderr. Nothing is left behind when it takes too long."""
    try:
        stdout, stderr = running.communicate(timeout=timeout_s)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
    return running.returncode, stdout, stderr


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_same_curve(folder, expected):
    for found, wanted in zip(rows(folder), rows(expected), strict=True):
        assert found["step"] == wanted["step"]
        for name in ("train_loss", "val_loss"):
            assert found[name] == pytest.approx(wanted[name], rel=1e-3), name
        assert found["val_accuracy"] == pytest.approx(wanted["val_accuracy"], abs=0.005)


def halves(settings, folder, *more):
    return [*settings, f"training.batch_size={BATCH // 2}", f"hydra.run.dir={folder}", *more]


def worker_pids(folder):
    """Process ids of the training processes whose command line names `folder`, but not of torchrun."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_text().split("\0")
        except OSError:  # it has just ended
            continue
        if f"hydra.run.dir={folder}" in words and "torch.distributed.run" not in words:
            found.append(int(path.parent.name))
    return sorted(found)


def wait_for_rows(folder, running, at_least=1):
    """Wait until that many epochs are done; the run must not end before."""
    path = folder / "metrics.jsonl"
    deadline = time.monotonic() + 200
    while not path.exists() or len(path.read_text().splitlines()) < at_least:
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_two_processes_with_half_the_batch_have_the_loss_curve_of_one(settings, alone, tmp_path):
    status, stdout, stderr = ended(torchrun("modeling.train", *halves(settings, tmp_path / "run")))
    assert status == 0, stderr
    assert stdout.count("everything of this run") == 1  # one process speaks
    assert_same_curve(tmp_path / "run", alone)
    assert read_receipt(tmp_path / "run").processes == 2


def test_a_run_of_two_processes_is_reproduced_by_two(settings, tmp_path):
    assert ended(torchrun("modeling.train", *halves(settings, tmp_path / "run")))[0] == 0
    running = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m",
         "drift_detector_pipeline.modeling.reproduce", str(tmp_path / "run")],
        env=ci_environment(), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    stdout, stderr = running.communicate(timeout=300)
    assert running.returncode == 0, stderr
    assert "is reproduced" in stdout


def test_a_killed_process_takes_the_others_with_it_and_the_run_continues(settings, tmp_path):
    folder, long = tmp_path / "run", ["training.epochs=4000", "training.scheduler=none"]
    running = torchrun("modeling.train", *halves(settings, folder, "run.checkpoint_every=4", *long))
    wait_for_rows(folder, running, at_least=2)
    workers = worker_pids(folder)
    assert len(workers) == 2
    os.kill(workers[1], signal.SIGKILL)
    assert ended(running, timeout_s=120)[0] != 0
    assert not worker_pids(folder)
    done = len(rows(folder))
    resumed = torchrun(
        "modeling.train", *halves(settings, folder, "run.checkpoint_every=4", *long, f"run.resume={folder}")
    )
    wait_for_rows(folder, resumed, at_least=done + 2)
    os.killpg(resumed.pid, signal.SIGTERM)
    _, stdout, stderr = ended(resumed)
    assert f"continuing {folder} from step" in stdout, stderr
    assert [row["epoch"] for row in rows(folder)] == list(range(1, len(rows(folder)) + 1))


def test_sigterm_to_torchrun_writes_a_checkpoint_and_the_run_continues_to_the_same_bits(settings, tmp_path):
    long = ["training.epochs=60", "run.checkpoint_every=1000000"]
    undisturbed, folder = tmp_path / "undisturbed", tmp_path / "run"
    assert ended(torchrun("modeling.train", *halves(settings, undisturbed, *long)))[0] == 0
    running = torchrun("modeling.train", *halves(settings, folder, *long))
    wait_for_rows(folder, running, at_least=2)
    running.send_signal(signal.SIGTERM)
    status, stdout, stderr = ended(running)
    assert status != 0
    assert f"run.resume={folder}" in stdout, stderr
    status, stdout, stderr = ended(torchrun("modeling.train", *halves(settings, folder, *long, f"run.resume={folder}")))
    assert status == 0, stderr
    [line] = [line for line in stdout.splitlines() if line.startswith(f"continuing {folder} from step")]
    assert int(line.split()[-1]) >= 8  # the checkpoint that SIGTERM wrote: the interval alone has only that of step 0
    assert read_receipt(folder).weights_sha256 == read_receipt(undisturbed).weights_sha256


def test_another_number_of_processes_is_refused_by_resume(settings, tmp_path):
    folder = tmp_path / "run"
    long = ["training.epochs=4000", "training.scheduler=none"]
    running = torchrun("modeling.train", *halves(settings, folder, *long))
    wait_for_rows(folder, running)
    running.send_signal(signal.SIGTERM)
    ended(running)
    status, _, stderr = ended(
        torchrun("modeling.train", *halves(settings, folder, *long, f"run.resume={folder}"), processes=1)
    )
    assert status != 0
    assert "processes was 2, now 1" in stderr
