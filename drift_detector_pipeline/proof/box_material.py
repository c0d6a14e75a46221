"""Every image of the study of boxes through the network once, kept beside the run, as it takes minutes.

In: a run whose task is boxes, and a processed folder with other labelled images. Out: `BoxMaterial`. Read by
box_drift_study.py.
"""

import pickle
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Boxes, Indices
from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.corruptions.corrupt import KINDS
from drift_detector_pipeline.drift.boxes.build import box_model_of, views_of
from drift_detector_pipeline.drift.boxes.detector import LabelledViews
from drift_detector_pipeline.drift.boxes.signals import BoxForward, BoxSignals, BoxTwin, read_box_signals
from drift_detector_pipeline.drift.boxes.twins import change_views
from drift_detector_pipeline.files import write_atomically
from drift_detector_pipeline.modeling.trained import Trained
from drift_detector_pipeline.processed.manifest import Processed
from drift_detector_pipeline.processed.packing import PackedImages
from drift_detector_pipeline.processed.roles import roles_of

LEVELS = (1, 3, 5)
WINDOW_LEVELS = (1, 3)
SEED = 3  # of which images become twins
FILE = "box_drift_material.pkl"


class LabelledSignals(NamedTuple):
    """Images as the network sees them, and the truth."""

    signals: BoxSignals
    truth: list[Boxes]


class BoxMaterial(NamedTuple):
    """All that the study looks at."""

    fit: LabelledSignals
    twins: list[BoxTwin]  # of `fit`
    ref: LabelledSignals
    pool: LabelledSignals  # images that no reference holds ...
    cells: list[BoxTwin]  # ... and what became of them


def box_material(trained: Trained, processed: Processed, others: Path, images: int) -> BoxMaterial:
    """Read all images; what is already in the run's FILE is taken from there. `images`: of each twin, at most."""
    roles, side = roles_of(processed, 20), trained.img_size
    forward = box_model_of(trained).forward
    kept = Kept(trained.file.parent / FILE)
    packed = PackedImages(others)
    pool_views = views_of(processed._replace(images=packed), packed.indices("val"), side)
    fit_views, ref_views = (views_of(processed, part, side) for part in (roles.fit, roles.ref))
    fit, ref, pool = (
        LabelledSignals(kept.signals(name, partial(read_box_signals, of.views, forward)), of.truth)
        for name, of in (("fit", fit_views), ("ref", ref_views), ("pool", pool_views))
    )
    twins = _twins(kept, "twin", fit_views, forward, LEVELS, images)
    cells = _twins(kept, "cell", pool_views, forward, WINDOW_LEVELS, len(pool.truth))
    return BoxMaterial(fit, twins, ref, pool, cells)


class Kept:
    """What was computed before, in a file."""

    def __init__(self, file: Path) -> None:
        self._file, self._values = file, dict[str, BoxSignals]()
        if file.exists():
            self._values = pickle.loads(file.read_bytes())  # noqa: S301 - written below

    def signals(self, name: str, compute: Callable[[], BoxSignals]) -> BoxSignals:
        """What a network says of some images, computed once."""
        if name not in self._values:
            self._values[name] = compute()
            write_atomically(self._file, pickle.dumps(self._values))
        return self._values[name]


def _twins(
    kept: Kept, name: str, of: LabelledViews, forward: BoxForward, levels: Sequence[int], images: int
) -> list[BoxTwin]:
    def changed(kind: str, level: int, rows: Indices) -> BoxSignals:
        return read_box_signals(change_views(of.views[rows], kind, level, rows), forward)

    rng, found = np.random.default_rng(SEED), list[BoxTwin]()
    with progress_bar(total=len(KINDS) * len(levels), title=name, unit=" cells") as bar:
        for kind in KINDS:
            for level in levels:
                rows = np.sort(rng.choice(len(of.views), min(images, len(of.views)), replace=False))
                signals = kept.signals(f"{name} {kind} {level}", partial(changed, kind, level, rows))
                found.append(BoxTwin(kind, level, rows, signals))
                bar.update()
    return found
