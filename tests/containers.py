"""Not a test: what the tests of the container share. A working tree of its own, make targets in it, containers."""

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT

DOCKER = os.environ.get("DOCKER", "docker")
IMAGE = f"{os.environ.get('IMAGE_NAME', 'drift-detector-pipeline')}:{os.environ.get('IMAGE_TAG', 'latest')}"
SECRETS = ("GDRIVE_", "AWS_", "WANDB_")
TREE = ("Makefile", "docker.mk", "Dockerfile", ".dockerignore", "docker-entrypoint.sh", "docker-install.sh",
        "requirements.txt", "requirements-dev.txt", "pyproject.toml", "conf", "drift_detector_pipeline", "tests",
        "README.md", ".dvc/config")  # fmt: skip

# Networks, containers and users made here have it in their names: what a killed session left is in nobody's way.
SESSION = f"pipeline-{uuid.uuid4().hex[:8]}"

needs_engine = pytest.mark.skipif(
    os.environ.get("DOCKER_TESTS") != "true", reason="needs a Docker engine: `make docker_check` runs it"
)


def make_tree(folder: Path) -> Path:
    """Copy what a clone holds to `folder`, with the image counted as built; no data, no runs."""
    for name in TREE:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    (folder / f".image-built-{IMAGE.replace('/', '_').replace(':', '-')}").touch()
    for name in ("data/raw", "data/processed", "models"):
        (folder / name).mkdir(parents=True)
    return folder


def environment(**variables: str) -> dict[str, str]:
    """This environment without secrets, a number of threads and what an outer make hands on."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith((*SECRETS, "MAKE", "DVC_"))
        and name not in ("MFLAGS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    }
    return kept | {"CI_MODE": "true"} | variables


def make(
    tree: Path, target: str, *, args: str = "", prefix: tuple[str, ...] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a make target in `tree` to its end; `variables` are make's."""
    command = make_command(target, args, **variables)
    return subprocess.run([*prefix, *command], cwd=tree, env=environment(), capture_output=True, text=True)


def make_command(target: str, args: str = "", **variables: str) -> list[str]:
    """The command line of a make target."""
    return ["make", "--silent", target, f"ARGS={args}", *(f"{name}={value}" for name, value in variables.items())]


def succeeded(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """Assert that a command ended well."""
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def docker(*arguments: str, stdin: str | None = None) -> str:
    """Run the client; return what it printed."""
    done = subprocess.run(
        [DOCKER, *arguments], input=stdin, capture_output=True, text=True, env=os.environ | {"DOCKER_BUILDKIT": "1"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def on_the_host(tree: Path, module: str, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Run a module of `tree`'s code with this Python."""
    command = [sys.executable, "-m", f"drift_detector_pipeline.{module}", *overrides]
    return subprocess.run(command, cwd=tree, env=environment(PYTHONPATH=str(tree)), capture_output=True, text=True)


def receipt(folder: Path) -> dict[str, object]:
    """The receipt of a run."""
    found: dict[str, object] = json.loads((folder / "run.json").read_text())
    return found


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 300) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
        time.sleep(0.1)


def files_below(folder: Path) -> list[Path]:
    """Everything below `folder`."""
    return [path for path in folder.rglob("*") if path.exists()]
