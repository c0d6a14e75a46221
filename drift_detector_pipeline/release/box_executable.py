"""A file that finds boxes, run: uint8 (N, S, S, 3) -> what is found in each image.

In: an `Artefact` whose task is boxes. Out: a `BoxExecutable`. Read by the service and the export. The graph ends at
boxes of places or regions; which of them are one and the same is decided here, in NumPy, as in training: suppression
inside a graph has no fixed shapes, and other runtimes break ties otherwise.

A: places or regions, K: classes, C and D: features.
"""

from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Pixels
from drift_detector_pipeline.drift.boxes.signals import BoxOutputs
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.networks.boxes.found import Found, found
from drift_detector_pipeline.release.artefact import Artefact
from drift_detector_pipeline.release.executable import FILLED, Session, check_images, open_session

BOX_NAMES = ("places", "chances", "early", "features")


class SaidOfPlaces(NamedTuple):
    """Everything that a network of boxes says of N images in one pass."""

    places: Float32s  # boxes in px of the view, (N, A, 4), or (N, A, K, 4): one a class
    chances: Float32s  # (N, A, K), in 0..1
    early: Float32s | None = None  # (N, C) means over space of the backbone's finest maps; None in older files
    features: Float32s | None = None  # (N, D) of its coarsest ones


class BoxExecutable:
    """A model's file in its runtime; `identity` changes with either. One thread at a time may ask."""

    def __init__(self, session: Session, identity: str, side_px: int, overlap: float, *, fill: bool = False) -> None:
        self.identity, self.side_px = identity, side_px
        self._session, self._overlap, self._fill = session, overlap, fill

    def say(self, images: Pixels) -> SaidOfPlaces:
        """Raw output for uint8 (N, S, S, 3), N at least 1. Raises DataError for another shape or type."""
        check_images(images, self.side_px)
        size = FILLED if self._fill else len(images)
        parts = [self._part(images[start : start + size], size) for start in range(0, len(images), size)]
        return SaidOfPlaces(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})

    def find(self, images: Pixels) -> list[Found]:
        """What is found in each image, best first, in px of the view."""
        return list(self(images).found)

    def __call__(self, images: Pixels) -> BoxOutputs:
        """What is found, and what drift reads of the same pass."""
        said = self.say(images)
        where = [found(*one, self.side_px, self._overlap) for one in zip(said.places, said.chances, strict=True)]
        nothing = np.zeros((len(images), 0), np.float32)
        return BoxOutputs(
            where, nothing if said.early is None else said.early, nothing if said.features is None else said.features
        )

    def _part(self, images: Pixels, size: int) -> dict[str, Float32s]:
        batch = np.zeros((size, *images.shape[1:]), np.uint8)
        batch[: len(images)] = images
        said = self._session({"images": batch})
        return {name: said[name][: len(images)] for name in BOX_NAMES if name in said}


def open_box_executable(artefact: Artefact, threads: int = 1) -> BoxExecutable:
    """Load the file that is served. Raises ConfigError without its runtime, DataError if that cannot read it."""
    if artefact.overlap is None:
        raise DataError(f"{artefact.folder}: its task is not boxes; open another model")
    session = open_session(artefact.folder / artefact.file, artefact.runtime, artefact.precision, threads)
    return BoxExecutable(
        session, artefact.identity, artefact.side_px, artefact.overlap, fill=not artefact.rows_independent
    )
