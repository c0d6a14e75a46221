"""Where a run's numbers go: metrics.jsonl, always, and TensorBoard's event files beside it.

Fed by modeling/train.py. Losses are in nats, accuracy in 0..1, steps are optimizer steps done so far.
"""

import json
from pathlib import Path
from typing import Any, Protocol

from torch.utils.tensorboard import SummaryWriter

from drift_detector_pipeline.files import write_atomically

Row = dict[str, Any]  # epoch step train_loss val_loss val_accuracy learning_rate images_per_second seconds


class Tracker(Protocol):
    """What training reports to."""

    def batch(self, step: int, loss: float, learning_rate: float) -> None:
        """Take note of one optimizer step."""

    def epochs(self, history: list[Row]) -> None:
        """Take note of a finished epoch: the last row of all."""

    def close(self) -> None:
        """Write out what is held back."""


class FileTracker:
    """Tracks into a run's folder."""

    def __init__(self, folder: Path, history: list[Row], first_step: int) -> None:
        self._metrics = folder / "metrics.jsonl"
        self._write(history)  # cut back to the checkpoint that the run goes on from
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1)

    def batch(self, step: int, loss: float, learning_rate: float) -> None:
        """Add the scalars of a step."""
        self._events.add_scalar("train/batch_loss", loss, step)
        self._events.add_scalar("train/learning_rate", learning_rate, step)

    def epochs(self, history: list[Row]) -> None:
        """Rewrite metrics.jsonl with the finished epoch and add its scalars."""
        self._write(history)
        row = history[-1]
        for name, key in _SCALARS.items():
            self._events.add_scalar(name, row[key], row["step"])
        self._events.flush()

    def close(self) -> None:
        """Flush and close the event file."""
        self._events.close()

    def _write(self, history: list[Row]) -> None:
        write_atomically(self._metrics, "".join(json.dumps(row) + "\n" for row in history).encode())


class NoTracker:
    """Tracks nothing: what all processes but the first have."""

    def batch(self, step: int, loss: float, learning_rate: float) -> None:
        """Do nothing."""

    def epochs(self, history: list[Row]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


_SCALARS = {
    "train/epoch_loss": "train_loss",
    "val/epoch_loss": "val_loss",
    "val/accuracy": "val_accuracy",
    "perf/images_per_second": "images_per_second",
}
