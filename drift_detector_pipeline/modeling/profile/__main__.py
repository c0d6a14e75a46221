"""Where the time of a training step goes: `python -m drift_detector_pipeline.modeling.profile data=digits`.

In: what a training takes. Out: a few steps of that training in outputs/profile/<date>/<time>/, with no receipt and no
checkpoint, so that nobody takes it for a run; there pytorch_profiler_logs/ with the trace, profile_summary.json and
operators.csv; and a page of text.
"""

import gzip
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from drift_detector_pipeline.config import Composed, load
from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.files import write_atomically, write_json
from drift_detector_pipeline.modeling.profile.mean_step import mean_step_of
from drift_detector_pipeline.modeling.profile.wording import (
    Circumstances,
    name_bottleneck,
    operators_csv,
    profile_page,
)
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.runs.facts import now, package_versions
from drift_detector_pipeline.runs.machine import Machine, instruction_set, prepared
from drift_detector_pipeline.runs.receipts import OUTPUTS
from drift_detector_pipeline.settings import Settings

_SECONDS, _AT_LEAST = 1.5, 5  # of each kind of arithmetic, to find the peak: so long, and so often
_PLANNED = ("wait=4", "warmup=1", "active=5")  # enough left alone to know what recording costs


class _RecordedError(Exception):
    """Ends the training after its last step."""


@exit_status
def main() -> int:
    """Profile a training with the overrides on the command line."""
    composed = _compose(sys.argv[1:])
    is_first, status = not int(os.environ.get("RANK", 0)), 1
    if is_first:
        _make_folder(composed.run_folder)
    try:
        status = _profile(composed)
        return status
    finally:
        if is_first:  # nobody goes on from here
            shutil.rmtree(composed.run_folder / ("checkpoints" if status == 0 else ""), ignore_errors=True)


def _profile(composed: Composed) -> int:
    times = list[float]()
    if status := _record(composed, times):
        log.warning("a profile is not gone on with: start it again")
        return status
    run = composed.settings.run
    with prepared(run.model_copy(update={"precision": "auto"})) as machine:
        has_bf16 = machine.precision == "bf16"
        machine = machine._replace(precision=machine.precision if run.precision == "auto" else run.precision)
        peak = _measure_peak(machine)
    if machine.is_first:
        _tell(composed, machine, peak, has_bf16, _unrecorded_ms(composed, times))
    return 0


