"""What is exported: a network, its run and the images that run was trained on.

In: a finished run. Out: a `Source`. Read by export.py, and by what mends a model and exports it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.corruptions.faults import apply_fault
from drift_detector_pipeline.drift.build_reference import World
from drift_detector_pipeline.modeling.trained import Trained, open_trained
from drift_detector_pipeline.processed.manifest import Processed
from drift_detector_pipeline.processed.roles import crops_of
from drift_detector_pipeline.release.artefact import BOXES, CLIPS
from drift_detector_pipeline.release.clip_export import views_of
from drift_detector_pipeline.runs.machine import Machine, prepared
from drift_detector_pipeline.runs.receipts import FINAL, Receipt, read_receipt
from drift_detector_pipeline.settings import Run

_MACHINE = ["run.device=cpu", "run.precision=fp32", "run.threads=1"]  # what is measured is one core


class Source(NamedTuple):
    """What is exported: a network, the run it comes from and the images that run was trained on."""

    receipt: Receipt
    processed: Processed
    trained: Trained
    world: World | None = None  # images to measure drift from in place of the run's own
    papers: Mapping[str, bytes] = {}  # further files of the artefact, by name
    arrives: str | None = None  # a fault of corruptions/faults.py that images come with, and the network undoes

    @property
    def scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and std of the network's input."""
        return self.trained.network.mean, self.trained.network.std

    @property
    def task(self) -> str | None:
        """As an artefact says it."""
        return self.trained.task.name if self.trained.task.name in (BOXES, CLIPS) else None

    def arrived(self, crops: Pixels) -> Pixels:
        """Uint8 (N, S, S, 3) of the processed data as they would come to the service."""
        if self.arrives is None:
            return crops
        return apply_fault(crops, self.arrives, 1, keys=range(len(crops)))

    def crops(self, split: str, most: int | None = None) -> tuple[Pixels, np.ndarray]:
        """Crops and labels of a split, at random where there are more than `most`; of clips, of their frames."""
        if self.task == CLIPS:
            return self._frames(split, most)
        places = self.processed.images.indices(split)
        if most is not None and most < len(places):
            places = np.sort(np.random.default_rng(0).permutation(places)[:most])
        side = self.trained.img_size
        if not len(places):
            return np.zeros((0, side, side, 3), np.uint8), np.zeros(0, np.int64)
        return self.arrived(crops_of(self.processed, places, side)), self.processed.images.labels[places]

    def _frames(self, split: str, most: int | None) -> tuple[Pixels, np.ndarray]:
        """As many frames of every clip as are needed for `most`."""
        views = views_of(self.processed, self.processed.images.indices(split), self.trained)
        labels = np.repeat(views.labels, views.counts)
        order = np.sort(np.random.default_rng(0).permutation(len(labels))[:most])
        return views.crops[order], labels[order]


@contextmanager
def one_core() -> Iterator[Machine]:
    """The machine that everything is measured on: one core, in float32."""
    with prepared(load_section(Run, _MACHINE)) as machine:
        yield machine


def open_source(run: Path, machine: Machine) -> Source:
    """The network of a finished run. Raises a PipelineError if something is missing or not the run's own."""
    receipt = read_receipt(run)
    trained = open_trained(run / FINAL, machine)
    receipt.check_weights(trained.file, trained.sha256)
    return Source(receipt, receipt.data(), trained)
