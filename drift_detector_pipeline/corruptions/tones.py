"""Faults of colour, range and light. N images, sides H and W.

In: uint8 (N, H, W, 3), one random generator an image, a strength. Out: the same shape. Read by faults.py.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from drift_detector_pipeline.arrays import Float32s, Pixels
from drift_detector_pipeline.corruptions.noise import Generators

MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)  # of ImageNet, as nearly every service has them
STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_YUV = np.array([_LUMA, [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], dtype=np.float32)  # of JPEG
_CHROMA_ZERO = np.array([0, 128, 128], dtype=np.float32)


def swap_channels(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Red where blue should be: BGR read as RGB. Its own inverse."""
    del rngs, strength
    return images[..., ::-1].copy()


def to_yuv(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Luma and two colour differences, as a camera or a JPEG holds them, shown as if they were RGB."""
    del rngs, strength
    return stored(images.astype(np.float32) @ _YUV.T + _CHROMA_ZERO)


def from_yuv(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """RGB decoded as if it were luma and colour differences; undoes `to_yuv` but for rounding."""
    del rngs, strength
    back = np.linalg.inv(_YUV.astype(np.float64)).astype(np.float32)
    return stored((images.astype(np.float32) - _CHROMA_ZERO) @ back.T)


def keep_red(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Nothing but the first channel; the others are black."""
    del rngs, strength
    return images * np.array([1, 0, 0], dtype=np.uint8)


def drop_colour(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Luma in all three channels."""
    del rngs, strength
    gray = np.rint(images.astype(np.float32) @ _LUMA).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=3)


def invert(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """White where black should be. Its own inverse."""
    del rngs, strength
    return 255 - images


def warm_up(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Multiply red by 1 + strength and blue by 1 - strength: a white balance for another lamp."""
    del rngs
    return stored(images.astype(np.float32) * np.array([1 + strength, 1, 1 - strength], dtype=np.float32))


def cool_down(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Multiply blue by 1 + strength and red by 1 - strength."""
    del rngs
    return stored(images.astype(np.float32) * np.array([1 - strength, 1, 1 + strength], dtype=np.float32))


def few_tones(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Leave `strength` tones of each channel, evenly spaced from 0 to 255."""
    del rngs
    steps = round(strength) - 1
    return _by_value(images, np.minimum(np.floor(np.arange(256) / 256 * (steps + 1)), steps) * 255 / steps)


def multiply(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Make each value `strength` times as large, clipped at 255."""
    del rngs
    return _by_value(images, np.arange(256) * strength)


def divide(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Divide each value by `strength`."""
    del rngs
    return _by_value(images, np.arange(256) / strength)


def darken_tones(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Raise values in 0..1 to the power of `strength`: black and white stay, what lies between sinks."""
    del rngs
    return _by_value(images, 255 * (np.arange(256) / 255) ** strength)


def lighten_tones(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Raise values in 0..1 to the power of 1 / `strength`."""
    return darken_tones(images, rngs, 1 / strength)


def normalise(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Subtract the mean and divide by the standard deviation of ImageNet, clipped to 0..1: it happened twice."""
    del rngs, strength
    return stored((images / np.float32(255) - MEAN) / STD * 255)


def denormalise(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """What a network that normalises by ImageNet's mean and deviation would have to be shown to see x / 255."""
    del rngs, strength
    return stored((images / np.float32(255) * STD + MEAN) * 255)


def night(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Divide the light by `strength`; the photons that are left are counted, and the sensor adds its noise."""
    photons = 600 / strength
    counts = [rng.poisson(image / np.float32(255) * photons) for image, rng in zip(images, rngs, strict=True)]
    noise = [rng.normal(0, 4, image.shape) for image, rng in zip(images, rngs, strict=True)]
    return stored(np.stack(counts) / (photons * strength) * 255 + np.stack(noise))


def gray_noise(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Add the same normal noise, `strength` gray levels strong, to all three channels: film grain, analogue video."""
    noise = np.stack([rng.standard_normal((*images.shape[1:3], 1), dtype=np.float32) for rng in rngs])
    return stored(images + np.float32(strength) * noise)


def vignette(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Let the light fall off towards the corners, which lose the share `strength`."""
    del rngs
    down, right = (np.linspace(-1, 1, side, dtype=np.float32) for side in images.shape[1:3])
    from_centre = (down[:, None] ** 2 + right**2) / 2
    return stored(images.astype(np.float32) * (1 - np.float32(strength) * from_centre)[..., None])


def lens_dirt(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Lay out-of-focus brown specks over the image, which cover about the share `strength`."""
    return stored(np.stack([_dirty(image, rng, strength) for image, rng in zip(images, rngs, strict=True)]))


def stored(values: npt.NDArray[np.floating[Any]]) -> Pixels:
    """Round to uint8, clipped to 0..255."""
    return np.asarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _by_value(images: Pixels, values: npt.NDArray[np.floating[Any]]) -> Pixels:
    return np.asarray(stored(values)[images])


def _dirty(image: Pixels, rng: np.random.Generator, share: float) -> Float32s:
    height, width, _ = image.shape
    blobs = ndimage.gaussian_filter(rng.standard_normal((height, width)), max(1.0, min(height, width) / 14))
    veil = ndimage.gaussian_filter((blobs > np.quantile(blobs, 1 - share)).astype(np.float32), min(height, width) / 40)
    brown = np.array([70, 60, 45], dtype=np.float32)
    return np.asarray(image + 0.8 * veil[..., None] * (brown - image), dtype=np.float32)
