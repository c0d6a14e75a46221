"""Labelled views once more, as they may come one day: the drift that everything about boxes is learned from.

In: uint8 (N, S, S, 3) letterboxed views and the way through a network. Out: a `BoxTwin` per kind and severity. Read by
the detector and the study. Faults that move pixels are no twins here: the true boxes would no longer be where they are.
"""

from collections.abc import Sequence

import numpy as np

from drift_detector_pipeline.arrays import Indices, Pixels
from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.corruptions.corrupt import KINDS
from drift_detector_pipeline.corruptions.faults import FAULTS, MOVING, change, family_of, levels_of
from drift_detector_pipeline.drift.boxes.signals import BoxForward, BoxTwin, by_sides, read_box_signals, sides_of

IMAGES = 40  # of each kind and severity: a detector takes 65 ms an image, and a mean of so many says enough
FAULT_IMAGES = 20  # of each fault and level: enough to tell it from others
CHANGES: tuple[str, ...] = (*KINDS, *(fault for fault in FAULTS if family_of(fault) not in MOVING))


def make_box_twins(
    views: Pixels, forward: BoxForward, *, kinds: Sequence[str] = CHANGES, count: int = IMAGES, seed: int = 0
) -> list[BoxTwin]:
    """Change at most `count` of the N views for each kind and every other of its levels, others each time."""
    rng = np.random.default_rng(seed)
    found = list[BoxTwin]()
    cells = [(kind, level) for kind in kinds for level in levels_of(kind)[::2]]
    with progress_bar(total=len(cells), title="twins", unit=" cells") as bar:
        for kind, level in cells:
            most = min(count, FAULT_IMAGES if kind in FAULTS else count, len(views))
            rows = np.sort(rng.choice(len(views), most, replace=False))
            changed = change_views(views[rows], kind, level, rows, seed)
            found.append(BoxTwin(kind, level, rows, read_box_signals(changed, forward)))
            bar.update()
    return found


def change_views(views: Pixels, kind: str, level: int, keys: Indices, seed: int = 0) -> Pixels:
    """Do to the images in uint8 (N, S, S, 3) what a kind does at a level, and not to what fills the rest."""
    result = views.copy()
    for (height, width), places in by_sides(sides_of(views)).items():
        inside = np.ascontiguousarray(views[places, :height, :width])
        result[places, :height, :width] = change(inside, kind, level, keys=keys[places].tolist(), seed=seed)
    return result
