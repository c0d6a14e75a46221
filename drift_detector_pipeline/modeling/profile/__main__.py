"""Where the time of a training step goes: `python -m drift_detector_pipeline.modeling.profile data=digits`.

In: what train.py takes. Out: a few steps of that training in outputs/profile/<date>/<time>/, with no receipt and no
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
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from drift_detector_pipeline.config import Composed, load
from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.files import write_atomically, write_json
from drift_detector_pipeline.modeling.profile.bottleneck import Circumstances, name_bottleneck
from drift_detector_pipeline.modeling.profile.peak import measure_peak
from drift_detector_pipeline.modeling.profile.summary import summarize
from drift_detector_pipeline.modeling.profile.wording import page, table
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.runs.facts import now, package_versions
from drift_detector_pipeline.runs.machine import Machine, instruction_set, prepared
from drift_detector_pipeline.runs.receipts import OUTPUTS
from drift_detector_pipeline.settings import Settings

_PLANNED = ("wait=4", "warmup=1", "active=5")  # enough left alone to know what recording costs


class _RecordedError(Exception):
    """Ends the training after its last step."""


@exit_status
def main() -> int:
    """Profile a training with the overrides on the command line."""
    composed = _compose(sys.argv[1:])
    if composed.run_folder.exists() and not int(os.environ.get("RANK", 0)):
        raise ConfigError(f"{composed.run_folder}: is there already; choose another hydra.run.dir, or none")
    times: list[float] = []
    try:
        status = _record(composed, times)
    finally:
        shutil.rmtree(composed.run_folder / "checkpoints", ignore_errors=True)  # nobody goes on from here
    if status:
        log.warning("a profile is not gone on with: start it again")
        return status
    run = composed.settings.run
    with prepared(run.model_copy(update={"precision": "auto"})) as machine:
        has_bf16 = machine.precision == "bf16"
        machine = machine._replace(precision=machine.precision if run.precision == "auto" else run.precision)
        peak = measure_peak(machine)
    if machine.is_first:
        _tell(composed, machine, peak, has_bf16, _unrecorded_ms(composed, times))
    return 0


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


def _tell(
    composed: Composed, machine: Machine, peak: dict[str, float], has_bf16: bool, unrecorded_ms: float | None
) -> None:
    """Write the summary beside the trace and print it."""
    folder = composed.run_folder / composed.settings.training.profiler.log_dir
    trace = max(folder.glob("worker_0.*.pt.trace.json.gz"))
    summary = summarize(_events(trace))
    report = _facts(composed.settings, machine) | {
        "trace": trace.name,
        "steps": summary.steps,
        "step_ms": summary.step_ms,
        "unrecorded_step_ms": unrecorded_ms,
        "phases_ms": summary.phases_ms,
        "device_busy_ms": summary.device_busy_ms,
        "flops_per_step": summary.flops,
        "flops_per_second": summary.flops / summary.step_ms * 1000,
        "peak_flops_per_second": peak,
        "bottleneck": name_bottleneck(summary, _circumstances(composed.settings, machine, peak, has_bf16)),
    }
    write_json(folder / "profile_summary.json", report)
    write_atomically(folder / "operators.csv", table(summary).encode())
    log.info("\n%s\n\ntrace, profile_summary.json, operators.csv: %s", page(report, summary), folder)
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
        settings.training.optimizer, max(peak.values()),
    )  # fmt: skip


def _events(trace: Path) -> list[dict[str, Any]]:
    try:
        events: list[dict[str, Any]] = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
        return events
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise DataError(f"{trace}: not a whole trace ({error}); is there disk space? Then: make profile") from error


if __name__ == "__main__":
    sys.exit(main())
