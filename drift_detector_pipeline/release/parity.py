"""What an exported file costs and what it saves: one row of numbers a file and runtime, beside the network itself.

In: ways through a model and labelled images. Out: `Row`s, a table of them, and whether one may be served. Read by
export.py. Milliseconds are processor time of one thread, the least of several tries: what else the machine does hardly
counts.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Indices, Labels, Pixels
from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.release.executable import Executable, Said, Session
from drift_detector_pipeline.tasks.classification.metrics import wilson_interval

MOST_IMAGES = 2000  # of `val`; one label that changes is 0.05 %
LARGEST_GAP = 1e-3  # of probabilities between a network and its fp32 file; more is a fault, no rounding
_BATCH, _TRIES, _ALIKE = 16, 9, 16

Says = Callable[[Pixels], Said]  # uint8 (N, S, S, 3) -> everything
AnySays = Callable[[Pixels], tuple[Any, ...]]  # the same of any task


class Row(NamedTuple):
    """A way through the model, measured; None where nothing could be."""

    name: str
    images: int = 0  # that accuracy, parity and labels are of
    parity: float | None = None  # largest difference of a probability from the network's own
    labels_changed: float | None = None  # share of predictions that differ from the network's own
    accuracy: float | None = None
    low: float | None = None  # 95 % interval
    high: float | None = None
    rows_independent: bool | None = None
    milliseconds_1: float | None = None  # an image in batches of one, of one core
    milliseconds_8: float | None = None
    megabytes: float | None = None
    note: str = ""  # served, refused, or what is missing


class Asks(Protocol):
    """Images that every way through a model is asked about, and what is expected."""

    def ask(self, name: str, session: Session, megabytes: float) -> Row:
        """Ask a file in its runtime."""


class Exam(NamedTuple):
    """The same, of labels."""

    crops: Pixels  # (N, S, S, 3)
    labels: Labels  # (N,)
    expected: Float32s  # (N, K) probabilities of the network itself

    def ask(self, name: str, session: Session, megabytes: float) -> "Row":
        """Ask a file in its runtime."""
        return measure(name, Executable(session, "", self.crops.shape[1], None).say, self, megabytes)


def chosen(count: int, seed: int = 0) -> Indices:
    """Which of `count` images are asked about: all, or MOST_IMAGES at random, in order."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.permutation(count)[:MOST_IMAGES]).astype(np.int64)


def measure(
    name: str, says: Says, exam: Exam, megabytes: float | None = None, note: str = "", *, alone: bool = True
) -> Row:
    """Ask `says` about all images and compare; then time it on some. `alone`: ask about batches of other sizes, too."""
    found = probabilities(says, exam.crops, name)
    predicted = found.argmax(axis=1)
    right = int((predicted == exam.labels).sum())
    count = len(exam.labels)
    return Row(
        name, count, float(np.abs(found - exam.expected).max()),
        float((predicted != exam.expected.argmax(axis=1)).mean()), right / count, *wilson_interval(right, count),
        rows_independent(says, exam.crops) if alone else None, milliseconds(says, exam.crops, 1),
        milliseconds(says, exam.crops, 8), megabytes, note,
    )  # fmt: skip


def probabilities(says: Says, crops: Pixels, title: str) -> Float32s:
    """(N, K) of N images, a batch at a time, with a bar."""
    parts = list[Float32s]()
    with progress_bar(total=len(crops), title=title, unit="image") as bar:
        for start in range(0, len(crops), _BATCH):
            parts.append(says(crops[start : start + _BATCH]).probabilities)
            bar.update(len(parts[-1]))
    return np.concatenate(parts)


def rows_independent(says: AnySays, crops: Pixels) -> bool:
    """Whether an image gets the same bits alone, in batches of 2, 4, 8 and 16, and among other neighbours."""
    some = np.ascontiguousarray(crops[:_ALIKE])
    whole = _columns(says(some))
    smaller = [(size, some[:size]) for size in (1, 2, 4, 8) if size < len(some)]
    same = [np.array_equal(a, b[:size]) for size, batch in smaller for a, b in zip(_columns(says(batch)), whole)]  # noqa: B905
    turned = _columns(says(np.ascontiguousarray(some[::-1])))
    dark = some.copy()
    dark[1:] = 0
    same += [np.array_equal(a[::-1], b) for a, b in zip(turned, whole, strict=True)]
    same += [np.array_equal(a[0], b[0]) for a, b in zip(_columns(says(dark)), whole, strict=True)]
    return all(same)


def milliseconds(says: AnySays, crops: Pixels, batch: int) -> float:
    """Processor time an image in batches of `batch`, the least of several tries."""
    images, spent = np.ascontiguousarray(crops[:batch]), list[float]()
    says(images)
    for _ in range(_TRIES):
        before = time.process_time()
        says(images)
        spent.append(time.process_time() - before)
    return 1000 * min(spent) / len(images)


def refusal(row: Row, own: Row, max_labels_changed: float, max_accuracy_lost: float) -> str:
    """Why a file may not be served in place of the network `own`; "" if it may."""
    assert row.labels_changed is not None and row.accuracy is not None and own.accuracy is not None
    lost, reasons = round(own.accuracy - row.accuracy, 9), list[str]()  # 0.853 - 0.85 is more than 0.003
    if row.labels_changed > max_labels_changed:
        reasons.append(f"{row.labels_changed:.2%} of {row.images} labels change, allowed {max_labels_changed:.2%}")
    if lost > max_accuracy_lost:
        reasons.append(f"{100 * lost:.2f} points of accuracy lost, allowed {100 * max_accuracy_lost:.2f}")
    return "; ".join(reasons)


HEAD = ("", "accuracy (95 %)", "labels changed", "parity", "any batch", "ms, 1", "ms, 8", "MB", "")
HEAD_OF_CLIPS = (*HEAD[:2], "clips changed", *HEAD[3:5], "ms a frame, 1", "ms a frame, 8", *HEAD[7:])
HEAD_OF_BOXES = ("", "mAP50 (95 %)", "boxes changed", *HEAD[3:])


def cells(row: Row) -> list[str]:
    """A row as a person reads it, under a head."""

    def said(value: Any, form: str) -> str:
        return "" if value is None else format(value, form)

    accuracy = "" if row.accuracy is None else f"{row.accuracy:.2%} ({row.low:.1%} to {row.high:.1%})"
    alone = "" if row.rows_independent is None else "same bits" if row.rows_independent else "different bits"
    return [
        row.name, accuracy, said(row.labels_changed, ".2%"), said(row.parity, ".1e"), alone,
        said(row.milliseconds_1, ".2f"), said(row.milliseconds_8, ".2f"), said(row.megabytes, ".1f"), row.note,
    ]  # fmt: skip


def as_text(rows: Sequence[Row], head: Sequence[str] = HEAD) -> str:
    """The table in columns, for a terminal."""
    lines = [list(head), *map(cells, rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def as_markdown(rows: Sequence[Row], head: Sequence[str] = HEAD) -> str:
    """The table for a card."""
    lines = [list(head), ["---"] * len(head), *map(cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _columns(said: tuple[Any, ...]) -> list[Float32s]:
    return [values for values in said if values is not None]
