"""Snow, frost, fog and bright light. N images, sides H and W; values in 0..1.

In: float32 (N, H, W, 3) and one random generator an image. Out: the same shape. Read by corrupt.py.
"""

import math
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float32s
from drift_detector_pipeline.corruptions.blur import convolve, streak
from drift_detector_pipeline.corruptions.frost import ice_like
from drift_detector_pipeline.corruptions.noise import Generators

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


class _Snow(NamedTuple):
    mean: float  # of the noise that becomes flakes
    spread: float  # its standard deviation
    flake_px: float
    threshold: float  # below which there is no flake
    radius_px: float  # of the streak that a falling flake draws
    sigma_px: float
    keep: float  # share of the scene's own colour


def snow(images: Float32s, rngs: Generators, **strength: float) -> Float32s:
    """Pale the scene and let blurred flakes fall through it, each way once and turned by 180 degrees."""
    import torch  # of everything here only this needs it
    from torch.nn import functional

    how = _Snow(**strength)
    _, height, width, _ = images.shape
    angles = [rng.uniform(45, 135) for rng in rngs]
    sides = (max(2, math.ceil(height / how.flake_px)), max(2, math.ceil(width / how.flake_px)))
    coarse = np.stack([rng.standard_normal(sides, dtype=np.float32) for rng in rngs])[:, None]
    flakes = functional.interpolate(
        torch.from_numpy(how.mean + how.spread * coarse), (height, width), mode="bilinear", align_corners=False
    )[:, 0, :, :, None].numpy()
    flakes = np.where(flakes < how.threshold, 0, np.clip(flakes, 0, 1)).astype(np.float32)
    falling = convolve(flakes, [streak(angle, how.radius_px, how.sigma_px) for angle in angles])
    gray = (images @ _LUMA)[..., None]
    pale = np.float32(how.keep) * images + np.float32(1 - how.keep) * np.maximum(images, gray * 1.5 + 0.5)
    return np.asarray(pale + falling + falling[:, ::-1, ::-1])


def frost(images: Float32s, rngs: Generators, *, keep: float, ice: float) -> Float32s:
    """Look through a window on which ice crystals have grown."""
    crystals = np.stack([ice_like(image.shape[:2], rng) for image, rng in zip(images, rngs, strict=True)])
    return np.float32(keep) * images + np.float32(ice) * crystals


def fog(images: Float32s, rngs: Generators, *, thickness: float, decay: float) -> Float32s:
    """Lay a fractal cloud over the image, then scale it back to its own brightest value."""
    _, height, width, _ = images.shape
    cloud = cloud_like(rngs, max(height, width), decay)[:, :height, :width, None]
    brightest = images.max(axis=(1, 2, 3), keepdims=True)
    return np.asarray((images + np.float32(thickness) * cloud) * (brightest / (brightest + np.float32(thickness))))


def brightness(images: Float32s, rngs: Generators, *, added: float) -> Float32s:
    """Add to the value of HSV, hue and saturation kept."""
    del rngs
    value = images.max(axis=3, keepdims=True)
    brighter = np.minimum(value + np.float32(added), 1)
    return np.asarray(np.where(value > 0, images * (brighter / np.maximum(value, 1e-6)), brighter))


def cloud_like(rngs: Generators, side_px: int, decay: float) -> Float32s:
    """One fractal cloud a generator: float32 (N, P, P) in 0..1, P the power of two from `side_px` upwards.

    Diamond-square (Fournier, Fussell & Carpenter 1982) on a torus; each halving of the distance divides the random
    part by `decay`.
    """
    side = 2 ** math.ceil(math.log2(max(2, side_px)))
    cloud = np.zeros((len(rngs), side, side), dtype=np.float32)
    step, amplitude = side, 1.0
    while step > 1:
        half = step // 2
        corners = cloud[:, ::step, ::step]
        draws = amplitude * np.stack([rng.uniform(-1, 1, (3, *corners.shape[1:])) for rng in rngs]).astype(np.float32)
        centres = _mean_of_pairs(_mean_of_pairs(corners, 1), 2) + draws[:, 0]
        cloud[:, half::step, half::step] = centres
        across = (_mean_of_pairs(corners, 2) + _mean_of_pairs(np.roll(centres, 1, 1), 1)) / 2
        down = (_mean_of_pairs(corners, 1) + _mean_of_pairs(np.roll(centres, 1, 2), 2)) / 2
        cloud[:, ::step, half::step] = across + draws[:, 1]
        cloud[:, half::step, ::step] = down + draws[:, 2]
        step, amplitude = half, amplitude / decay
    cloud -= cloud.min(axis=(1, 2), keepdims=True)
    return np.asarray(cloud / cloud.max(axis=(1, 2), keepdims=True))


def _mean_of_pairs(grid: Float32s, axis: int) -> Float32s:
    """The mean of each element and the next along an axis, the first following the last."""
    return np.asarray((grid + np.roll(grid, -1, axis)) / 2)
