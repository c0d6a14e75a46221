"""scikit-learn's handwritten digits as a source: real data that every installation has.

Out: a `Listing` and the decoded images, as images/decode_many.py gives those of files. Read by dataset.py.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from drift_detector_pipeline.images.decode_many import Decoded
from drift_detector_pipeline.images.decoder import fit
from drift_detector_pipeline.raw.listing import Listing, RawImage


def digits(stored_side_px: int) -> tuple[Listing, Iterator[Decoded]]:
    """scikit-learn's digits as a source: 1,797 gray images of 8 x 8, values 0 to 16."""
    from sklearn.datasets import load_digits  # a second of imports that only this source needs

    found = load_digits()
    gray = np.round(found.images * (255 / 16)).astype(np.uint8)
    images = [RawImage(f"{label}/{index}", str(label), None, str(index)) for index, label in enumerate(found.target)]
    decoded = (
        Decoded(fit(Image.fromarray(image).convert("RGB"), stored_side_px), None, hashlib.sha256(image).hexdigest())
        for image in gray
    )
    return Listing(Path(), images, [], []), decoded
