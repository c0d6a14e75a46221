"""Every image of the study through the model once: clean, corrupted in 75 ways, changed benignly.

In: uint8 crops and labels of `fit`, `ref` and `pool`, and a way through the model. Out: `Material`. Read by the study.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Indices, Labels, Pixels
from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.corruptions.corrupt import BENIGN, KINDS, SEVERITIES, change_benignly, corrupt
from drift_detector_pipeline.drift.scores.signals import Forward, Signals, Twin, read_signals
from drift_detector_pipeline.drift.twins import make_twins


class Labelled(NamedTuple):
    """Images whose truth is known."""

    images: Pixels
    labels: Labels


class Cell(NamedTuple):
    """Images of `pool` after one change."""

    name: str
    kind: str
    severity: int  # 0 for a benign change
    signals: Signals
    labels: Labels


class Material(NamedTuple):
    """All signals the study needs; no image plays two parts."""

    side_px: int
    fit: Signals
    fit_labels: Labels
    twins: list[Twin]
    ref: Signals
    ref_labels: Labels
    pool: Signals
    pool_labels: Labels
    cells: list[Cell]  # 75
    benign: list[Cell]


def gather(fit: Labelled, ref: Labelled, pool: Labelled, forward: Forward, *, images: int, seed: int = 0) -> Material:
    """Read everything; each cell changes the same `images` images of the pool."""
    chosen = np.sort(np.random.default_rng(seed).choice(len(pool.labels), min(images, len(pool.labels)), replace=False))
    some = Labelled(pool.images[chosen], pool.labels[chosen])
    clean = [read_signals(part.images, forward) for part in (fit, ref, pool)]
    changes: list[tuple[str, str, int, Callable[[Pixels], Pixels]]] = []
    for kind in KINDS:
        for severity in SEVERITIES:
            changes.append((f"{kind} {severity}", kind, severity, _corruption(kind, severity, chosen, seed)))
    changes += [(change, change, 0, _benign(change)) for change in BENIGN]
    cells = list[Cell]()
    with progress_bar(total=len(changes), title="cells", unit=" cells") as bar:
        for name, kind, severity, change in changes:
            cells.append(Cell(name, kind, severity, read_signals(change(some.images), forward), some.labels))
            bar.update()
    return Material(
        fit.images.shape[1], clean[0], fit.labels, make_twins(fit.images, forward, seed=seed),
        clean[1], ref.labels, clean[2], pool.labels,
        [cell for cell in cells if cell.severity], [cell for cell in cells if not cell.severity],
    )  # fmt: skip


def _corruption(kind: str, severity: int, keys: Indices, seed: int) -> Callable[[Pixels], Pixels]:
    return lambda images: corrupt(images, kind, severity, keys=keys.tolist(), seed=seed + 1)


def _benign(change: str) -> Callable[[Pixels], Pixels]:
    return lambda images: change_benignly(images, change)
