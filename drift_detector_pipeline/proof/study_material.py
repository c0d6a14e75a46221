"""Every image of the study through the model once: clean, corrupted in 75 ways, through faults of pipelines, in styles.

In: uint8 crops and labels of `fit`, `ref` and `pool`, and a way through the model. Out: `Material`. Read by the study.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Indices, Labels, Pixels
from drift_detector_pipeline.corruptions.corrupt import BENIGN, KINDS, SEVERITIES, change_benignly
from drift_detector_pipeline.corruptions.faults import FAULTS, REVERSIBLE, change, undo_fault
from drift_detector_pipeline.drift.scores.signals import Forward, SecondLook, Signals, Twin, read_signals
from drift_detector_pipeline.drift.second_look import look_again, look_at_windows
from drift_detector_pipeline.drift.twins import CHANGES, look_at_clean, make_twins
from drift_detector_pipeline.proof.processes import in_processes
from drift_detector_pipeline.proof.untaught import UNTAUGHT

SIZES = (16, 32, 64, 128, 256)
WHOLE = 1000  # images of a cell at most that are asked about at once
MIXED = (64, 256)  # sizes of windows whose class mix is another
FAULT_IMAGES = 400

# How much more often images of one class are drawn than others, from the number of classes.
MIXES: dict[str, Callable[[int], float]] = {
    "one class missing": lambda classes: 0.0,
    "one class three times as frequent": lambda classes: 3.0,
    "half of one class": lambda classes: classes - 1.0,
}


class Labelled(NamedTuple):
    """Images whose truth is known."""

    images: Pixels
    labels: Labels


class Parts(NamedTuple):
    """What is learned from, what windows are compared with, what is changed."""

    fit: Labelled
    ref: Labelled
    pool: Labelled


class Cell(NamedTuple):
    """Images of `pool` after one change."""

    name: str
    kind: str
    severity: int  # 0 for a change that has none
    signals: Signals
    labels: Labels
    looks: list[SecondLook]  # at windows of every size, and one at as many as WHOLE
    mended: dict[str, Signals]  # the same images with a fault undone; empty where that was not tried


class Mixed(NamedTuple):
    """A window of unchanged images of `pool` whose class mix is another."""

    mix: str
    look: SecondLook


class Material(NamedTuple):
    """All signals the study needs; no image plays two parts."""

    side_px: int
    fit: Signals
    fit_labels: Labels
    fit_looks: list[SecondLook]
    twins: list[Twin]
    ref: Signals
    ref_labels: Labels
    ref_looks: list[SecondLook]
    pool: Signals
    pool_labels: Labels
    cells: list[Cell]  # 75
    benign: list[Cell]
    faults: list[Cell]
    untaught: list[Cell]
    mixes: list[Mixed]


def gather(
    parts: Parts, forward: Forward, *, images: int, looks: int = 20, twins: int | None = None, seed: int = 0,
    only: str = "",
) -> Material:  # fmt: skip
    """Read everything; each cell changes `images` images of the pool, of which `looks` windows are asked.

    Every cell draws its own: were they the same, the luck of one draw would be that of all cells. `only` one group of
    changes, and no mixes, if it is named.
    Inverses are tried where one may fit and on changes in no dictionary: elsewhere they cost too much.
    """
    fit, ref, pool = parts
    clean = [read_signals(part.images, forward) for part in parts]
    changes = [one for one in _changes(seed) if only in ("", one[0])]
    cells: dict[str, list[Cell]] = {"corruption": [], "benign": [], "fault": [], "untaught": []}

    rows = [
        drawn_for(number, len(pool.labels), images if group == "corruption" else min(images, FAULT_IMAGES), seed)
        for number, (group, *_) in enumerate(changes)
    ]

    def changed_images(number: int) -> Pixels:
        return changes[number][3](pool.images[rows[number]], rows[number])

    made_by_others = in_processes(changed_images, range(len(changes)), "cells")
    for (number, (group, name, severity, _)), changed in zip(enumerate(changes), made_by_others, strict=True):
        labels = pool.labels[rows[number]]
        cells[group].append(cell_of(name, severity, changed, labels, forward, looks, seed + number))
    mixes = [] if only else _mixes(pool, clean[2], forward, looks, seed)
    return Material(
        fit.images.shape[1], clean[0], fit.labels, look_at_clean(fit.images, clean[0], forward, seed),
        make_twins(fit.images, forward, kinds=CHANGES, count=twins, seed=seed),
        clean[1], ref.labels, look_at_clean(ref.images, clean[1], forward, seed), clean[2], pool.labels,
        cells["corruption"], cells["benign"], cells["fault"], cells["untaught"], mixes,
    )  # fmt: skip


def drawn_for(number: int, there: int, count: int, seed: int) -> Indices:
    """Places of `count` of the pool's images at most, rising, for the change with this number."""
    return np.sort(np.random.default_rng((seed, number)).choice(there, min(count, there), replace=False))


