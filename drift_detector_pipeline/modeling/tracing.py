"""PyTorch's profiler around chosen training steps.

In: `training.profiler.*` and the loop's steps and phases. Out: `<worker>.<ms>.pt.trace.json.gz` in the run's folder,
for TensorBoard, Perfetto and profile/. Fed by train.py; with the profiler off it is an object that does nothing.
"""

import gzip
import os
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Literal, Protocol, get_args

import torch
from torch.profiler import ProfilerAction, ProfilerActivity, profile, record_function, schedule

from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import write_atomically
from drift_detector_pipeline.runs.machine import Machine
from drift_detector_pipeline.settings import Profiling

Phase = Literal["data_wait", "copy", "forward", "backward", "optimizer"]
PHASES: tuple[Phase, ...] = get_args(Phase)
STEP = "train_step"  # the annotation that holds a step's phases, and what is left over

_RECORDING = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)
_NOTHING = nullcontext()


class Profiler(Protocol):
    """What the training loop tells: where a step begins and ends, and which part of it runs."""

    def __enter__(self) -> "Profiler":
        """Begin to count steps."""

    def __exit__(self, error: type[BaseException] | None, *details: object) -> None:
        """Write what is recorded so far, unless an error ends the run."""

    def step(self) -> AbstractContextManager[None]:
        """Hold one training step."""

    def phase(self, name: Phase) -> AbstractContextManager[object]:
        """Hold one part of a step."""


def open_profiler(settings: Profiling, folder: Path, machine: Machine) -> Profiler:
    """Return the profiler of a run in `folder`, or one that does nothing."""
    return StepProfiler(settings, folder / settings.log_dir, machine) if settings.enabled else NoProfiler()


class StepProfiler:
    """Records `active` steps, `repeat` times, and costs next to nothing before and after them."""

    def __init__(self, settings: Profiling, folder: Path, machine: Machine) -> None:
        self._settings, self._folder, self._machine = settings, folder, machine
        self._profile: profile | None = None  # only from warm-up to the end of a recording: it costs time
        self._wait = 0  # steps until then
        self._recordings = 0

    def __enter__(self) -> Profiler:
        """Begin to count steps."""
        if self._machine.device.type == "cpu":
            os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it reports a missing GPU as an error
        self._plan()
        return self

    def __exit__(self, error: type[BaseException] | None, *details: object) -> None:
        """Write what is recorded so far, unless an error ends the run."""
        if self._profile is not None:
            self._profile.on_trace_ready = None if error else self._profile.on_trace_ready
            self._close()
        if not self._recordings and not error:
            first = self._settings.wait + self._settings.warmup
            log.warning("nothing is profiled: the run ended within the %d steps that are left out first", first)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Hold one training step."""
        with self._span(STEP):
            yield
        if self._profile is not None:
            self._advance(self._profile)
        elif self._wait > 0:
            self._wait -= 1
            if self._wait == 0:
                self._open()

    def phase(self, name: Phase) -> AbstractContextManager[object]:
        """Hold one part of a step."""
        return self._span(name)

    def _span(self, name: str) -> AbstractContextManager[object]:
        recording = self._profile is not None and self._profile.current_action in _RECORDING
        return record_function(name) if recording else _NOTHING

    def _plan(self) -> None:
        """Look forward to the next recording."""
        self._wait = self._settings.wait
        if self._wait == 0:
            self._open()

    def _advance(self, current: profile) -> None:
        if self._machine.device.type == "cuda" and current.current_action is ProfilerAction.WARMUP:
            torch.cuda.synchronize()  # what the GPU still does belongs to a step that is not recorded
        current.step()
        if current.step_num == self._settings.warmup + self._settings.active:
            self._close()
            if self._recordings != self._settings.repeat:
                self._plan()

    def _open(self) -> None:
        settings = self._settings
        activities = [ProfilerActivity.CPU]
        activities += [ProfilerActivity.CUDA] * (self._machine.device.type == "cuda")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Profiler won't be using warmup")  # as was asked for
            plan = schedule(wait=0, warmup=settings.warmup, active=settings.active, repeat=1)
        self._profile = profile(
            activities=activities,
            schedule=plan,
            on_trace_ready=self._write,
            record_shapes=settings.record_shapes or settings.with_flops,
            profile_memory=settings.profile_memory,
            with_stack=settings.with_stack or settings.with_modules,  # its own `with_modules` is deprecated
            with_flops=settings.with_flops,
        )
        self._profile.start()

    def _close(self) -> None:
        if self._profile is not None:
            self._profile.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        self._profile = None

    def _write(self, recorded: profile) -> None:
        """Write a recording under a name that TensorBoard's plugin knows: worker, milliseconds, suffix."""
        steps = recorded.step_num - self._settings.warmup
        if steps == 0:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        stem = f"worker_{self._machine.rank}.{time.time_ns() // 1_000_000}"
        plain, packed = self._folder / f"{stem}.chrome_trace.json", self._folder / f"{stem}.pt.trace.json.gz"
        recorded.export_chrome_trace(str(plain))
        if not plain.exists():
            raise DataError(f"{plain}: PyTorch could not write the trace; is the disk full or write-protected?")
        write_atomically(packed, gzip.compress(_as_the_plugin_knows_it(plain.read_bytes()), compresslevel=6))
        if not self._settings.export_chrome_trace:
            plain.unlink()
        self._recordings += 1
        log.info("%d profiled steps: %s", steps, packed)


def _as_the_plugin_knows_it(trace: bytes) -> bytes:
    """TensorBoard's plugin looks for the loader among the operators, where PyTorch used to write it."""
    return re.sub(rb'"user_annotation"(,\s*"name": "enumerate\(DataLoader\)#)', rb'"cpu_op"\1', trace)


class NoProfiler:
    """Profiles nothing."""

    def __enter__(self) -> Profiler:
        """Do nothing."""
        return self

    def __exit__(self, error: type[BaseException] | None, *details: object) -> None:
        """Do nothing."""

    def step(self) -> AbstractContextManager[None]:
        """Do nothing."""
        return _NOTHING

    def phase(self, name: Phase) -> AbstractContextManager[object]:
        """Do nothing."""
        return _NOTHING
