"""Labelled images once more, as they may come one day: the drift that everything is learned from.

In: uint8 (N, S, S, 3) inference crops and a way through the model. Out: a `Twin` per kind and severity. Read by the
detector and the study.
"""

from collections.abc import Sequence

import numpy as np

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.corruptions.corrupt import KINDS
from drift_detector_pipeline.corruptions.faults import FAULTS, change, levels_of
from drift_detector_pipeline.drift.scores.signals import Forward, SecondLook, Signals, Twin, read_signals
from drift_detector_pipeline.drift.second_look import look_at_windows

IMAGES = 500  # of each kind and severity: enough for a mean to 2 points, and minutes on two cores
SMALL_PX, SMALL_IMAGES = 64, 2000  # images this small cost little: to 1 point
FAULT_IMAGES = 200  # of each fault and level: enough to tell it from others
LOOKED_AT = (1, 3, 5)  # severities at which copies are asked
LARGE, SMALL = {256: 1}, {64: 1, 16: 2}  # windows a copy looks at, of every change and of one in SMALL_EVERY
SMALL_EVERY = 3
CLEAN = {256: 4, 64: 8, 16: 16}
CHANGES: tuple[str, ...] = (*KINDS, *FAULTS)


def make_twins(
    images: Pixels, forward: Forward, *, kinds: Sequence[str] = KINDS, count: int | None = None, seed: int = 0
) -> list[Twin]:
    """Change at most `count` of the N images for each of CHANGES in `kinds` and level, others each time; read signals.

    `count` is IMAGES unless given, and SMALL_IMAGES if no side is longer than SMALL_PX; of faults at most FAULT_IMAGES.
    """
    rng = np.random.default_rng(seed)
    count = count or (SMALL_IMAGES if images.shape[1] <= SMALL_PX else IMAGES)
    found = list[Twin]()
    cells = [(kind, level) for kind in kinds for level in levels_of(kind)]
    with progress_bar(total=len(cells), title="twins", unit=" cells") as bar:
        for number, (kind, level) in enumerate(cells):
            most = min(count, FAULT_IMAGES) if kind in FAULTS else count
            rows = np.sort(rng.choice(len(images), min(most, len(images)), replace=False))
            changed = change(images[rows], kind, level, keys=rows.tolist(), seed=seed)
            signals = read_signals(changed, forward)
            windows = LARGE | (SMALL if number % SMALL_EVERY == 0 else {}) if level in LOOKED_AT else {}
            looks = look_at_windows(changed, signals, forward, windows, seed + number)
            found.append(Twin(kind, level, rows, signals, tuple(looks)))
            bar.update()
    return found


def look_at_clean(images: Pixels, signals: Signals, forward: Forward, seed: int = 0) -> list[SecondLook]:
    """Second looks at windows of clean images, whose signals are known: what is usual of copies."""
    return look_at_windows(images, signals, forward, CLEAN, seed)
