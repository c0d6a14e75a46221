"""Noise of sensors and transmission. N images, sides H and W; values in 0..1.

In: float32 (N, H, W, 3) and one random generator an image. Out: the same shape. Read by corrupt.py.
"""

from collections.abc import Sequence

import numpy as np

from drift_detector_pipeline.arrays import Float32s

Generators = Sequence[np.random.Generator]  # one an image


def gaussian_noise(images: Float32s, rngs: Generators, *, sigma: float) -> Float32s:
    """Add normal noise to each value: poor light."""
    noise = np.stack([rng.standard_normal(images.shape[1:], dtype=np.float32) for rng in rngs])
    return images + np.float32(sigma) * noise


def shot_noise(images: Float32s, rngs: Generators, *, photons: float) -> Float32s:
    """Count photons: each value becomes a Poisson count, white being `photons` on average."""
    counts = [rng.poisson(image * photons) for image, rng in zip(images, rngs, strict=True)]
    return np.stack(counts).astype(np.float32) / np.float32(photons)


def impulse_noise(images: Float32s, rngs: Generators, *, share: float) -> Float32s:
    """Set a `share` of the values to black or white: lost bits."""
    draws = np.stack([rng.random(images.shape[1:], dtype=np.float32) for rng in rngs])
    return np.where(draws < share, (draws < share / 2).astype(np.float32), images)
