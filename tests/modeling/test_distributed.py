"""Real torchrun, two processes on one CPU: the same run as one process makes, and one that can be interrupted.

BatchNorm is what differs: each process normalises its own part of a batch by the statistics of that part, so a model
with BatchNorm learns a little differently in two processes than in one; the running statistics that are evaluated and
saved are those of the first process. Models without BatchNorm (`mlp` here) have the same loss curve but for rounding.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ci_environment

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import ResumeError
from drift_detector_pipeline.modeling.evaluation import evaluate
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.runs.checkpoints import load_checkpoint
from drift_detector_pipeline.runs.receipts import read_receipt

pytestmark = pytest.mark.slow

BATCH = 120
EPOCHS, COMPARED = 60, 3  # long enough to be interrupted; later on rounding has grown


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """An MLP on a part of the real digits, in fp32 on one thread a process: four steps an epoch."""
    overrides = [
        "data=digits", f"data.processed_path={tmp_path_factory.mktemp('data')}/digits", "data.stored_side_px=8",
        "data.img_size=8", "data.val_fraction=0.7", "data.dataloader_workers=0", "data.limit=480", "model.name=mlp",
        f"training.epochs={EPOCHS}", "training.learning_rate=0.01", "run.precision=fp32", "run.device=cpu",
        "run.threads=1",
    ]  # fmt: skip
    process(load(overrides).settings.data)
    return overrides


@pytest.fixture(scope="module")
def alone(settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone") / "run"
    assert train(load([*settings, f"training.batch_size={BATCH}", f"hydra.run.dir={folder}"])).exit_status == 0
    return folder


def torchrun(module, *arguments, cwd=None):
    """Start two processes on this machine, in a process group of their own."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.Popen(
        [*command, "-m", f"drift_detector_pipeline.{module}", *arguments], env=ci_environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=cwd,
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
    for found, wanted in zip(rows(folder)[:COMPARED], rows(expected)[:COMPARED], strict=True):
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


@pytest.fixture(scope="module")
def two(settings, tmp_path_factory):
    """A finished run of two processes, and what it said; do not change it."""
    folder = tmp_path_factory.mktemp("two") / "run"
    status, stdout, stderr = ended(torchrun("modeling.train", *halves(settings, folder)))
    assert status == 0, stderr
    return folder, stdout


def test_two_processes_with_half_the_batch_have_the_loss_curve_of_one(alone, two):
    folder, stdout = two
    assert stdout.count("everything of this run") == 1  # one process speaks
    assert_same_curve(folder, alone)
    assert read_receipt(folder).processes == 2


def test_two_processes_validate_to_the_same_digits_as_one_evaluates(two, tmp_path):
    folder = shutil.copytree(two[0], tmp_path / "run")
    assert json.loads((evaluate(folder) / "metrics.json").read_text())["training"]["equal"]


def test_a_run_of_two_processes_is_reproduced_by_two(two, tmp_path):
    status, stdout, stderr = ended(torchrun("modeling.reproduce", str(two[0]), cwd=tmp_path))
    assert status == 0, stderr
    assert "is reproduced" in stdout


def test_a_killed_process_takes_the_others_with_it_and_leaves_what_can_be_continued(settings, tmp_path):
    folder = tmp_path / "run"
    long = ["training.epochs=4000", "training.scheduler=none", "run.checkpoint_every=4"]
    running = torchrun("modeling.train", *halves(settings, folder, *long))
    wait_for_rows(folder, running, at_least=2)
    workers = worker_pids(folder)
    assert len(workers) == 2
    os.kill(workers[1], signal.SIGKILL)
    assert ended(running, timeout_s=120)[0] != 0
    assert not worker_pids(folder)
    assert load_checkpoint(folder / "checkpoints").progress["step"] >= 8


def test_sigterm_to_torchrun_writes_a_checkpoint_and_as_many_continue_to_the_same_bits(settings, two, tmp_path):
    folder, rare = tmp_path / "run", "run.checkpoint_every=1000000"
    running = torchrun("modeling.train", *halves(settings, folder, rare))
    wait_for_rows(folder, running, at_least=2)
    running.send_signal(signal.SIGTERM)
    status, stdout, stderr = ended(running)
    assert status != 0
    assert f"run.resume={folder}" in stdout, stderr
    with pytest.raises(ResumeError, match="processes was 2, now 1"):
        train(load(halves(settings, folder, f"run.resume={folder}")))
    status, stdout, stderr = ended(torchrun("modeling.train", *halves(settings, folder, f"run.resume={folder}")))
    assert status == 0, stderr
    [line] = [line for line in stdout.splitlines() if line.startswith(f"continuing {folder} from step")]
    assert int(line.split()[-1]) >= 8  # the checkpoint that SIGTERM wrote: the interval alone has only that of step 0
    assert read_receipt(folder).weights_sha256 == read_receipt(two[0]).weights_sha256


def test_clips_are_learned_by_two_processes_as_by_one(tmp_path):
    from clip_runs import words
    from drawn_clips import pack_clips

    given = [word for word in words(tmp_path, **{"model.name": "mlp"}) if not word.startswith("model.options")]
    given = [word for word in given if not word.startswith("training.batch_size")] + ["run.threads=1"]
    pack_clips(load(given).settings.data, sources=4, clips=2)
    alone = train(load([*given, "training.batch_size=4", f"hydra.run.dir={tmp_path}/alone"])).folder
    folder = tmp_path / "two"
    status, _, stderr = ended(torchrun("modeling.train", *given, "training.batch_size=2", f"hydra.run.dir={folder}"))
    assert status == 0, stderr
    assert_same_curve(folder, alone)
    assert (read_receipt(folder).processes, read_receipt(folder).task) == (2, "clips")
    assert json.loads((evaluate(folder) / "metrics.json").read_text())["training"]["equal"]
