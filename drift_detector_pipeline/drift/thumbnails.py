"""The reference in pictures: a few of its most typical images, small enough to be kept with it.

In: a `Reference` and its crops, uint8 (N, S, S, 3). Out: JPEGs. Read by the detector, shown by the report.
"""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.drift.decision import scale_for
from drift_detector_pipeline.drift.reference import Reference

MOST, SIDE_PX = 100, 96


def typical_images(reference: Reference, crops: Pixels, classes: Sequence[str]) -> list[tuple[str, bytes]]:
    """The most typical reference images of each predicted class, its name and a JPEG each, at most MOST in all."""
    scale = scale_for(reference.learned)
    whitened = (reference.scores - reference.scores.mean(axis=0)) @ scale.whitener
    unusual = (whitened**2).sum(axis=1)
    found = list[tuple[str, bytes]]()
    for label in np.unique(reference.predicted).tolist():
        own = np.flatnonzero(reference.predicted == label)
        typical = own[np.argsort(unusual[own])][: max(1, MOST // len(classes))]
        found += [(classes[label], _jpeg(crops[place])) for place in typical.tolist()]
    return found[:MOST]


def _jpeg(crop: Pixels) -> bytes:
    image = Image.fromarray(crop)
    image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, format="jpeg", quality=85)
    return buffer.getvalue()
