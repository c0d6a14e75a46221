"""Blur of lens, glass, camera and approach. N images, sides H and W; values in 0..1.

In: float32 (N, H, W, 3) and one random generator an image. Out: the same shape. Read by corrupt.py; `convolve`
and `streak` also by weather.py.
"""

import math

import numpy as np
from scipy import fft, ndimage

from drift_detector_pipeline.arrays import Float32s
from drift_detector_pipeline.corruptions.noise import Generators

MOST_ZOOMS = 16


def defocus_blur(images: Float32s, rngs: Generators, *, radius_px: float, smooth_px: float) -> Float32s:
    """Spread each pixel over a disk with a soft edge: out of focus."""
    del rngs
    return convolve(images, [disk(radius_px, smooth_px)] * len(images))


def glass_blur(images: Float32s, rngs: Generators, *, sigma_px: float, scatter_px: float) -> Float32s:
    """Exchange pixels for near ones, between two slight blurs: behind frosted glass."""
    soft = (0, sigma_px, sigma_px, 0)
    mixed = ndimage.gaussian_filter(images, soft, truncate=3)
    mixed = np.stack([_scatter(image, rng, scatter_px) for image, rng in zip(mixed, rngs, strict=True)])
    return np.asarray(ndimage.gaussian_filter(mixed, soft, truncate=3))


def motion_blur(images: Float32s, rngs: Generators, *, radius_px: float, sigma_px: float) -> Float32s:
    """Trail each pixel along a line within 45 degrees of the horizontal: a moving camera."""
    angles = [rng.uniform(-45, 45) for rng in rngs]
    return convolve(images, [streak(angle, radius_px, sigma_px) for angle in angles])


def zoom_blur(images: Float32s, rngs: Generators, *, largest: float) -> Float32s:
    """Average the image with enlargements of itself up to `largest`: a camera coming closer."""
    del rngs
    count = min(MOST_ZOOMS, max(6, math.ceil((largest - 1) * min(images.shape[1:3]) / 2)))
    import torch  # of everything here only this needs it
    from torch.nn import functional

    planes = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    total = planes.clone()  # the image itself counts twice, as published
    for zoom in np.linspace(1, largest, count):
        view = torch.tensor([[[1 / zoom, 0, 0], [0, 1 / zoom, 0]]], dtype=torch.float32)
        grid = functional.affine_grid(view, [1, *planes.shape[1:]], align_corners=False).expand(len(images), -1, -1, -1)
        total += functional.grid_sample(planes, grid, padding_mode="border", align_corners=False)
    return np.asarray((total / (count + 1)).permute(0, 2, 3, 1).numpy())


def convolve(images: Float32s, kernels: list[Float32s]) -> Float32s:
    """Convolve each float32 (H, W, C) image with its odd, square kernel; borders are mirrored."""
    return np.stack([_convolve(image, kernel) for image, kernel in zip(images, kernels, strict=True)])


def disk(radius_px: float, smooth_px: float) -> Float32s:
    """A disk whose edge pixels count by how far they lie inside, smoothed; sums to 1."""
    reach = math.ceil(radius_px + 3 * smooth_px)
    offsets = np.arange(-reach, reach + 1)
    kernel = np.clip(radius_px + 0.5 - np.hypot(offsets[:, None], offsets), 0, 1)
    kernel = ndimage.gaussian_filter(kernel, smooth_px, mode="constant")
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def streak(angle_degrees: float, radius_px: float, sigma_px: float) -> Float32s:
    """A line from the centre that fades as half a Gaussian, at most `2 * radius_px` long; sums to 1."""
    length = max(1, round(min(2 * radius_px, 3.5 * sigma_px)))
    steps = np.arange(0, length + 0.25, 0.5)
    weights = np.exp(-(steps**2) / (2 * sigma_px**2))
    angle = math.radians(angle_degrees)
    down, right = length + steps * math.sin(angle), length + steps * math.cos(angle)
    kernel = np.zeros((2 * length + 2, 2 * length + 2))
    row, column = down.astype(int), right.astype(int)
    for near_row, near_column in ((0, 0), (0, 1), (1, 0), (1, 1)):  # shared among the four pixels around each point
        part = np.abs(1 - near_row - (down - row)) * np.abs(1 - near_column - (right - column))
        np.add.at(kernel, (row + near_row, column + near_column), weights * part)
    kernel = kernel[:-1, :-1]
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def _convolve(image: Float32s, kernel: Float32s) -> Float32s:
    height, width, _ = image.shape
    reach = len(kernel) // 2
    padded = np.pad(image.transpose(2, 0, 1), ((0, 0), (reach, reach), (reach, reach)), mode="symmetric")
    size = [fft.next_fast_len(side, real=True) for side in padded.shape[1:]]
    product = fft.rfft2(padded, size) * fft.rfft2(kernel, size)
    blurred = fft.irfft2(product, size)[:, 2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width]
    return np.asarray(blurred.transpose(1, 2, 0), dtype=np.float32)


def _scatter(image: Float32s, rng: np.random.Generator, scatter_px: float) -> Float32s:
    """Take each pixel of (H, W, 3) from a random place nearby: normal in both directions with that deviation."""
    height, width, _ = image.shape
    steps = np.rint(scatter_px * rng.standard_normal((2, height, width), dtype=np.float32)).astype(np.int64)
    rows = np.clip(np.arange(height)[:, None] + steps[0], 0, height - 1)
    columns = np.clip(np.arange(width) + steps[1], 0, width - 1)
    return np.asarray(image.reshape(-1, 3)[rows * width + columns])
