"""A stored image -> what a model is given: its central square in the model's size, and the units it is normalised in.

H, W: a stored image's sides; S: the side of the model input. Everything is uint8. Needs no torch, so that a service
does not; where torch is loaded its own resizing is used, which is four to twenty times faster and gives the same bits.
Read by transforms.py, crops.py, tasks, drift and the service.
"""

import sys
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float64s, Pixels

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of values in 0..1, what timm's weights expect unless they say otherwise
IMAGENET_STD = (0.229, 0.224, 0.225)

_A = -0.5  # of Keys' cubic kernel (1981), as Pillow and torch have it where they antialias
_BAND = 16  # target pixels whose weights make one matrix: all of them would be mostly zeros
_MOST_BITS, _SHORT, _EXACT = 22, 2**15, 2**24  # of a weight's fraction; what int16 and float32 hold as whole numbers


class Box(NamedTuple):
    """A rectangle of a stored image, in pixels."""

    top: int
    left: int
    height: int
    width: int


class _Band(NamedTuple):
    """How some target pixels come from source pixels."""

    weights: Float64s  # or float32, if that holds all sums: (at most _BAND, end - first)
    first: int
    end: int


def inference_crop(stored: Pixels, side_px: int) -> Pixels:
    """Return the central square of a stored image, resized to uint8 (S, S, 3) (bicubic, antialiased).

    The only way into a model for evaluation, prediction, drift and serving: the same file gives the same bits.
    """
    box = centre_box(*stored.shape[:2])
    square = stored[box.top : box.top + box.height, box.left : box.left + box.width].copy()
    if box.height == side_px:
        return square
    return _resized_by_torch(square, side_px) if "torch" in sys.modules else resized_by_numpy(square, side_px)


def centre_box(height: int, width: int) -> Box:
    """The central square."""
    square = min(height, width)
    return Box((height - square) // 2, (width - square) // 2, square, square)


def resized_by_numpy(image: Pixels, side_px: int) -> Pixels:
    """Resize uint8 (H, W, 3) to (S, S, 3) with the bits of torch's antialiased bicubic resizing of uint8.

    That is whole-number arithmetic: int16 weights, first along a row, rounded to uint8, then along a column. The same
    sums come out of a product of matrices whose entries are whole numbers that the floating type holds exactly.
    """
    height, width, _ = image.shape
    rows = _along_rows(_apart(image).reshape(-1, width), side_px)
    return _together(_along_columns(rows.reshape(height, -1), side_px).reshape(side_px, 3, side_px))


def _resized_by_torch(image: Pixels, side_px: int) -> Pixels:
    import torch

    planes = torch.from_numpy(image).unsqueeze(0).permute(0, 3, 1, 2)  # channels last: the fast path
    resized = torch.nn.functional.interpolate(planes, (side_px, side_px), mode="bicubic", antialias=True)
    return resized[0].permute(1, 2, 0).contiguous().numpy()


def _apart(image: Pixels) -> Pixels:
    """(H, W, 3) -> (H, 3, W); a colour at a time, for numpy moves single bytes much more slowly in one go."""
    moved = np.empty((len(image), 3, image.shape[1]), np.uint8)
    for colour in range(3):
        moved[:, colour] = image[..., colour]
    return moved


def _together(lines: Pixels) -> Pixels:
    """(H, 3, W) -> (H, W, 3)."""
    moved = np.empty((len(lines), lines.shape[2], 3), np.uint8)
    for colour in range(3):
        moved[..., colour] = lines[:, colour]
    return moved


def _along_rows(values: Pixels, side_px: int) -> Pixels:
    """Resize uint8 (r, n) to (r, S)."""
    bands, one = _bands(values.shape[1], side_px)
    given = values.astype(bands[0].weights.dtype)
    sums = np.empty((len(values), side_px), given.dtype)
    for start, band in zip(range(0, side_px, _BAND), bands, strict=True):
        np.matmul(given[:, band.first : band.end], band.weights.T, out=sums[:, start : start + _BAND])
    return _rounded(sums, one)


def _along_columns(values: Pixels, side_px: int) -> Pixels:
    """Resize uint8 (n, r) to (S, r)."""
    bands, one = _bands(len(values), side_px)
    given = values.astype(bands[0].weights.dtype)
    sums = np.empty((side_px, values.shape[1]), given.dtype)
    for start, band in zip(range(0, side_px, _BAND), bands, strict=True):
        np.matmul(band.weights, given[band.first : band.end], out=sums[start : start + _BAND])
    return _rounded(sums, one)


def _rounded(sums: Float64s, one: int) -> Pixels:
    sums += one / 2
    sums *= 1 / one
    return sums.clip(0, 255, out=sums).astype(np.uint8)


@lru_cache(maxsize=64)
def _bands(length: int, side_px: int) -> tuple[tuple[_Band, ...], int]:
    """Whole-number weights of BAND target pixels at a time, and what those of one add up to.

    That is a power of 2, as large as the largest weight in int16 allows.
    """
    exact = _kernel_weights(length, side_px)
    bits = next(bits for bits in range(_MOST_BITS) if int(0.5 + exact.max() * 2 ** (bits + 1)) >= _SHORT)
    one = 1 << bits
    whole = np.trunc(exact * one + np.where(exact < 0, -0.5, 0.5))
    largest_sum = 255 * np.abs(whole).sum(axis=1).max() + one
    exact_type = np.float32 if largest_sum < _EXACT else np.float64
    bands = list[_Band]()
    for start in range(0, side_px, _BAND):
        rows = whole[start : start + _BAND]
        used = np.flatnonzero(rows.any(axis=0))
        first, end = int(used[0]), int(used[-1]) + 1
        bands.append(_Band(np.ascontiguousarray(rows[:, first:end], exact_type), first, end))
    return tuple(bands), one


def _kernel_weights(length: int, side_px: int) -> Float64s:
    """The cubic kernel around each target pixel's place, as wide as the step from one to the next: (S, length)."""
    step = length / side_px
    wide = max(step, 1.0)
    weights = np.zeros((side_px, length))
    for target in range(side_px):
        centre = step * (target + 0.5)
        first, end = max(int(centre - 2 * wide + 0.5), 0), min(int(centre + 2 * wide + 0.5), length)
        own = _cubic(np.abs((np.arange(first, end) - centre + 0.5) / wide))
        weights[target, first:end] = own / sum(own.tolist())
    return weights


def _cubic(x: Float64s) -> Float64s:
    near = ((_A + 2) * x - (_A + 3)) * x * x + 1
    far = ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
