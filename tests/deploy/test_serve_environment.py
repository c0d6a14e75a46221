"""A service where nothing but `requirements-serve.txt` is installed: no PyTorch, little disk, the same answers."""

import subprocess
import sys
import venv

import httpx
import numpy as np
import pytest
from conftest import ROOT, needs_clone
from running import process
from small_artefact import png, world

from drift_detector_pipeline.serving.engine import open_engine

MOST_MB = 400
NEVER = {
    "torch",
    "torchvision",
    "timm",
    "scikit-learn",
    "dvc",
    "matplotlib",
    "wandb",
    "onnx",
    "onnxscript",
    "tensorboard",
}

pytestmark = [needs_clone, pytest.mark.slow]


def pip(python, *words):
    command = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "--quiet", *words]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """The folder of an environment made from the service's lock, bytecode included, and its Python."""
    folder = tmp_path_factory.mktemp("fresh") / "environment"
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    done = pip(python, "install", "--require-hashes", "-r", ROOT / "requirements-serve.txt")
    if "connection broken" in done.stderr:
        pytest.skip("needs a package index")
    assert done.returncode == 0, done.stderr
    return folder, python


def test_an_environment_of_a_service_takes_less_than_400_mb(fresh):
    folder, _ = fresh
    megabytes = (
        sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6
    )
    print(f"{megabytes:.0f} MB")
    assert 100 < megabytes < MOST_MB


def test_the_extra_serve_asks_for_nothing_that_its_lock_does_not_bring(fresh):
    _, python = fresh
    done = pip(python, "install", "--no-index", "--no-build-isolation", "--editable", f"{ROOT}[serve,postgres]")
    assert done.returncode == 0, done.stderr
    there = {line.partition("==")[0].lower() for line in pip(python, "freeze").stdout.splitlines()}
    assert {"numpy", "onnxruntime", "scipy"} <= there
    assert there & NEVER == set()


def test_a_service_there_answers_with_the_bits_of_here_and_sees_the_dark(fresh, models, tmp_path):
    _, python = fresh
    photograph = np.random.default_rng(0).integers(0, 256, (90, 61, 3), dtype=np.uint8)
    engine = open_engine(models / "first")
    expected = engine.answer(engine.prepare(png(photograph))[None])
    dark, _ = world(40, 12, light=40.0)
    files = [("images", (f"{number}.png", png(image))) for number, image in enumerate(dark)]
    with process(models / "first", tmp_path, python=python, PYTHONPATH="") as (_, address):
        [said] = httpx.post(f"{address}/predict?scores=true", content=png(photograph)).json()["answers"]
        verdict = httpx.post(f"{address}/drift", files=files, timeout=60).json()
    assert np.array_equal(np.array([score["value"] for score in said["scores"]], np.float32), expected.phi[0])
    assert said["probability"] == float(expected.probabilities.max())
    assert verdict["images"] == 40 and verdict["level"] != "quiet"
