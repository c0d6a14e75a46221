"""Train a model: `python -m drift_detector_pipeline.modeling.train data=digits training.epochs=5`.

In: a processed folder and settings. Out: a run folder (runs/folders.py). Can be killed after any step and continued to
the same bits, for everything random is a function of seed, epoch, step and image, and the rest is in the checkpoint.
"""

import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from drift_detector_pipeline.config import Composed, load
from drift_detector_pipeline.console import log, progress_bar
from drift_detector_pipeline.errors import exit_status
from drift_detector_pipeline.meant import for_make
from drift_detector_pipeline.modeling.inference import score
from drift_detector_pipeline.modeling.interruption import Interruption, caught
from drift_detector_pipeline.modeling.loaders import Batch
from drift_detector_pipeline.modeling.samples import sample_predictions
from drift_detector_pipeline.modeling.session import (
    Session,
    open_session,
    save_progress,
    save_result,
    training_batches,
    validation_batches,
)
from drift_detector_pipeline.modeling.step import count_time, images_per_second, learning_rate, look_at_steps, take_step
from drift_detector_pipeline.networks.models import set_training
from drift_detector_pipeline.processed.manifest import Processed
from drift_detector_pipeline.runs.facts import git_state, now, package_versions, this_command
from drift_detector_pipeline.runs.machine import (
    Machine,
    instruction_set,
    lost_process_explained,
    prepared,
    share_buffers,
    sum_over_processes,
)
from drift_detector_pipeline.runs.receipts import write_receipt
from drift_detector_pipeline.runs.tracking.tracker import Result, Row
from drift_detector_pipeline.settings import Settings
from drift_detector_pipeline.stopped import keeping, stopped_amid
from drift_detector_pipeline.tasks.task import Metrics


class Outcome(NamedTuple):
    """How a training command ended."""

    folder: Path
    exit_status: int  # 0 finished, 143 after SIGTERM, 130 after Ctrl-C
    asked: int = 0  # 143 or 130 if a signal came after the last step, too late to stop the training; else 0

    def stop_if_asked(self) -> None:
        """Raise Stopped if a signal came after the last step, which the training has answered by ending."""
        if self.asked and not self.exit_status:
            stopped_amid(self.asked, f"{self.folder} is finished, and nothing after it was begun")


@exit_status
def main() -> int:
    """Train as the overrides on the command line say."""
    return train(load(sys.argv[1:])).exit_status


def train(composed: Composed, after_step: Callable[[int], None] = lambda step: None) -> Outcome:
    """Run, or continue, a training; `after_step` is called with the number of steps done after each of them.

    Raises a PipelineError if settings, data, model or checkpoint cannot be used, or the loss is not finite.
    """
    with prepared(composed.settings.run) as machine, caught() as interruption, ExitStack() as held:
        session = open_session(composed, machine, interruption, held)
        try:
            kept = f"checkpoints are kept; go on from the last with run.resume={session.folder}"
            with keeping(kept), session.profiler, lost_process_explained(machine, session.folder):
                finished = _run(session, after_step)
            if finished and machine.is_first:
                _finish(session, composed)
        finally:
            session.tracker.close()
        if not finished:
            _say_how_to_continue(session, composed)
            return Outcome(session.folder, interruption.exit_status)
        return Outcome(session.folder, 0, interruption.exit_status if interruption.signal else 0)


def _run(session: Session, after_step: Callable[[int], None]) -> bool:
    """Train until the end (True) or until asked to stop (False; a checkpoint is then written)."""
    progress, training = session.progress, session.settings.training
    if progress.step == 0:
        save_progress(session)
    batches = training_batches(session)
    while not _is_finished(session):
        epoch = len(progress.history)
        going_on = _train_epoch(session, batches, epoch, after_step)
        metrics = _validate(session) if going_on else None
        if metrics is None:
            save_progress(session)
            return False
        _close_epoch(session, epoch, metrics)
    if progress.step < session.total_steps:
        column = session.task.headline.column
        log.info("stopped early: %d epochs without a better %s", training.early_stopping_patience, column)
    return True


def _train_epoch(session: Session, batches: Iterator[Batch], epoch: int, after_step: Callable[[int], None]) -> bool:
    """Do the epoch's remaining steps; False if asked to stop before its end."""
    progress, settings = session.progress, session.settings
    end = min((epoch + 1) * session.steps_per_epoch, session.total_steps)
    done = progress.step - epoch * session.steps_per_epoch
    title = f"epoch {epoch + 1}/{settings.training.epochs}"
    set_training(session.network.module)
    with _bar(session, title, done) as bar:
        while progress.step < end:
            with session.profiler.step():
                started = time.monotonic()
                with session.profiler.phase("data_wait"):
                    parts = list(itertools.islice(batches, settings.training.accumulate_steps))
                take_step(session, parts)
                save_now = progress.step % settings.run.checkpoint_every == 0
                seen = look_at_steps(session, 0 if save_now or progress.step == end else session.steps_unseen)
                count_time(session, time.monotonic() - started)
                bar.update(session.images_per_step)
                if seen.loss is not None:
                    bar.set_postfix(loss=f"{seen.loss:.3f}", refresh=False)
            if seen.stop:
                look_at_steps(session, 0)
                return False
            if save_now:
                save_progress(session)
            after_step(progress.step)
    return True


