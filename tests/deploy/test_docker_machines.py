"""Two containers on a network as two machines: torchrun trains one model, one of them dies, the run goes on."""

import contextlib
import json
import os
import subprocess
import time

import pytest
from containers import DOCKER, IMAGE, SESSION, docker, make, make_tree, needs_engine, receipt, succeeded, wait_for

pytestmark = [pytest.mark.slow, needs_engine]

NETWORK, MACHINES = f"{SESSION}-machines", (f"{SESSION}-machine-0", f"{SESSION}-machine-1")
WORDS = ["data=digits", "model.name=mlp", "training.batch_size=32", "training.learning_rate=0.01", "run.threads=1",
         "data.dataloader_workers=0"]  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A clone with processed digits: what several machines share as a network drive."""
    folder = make_tree(tmp_path_factory.mktemp("tree") / "clone")
    succeeded(make(folder, "docker_process_data", args="data=digits"))
    return folder


@pytest.fixture
def network():
    docker("network", "create", NETWORK)
    yield NETWORK
    for name in MACHINES:
        subprocess.run([DOCKER, "rm", "--force", name], capture_output=True)
    docker("network", "rm", NETWORK)


def start(tree, network, *words):
    """Start the training on both machines, as docs/several_machines.md has it."""
    for name in MACHINES:
        command = [
            "run",
            "--detach",
            "--init",
            "--name",
            name,
            "--hostname",
            name,
            "--network",
            network,
            "--shm-size=1g",
        ]
        command += ["--user", f"{os.getuid()}:{os.getgid()}", "--volume", f"{tree}/data:/app/data:ro"]
        command += ["--volume", f"{tree}/outputs:/app/outputs", "--env", "CI_MODE=true", IMAGE]
        command += ["torchrun", "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=run"]
        command += [
            f"--rdzv-endpoint={MACHINES[0]}:29400",
            "-m",
            "drift_detector_pipeline.modeling.train",
            *WORDS,
            *words,
        ]
        docker(*command)


def log(name):
    done = subprocess.run([DOCKER, "logs", name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout


def wait_for_end(names=MACHINES, timeout_s=240):
    """Wait until the containers have ended; return their exit statuses."""
    running = ["inspect", "--format", "{{.State.Running}}"]
    for name in names:
        wait_for(lambda name=name: docker(*running, name).strip() == "false", f"{name} to end", timeout_s)
    statuses = [int(docker("inspect", "--format", "{{.State.ExitCode}}", name)) for name in names]
    return statuses


def remove():
    for name in MACHINES:
        docker("rm", "--force", name)


def epochs(folder):
    path = folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


LONG = ["training.epochs=60", "run.checkpoint_every=1000000"]


def test_two_machines_train_one_model_and_one_that_is_stopped_stops_both_and_they_go_on_to_the_same_bits(tree, network):
    start(tree, network, *LONG, "hydra.run.dir=outputs/whole")
    assert wait_for_end() == [0, 0], log(MACHINES[0]) + log(MACHINES[1])
    remove()
    whole, parts = tree / "outputs" / "whole", tree / "outputs" / "parts"
    assert receipt(whole)["processes"] == 2
    assert len(epochs(whole)) == 60
    start(tree, network, *LONG, "hydra.run.dir=outputs/parts")
    wait_for(lambda: len(epochs(parts)) >= 2, "two epochs")
    docker("stop", MACHINES[1])
    assert 0 not in wait_for_end()
    assert "a checkpoint is written" in log(MACHINES[0]) + log(MACHINES[1])
    remove()
    start(tree, network, *LONG, "run.resume=outputs/parts")
    assert wait_for_end() == [0, 0]
    assert receipt(parts)["weights_sha256"] == receipt(whole)["weights_sha256"]


@pytest.mark.parametrize("dying", [0, 1])
def test_when_one_machine_dies_the_other_stops_with_a_message_and_the_run_goes_on(tree, network, dying):
    folder = tree / "outputs" / f"dying_{dying}"
    words = [
        "training.epochs=400",
        "training.scheduler=none",
        "run.checkpoint_every=10",
        f"hydra.run.dir=outputs/{folder.name}",
    ]
    start(tree, network, *words)
    wait_for(lambda: len(epochs(folder)) >= 2, "two epochs")
    docker("kill", MACHINES[dying])
    killed = time.monotonic()
    survivor = MACHINES[1 - dying]
    assert wait_for_end([survivor], 90) != [0]
    seconds = time.monotonic() - killed
    said = log(survivor)
    [line] = [line for line in said.splitlines() if "another one of this run is gone" in line]
    assert "Connection" in line and "pair.cc" not in line
    print(f"{seconds:.0f} s: {line}")
    assert seconds < 60
    assert f"run.resume=outputs/{folder.name}" in line
    assert not (folder / "run.json").exists()
    done = len(epochs(folder))
    remove()
    start(tree, network, *words[:-1], f"run.resume=outputs/{folder.name}")
    wait_for(lambda: len(epochs(folder)) >= done + 2, "two more epochs")
    assert f"continuing outputs/{folder.name} from step" in log(MACHINES[0]) + log(MACHINES[1])
    with contextlib.suppress(AssertionError):
        docker("stop", *MACHINES)
