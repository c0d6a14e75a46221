"""One optimizer step, what is said of it, and how long it took.

In: a session and the batches of a step. Out: changed weights; loss and learning rate to the tracker. On a GPU a loss is
looked at one step late, so that nothing waits for it. Read by train.py.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from drift_detector_pipeline.errors import TrainingError
from drift_detector_pipeline.modeling.inference import model_input
from drift_detector_pipeline.modeling.loaders import Batch
from drift_detector_pipeline.modeling.optimization import learning_rate_factor, set_learning_rate
from drift_detector_pipeline.modeling.session import STEP, Said, Session
from drift_detector_pipeline.networks.models import seed_everything
from drift_detector_pipeline.runs.machine import add_up

WARM_UP = 3  # steps of a process that do not count in images/s: memory is mapped, kernels are chosen


def take_step(session: Session, parts: list[Batch]) -> None:
    """Change the weights by the mean gradient of some batches of one size."""
    settings, machine, step = session.settings, session.machine, session.progress.step
    seed_everything(settings.run.seed, STEP, step, machine.rank)
    set_learning_rate(session.optimizer, _factor(session, step))
    losses = [_learn(session, batch, len(parts), number == len(parts)) for number, batch in enumerate(parts, start=1)]
    with session.profiler.phase("optimizer"):
        asked = session.interruption.signal is not None
        said = torch.stack([torch.stack(losses).sum(), torch.full_like(losses[0], asked)])
        session.unseen.append(Said(step, add_up(said, machine)))
        if not session.steps_unseen:
            _loss_of(session, session.unseen[-1])  # no weight is changed by a loss that is not finite
        if settings.training.gradient_clip_norm is not None:
            nn.utils.clip_grad_norm_(session.network.module.parameters(), settings.training.gradient_clip_norm)
        session.optimizer.step()
        if session.average is not None:
            session.average.update(session.network.module, step=step)
        session.optimizer.zero_grad(set_to_none=True)  # the next step starts without; so do its first gradients
    session.progress.step += 1


class Seen(NamedTuple):
    """What became known of the steps that were looked at."""

    loss: float | None  # of the newest, over all processes; None: none was looked at
    stop: bool  # a process was asked to stop


def look_at_steps(session: Session, unseen: int) -> Seen:
    """Note the losses of all steps but the newest `unseen`. Raises TrainingError if one is not finite."""
    loss, stop = None, False
    while len(session.unseen) > unseen:
        said = session.unseen.pop(0)
        loss = _loss_of(session, said)
        session.progress.loss_sum += loss
        session.tracker.batch(said.step + 1, loss, learning_rate(session, said.step))
        stop |= said.values[1].item() > 0
    return Seen(loss, stop)


def learning_rate(session: Session, step: int) -> float:
    """The highest learning rate of any weight in a step."""
    return session.settings.training.learning_rate * _factor(session, step)


def count_time(session: Session, seconds: float) -> None:
    """Add the time of the newest step to the epoch's."""
    progress = session.progress
    progress.seconds += seconds
    if progress.step - session.first_step > WARM_UP:
        progress.timed_steps += 1
        progress.timed_seconds += seconds


def images_per_second(session: Session) -> float:
    """The speed of the unfinished epoch without a process's first steps, or with them if there are no others."""
    progress = session.progress
    if progress.timed_steps:
        return progress.timed_steps * session.images_per_step / progress.timed_seconds
    steps = progress.step - len(progress.history) * session.steps_per_epoch
    return steps * session.images_per_step / progress.seconds


def _learn(session: Session, batch: Batch, parts: int, is_last: bool) -> torch.Tensor:
    """Add the gradient of one of some batches; return its part of the step's loss, a float64 scalar."""
    phase = session.profiler.phase
    with _sent_later(session) if not is_last else nullcontext():
        with phase("copy"):
            images = model_input(batch, session.network, session.machine)
        with phase("forward"):
            loss = session.task.loss(
                partial(_forward, session), images, batch.targets or [], session.settings.training,
                session.class_weights,
            )  # fmt: skip
        with phase("backward"):
            (loss / parts if parts > 1 else loss).backward()  # type: ignore[no-untyped-call]
    told = loss.detach() if session.steps_unseen else loss.detach().cpu()  # Metal GPUs know no float64
    return told.double() / parts


def _forward(session: Session, *given: Any) -> Any:
    """The network on its input, in the machine's precision; the loss of what comes out is taken in fp32."""
    with session.machine.autocast():
        return session.forward(*given)


def _sent_later(session: Session) -> AbstractContextManager[None]:
    """Gradients stay in this process; the last batch of a step sends the sum of all."""
    if isinstance(session.forward, DistributedDataParallel):
        return session.forward.no_sync()
    return nullcontext()


def _loss_of(session: Session, said: Said) -> float:
    """The mean loss over all processes; waits for it. Raises TrainingError if it is not finite."""
    loss = float(said.values[0].item()) / session.machine.processes
    if loss - loss != 0:  # true of nan and of both infinities
        epoch, batch = divmod(said.step, session.steps_per_epoch)
        raise TrainingError(
            f"the loss is {loss} at step {said.step + 1} (epoch {epoch + 1}, batch {batch + 1} of "
            f"{session.steps_per_epoch}). Try a smaller training.learning_rate (now "
            f"{session.settings.training.learning_rate}), training.gradient_clip_norm=1.0 or run.precision=fp32"
        )
    return loss


def _factor(session: Session, step: int) -> float:
    return learning_rate_factor(session.settings.training, step, session.total_steps)
