"""Where a run's numbers go: metrics.jsonl, always, and TensorBoard's event files beside it.

Fed by modeling/train.py; mirror.py is the way to one more place.
Losses are in nats, steps are optimizer steps done so far.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from torch.utils.tensorboard import SummaryWriter

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.files import write_atomically
from drift_detector_pipeline.tasks.headline import Headline

Row = dict[str, Any]  # of `columns`


def columns(headline: Headline) -> list[str]:
    """What a finished epoch's row holds, in the order of metrics.jsonl."""
    return [
        "epoch", "step", "train_loss", "val_loss", headline.column, "learning_rate", "images_per_second", "seconds",
    ]  # fmt: skip


def tracked_id(started: str, folder: Path, identity: dict[str, object]) -> str:
    """A run's id wherever it is tracked, the same after a resume: 12 hexadecimal digits of when, where and as what."""
    text = json.dumps([started, folder.resolve().name, identity], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class SamplePrediction(NamedTuple):
    """An image and what the model says about it."""

    image: Pixels  # (S, S, 3), as the model sees it
    label: str
    predicted: str
    probability: float | None  # of what is predicted, in 0..1


class Result(NamedTuple):
    """What a finished run has come to."""

    final: Row
    best: Row
    best_model: Path
    samples: Callable[[], list[SamplePrediction]]  # made when asked for


class Tracker(Protocol):
    """What training reports to."""

    def batch(self, step: int, loss: float, learning_rate: float) -> None:
        """Take note of one optimizer step."""

    def epochs(self, history: list[Row]) -> None:
        """Take note of a finished epoch: the last row of all."""

    def finished(self, result: Result) -> None:
        """Take note of the end of a run that was not stopped."""

    def close(self) -> None:
        """Write out what is held back."""


class AllOf:
    """Tracks with several trackers, in their order."""

    def __init__(self, *trackers: Tracker) -> None:
        self._trackers = trackers

    def batch(self, step: int, loss: float, learning_rate: float) -> None:
        """Pass the step on."""
        for tracker in self._trackers:
            tracker.batch(step, loss, learning_rate)

    def epochs(self, history: list[Row]) -> None:
        """Pass the finished epoch on."""
        for tracker in self._trackers:
            tracker.epochs(history)

    def finished(self, result: Result) -> None:
        """Pass the end on."""
        for tracker in self._trackers:
            tracker.finished(result)

    def close(self) -> None:
        """Close all."""
        for tracker in self._trackers:
            tracker.close()


class FileTracker:
    """Tracks into a run's folder."""

    def __init__(self, folder: Path, history: list[Row], first_step: int, headline: Headline) -> None:
        self._headline = headline
        self._metrics = folder / "metrics.jsonl"
        self._write(history)  # cut back to the checkpoint that the run goes on from
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1)

    def batch(self, step: int, loss: float, learning_rate: float) -> None:
        """Add the scalars of a step."""
        for name, value in step_scalars(loss, learning_rate).items():
            self._events.add_scalar(name, value, step)

    def epochs(self, history: list[Row]) -> None:
        """Rewrite metrics.jsonl with the finished epoch and add its scalars."""
        self._write(history)
        row = history[-1]
        for name, value in epoch_scalars(row).items():
            self._events.add_scalar(name, value, row["step"])
        self._events.flush()

    def finished(self, result: Result) -> None:
        """Do nothing: the weights lie in the same folder."""

    def close(self) -> None:
        """Flush and close the event file."""
        self._events.close()

    def _write(self, history: list[Row]) -> None:
        ordered = [
            {name: row[name] for name in columns(self._headline)} for row in history
        ]  # a checkpoint keeps no order
        write_atomically(self._metrics, "".join(json.dumps(row) + "\n" for row in ordered).encode())


class NoTracker:
    """Tracks nothing: what all processes but the first have."""

    def batch(self, step: int, loss: float, learning_rate: float) -> None:
        """Do nothing."""

    def epochs(self, history: list[Row]) -> None:
        """Do nothing."""

    def finished(self, result: Result) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def step_scalars(loss: float, learning_rate: float) -> dict[str, float]:
    """The numbers of an optimizer step under the names that TensorBoard and W&B show."""
    return {"train/batch_loss": loss, "train/learning_rate": learning_rate}


def epoch_scalars(row: Row) -> dict[str, float]:
    """The numbers of an epoch under the names that TensorBoard and W&B show."""
    measured = {f"val/{name[4:]}": row[name] for name in row if name.startswith("val_") and name != "val_loss"}
    return {
        "train/epoch_loss": row["train_loss"],
        "val/epoch_loss": row["val_loss"],
        **measured,
        "perf/images_per_second": row["images_per_second"],
    }
