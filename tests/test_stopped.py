"""Ctrl-C and SIGTERM: real processes, at chosen moments."""

import ast
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, ci_environment, make_folder, module_command

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}

# A command of ours, as the console script starts one; `work` is what it does.
COMMAND = """
import os, signal, sys, time
sys.argv = ["drift-pipeline"]
import drift_detector_pipeline
from pathlib import Path
from drift_detector_pipeline.errors import DataError, exit_status
from drift_detector_pipeline.files import new_folder, replaced_folder

def hear(number=signal.{number}):
    os.kill(os.getpid(), number)

@exit_status
def main():
    work()
    return 0

{work}

status = main()
{after}
sys.exit(status)
"""


def ran(work, cwd, number="SIGINT", after=""):
    code = COMMAND.format(work=work, number=number, after=after)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=cwd, env=ci_environment(), capture_output=True, text=True,
        preexec_fn=heard, timeout=60,
    )  # fmt: skip


def heard():
    """What a shell starts in the background ignores Ctrl+C; what a person's terminal starts does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


AMID = {
    "sleep": "hear(); time.sleep(60)",
    "swallowed once": "\n    try:\n        hear()\n    except BaseException:\n        pass\n    time.sleep(60)",
    "swallowed three times": """
    for first in (True, False, False):
        try:
            hear() if first else time.sleep(60)
        except BaseException:
            pass
    time.sleep(60)""",
    "where nothing can be raised": """
    class Odd:
        def __del__(self):
            hear()
    odd = Odd()
    del odd
    time.sleep(60)""",
    "turned into another error": """
    try:
        hear()
    except BaseException:
        raise RuntimeError("a library's own") from None""",
    "turned into one of ours": """
    try:
        hear()
    except BaseException as error:
        raise DataError("damaged") from error""",
}


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("amid", AMID)
def test_a_command_that_is_stopped_at_work_ends_in_one_sentence(amid, number, tmp_path):
    done = ran(f"def work():\n    {AMID[amid]}", tmp_path, number)
    name = {"SIGINT": "Ctrl-C", "SIGTERM": "SIGTERM"}[number]
    assert done.stderr == (
        f"stopped by {name}: what was complete before is kept, nothing half made is left, "
        "and the same command begins again\n"
    )
    assert done.returncode == STATUS[signal.Signals[number]]


def test_what_was_kept_in_a_part_that_an_error_ended_is_not_said_of_what_comes_later(tmp_path):
    work = """
from drift_detector_pipeline.stopped import keeping

def work():
    try:
        with keeping("checkpoints are kept"):
            raise ValueError
    except ValueError:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
"""
    done = ran(work, tmp_path)
    assert done.returncode == 143
    assert done.stderr.startswith("stopped by SIGTERM: what was complete before is kept")


@pytest.mark.parametrize("number", STATUS)
def test_a_training_that_answers_the_signal_itself_ends_the_command_around_it_too(number, tmp_path):
    """Not an error, which an autopilot would take for a refusal before it went on."""
    work = f"""
from drift_detector_pipeline.stopped import stopped_amid

def work():
    try:
        stopped_amid({STATUS[number]}, "the run is kept")
    except Exception:
        time.sleep(60)
"""
    done = ran(work, tmp_path)
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    assert (done.returncode, done.stderr) == (STATUS[number], f"stopped by {name}: the run is kept\n")


@pytest.mark.parametrize("holder", ["new_folder(Path('place'))", "replaced_folder(Path('place/data'))"])
def test_half_a_folder_is_removed_however_long_that_takes(holder, tmp_path):
    """Longer than until the exception is raised again."""
    work = f"""
def work():
    with {holder} as folder:
        (folder / "half").write_text("x")
        try:
            hear()
        finally:
            time.sleep(0.7)
            Path("removed").touch()
"""
    done = ran(work, tmp_path)
    assert done.returncode == 130 and done.stderr.startswith("stopped by Ctrl-C: "), done.stderr
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert left - {"place"} == {"removed"}


def test_a_signal_that_waits_does_so_also_when_another_thread_is_given_it(tmp_path):
    """As one of numpy's, or of a progress bar: it has no mask of its own, and Python answers in the main thread."""
    work = """
def work():
    import threading
    from drift_detector_pipeline.stopped import held_back
    threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
    with held_back():
        hear()
        time.sleep(0.5)
        Path("whole").touch()
    Path("never").touch()
"""
    done = ran(work, tmp_path)
    assert done.returncode == 130 and done.stderr.startswith("stopped by Ctrl-C: "), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_a_signal_between_making_a_folder_and_holding_it_leaves_none(tmp_path):
    work = """
def work():
    made = os.mkdir
    def mkdir(path, *rest):
        made(path, *rest)
        if str(path).endswith(".partial"):
            hear()
    os.mkdir = mkdir
    with new_folder(Path("place")):
        time.sleep(60)
"""
    done = ran(work, tmp_path)
    assert done.returncode == 130, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_being_replaced_is_the_old_one_or_the_new_one(tmp_path):
    work = """
def work():
    renamed = os.rename
    def rename(source, target):
        renamed(source, target)
        if str(target).endswith(".old"):
            hear()
    os.rename = rename
    Path("data").mkdir()
    Path("data/old").touch()
    with replaced_folder(Path("data")) as folder:
        (folder / "new").touch()
"""
    done = ran(work, tmp_path)
    assert done.returncode == 130, done.stderr
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["data", "data/old"]


