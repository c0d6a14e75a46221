"""What a run computes on: device, precision, threads, processes, and the facts that decide its bits.

In: `run.*` settings and torchrun's environment. Out: a `Machine`. Read by everything that computes.
"""

import contextlib
import ctypes
import datetime
import os
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.errors import ConfigError, TrainingError
from drift_detector_pipeline.runs.portable import THREADS, is_portable, require_portable
from drift_detector_pipeline.settings import Run

# A machine that vanishes without closing its connections is given up after that; one that closes them, at once.
SILENCE = datetime.timedelta(minutes=5)
_MMAP_MAX, _TRIM_THRESHOLD = -4, -1  # glibc's names for what `mallopt` sets
_LOST = re.compile(r"gloo|nccl|connection (closed|reset)|broken pipe|timed? ?out|socket", re.IGNORECASE)
_Value = TypeVar("_Value")


class Machine(NamedTuple):
    """The resolved hardware of this process."""

    device: torch.device
    precision: str  # "bf16": autocast and channels last; "fp32": plain
    threads: int
    rank: int
    processes: int

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def autocast(self) -> torch.autocast:
        """The context in which the model runs forward."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout convolutions are fast on: channels last wherever it pays, plain NCHW with fp32 on a CPU."""
        plain = self.precision == "fp32" and self.device.type == "cpu"
        return torch.contiguous_format if plain else torch.channels_last


@contextlib.contextmanager
def prepared(run: Run) -> Iterator[Machine]:
    """Set up memory, threads, determinism and, under torchrun, the process group; undo threads and group afterwards.

    Raises ConfigError if the device is not there, TooLateError if `run.bits` asks for another process.
    """
    if run.bits == "portable":
        require_portable(run)
        run = run.model_copy(update={"device": "cpu", "precision": "fp32"})
    processes, local_rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("LOCAL_RANK", 0))
    device = _device(run.device, local_rank)
    threads_before = torch.get_num_threads()
    own_threads = THREADS if run.bits == "portable" else threads_before
    threads = own_threads if run.threads == "auto" else run.threads
    torch.set_num_threads(threads)
    keep_freed_memory()
    _prefer_determinism()
    if processes > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=SILENCE)
    try:
        rank = dist.get_rank() if processes > 1 else 0
        yield Machine(device, _precision(run.precision, device), threads, rank, processes)
    finally:
        torch.set_num_threads(threads_before)
        if processes > 1:
            dist.destroy_process_group()


def as_here(machine: Machine) -> tuple[Machine, str]:
    """What `same_machine` is given elsewhere: this machine, and its instruction set."""
    return machine, instruction_set(machine.device)


@contextlib.contextmanager
def same_machine(machine: Machine, instructions: str) -> Iterator[Machine]:
    """Compute as another process does on `machine`. Raises ConfigError if this one computes with other instructions."""
    resolved = {"device": machine.device.type, "precision": machine.precision, "threads": machine.threads}
    run = load_section(Run, [f"run.{name}={value}" for name, value in resolved.items()])
    with prepared(run) as here:
        if (own := instruction_set(here.device)) != instructions:
            raise ConfigError(
                f"engine=ray: a machine of the cluster computes with {own}, the one that asks with {instructions}; "
                "rows would differ in their last digits. Use machines of one kind"
            )
        yield here


def keep_freed_memory() -> None:
    """Keep large freed blocks for the next step, which asks for the same ones; on Linux with glibc.

    Left alone, glibc hands them back, and the system zeroes and maps every page of every step anew: a twentieth
    to a fifth of ResNet-18's step on two cores (reports/training_speed.json). Results do not depend on it.
    """
    if sys.platform != "linux":
        return
    allocator = ctypes.CDLL(None)
    if hasattr(allocator, "mallopt"):
        allocator.mallopt(_MMAP_MAX, 0)
        allocator.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


@contextlib.contextmanager
def lost_process_explained(machine: Machine, folder: Path) -> Iterator[None]:
    """Turn what PyTorch raises when another process of the run in `folder` is gone into a `TrainingError`."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0]
        if machine.processes == 1 or not _LOST.search(reason):
            raise
        reason = re.sub(r"^\[\S*\] ", "", reason).partition(". ")[
            0
        ]  # without the place in PyTorch's sources, and its advice
        raise TrainingError(
            f"process {machine.rank} of {machine.processes} stops: another one of this run is gone ({reason}). "
            f"Start all of them again with run.resume={folder}; at most run.checkpoint_every steps are done twice"
        ) from error


def instruction_set(device: torch.device) -> str:
    """What the arithmetic depends on: the CPU's vector units, or the GPU's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if is_portable():
        return f"{platform.machine()} AVX2, portable"
    units = [torch.backends.cpu.get_cpu_capability()]
    units += ["avx512_bf16"] * torch.cpu._is_avx512_bf16_supported() + ["amx"] * torch.cpu._is_amx_tile_supported()
    return f"{platform.machine()} {' '.join(units)}"


def has_bf16_units(device: torch.device) -> bool:
    """Whether the device has units for bf16; a CPU without them may take fifty times as long for it as for fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if is_portable():
        return False
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def sum_over_processes(values: list[float], machine: Machine) -> list[float]:
    """Add up each number over all processes, in float64; every process gets the same sums."""
    if machine.processes == 1:
        return values
    device = machine.device if machine.device.type == "cuda" else torch.device("cpu")
    return add_up(torch.tensor(values, dtype=torch.float64, device=device), machine).tolist()


def add_up(values: torch.Tensor, machine: Machine) -> torch.Tensor:
    """Add up float64 numbers over all processes, in place; on a GPU nobody waits for the sums until they are read."""
    if machine.processes > 1:
        dist.all_reduce(values)
    return values


def from_first(value: _Value, machine: Machine) -> _Value:
    """Return the first process's value in every process."""
    if machine.processes == 1:
        return value
    box: list[Any] = [value]
    dist.broadcast_object_list(box)
    return box[0]  # type: ignore[no-any-return]


def share_buffers(module: nn.Module, machine: Machine) -> None:
    """Give every process the first one's buffers, such as BatchNorm's running statistics."""
    if machine.processes > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)


def from_all(value: _Value, machine: Machine) -> list[_Value]:
    """Return every process's value, in the order of their ranks, in every process."""
    if machine.processes == 1:
        return [value]
    values: list[Any] = [None] * machine.processes
    dist.all_gather_object(values, value)
    return values


def _device(wanted: str, local_rank: int) -> torch.device:
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("run.device=mps: this machine has no Metal GPU; use run.device=cpu")
    if not wanted.startswith("cuda"):
        return torch.device(wanted)
    index = int(wanted.partition(":")[2] or local_rank)
    if index >= torch.cuda.device_count():
        raise ConfigError(
            f"run.device={wanted}: PyTorch sees {torch.cuda.device_count()} CUDA devices here; use run.device=cpu"
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def _precision(wanted: str, device: torch.device) -> str:
    if wanted != "auto":
        return wanted
    return "bf16" if has_bf16_units(device) else "fp32"


def _prefer_determinism() -> None:
    """The same bits again on the same machine; where an operation has no such form (a few on GPUs) PyTorch warns."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # costs time and hides nothing: it is never read
    torch.backends.cudnn.benchmark = False
