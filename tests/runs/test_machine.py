"""What a run computes on."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from drift_detector_pipeline.runs.machine import keep_freed_memory
if "keep" in sys.argv:
    keep_freed_memory()
for step in range(20):
    torch.ones(16 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for step in range(8):
    torch.ones(16 << 20)  # 64 MiB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has ways of its own")
@pytest.mark.slow
def test_memory_of_one_step_is_there_for_the_next():
    def faults(*words):
        done = subprocess.run([sys.executable, "-c", FAULTS, *words], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert faults("keep") < faults() / 8  # after a few steps, in which small blocks settle beside the large ones
