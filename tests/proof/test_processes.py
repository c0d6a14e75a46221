"""Work in processes that are forked: nobody waits for threads that only the parent had."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.proof.processes import in_processes

PARENT_AND_CHILDREN = """
import torch
from drift_detector_pipeline.proof.processes import in_processes
torch.set_num_threads(2)
convolution, images = torch.nn.Conv2d(3, 8, 3), torch.randn(64, 3, 32, 32)
def work(number):
    with torch.no_grad():
        return float(convolution(images).exp().sum()) + number
first = work(0)
print([round(found - first) for found in in_processes(work, range(3), "work")])
"""

STOPPED = """
import os, time
from drift_detector_pipeline import stopped
stopped.is_command = lambda: True
stopped.install()
from drift_detector_pipeline.proof.processes import in_processes
def calculates(number):
    os.write(1, b"at work\\n")
    time.sleep(600)
def hands_over(number):
    os.write(1, b"at work\\n")
    return bytes(30_000_000)
def command():
    for result in in_processes(WORK, range(200), "work"):
        time.sleep(0.1)
    return 0
os.write(1, f"status {stopped.as_command(command)}\\n".encode())
"""


@pytest.mark.slow
@pytest.mark.parametrize("work", ["calculates", "hands_over"])
@pytest.mark.parametrize("tell", [os.killpg, os.kill])
def test_sigterm_ends_all_of_them_soon_whatever_they_are_at(work, tell):
    command = [sys.executable, "-c", STOPPED.replace("WORK", work)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        try:
            assert parent.stdout.readline() == "at work\n"
            tell(parent.pid, signal.SIGTERM)
            assert "status 143" in parent.communicate(timeout=60)[0].splitlines()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)


@pytest.mark.slow
def test_one_that_is_killed_is_an_error():
    with pytest.raises(DataError, match="work: one of its processes was killed"):
        list(in_processes(lambda _: os.kill(os.getpid(), signal.SIGKILL), [0], "work"))


@pytest.mark.slow
def test_children_of_a_parent_whose_threads_have_worked_come_to_an_end():
    command = [sys.executable, "-c", PARENT_AND_CHILDREN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        try:
            assert parent.communicate(timeout=60)[0].split("\n")[-2] == "[0, 1, 2]"
        finally:
            with contextlib.suppress(ProcessLookupError):  # all have come to their end
                os.killpg(parent.pid, signal.SIGKILL)  # children too, were they waiting