def test_a_champion_is_in_the_history_before_a_signal_counts_and_its_sentence_says_so(tmp_path):
    """Whoever repeats a rollback that is done goes two versions back."""
    (tmp_path / "models" / "versions" / "net").mkdir(parents=True)
    (tmp_path / "models" / "versions" / "net" / "artefact.json").touch()
    work = """
from drift_detector_pipeline.release import registry

def work():
    written = registry.write_json
    def write_json(*given):
        written(*given)
        hear()
    registry.write_json = write_json
    registry._enthrone("net", [], Path("models"), who="me", why="why", gate=None, action="rollback")
"""
    done = ran(work, tmp_path, "SIGTERM")
    assert (done.returncode, done.stderr) == (143, "stopped by SIGTERM: net is the champion now, as was asked\n")
    assert (tmp_path / "models" / "history.jsonl").exists()


def test_dvc_ends_with_the_command_that_waits_for_it_and_nothing_waits_for_its_limit_of_time(tmp_path):
    """A stand-in: the signal comes while dvc moves files, and reaches the command alone."""
    (tmp_path / "dvc").mkdir()
    (tmp_path / "dvc" / "__init__.py").touch()
    (tmp_path / "dvc" / "__main__.py").write_text("""
import os, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(60)
except KeyboardInterrupt:
    open("tidied", "w").close()
""")
    work = """
from drift_detector_pipeline.raw.remote import Repository, dvc

def work():
    dvc(Repository(Path(), Path(), {}), ["pull"])
"""
    done = ran(work, tmp_path)
    assert done.returncode == 143 and done.stderr.startswith("stopped by SIGTERM: "), done.stderr
    assert (tmp_path / "tidied").exists()


def test_who_waits_to_be_stopped_hears_of_it_wherever_the_wait_is(tmp_path):
    """Also where it holds the lock of its event: the signal is heard in the same thread, and would wait for itself."""
    work = """
from drift_detector_pipeline.commands import stopping

def work():
    with stopping() as stop:
        with stop._cond:
            hear()
        if stop.is_set() and stop.wait(60):
            Path("heard").touch()
"""
    assert ran(work, tmp_path).returncode == 0
    assert (tmp_path / "heard").exists()


def test_an_import_is_over_before_a_signal_amid_it_counts(tmp_path):
    (tmp_path / "imported.py").write_text(
        "import __main__, time\n__main__.hear()\ntime.sleep(0.1)\nopen('whole', 'w').close()\n"
    )
    done = ran("def work():\n    sys.path.append('')\n    import imported\n    time.sleep(60)", tmp_path)
    assert done.returncode == 130, done.stderr
    assert (tmp_path / "whole").exists()


def test_what_is_loaded_before_anything_is_made_is_not_waited_for_and_leaves_no_temporary_folder(tmp_path):
    (tmp_path / "slow.py").write_text("import __main__, time\n__main__.hear()\nopen('whole', 'w').close()\n")
    work = """
import tempfile
from drift_detector_pipeline.stopped import loading

def work():
    sys.path.append("")
    global made
    made = tempfile.TemporaryDirectory(dir=".")
    with loading():
        import slow
"""
    done = ran(work, tmp_path)
    assert done.returncode == 130
    assert done.stderr == "stopped by Ctrl-C before anything was made; the same command begins again\n"
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"slow.py"}


def test_a_second_press_ends_it_at_once_and_the_same_press_told_twice_does_not(tmp_path):
    work = """
def work():
    try:
        hear()
    finally:
        hear()
        Path("cleaned").touch()
        time.sleep(1.1)
        hear()
        Path("never").touch()
"""
    done = ran(work, tmp_path)
    assert done.returncode == 130
    assert done.stderr.startswith("ended at once by a second Ctrl-C: ") and done.stderr.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"cleaned"}


