"""Which image of a data set plays which part in drift detection; no image plays two.

In: processed data. Out: indices of `fit`, `ref` and `pool`. Read by the commands and the study.
"""

import hashlib
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Indices, Pixels
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images.letterbox import letterbox
from drift_detector_pipeline.images.model_input import inference_crop
from drift_detector_pipeline.processed.manifest import Processed

MOST_REFERENCE = 2000
LEAST = 100  # images of `fit` and of `ref`, below which nothing sensible comes out


class Roles(NamedTuple):
    """Indices into the processed images."""

    fit: Indices  # labelled, never trained on: what is learned is learned here
    ref: Indices  # the training world that windows are compared with: half of `val`, at most MOST_REFERENCE
    pool: Indices  # the rest of `val`: clean images to try things on


def roles_of(processed: Processed, least: int = LEAST) -> Roles:
    """Divide `val` by the SHA-256 of each image's path. Raises DataError with fewer than `least` of `fit` or `ref`.

    Where less than LEAST will do, a `val` too small to be halved is all reference.
    """
    images = processed.images
    fit, val = images.indices("fit"), images.indices("val")
    if not len(fit):
        raise DataError(
            f"{processed.folder}: its fit split is empty (data.fit_fraction=0), so there is nothing to learn drift "
            "from; train a run with data.fit_fraction=0.1"
        )
    order = sorted(val.tolist(), key=lambda index: hashlib.sha256(f"ref {images.paths[index]}".encode()).digest())
    whole = min(len(order), LEAST) if least < LEAST else 0
    count = min(MOST_REFERENCE, max(len(order) // 2, whole))
    if min(len(fit), count) < least:
        raise DataError(
            f"{processed.folder}: {len(fit)} fit and {count} reference images; at least {least} of each are needed: "
            "train a run with a larger data.fit_fraction or data.val_fraction, or with more images"
        )
    return Roles(fit, np.sort(order[:count]), np.sort(order[count:]))


def crops_of(processed: Processed, indices: Indices, side_px: int) -> Pixels:
    """What a model is shown of some images: uint8 (N, S, S, 3); where boxes are sought all of each, else its middle."""
    look = inference_crop if processed.task is None else letterbox
    return np.stack([look(processed.images[int(index)], side_px) for index in indices])
