"""Work in processes that are forked: nobody waits for threads that only the parent had."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

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


@pytest.mark.slow
def test_children_of_a_parent_whose_threads_have_worked_come_to_an_end():
    command = [sys.executable, "-c", PARENT_AND_CHILDREN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        try:
            assert parent.communicate(timeout=60)[0].split("\n")[-2] == "[0, 1, 2]"
        finally:
            with contextlib.suppress(ProcessLookupError):  # all have come to their end
                os.killpg(parent.pid, signal.SIGKILL)  # children too, were they waiting
