"""What one process holds while a run goes on: settings, data, model, optimizer and how far it has come.

In: the composed settings, a processed folder and, when a run continues, its checkpoint. Out: a `Session`, ready to
train; its checkpoints and weight files. Read by train.py.
"""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from drift_detector_pipeline.config import Composed
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.errors import ConfigError, ResumeError
from drift_detector_pipeline.modeling.first_look import look_first
from drift_detector_pipeline.modeling.interruption import Interruption
from drift_detector_pipeline.modeling.loaders import Batch, load_batches
from drift_detector_pipeline.modeling.optimization import build_optimizer
from drift_detector_pipeline.modeling.order import Request, evaluation_requests, in_parts, training_requests
from drift_detector_pipeline.modeling.preconditions import check_batch_of_one, check_images
from drift_detector_pipeline.modeling.tracing import Profiler, open_profiler
from drift_detector_pipeline.networks.models import Network, build, parameter_count, seed_everything
from drift_detector_pipeline.networks.weights import describe, save_weights
from drift_detector_pipeline.processed.class_balance import class_weights
from drift_detector_pipeline.processed.manifest import Processed, open_processed
from drift_detector_pipeline.runs.checkpoints import (
    Checkpoint,
    load_checkpoint,
    restore_tensors,
    save_checkpoint,
    training_tensors,
)
from drift_detector_pipeline.runs.facts import now
from drift_detector_pipeline.runs.folders import identify, run_folder
from drift_detector_pipeline.runs.machine import Machine, from_first
from drift_detector_pipeline.runs.tracking.mlflow_tracking import mlflow_tracker
from drift_detector_pipeline.runs.tracking.tracker import (
    AllOf,
    FileTracker,
    NoTracker,
    Row,
    Tracker,
    columns,
    tracked_id,
)
from drift_detector_pipeline.runs.tracking.trackio_tracking import trackio_tracker
from drift_detector_pipeline.runs.tracking.wandb_tracking import wandb_tracker
from drift_detector_pipeline.settings import Settings
from drift_detector_pipeline.tasks.catalog import task_named
from drift_detector_pipeline.tasks.headline import Headline
from drift_detector_pipeline.tasks.task import Task

INIT, STEP = 0, 1  # independent random streams


@dataclass
class Progress:
    """How far a run has come; with the checkpoint's tensors, all there is to restore."""

    started: str
    step: int = 0  # optimizer steps done
    loss_sum: float = 0.0  # of the steps of the unfinished epoch
    seconds: float = 0.0  # spent training in it
    timed_steps: int = 0  # of it, those that count for the speed: none of a process's first ones
    timed_seconds: float = 0.0
    history: list[Row] = field(default_factory=list)  # one row per finished epoch


class Said(NamedTuple):
    """What the processes say of an optimizer step, on its way."""

    step: int
    values: torch.Tensor  # float64 (2,): sum of their losses; how many were asked to stop


