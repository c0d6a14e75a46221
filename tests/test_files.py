"""Folders of one's own, and locks: what happens when two want the same at the same moment."""

import contextlib
import ctypes
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import ROOT

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import (
    exclusive,
    final_name,
    held_alone,
    make_folder,
    new_folder,
    replaced_folder,
    write_atomically,
)

MANY = 16
HOLD = """import os, sys, time
from pathlib import Path
from drift_detector_pipeline.files import held_alone
with held_alone(Path(sys.argv[1])) as alone:
    if "child" in sys.argv and os.fork() == 0:
        time.sleep(60)
    print(alone, os.getpid(), flush=True)
    sys.stdin.read()
"""


def test_of_many_that_make_the_same_folder_at_once_each_has_its_own(tmp_path: Path) -> None:
    for number in range(20):
        wanted, at_once = tmp_path / str(number) / "run", threading.Barrier(MANY)

        def make(_: int, wanted: Path = wanted, at_once: threading.Barrier = at_once) -> Path:
            at_once.wait()
            return make_folder(wanted)

        with ThreadPoolExecutor(MANY) as pool:
            made = list(pool.map(make, range(MANY)))
        assert set(made) == {wanted, *(wanted.with_name(f"run_{again}") for again in range(2, MANY + 1))}


def test_who_fails_under_a_lock_leaves_no_file_of_it_and_no_folder_that_was_not_there(tmp_path: Path) -> None:
    lock = tmp_path / "new" / "er" / ".lock"
    with pytest.raises(ZeroDivisionError), exclusive(lock):
        assert lock.exists() and 1 // 0
    assert not list(tmp_path.iterdir())
    with exclusive(lock):
        pass
    with pytest.raises(ZeroDivisionError), exclusive(lock):
        assert 1 // 0
    assert lock.exists(), "another's was removed"


def test_of_many_that_wait_for_a_lock_and_fail_under_it_no_two_hold_it_at_once(tmp_path: Path) -> None:
    inside, at_once, seen = threading.Lock(), threading.Barrier(MANY), list[bool]()

    def hold(_: int) -> None:
        at_once.wait()
        for _ in range(5):
            with contextlib.suppress(ZeroDivisionError), exclusive(tmp_path / "new" / ".lock"):
                seen.append(inside.acquire(blocking=False))
                time.sleep(1e-4)
                inside.release()
                raise ZeroDivisionError

    with ThreadPoolExecutor(MANY) as pool:
        list(pool.map(hold, range(MANY)))
    assert all(seen) and len(seen) == 5 * MANY
    assert not list(tmp_path.rglob(".lock"))


def test_of_many_that_fill_a_dated_folder_at_once_each_keeps_what_it_wrote_and_removes_only_its_own(
    tmp_path: Path,
) -> None:
    started, filled = threading.Barrier(MANY), threading.Barrier(MANY)

    def fill(number: int) -> Path | None:
        started.wait()
        try:
            with new_folder(tmp_path / "predictions") as partial:
                filled.wait()  # all of them have one now
                (partial / "whose").write_text(str(number))
                if number % 2:
                    raise ValueError
        except ValueError:
            return None
        return final_name(partial)

    with ThreadPoolExecutor(MANY) as pool:
        done = list(pool.map(fill, range(MANY)))
    for number, folder in enumerate(done):
        assert (folder is None) == bool(number % 2)
        assert folder is None or (folder / "whose").read_text() == str(number)
    assert set((tmp_path / "predictions").iterdir()) == {folder for folder in done if folder is not None}


def test_a_name_that_was_taken_while_nobody_held_it_is_left_alone(tmp_path: Path) -> None:
    with new_folder(tmp_path) as partial:
        (partial / "file").touch()
    again = {final_name(partial)}
    while len(again) < 3:
        with new_folder(tmp_path) as partial:
            (partial / "file").touch()
        again.add(final_name(partial))
    assert all([path.name for path in folder.iterdir()] == ["file"] for folder in again)


