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
import os, signal, time
from drift_detector_pipeline.proof.processes import in_processes
parent = os.getpid()
def stop(number, frame):
    if os.getpid() == parent:
        raise KeyboardInterrupt
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
signal.signal(signal.SIGTERM, stop)
def calculates(number):
    print("at work", flush=True)
    time.sleep(600)
def hands_over(number):
    print("at work", flush=True)
    return bytes(30_000_000)
try:
    for result in in_processes(WORK, range(200), "work"):
        time.sleep(0.1)
except KeyboardInterrupt:
    print("stopped", flush=True)
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
            assert "stopped" in parent.communicate(timeout=60)[0].splitlines()
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