@dataclass(frozen=True)
class Session:
    """What one process works with while a run goes on."""

    settings: Settings
    machine: Machine
    data: Processed
    task: Task
    folder: Path
    identity: dict[str, Any]
    network: Network
    forward: nn.Module  # the network's module, wrapped where several processes share the work
    average: ModelEmaV3 | None
    optimizer: Optimizer
    progress: Progress
    tracker: Tracker
    profiler: Profiler
    interruption: Interruption
    first_step: int  # where this process began
    unseen: list[Said] = field(default_factory=list)

    @property
    def images_per_step(self) -> int:
        """Images of an optimizer step, over all processes."""
        training = self.settings.training
        return training.batch_size * training.accumulate_steps * self.machine.processes

    @cached_property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        return len(self.data.images.indices("train", self.settings.data.limit)) // self.images_per_step

    @cached_property
    def class_weights(self) -> torch.Tensor | None:
        """What the loss of each class counts, float32 (K,); None: all the same."""
        if self.settings.data.balance != "weights":
            return None
        labels = self.data.images.labels[self.data.images.indices("train", self.settings.data.limit)]
        return torch.from_numpy(class_weights(labels, len(self.data.classes))).to(self.machine.device)

    @property
    def best(self) -> Row:
        """The finished epoch of the best headline, the first of equals."""
        row: Row = self.task.headline.best(self.progress.history)
        return row

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole training, unless it stops early."""
        training = self.settings.training
        steps = self.steps_per_epoch * training.epochs
        return steps if training.max_steps is None else min(steps, training.max_steps)

    @property
    def steps_unseen(self) -> int:
        """The newest steps whose loss is not looked at yet: a GPU goes on computing meanwhile."""
        return 1 if self.machine.device.type == "cuda" else 0

    @property
    def result(self) -> nn.Module:
        """The module that is evaluated and saved: the averaged one where there is one."""
        return self.network.module if self.average is None else self.average.module


def open_session(composed: Composed, machine: Machine, interruption: Interruption, held: ExitStack) -> Session:
    """Build everything a run works with, for a new run or one that continues; its folder is locked until `held` ends.

    Raises a PipelineError if settings, data, model or checkpoint cannot be used.
    """
    settings = composed.settings
    set_up_logging(quiet=not machine.is_first)
    data = open_processed(settings.data, verify=machine.is_first)
    task = task_named(data.task)
    check_images(settings, data, machine, task.items)
    task.check_data(settings.data)
    if settings.data.augmentation.mix and task.blend is None:
        raise ConfigError(f"data.augmentation.mix: views of the task {task.name} cannot be mixed; leave it null")
    seed_everything(settings.run.seed, INIT)
    network = build(settings.model, len(data.classes), settings.data.img_size, task.create, task.check)
    look_first(network, data.images, settings.data, task)
    for side_px in sorted(set(settings.training.sizes_px or [])):
        task.check(network.module, settings.model.name, len(data.classes), side_px)
    check_batch_of_one(settings, network.module, task, len(data.classes))
    network.module.to(machine.device).to(memory_format=machine.memory_format)
    optimizer = build_optimizer(settings.training, network.module)
    identity = identify(settings, data, machine, network.pretrained_sha256)
    chosen = from_first(held.enter_context(run_folder(composed, identity)) if machine.is_first else None, machine)
    assert chosen is not None
    folder, resumed = chosen
    set_up_logging(folder / "train.log" if machine.is_first else None, quiet=not machine.is_first)
    decay = settings.training.ema_decay
    average = ModelEmaV3(network.module, decay=decay, use_warmup=True) if decay else None
    progress = Progress(started=now())
    if resumed:
        checkpoint = load_checkpoint(folder / "checkpoints")
        restore_tensors(checkpoint.tensors, network.module, average and average.module, optimizer)
        progress = restored(checkpoint.progress, folder, task.headline)
    tracker = _tracker(settings, machine, folder, identity, network, progress, task)
    profiler = open_profiler(settings.training.profiler, folder, machine)
    forward = DistributedDataParallel(network.module) if machine.processes > 1 else network.module
    session = Session(
        settings, machine, data, task, folder, identity, network, forward, average, optimizer, progress, tracker,
        profiler, interruption, progress.step,
    )  # fmt: skip
    _announce(session, resumed)
    return session


def restored(saved: Mapping[str, Any], folder: Path, headline: Headline) -> Progress:
    """How far a checkpoint of the run in `folder` says it has come; parts that came later may be missing.

    Raises ResumeError if another part is missing, or is nothing of its kind.
    """
    kinds = {"started": str, "step": int, "loss_sum": float | int, "seconds": float | int, "history": list}
    rows = saved.get("history")
    known = {one.name for one in fields(Progress)}
    right = {
        **{name: isinstance(saved.get(name), kind) for name, kind in kinds.items()},
        "a row of history": isinstance(rows, list)
        and all(isinstance(row, dict) and set(columns(headline)) <= row.keys() for row in rows),
        **dict.fromkeys(saved.keys() - known, False),
    }
    if wrong := [name for name, holds in right.items() if not holds]:
        raise ResumeError(
            f"{folder / 'checkpoints'}: cannot be gone on from, its progress has no {wrong[0]} that is known; "
            "start anew: make train, without run.resume"
        )
    return Progress(**saved)


def training_batches(session: Session) -> Iterator[Batch]:
    """The batches from the step the run has reached to its last one, `accumulate_steps` of them a step."""
    settings, machine, images = session.settings, session.machine, session.data.images
    sizes = settings.training.sizes_px or [settings.data.img_size] * settings.training.epochs
    indices = images.indices("train", settings.data.limit)
    requests = training_requests(
        indices, seed=settings.run.seed, first_step=session.progress.step,
        batch_size=settings.training.batch_size * settings.training.accumulate_steps,
        sizes_px=sizes, rank=machine.rank, processes=machine.processes,
        balance_by=images.labels[indices] if settings.data.balance == "sampling" else None,
    )  # fmt: skip
    left = itertools.islice(requests, session.total_steps - session.progress.step)
    return _load(session, in_parts(left, settings.training.accumulate_steps))


def validation_batches(session: Session) -> Iterator[Batch]:
    """The share this process has of the validation images."""
    settings, machine = session.settings, session.machine
    requests = evaluation_requests(
        session.data.images.indices("val", settings.data.limit), batch_size=session.task.batch,
        side_px=settings.data.img_size, rank=machine.rank, processes=machine.processes,
    )  # fmt: skip
    return _load(session, requests)


def save_progress(session: Session) -> None:
    """Write a checkpoint from which the run goes on to the same bits."""
    if session.machine.is_first:
        average = session.average and session.average.module
        tensors = training_tensors(session.network.module, average, session.optimizer)
        save_checkpoint(session.folder / "checkpoints", Checkpoint(tensors, asdict(session.progress), session.identity))


def save_result(session: Session, name: str) -> None:
    """Write the weights that are evaluated to the file `name` in the run's folder."""
    if session.machine.is_first:
        data = session.settings.data
        description = describe(
            session.settings.model, session.network, session.data.classes, data.img_size, data.stored_side_px,
            session.machine.precision, session.data.task, session.task.cut(data),
        )  # fmt: skip
        save_weights(session.folder / name, session.result.state_dict(), description)