def test_what_is_no_file_stays_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    held = os.open(pipe, os.O_RDWR)
    write_atomically(pipe, b"said")
    assert os.read(held, 4) == b"said" and pipe.is_fifo()
    os.close(held)
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path, b"")


def test_a_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")
    with (
        pytest.raises(DataError, match="mine: a file, and a folder is to be written there"),
        replaced_folder(tmp_path / "mine"),
    ):
        pass
    assert (tmp_path / "mine").read_text() == "kept"


def test_a_folder_that_failed_leaves_no_folder_above_it_that_was_not_there(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with pytest.raises(ValueError, match="full"), replaced_folder(tmp_path / "models" / "versions" / "one") as partial:
        (partial / "file").touch()
        raise ValueError("full")
    assert list(tmp_path.rglob("*")) == [tmp_path / "models"]
    with replaced_folder(tmp_path / "models" / "versions" / "one") as partial:
        (partial / "file").touch()
    assert (tmp_path / "models" / "versions" / "one" / "file").exists()


def test_a_place_for_folders_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "predictions").touch()
    with (
        pytest.raises(DataError, match=r"predictions: File exists; .*predictions must be writable"),
        new_folder(tmp_path / "predictions"),
    ):
        pass


@pytest.mark.parametrize("more", [[], ["child"]])
def test_a_lock_that_is_held_is_refused_until_its_process_is_gone_whatever_children_it_leaves(
    more: list[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock"), *more]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, text=True, **pipes) as holder:  # type: ignore[call-overload]
        try:
            assert holder.stdout.readline().startswith("True")
            with held_alone(tmp_path / "lock") as alone:
                assert not alone
            holder.kill()
            os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
            with held_alone(tmp_path / "lock") as alone:
                assert alone
        finally:
            os.killpg(holder.pid, signal.SIGKILL)


@pytest.fixture
def only_read() -> Iterator[Path]:
    """A folder with processed digits in which nobody but root can write."""
    place = Path(tempfile.mkdtemp())
    try:
        process(load(["data=digits", f"data.processed_path={place}/digits"]).settings.data)
        for path in [*place.rglob("*"), place]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield place
    finally:
        for path in [place, *place.rglob("*")]:
            path.chmod(path.stat().st_mode | stat.S_IWUSR)
        shutil.rmtree(place)


def without_privilege(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run a module as its user, root or not, whom the permissions of files hold."""
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, check=False, capture_output=True, text=True, timeout=120,
        preexec_fn=_drop,
    )  # fmt: skip


def _drop() -> None:
    """Drop what lets root write anywhere: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH (24: PR_CAPBSET_DROP)."""
    if os.geteuid() == 0:
        for capability in (1, 2):
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)


def test_data_that_is_up_to_date_may_lie_where_nothing_can_be_written(only_read: Path) -> None:
    done = without_privilege(
        "drift_detector_pipeline.dataset", "data=digits", f"data.processed_path={only_read}/digits"
    )
    assert done.returncode == 0, done.stderr
    assert "up to date" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["drift_detector_pipeline.modeling.train", "model.name=mlp", "run.device=cpu", "hydra.run.dir={}/run"],
        ["drift_detector_pipeline.processed.data_report"],
        ["drift_detector_pipeline.dataset", "data.stored_side_px=9"],
    ],
)
@pytest.mark.slow
def test_what_must_write_where_it_cannot_says_so_in_one_sentence(words: list[str], only_read: Path) -> None:
    given = [word.format(only_read) for word in words]
    done = without_privilege(*given, "data=digits", f"data.processed_path={only_read}/digits")
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert str(only_read) in line and "Permission denied" in line and "writable" in line
    assert "Traceback" not in done.stderr


def test_tables_that_people_open_run_nothing_in_a_spreadsheet() -> None:
    package = ROOT / "drift_detector_pipeline"
    writing = {str(path.relative_to(package)): path.read_text() for path in package.rglob("*.py")}
    undefused = {name for name, text in writing.items() if "csv.writer(" in text and "spreadsheet_row(" not in text}
    assert undefused == {
        "processed/packing.py",  # read again, and hashed
        "modeling/profile/wording.py",  # figures and names of ours
    }
