"""Output whose reader has left, or that cannot be written: real processes, buffered and not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, ci_environment

WORK = """
import sys
sys.argv = ["drift-pipeline"]
import drift_detector_pipeline
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.errors import exit_status

@exit_status
def main():
    set_up_logging()
    for line in range(20_000):
        print(line)
    log.info("in words")
    log.warning("of something")
    open("done", "w").close()
    return 3

sys.exit(main())
"""
AS_TYPED = [sys.executable, "-W", "error", "-m", "drift_detector_pipeline.cli"]


def ran(command, cwd, shell, buffered=True):
    """What a command says on stderr, and how it ends, where the shell has its output led elsewhere."""
    environment = ci_environment() | {"PYTHONUNBUFFERED": "" if buffered else "1"}
    words = ["bash", "-c", f'"$@" {shell}', "bash", *command]
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize(
    ("shell", "said"),
    [
        ("| head -1; exit ${PIPESTATUS[0]}", ("0\n", "warning: of something\n")),
        ("2>&1 | head -1; exit ${PIPESTATUS[0]}", ("0\n", "")),
        (">&-", ("", "warning: of something\n")),
        (">&- 2>&-", ("", "")),
    ],
)
def test_work_goes_on_to_its_end_when_nobody_reads_what_it_says(shell, said, buffered, tmp_path):
    done = ran([sys.executable, "-W", "error", "-c", WORK], tmp_path, shell, buffered)
    assert (done.stdout, done.stderr, done.returncode) == (*said, 3)
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize(("words", "status"), [(["help"], 0), (["train", "--help"], 0), (["trian"], 1)])
def test_a_command_ends_quietly_whoever_has_left(words, status, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*AS_TYPED, *words], cwd=ROOT, env=ci_environment(), stdout=writer, stderr=writer)
    os.close(writer)
    assert done.returncode == status


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("buffered", [True, False])
def test_output_that_finds_no_space_is_one_sentence(buffered, tmp_path):
    done = ran([*AS_TYPED, "help"], tmp_path, "> /dev/full", buffered)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the disk is full") and done.stderr.count("\n") == 1
