"""A file that finds boxes, run: uint8 (N, S, S, 3) -> what is found in each image.

In: an `Artefact` whose task is boxes. Out: a `BoxExecutable`. Read by the service and the export. The graph ends at
boxes of places; which of thousands are one and the same is decided here, in NumPy, as in training: suppression inside
a graph has no fixed shapes, and other runtimes break ties otherwise.

A: places, K: classes.
"""

from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Pixels
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.networks.boxes.found import Found, found
from drift_detector_pipeline.release.artefact import Artefact
from drift_detector_pipeline.release.executable import FILLED, Session, check_images, open_session

BOX_NAMES = ("places", "chances")


class SaidOfPlaces(NamedTuple):
    """Everything that a network of boxes says of N images in one pass."""

    places: Float32s  # (N, A, 4), boxes in px of the view
    chances: Float32s  # (N, A, K), in 0..1


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
        return SaidOfPlaces(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def find(self, images: Pixels) -> list[Found]:
        """What is found in each image, best first, in px of the view."""
        said = self.say(images)
        return [found(*one, self.side_px, self._overlap) for one in zip(said.places, said.chances, strict=True)]

    def _part(self, images: Pixels, size: int) -> SaidOfPlaces:
        batch = np.zeros((size, *images.shape[1:]), np.uint8)
        batch[: len(images)] = images
        said = self._session({"images": batch})
        return SaidOfPlaces(*(said[name][: len(images)] for name in BOX_NAMES))


def open_box_executable(artefact: Artefact, threads: int = 1) -> BoxExecutable:
    """Load the file that is served. Raises ConfigError without its runtime, DataError if that cannot read it."""
    if artefact.overlap is None:
        raise DataError(f"{artefact.folder}: its task is not boxes; open another model")
    session = open_session(artefact.folder / artefact.file, artefact.runtime, artefact.precision, threads)
    return BoxExecutable(
        session, artefact.identity, artefact.side_px, artefact.overlap, fill=not artefact.rows_independent
    )