def _tracker(
    settings: Settings, machine: Machine, folder: Path, identity: dict[str, Any], network: Network,
    progress: Progress, task: Task,
) -> Tracker:  # fmt: skip
    if not machine.is_first:
        return NoTracker()
    weight_bytes = sum(tensor.nbytes for tensor in network.module.state_dict().values())
    run_id = tracked_id(progress.started, folder, identity)
    return AllOf(
        FileTracker(folder, progress.history, progress.step, task.headline),
        wandb_tracker(settings, folder, run_id, weight_bytes),
        mlflow_tracker(settings, folder, run_id, weight_bytes),
        trackio_tracker(settings, folder, run_id, weight_bytes),
    )


def _load(session: Session, requests: Iterator[Request]) -> Iterator[Batch]:
    data, machine = session.settings.data, session.machine
    return load_batches(
        session.data.images, requests, session.task, data=data, seed=session.settings.run.seed,
        workers=data.dataloader_workers, pin=machine.device.type == "cuda",
    )  # fmt: skip


def _announce(session: Session, resumed: bool) -> None:
    machine, settings = session.machine, session.settings
    train, val = (len(session.data.images.indices(split, settings.data.limit)) for split in ("train", "val"))
    log.info(
        "%s (%s weights to learn) on %s, %s, %d threads, %d process(es): %s train, %s val %s",
        settings.model.name, f"{parameter_count(session.network.module):,}", machine.device, machine.precision,
        machine.threads, machine.processes, f"{train:,}", f"{val:,}", session.task.items,
    )  # fmt: skip
    if resumed:
        log.info("continuing %s from step %d", session.folder, session.progress.step)
