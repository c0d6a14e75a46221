"""The same bits on other processors: one instruction set, fp32, one thread unless told otherwise.

In: `run.bits=portable`. Out: a process whose libraries were told so before they were loaded: a command that was not
starts itself again. Read by machine.py. How far that goes is in docs/training.md.
"""

import os
import platform

import torch

from drift_detector_pipeline.errors import ConfigError, TooLateError
from drift_detector_pipeline.settings import Run

THREADS = 1  # of run.threads=auto, on however many cores: one never waits for another
SWITCHES = {
    "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # convolutions
    "MKL_CBWR": "COMPATIBLE",  # products of matrices; MKL grants AVX2 to Intel's processors only, and elsewhere chooses
}


def is_portable() -> bool:
    """Whether this process was started with all switches."""
    return all(os.environ.get(name) == value for name, value in SWITCHES.items())


def require_portable(run: Run) -> None:
    """Raise TooLateError unless this process was started with the switches; ConfigError where they cannot hold."""
    if run.precision == "bf16" or run.device not in ("auto", "cpu"):
        raise ConfigError(
            f"run.bits=portable is for fp32 on a CPU, not run.precision={run.precision} run.device={run.device}; leave "
            "both at auto, or run.bits=default"
        )
    if not is_portable():
        raise TooLateError("run.bits=portable: PyTorch is loaded already; set before it is:", SWITCHES)
    if torch.backends.cpu.get_cpu_capability() != "AVX2":
        raise ConfigError(f"run.bits=portable: this {platform.machine()} processor has no AVX2; use run.bits=default")