def cell_of(name: str, severity: int, changed: Pixels, labels: Labels, forward: Forward, looks: int, seed: int) -> Cell:
    """All that is to be known of one change, from images that it was done to."""
    signals = read_signals(changed, forward)
    counts = {size: looks for size in SIZES if size <= len(labels)}
    counts.setdefault(min(WHOLE, len(labels)), 1)
    asked = look_at_windows(changed, signals, forward, counts, seed) if looks else []
    mended = mend_all(changed, forward) if looks and (name in REVERSIBLE or name in UNTAUGHT) else {}
    return Cell(f"{name} {severity}" if severity else name, name, severity, signals, labels, asked, mended)


def mend_all(images: Pixels, forward: Forward) -> dict[str, Signals]:
    """Signals of images with each fault of REVERSIBLE undone."""
    return {kind: read_signals(undo_fault(images, kind, 1), forward) for kind in REVERSIBLE}


def drawn(labels: Labels, label: int, factor: float, size: int, rng: np.random.Generator) -> Indices:
    """A window in which images of one class are drawn `factor` times as often as others."""
    each = np.where(labels == label, factor, 1.0)
    return rng.choice(len(labels), size, replace=False, p=each / each.sum())


def enough(labels: Labels, classes: int, factor: float, size: int) -> bool:
    """Whether windows hold classes as weights say: at most half of any class's images are drawn for one."""
    counts = np.bincount(labels, minlength=classes)
    for label, own in enumerate(counts):
        total = len(labels) + (factor - 1) * own
        shares = np.where(np.arange(classes) == label, factor, 1.0) * counts / total
        if (size * shares > counts / 2).any():
            return False
    return True


def _changes(seed: int) -> Iterator[tuple[str, str, int, Callable[[Pixels, Indices], Pixels]]]:
    """Group, name, severity and function of every change, for images and their places in `pool`."""
    for kind in KINDS:
        for severity in SEVERITIES:
            yield "corruption", kind, severity, partial(_changed, kind, severity, seed)
    for name in BENIGN:
        yield "benign", name, 0, partial(_benign, name)
    for kind, fault in FAULTS.items():
        for level in fault.levels:
            yield "fault", kind, level, partial(_changed, kind, level, seed)
    for name, function in UNTAUGHT.items():
        yield "untaught", name, 0, partial(_untaught, function)


def _changed(kind: str, level: int, seed: int, images: Pixels, rows: Indices) -> Pixels:
    return change(images, kind, level, keys=rows.tolist(), seed=seed + 1)


def _benign(name: str, images: Pixels, rows: Indices) -> Pixels:
    return change_benignly(images, name)


def _untaught(function: Callable[[Pixels], Pixels], images: Pixels, rows: Indices) -> Pixels:
    return function(images)


def _mixes(pool: Labelled, signals: Signals, forward: Forward, looks: int, seed: int) -> list[Mixed]:
    """Windows of each mix for each class, about `looks` of each size."""
    rng, classes = np.random.default_rng(seed), signals.logits.shape[1]
    found = list[Mixed]()
    for name, factor_of in MIXES.items():
        for size in MIXED:
            if not enough(pool.labels, classes, factor_of(classes), size):
                continue
            for label in np.resize(np.arange(classes), looks).tolist():
                rows = drawn(pool.labels, label, factor_of(classes), size, rng)
                found.append(Mixed(name, look_again(pool.images, signals, forward, rows, seed)))
    return found
