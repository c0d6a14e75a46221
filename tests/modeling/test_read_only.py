"""A finished run that can only be read, as on a mounted share: reading works, and what has to write says where."""

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import called
from finished_runs import finished_run, own_copy

from drift_detector_pipeline.serving.request_log import RequestLog

WRITES_ANYWHERE = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


@contextlib.contextmanager
def held_by_modes() -> Iterator[None]:
    """Root, too, may write only where the modes of files and folders let it."""
    if os.geteuid():
        yield
        return
    libc, asked, given = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc.capget(asked, given)
    before = given[0]
    given[0] &= ~WRITES_ANYWHERE
    libc.capset(asked, given)
    try:
        yield
    finally:
        given[0] = before
        libc.capset(asked, given)


@pytest.fixture
def place(made_once: Callable[[str, Callable[[Path], object]], Path], tmp_path: Path) -> Iterator[Path]:
    """A folder with outputs/day/time/, pictures/ and models/requests.sqlite, of which nothing can be written."""
    root = finished_run(made_once, "fp32")
    own_copy(root, tmp_path / "outputs" / "day" / "time")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "0.png").write_bytes((root / "animals" / "cat" / "0.png").read_bytes())
    RequestLog(f"sqlite:///{tmp_path}/models/requests.sqlite").close()
    within = [tmp_path, *tmp_path.rglob("*")]
    for one in within:
        one.chmod(0o555 if one.is_dir() else 0o444)
    yield tmp_path
    for one in within:
        one.chmod(0o755 if one.is_dir() else 0o644)


@pytest.mark.parametrize(
    ("module", "words", "begins"),
    [
        ("runs.listing", [], None),
        ("runs.listing", ["outputs/day/time", "--json"], None),
        ("modeling.summary", [], None),
        ("serving.models", [], None),
        ("lifecycle.watching.alarm_desk", ["alarms"], None),
        ("lifecycle.watching.alarm_desk", ["acknowledge", "alarm=1", "why=x"], "sqlite:///models/requests.sqlite: "),
        ("serving.log_export", ["path={elsewhere}"], None),
        ("serving.log_export", [], "models/log_export: "),
        ("lifecycle.watching.monitor", ["monitor.once=true"], "sqlite:///models/requests.sqlite: "),
        ("modeling.card", [], "outputs/day/time/"),
        ("modeling.evaluate", [], "outputs/day/time/evaluation"),
        ("modeling.predict", ["", "pictures"], "outputs/day/time/predictions"),
        ("drift.__main__", ["", "pictures"], "outputs/day/time/"),
        ("release.export", [], "{place}/models"),
        ("modeling.reproduce", [], "outputs/"),
    ],
)
def test_what_only_reads_works_and_what_writes_names_the_place(
    module: str, words: list[str], begins: str | None, place: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with held_by_modes():
        done = called(module, *(word.format(elsewhere=elsewhere) for word in words), cwd=place)
    if begins is None:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert (done.returncode, done.stderr.count("error: ")) == (1, 1)
        assert done.stderr.splitlines()[-1].startswith("error: " + begins.format(place=place)), done.stderr
