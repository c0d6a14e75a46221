"""Structural similarity of two images: 1 for equal ones, falling with what a person sees as damage.

N images, sides H and W. Pure functions. Read by corruption_table.py. Source: Wang, Bovik, Sheikh & Simoncelli 2004.
"""

import numpy as np
from scipy import ndimage

from drift_detector_pipeline.arrays import Float64s, Pixels

SIGMA_PX, REACH_PX = 1.5, 5  # the Gaussian window of 11 x 11 pixels
STEADY_MEANS, STEADY_SPREADS = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim(one: Pixels, other: Pixels) -> Float64s:
    """Mean SSIM of the luma of each pair of uint8 (N, H, W, 3) images: float64 (N,) in -1..1.

    Windows lie inside the image; below 16 px they hang over its mirrored border. Raises ValueError if shapes differ.
    """
    if one.shape != other.shape or one.ndim != 4:
        raise ValueError(f"expected two arrays (N, H, W, 3) of one shape, got {one.shape} and {other.shape}")
    x, y = _luma(one), _luma(other)
    mean_x, mean_y = _local_mean(x), _local_mean(y)
    spread_x = _local_mean(x * x) - mean_x**2
    spread_y = _local_mean(y * y) - mean_y**2
    together = _local_mean(x * y) - mean_x * mean_y
    alike = (2 * mean_x * mean_y + STEADY_MEANS) / (mean_x**2 + mean_y**2 + STEADY_MEANS)
    structure = (2 * together + STEADY_SPREADS) / (spread_x + spread_y + STEADY_SPREADS)
    return np.asarray(_inside(alike * structure).mean(axis=(1, 2)))


def _luma(images: Pixels) -> Float64s:
    return np.asarray(images @ np.array([0.299, 0.587, 0.114]))


def _local_mean(values: Float64s) -> Float64s:
    return np.asarray(ndimage.gaussian_filter(values, (0, SIGMA_PX, SIGMA_PX), radius=(0, REACH_PX, REACH_PX)))


def _inside(values: Float64s) -> Float64s:
    if min(values.shape[1:]) < 16:
        return values
    return values[:, REACH_PX:-REACH_PX, REACH_PX:-REACH_PX]
