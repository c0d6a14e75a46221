"""Changes that do no harm: what a monitored model should stay calm about. N images, sides H and W.

In: uint8 (N, H, W, 3). Out: the same shape. Nothing random. Read by corrupt.py.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.corruptions.digital import as_jpeg

SHIFT = 4 / 224  # of the shorter side: 4 px at 224, 2 px at 128, 1 px at 32 px and below


def flip(images: Pixels) -> Pixels:
    """Mirror left and right."""
    return images[:, :, ::-1].copy()


def shift(images: Pixels) -> Pixels:
    """Move the content to the right, by 4 px at 224 px; the border is mirrored."""
    by_px = max(1, round(SHIFT * min(images.shape[1:3])))
    padded = np.pad(images, ((0, 0), (0, 0), (by_px, 0), (0, 0)), mode="symmetric")
    return padded[:, :, :-by_px].copy()


def resample(images: Pixels) -> Pixels:
    """Enlarge by 8/7 (bicubic) and shrink back with another filter (bilinear, antialiased), as another service may."""
    return _each(images, _larger_and_back)


def jpeg95(images: Pixels) -> Pixels:
    """Compress as JPEG at quality 95."""
    return _each(images, lambda image: as_jpeg(image, 95))


def brighter(images: Pixels) -> Pixels:
    """Make every value 3 % larger."""
    return _times(images, 1.03)


def darker(images: Pixels) -> Pixels:
    """Make every value 3 % smaller."""
    return _times(images, 0.97)


def _times(images: Pixels, factor: float) -> Pixels:
    levels = np.rint(np.arange(256) * factor).clip(0, 255).astype(np.uint8)
    return np.asarray(levels[images])


def _larger_and_back(image: Image.Image) -> Image.Image:
    larger = image.resize((round(image.width * 8 / 7), round(image.height * 8 / 7)), Image.Resampling.BICUBIC)
    return larger.resize(image.size, Image.Resampling.BILINEAR)


def _each(images: Pixels, change: Callable[[Image.Image], Image.Image]) -> Pixels:
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])
