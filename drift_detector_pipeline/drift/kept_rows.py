"""What is kept of an image that was judged, as bytes, and back to the bit.

In: scores of an image; of boxes also how sure the network is of all that it found. Out: bytes for a log; `Rows` again.
Written by the service, read by detectors. S: scores, M: boxes of an image.

    S float32, then, of boxes, M float32 scores and M uint16 classes; little-endian. M follows from the length.
"""

from collections.abc import Sequence

import numpy as np

from drift_detector_pipeline.arrays import Float32s
from drift_detector_pipeline.drift.detecting import Sure
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.networks.boxes.found import Found

_A_BOX = 6  # bytes


def kept_of(scores: Float32s, found: Found | None = None) -> bytes:
    """The bytes of an image with scores (S,), and of boxes what was found in it."""
    own = scores.astype("<f4").tobytes()
    return own if found is None else own + found.scores.astype("<f4").tobytes() + found.labels.astype("<u2").tobytes()


def scores_from(kept: Sequence[bytes], columns: int, *, boxes: bool = False) -> Float32s:
    """The scores (m, S) of images, S = `columns`. Raises DataError if one has others."""
    for place, one in enumerate(kept):
        if not fits(one, columns, boxes=boxes):
            raise DataError(
                f"image {place + 1} of {len(kept)}: {len(one)} bytes of scores where this reference needs "
                f"{4 * columns}{' and those of boxes' if boxes else ''}; judge with the detector of the model that "
                "answered"
            )
    joined = b"".join(one[: 4 * columns] for one in kept)
    return np.frombuffer(joined, "<f4").reshape(len(kept), columns).astype(np.float32)


def sure_from(kept: Sequence[bytes], columns: int) -> list[Sure]:
    """How sure the network was of what it found in each image, best first, after `scores_from` was content."""
    return [_sure(one[4 * columns :]) for one in kept]


def fits(kept: bytes, columns: int, *, boxes: bool = False) -> bool:
    """Whether bytes can be those of an image with so many scores."""
    tail = len(kept) - 4 * columns
    return tail == 0 or (boxes and tail > 0 and tail % _A_BOX == 0)


def _sure(tail: bytes) -> Sure:
    boxes = len(tail) // _A_BOX
    scores, labels = np.frombuffer(tail, "<f4", boxes), np.frombuffer(tail, "<u2", boxes, 4 * boxes)
    return Sure(scores.astype(np.float32), labels.astype(np.int64))