def _validate(session: Session) -> Metrics | None:
    """Measure the result on `val`; None if asked to stop meanwhile."""
    share_buffers(session.result, session.machine)  # what is saved is the first process's; the same is measured
    batches = _until_asked(validation_batches(session), session.interruption)
    metrics = score(session.result, batches, session.network, session.machine, session.task)
    stopped = sum_over_processes([float(session.interruption.signal is not None)], session.machine)[0] > 0
    return None if stopped else metrics


def _close_epoch(session: Session, epoch: int, metrics: Metrics) -> None:
    """Write the epoch's row and, if it is the best so far, its weights."""
    progress, column = session.progress, session.task.headline.column
    row: Row = {
        "epoch": epoch + 1,
        "step": progress.step,
        "train_loss": progress.loss_sum / (progress.step - epoch * session.steps_per_epoch),
        "val_loss": metrics.loss,
        column: metrics.headline,
        "learning_rate": learning_rate(session, progress.step - 1),
        "images_per_second": round(images_per_second(session), 1),
        "seconds": round(progress.seconds, 2),
    }
    progress.history.append(row)
    progress.loss_sum = progress.seconds = progress.timed_seconds = 0.0
    progress.timed_steps = 0
    if session.best is row:
        save_result(session, "best_model.safetensors")
    session.tracker.epochs(progress.history)
    log.info(
        "epoch %d/%d  train_loss %.4f  val_loss %.4f  %s %.4f  %.*f %s/s  %.1f s",
        epoch + 1, session.settings.training.epochs, row["train_loss"], metrics.loss, column, metrics.headline,
        int(row["images_per_second"] < 10), row["images_per_second"], session.task.items, row["seconds"],
    )  # fmt: skip


def _finish(session: Session, composed: Composed) -> None:
    """Write the final weights and, last of all, the receipt."""
    save_result(session, "final_model.safetensors")
    final, best, headline = session.progress.history[-1], session.best, session.task.headline
    facts = {
        "start": session.progress.started,
        "end": now(),
        **_environment_facts(session.settings, session.data, session.machine),
        "final": final,
        "best": best,
        "task": session.task.name,
        "headline": headline._asdict(),
        "identity": session.identity,
        "overrides": composed.overrides,
        "settings": session.settings.model_dump(mode="json"),
    }
    write_receipt(session.folder, facts)
    best_model = session.folder / "best_model.safetensors"
    session.tracker.finished(Result(final, best, best_model, lambda: sample_predictions(session)))
    column = headline.column
    log.info("%s %.4f (best %.4f, epoch %d)", column, final[column], best[column], best["epoch"])
    log.info("everything of this run: %s", session.folder)


def _environment_facts(settings: Settings, data: Processed, machine: Machine) -> dict[str, object]:
    """What a receipt records about the code, the data and the machine."""
    return {
        "command": this_command(),
        "git": git_state(),
        "where": os.environ.get("PIPELINE_IMAGE") or ("container" if Path("/.dockerenv").exists() else "host"),
        "processed_path": str(data.folder),
        "data_fingerprint": data.fingerprint,
        "stored_as": data.manifest.stored_as,
        **({"sources_from": data.manifest.sources_from} if data.manifest.sources_from else {}),
        "packages": package_versions(),
        "python": sys.version.split()[0],
        "seed": settings.run.seed,
        "device": machine.device.type,
        "instruction_set": instruction_set(machine.device),
        "threads": machine.threads,
        "precision": machine.precision,
        "processes": machine.processes,
    }


def _until_asked(batches: Iterator[Batch], interruption: Interruption) -> Iterator[Batch]:
    """Pass batches on until a signal asks to stop; always at least one."""
    for batch in batches:
        yield batch
        if interruption.signal is not None:
            return


def _is_finished(session: Session) -> bool:
    history, patience = session.progress.history, session.settings.training.early_stopping_patience
    if history and history[-1]["step"] == session.total_steps:
        return True
    return bool(patience and history and len(history) - session.best["epoch"] >= patience)


def _bar(session: Session, title: str, steps_done: int) -> "tqdm[Any]":
    per_step, hidden = session.images_per_step, not session.machine.is_first
    total, done = session.steps_per_epoch * per_step, steps_done * per_step
    return progress_bar(total=total, title=title, unit=" images", done=done, hidden=hidden)


def _say_how_to_continue(session: Session, composed: Composed) -> None:
    kept = [text for text in composed.overrides if not text.startswith(("run.resume=", "hydra.run.dir="))]
    log.info("stopped after step %d; a checkpoint is written. Go on with:", session.progress.step)
    target = "docker_train" if os.environ.get("PIPELINE_IMAGE") else "train"
    log.info("  make %s %s", target, for_make([*kept, f"run.resume={session.folder}"]))
    if target == "docker_train":
        log.info("or, on the host and with the same result, with `make train`")


if __name__ == "__main__":
    sys.exit(main())
