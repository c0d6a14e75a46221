"""Images with the boxes that were found in them, small enough to be kept or shown.

In: letterboxed views and `Found`. Out: pixels, JPEGs. Read by the detector and the report.
"""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.drift.boxes.phi import box_scale
from drift_detector_pipeline.drift.boxes.reference import BoxReference
from drift_detector_pipeline.images.drawing import Drawn, draw_boxes
from drift_detector_pipeline.images.letterbox import without_border
from drift_detector_pipeline.networks.boxes.found import Found

KEPT, KEPT_PX = 24, 320  # typical images of the reference, and the longer side of each


def with_boxes(view: Pixels, found: Found, classes: Sequence[str], threshold: float) -> Pixels:
    """The image in a view (S, S, 3), without what fills the rest, and the boxes with at least the threshold's score."""
    shown = np.flatnonzero(found.scores >= threshold)[::-1]
    boxes = [
        Drawn(
            found.boxes[one].tolist(), f"{classes[found.labels[one]]} {found.scores[one]:.2f}", int(found.labels[one])
        )
        for one in shown.tolist()
    ]
    return draw_boxes(without_border(view), boxes)


def typical_pictures(
    reference: BoxReference, views: Pixels, found: Sequence[Found], classes: Sequence[str]
) -> list[bytes]:
    """The most typical reference images with their boxes, as JPEG, the most typical first."""
    parameters = reference.learned.parameters
    whitened = (reference.scores - reference.scores.mean(axis=0)) @ box_scale(parameters).whitener
    typical = np.argsort((whitened**2).sum(axis=1), kind="stable")[:KEPT].tolist()
    return [jpeg_of(with_boxes(views[one], found[one], classes, parameters.threshold)) for one in typical]


def jpeg_of(pixels: Pixels) -> bytes:
    """An image as JPEG, at most KEPT_PX long."""
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((KEPT_PX, KEPT_PX), Image.Resampling.BICUBIC)
    image.save(buffer, format="jpeg", quality=85)
    return buffer.getvalue()