def test_before_the_work_begins_it_ends_at_once_whatever_would_swallow_an_exception(tmp_path):
    work = "def work(): pass\ntry:\n    hear()\nexcept BaseException:\n    pass\ntime.sleep(60)"
    done = ran(work, tmp_path, "SIGTERM")
    assert (done.returncode, done.stdout) == (143, "")
    assert done.stderr == "stopped by SIGTERM before anything was made; the same command begins again\n"


def test_after_the_work_its_status_stands(tmp_path):
    done = ran("def work(): pass", tmp_path, after="hear(); hear(signal.SIGTERM)")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_fork_leaves_ctrl_c_to_its_parent_and_ends_by_sigterm(tmp_path):
    work = """
def work():
    child = os.fork()
    if not child:
        os.kill(os.getpid(), signal.SIGINT)
        Path("on").touch()
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    print(os.waitpid(child, 0)[1])
"""
    done = ran(work, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "15\n", "")
    assert (tmp_path / "on").exists()


def test_who_imports_the_package_keeps_the_handlers():
    assert signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_ignores_ctrl_c_goes_on_ignoring_it(tmp_path):
    code = COMMAND.format(work="def work(): hear(); print('on')", number="SIGINT", after="")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=ci_environment(), capture_output=True, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "on\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_runs_another_one_passes_signals_on_and_lets_it_say_so(number, tmp_path):
    work = """
from drift_detector_pipeline.stopped import call
inner = Path("inner.py").read_text()

def work():
    call([sys.executable, "-c", inner])
    Path("never").touch()
"""
    inner = COMMAND.format(
        work="def work():\n    Path('at_work').touch()\n    time.sleep(60)", number="SIGINT", after=""
    )
    (tmp_path / "inner.py").write_text(inner)
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(work=work, number="SIGINT", after="")], cwd=tmp_path,
        env=ci_environment(), stderr=subprocess.PIPE, text=True, preexec_fn=heard,
    ) as running:  # fmt: skip
        wait_until(lambda: (tmp_path / "at_work").exists(), running)
        running.send_signal(number)
        said = running.stderr.read()
    assert running.returncode == STATUS[number]
    assert said.startswith("stopped by ") and said.count("\n") == 1, said
    assert not (tmp_path / "never").exists()


def wait_until(true, running):
    until = time.monotonic() + 60
    while not true():
        assert running.poll() is None and time.monotonic() < until, running.communicate()
        time.sleep(0.002)


def hears(running):
    """Whether the process answers SIGTERM itself."""
    caught = re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{running.pid}/status").read_text(), re.MULTILINE)
    return bool(caught and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells when a process begins to answer signals")
def test_data_processing_stopped_at_any_moment_ends_in_one_sentence_and_leaves_nothing_half(tmp_path):
    """As soon as it answers signals, while it imports, and while its workers start and decode; all are told."""
    pictures, target = make_folder(tmp_path / "pictures", 150), tmp_path / "new"
    words = ["data=folder", f"data.raw_path={pictures}", f"data.processed_path={target}"]

    def at_work(running):
        return (tmp_path / ".new.partial").exists()

    moments = [(hears, 0.0), (hears, 0.15), (at_work, 0.0), (at_work, 0.1), (at_work, 0.4), (at_work, 1.0)]
    for place, (reached, more_s) in enumerate(moments):
        number = list(STATUS)[place % 2]
        with subprocess.Popen(
            module_command("dataset", *words), cwd=ROOT, env=ci_environment(), stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL, text=True, start_new_session=True, preexec_fn=heard,
        ) as running:  # fmt: skip
            wait_until(lambda: reached(running), running)  # noqa: B023
            time.sleep(more_s)
            ended_before = running.poll() is not None
            if not ended_before:
                os.killpg(running.pid, number)  # as a terminal does
            said = running.stderr.read()
        if ended_before or running.returncode == 0:
            assert (target / "manifest.json").exists()
            break  # this machine is faster than the moments
        assert running.returncode == STATUS[number], said
        assert said.startswith("stopped by ") and said.count("\n") == 1, said
        assert {path.name for path in tmp_path.iterdir()} <= {"pictures", ".new.lock"}
    assert place >= 3, "no moment was amid the work"


def test_what_a_main_imports_late_may_be_stopped_at_once():
    """Else a signal waits until PyTorch is imported."""
    for path in (ROOT / "drift_detector_pipeline").rglob("*.py"):
        text = path.read_text()
        if "def main() -> int:" not in text:
            continue
        [main] = [one for one in ast.parse(text).body if isinstance(one, ast.FunctionDef) and one.name == "main"]
        late = [one for one in ast.walk(main) if isinstance(one, ast.Import | ast.ImportFrom)]
        held = [
            one
            for one in ast.walk(main)
            if isinstance(one, ast.With) and "loading()" in ast.unparse(one).splitlines()[0]
        ]
        assert {*late} <= {below for one in held for below in ast.walk(one)}, path
