"""What several tests share: tiny real image archives, and a module run the way make runs it."""

import fcntl
import importlib
import io
import logging
import os
import shutil
import subprocess
import sys
import tarfile
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from budget import Budget
from PIL import Image
from postgres_server import PROGRAMS, postgres_server

from drift_detector_pipeline import config
from drift_detector_pipeline.console import log
from drift_detector_pipeline.raw.archives import extract
from drift_detector_pipeline.settings import Data

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # tests import ONNX Runtime by themselves, too
os.environ["WANDB_MODE"] = "disabled"  # what `wandb.mode` is unless a test gives one, here and in what it starts
# One thread unless a test says how many: tests run side by side, and beside a neighbour two threads wait for each other
# longer than they compute. Nothing above loads PyTorch, which reads this when it is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ("cat", "dog", "über fish")  # a space and a letter beyond ASCII


IN_IMAGE = not (ROOT / "notebooks").exists()
needs_clone = pytest.mark.skipif(IN_IMAGE, reason="needs a clone; the image has no make, notebooks and pictures")


def write_image(path: Path, seed: int, size: tuple[int, int] = (40, 30)) -> None:
    """Write a soft random image of `size` (width, height); the suffix says the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize(size, Image.Resampling.BILINEAR).save(path)


def make_folder(root: Path, images_per_class: int = 10, classes: tuple[str, ...] = CLASSES) -> Path:
    """Make an ImageFolder without validation part: one folder a class, PNG and JPEG in turn."""
    for label, name in enumerate(classes):
        for number in range(images_per_class):
            suffix = ("png", "jpg", "JPEG")[number % 3]
            size = (40 + number, 30) if number % 2 else (30, 40 + number)
            write_image(root / name / f"{number}.{suffix}", seed=1000 * label + number, size=size)
    return root


def pack_tar(folder: Path, archive: Path) -> Path:
    """Pack `folder` under its own name; the suffix says the compression."""
    mode = {".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz", ".tar": "w"}[archive.suffix]
    with tarfile.open(archive, mode) as opened:  # type: ignore[call-overload]
        opened.add(folder, folder.name)
    return archive


def pack_zip(folder: Path, archive: Path) -> Path:
    """Pack `folder` under its own name."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for path in sorted(folder.rglob("*")):
            opened.write(path, path.relative_to(folder.parent))
    return archive