def _make_folder(folder: Path) -> None:
    """Make the folder before anything is done there: what is removed afterwards is then nobody else's."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise ConfigError(f"{folder}: is there already; choose another hydra.run.dir, or none") from error


def _compose(overrides: Sequence[str]) -> Composed:
    """Compose the settings of a training that is profiled at `data.img_size` and long enough."""
    planned = [f"training.profiler.{setting}" for setting in _PLANNED]
    given = [f"hydra.run.dir={OUTPUTS}/profile/${{now:%Y-%m-%d}}/${{now:%H-%M-%S}}", *planned, *overrides]
    fixed = [
        "training.profiler.enabled=true", "training.profiler.record_shapes=true", "training.profiler.repeat=1",
        "training.sizes_px=null", "training.early_stopping_patience=null", "run.resume=null",
        "wandb.mode=disabled",
    ]  # fmt: skip
    return load([*given, *fixed, f"training.epochs={_steps(load([*given, *fixed])) + 1}"])  # more than enough


def _steps(composed: Composed) -> int:
    profiler = composed.settings.training.profiler
    return profiler.wait + profiler.warmup + profiler.active


def _record(composed: Composed, times: list[float]) -> int:
    """Train until the profiler is done, noting the time after each step; return the exit status."""

    def note(step: int) -> None:
        times.append(time.perf_counter())
        if step == _steps(composed):
            raise _RecordedError

    try:
        return train(composed, note).exit_status
    except _RecordedError:
        return 0


def _unrecorded_ms(composed: Composed, times: list[float]) -> float | None:
    """The median of the steps before the profiler, without the first, which is slow; None if there is no other."""
    alone = times[: composed.settings.training.profiler.wait]
    return 1000 * statistics.median(after - before for before, after in pairwise(alone)) if len(alone) > 1 else None


@torch.inference_mode()
def _measure_peak(machine: Machine) -> dict[str, float]:
    """Operations per second of a large matrix product and a 3 x 3 convolution: what this machine can do at most."""
    dtype = torch.bfloat16 if machine.precision == "bf16" else torch.float32
    large = machine.device.type == "cuda"
    side, images, channels = (8192, 256, 256) if large else (2048, 32, 256)
    left, right = (torch.randn(side, side, device=machine.device, dtype=dtype) for _ in range(2))
    image = torch.randn(images, channels, 28, 28, device=machine.device, dtype=dtype)
    kernel = torch.randn(channels, channels, 3, 3, device=machine.device, dtype=dtype)
    image, kernel = (each.contiguous(memory_format=machine.memory_format) for each in (image, kernel))
    return {
        "matmul": 2 * side**3 / _fastest(lambda: left @ right, machine),
        "convolution": 2 * images * 28**2 * kernel.numel()
        / _fastest(lambda: functional.conv2d(image, kernel, padding=1), machine),
    }  # fmt: skip


def _fastest(compute: Callable[[], object], machine: Machine) -> float:
    """Return the seconds of the fastest call."""
    times: list[float] = []
    while len(times) < _AT_LEAST or sum(times) < _SECONDS:
        started = time.perf_counter()
        compute()
        if machine.device.type == "cuda":
            torch.cuda.synchronize(machine.device)
        times.append(time.perf_counter() - started)
    return min(times)


def _tell(
    composed: Composed, machine: Machine, peak: dict[str, float], has_bf16: bool, unrecorded_ms: float | None
) -> None:
    """Write what the trace sums up to beside it, and print it."""
    folder = composed.run_folder / composed.settings.training.profiler.log_dir
    trace = max(folder.glob("worker_0.*.pt.trace.json.gz"))
    step = mean_step_of(_events(trace))
    report = _facts(composed.settings, machine) | {
        "trace": trace.name,
        "steps": step.steps,
        "step_ms": step.step_ms,
        "unrecorded_step_ms": unrecorded_ms,
        "phases_ms": step.phases_ms,
        "device_busy_ms": step.device_busy_ms,
        "flops_per_step": step.flops,
        "flops_per_second": step.flops / step.step_ms * 1000,
        "peak_flops_per_second": peak,
        "bottleneck": name_bottleneck(step, _circumstances(composed.settings, machine, peak, has_bf16)),
    }
    write_json(folder / "profile_summary.json", report)
    write_atomically(folder / "operators.csv", operators_csv(step).encode())
    log.info("\n%s\n\ntrace, profile_summary.json, operators.csv: %s", profile_page(report, step), folder)
    log.info("  make tensorboard RUN=%s", composed.run_folder)
    log.info("  or open the trace in chrome://tracing (needs no network) or ui.perfetto.dev")


def _facts(settings: Settings, machine: Machine) -> dict[str, Any]:
    return {
        "when": now(),
        "command": f'make profile ARGS="{" ".join(sys.argv[1:])}"',
        "model": settings.model.name,
        "img_size": settings.data.img_size,
        "batch_size": settings.training.batch_size,
        "optimizer": settings.training.optimizer,
        "workers": settings.data.dataloader_workers,
        "device": machine.device.type,
        "instruction_set": instruction_set(machine.device),
        "precision": machine.precision,
        "threads": machine.threads,
        "processes": machine.processes,
        "packages": package_versions(),
    }


def _circumstances(settings: Settings, machine: Machine, peak: dict[str, float], has_bf16: bool) -> Circumstances:
    return Circumstances(
        machine.device.type, machine.precision, has_bf16, settings.data.dataloader_workers, os.cpu_count() or 1,
        machine.threads, settings.training.optimizer, max(peak.values()),
    )  # fmt: skip


def _events(trace: Path) -> list[dict[str, Any]]:
    try:
        events: list[dict[str, Any]] = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
        return events
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise DataError(f"{trace}: not a whole trace ({error}); is there disk space? Then: make profile") from error


if __name__ == "__main__":
    sys.exit(main())