def run_module(name: str, *overrides: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run `python -m drift_detector_pipeline.NAME` with warnings as errors; has returncode, stdout, stderr."""
    return subprocess.run(
        module_command(name, *overrides), cwd=cwd, env=ci_environment(), capture_output=True, text=True
    )


def module_command(name: str, *overrides: str) -> list[str]:
    """The command that `run_module` runs, for tests that watch or kill it."""
    return [sys.executable, "-W", "error", "-m", f"drift_detector_pipeline.{name}", *overrides]


def ci_environment() -> dict[str, str]:
    """This environment in CI mode, with the package importable from any folder."""
    return os.environ | {"CI_MODE": "true", "PYTHONPATH": str(ROOT)}


@dataclass
class Said:
    """How a command that was called ended, as `subprocess.run` tells it."""

    returncode: int
    stdout: str
    stderr: str


def called(name: str, *overrides: str, cwd: Path | None = None) -> Said:
    """`run_module` within this process, for tests of what a command says: a process of its own imports for seconds."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr("sys.argv", [name, *overrides])
        patch.setenv("CI_MODE", "true")
        patch.chdir(cwd or Path.cwd())
        status = importlib.import_module(f"drift_detector_pipeline.{name}").main()
    return Said(status, out.getvalue(), err.getvalue())


@pytest.fixture
def call_main() -> Callable[..., Said]:
    """`called`, where a test takes nothing else from here."""
    return called


@pytest.fixture(scope="session")
def small_detector_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved detector of the small world; read only."""
    from small_world import small_detector

    folder = tmp_path_factory.mktemp("detector")
    small_detector().save(folder)
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server, without a database's name."""
    pytest.importorskip("psycopg", reason="needs the extra: pip install -e .[postgres]")
    if not PROGRAMS:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    with postgres_server() as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, of each kind in turn."""
    return new_database(request, tmp_path)


def new_database(request: pytest.FixtureRequest, folder: Path) -> str:
    """Make an empty database of the kind that `request` has as parameter."""
    if request.param == "sqlite":
        return f"sqlite:///{folder}/log.sqlite"
    import psycopg

    server, name = request.getfixturevalue("postgres"), f"log_{uuid.uuid4().hex}"
    with psycopg.connect(f"{server}postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server}{name}"


def pytest_configure(config: pytest.Config) -> None:
    """Count what the tests of each folder cost."""
    config.pluginmanager.register(Budget())


LONGEST = ("test_verify.py", "test_year.py", "test_drift_commands.py", "test_detector.py",
           "test_docker_runs.py", "test_docker_remotes.py", "test_docker_image.py")  # minutes each  # fmt: skip


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, then all with slow tests: what is handed out last is short, and nobody waits long."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.name not in LONGEST, item.path not in slow))


@pytest.fixture(autouse=True)
def _log_as_at_the_start() -> None:
    """Commands called inside a test set up logging for the whole process; the next test sees none of it."""
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    log.setLevel(logging.NOTSET)
    log.propagate = True


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three artefacts for the service: `first` and `second`, which differ, and `plain` without drift reference."""
    from small_artefact import make_artefact  # beside the service's tests

    place = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("first", "second", "plain")):
        make_artefact(place / name, seed, reference=name != "plain")
    return place


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 images of 3 classes, without validation part; read only."""
    return make_folder(tmp_path_factory.mktemp("source") / "animals")


@pytest.fixture(scope="session")
def image_tgz(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a tgz; read only."""
    return pack_tar(image_folder, tmp_path_factory.mktemp("archive") / "animals.tgz")


@pytest.fixture(scope="session")
def image_zip(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a zip; read only."""
    return pack_zip(image_folder, tmp_path_factory.mktemp("archive") / "animals.zip")


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """`made_once(name, make)`: a folder that the first process to ask fills and all others read; do not change it."""
    root = tmp_path_factory.getbasetemp()
    shared = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "made_once"
    shared.mkdir(exist_ok=True)

    def get(name: str, make: Callable[[Path], object]) -> Path:
        folder, whole = shared / name, shared / f"{name}.whole"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not whole.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                whole.touch()
        return folder

    return get


@pytest.fixture(scope="session")
def shared_data(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Callable[[str], Path]:
    """`shared_data("bccd_voc")`: the folder in that archive of real data; such lie beside the repository, if at all."""

    def get(name: str) -> Path:
        place = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data")) / f"{name}.tgz"
        if not place.exists():
            pytest.skip(f"needs {place.name} in ../shared/data, or in the folder SHARED_DATA")
        [folder] = made_once(name, lambda folder: extract(place, folder)).iterdir()
        return folder

    return get


@pytest.fixture
def data_of(tmp_path: Path) -> Callable[..., Data]:
    """Settings of `data=folder` for a source, processed to tmp_path/processed; further ones by key and value."""

    def make(raw_path: Path, preset: str = "folder", **changes: object) -> Data:
        given = {"raw_path": raw_path, "processed_path": tmp_path / "processed", "stored_side_px": 16, "img_size": 16}
        overrides = [f"data.{key}='{value}'" if isinstance(value, Path) else f"data.{key}={value}"
                     for key, value in (given | changes).items()]  # fmt: skip
        return config.load([f"data={preset}", *overrides]).settings.data

    return make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Make what a test logged printable: names of files may be no text, and xdist sends text only."""
    report = yield
    report.sections = [(title, said.encode("utf-8", "backslashreplace").decode()) for title, said in report.sections]
    return report
