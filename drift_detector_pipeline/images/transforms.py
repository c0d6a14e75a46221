"""From a stored image to model input: one inference crop for everything, and the training augmentation.

H, W: a stored image's sides; S: the side of the model input. Everything is uint8 until `normalize`.
Fed by processed/packing.py or decode.py, read by modeling/loaders.py.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from drift_detector_pipeline.arrays import Pixels

if TYPE_CHECKING:  # whoever only looks at images needs no configuration
    from drift_detector_pipeline.settings import Augmentation

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of values in 0..1, what timm's weights expect unless they say otherwise
IMAGENET_STD = (0.229, 0.224, 0.225)
_ASPECT = math.log(4 / 3)  # random resized crops are between 3:4 and 4:3


class Box(NamedTuple):
    """A rectangle of a stored image, in pixels."""

    top: int
    left: int
    height: int
    width: int


def inference_crop(stored: Pixels, side_px: int) -> Pixels:
    """Return the central square of a stored image, resized to uint8 (S, S, 3) (bicubic, antialiased).

    The only way into a model for evaluation, prediction, drift and serving: the same file gives the same bits.
    """
    view = _cut(stored, _centre_box(*stored.shape[:2]))
    return _resized(view, side_px, "bicubic")[0].permute(1, 2, 0).contiguous().numpy()


def augment(stored: Pixels, side_px: int, how: Augmentation, rng: np.random.Generator) -> torch.Tensor:
    """Return a random view of a stored image for training: uint8 (S, S, 3), a function of `rng` alone.

    A random resized crop keeping at least `min_area` (Szegedy et al. 2015, arXiv 1409.4842), or the central square
    if that is 1; then a shift of up to `shift_px` with reflected borders, a mirror image half of the time, and a square
    of `cutout_px` in the mean colour, part of which may lie outside (DeVries & Taylor 2017, arXiv 1708.04552).
    """
    height, width, _ = stored.shape
    box = _random_box(height, width, how.min_area, rng) if how.min_area < 1 else _centre_box(height, width)
    view = _resized(_cut(stored, box), side_px, "bilinear")
    if how.shift_px:
        view = _shift(view, how.shift_px, rng)
    if how.flip and rng.random() < 0.5:
        view = view.flip(-1)
    if how.cutout_px:
        _cut_out(view, how.cutout_px, rng)
    return view[0].permute(1, 2, 0)


def normalize(images: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """Turn uint8 (N, 3, S, S) into float32 with the given mean and std (of values in 0..1), on the same device."""
    centre = torch.tensor(mean, device=images.device).mul_(255)
    scale = torch.tensor(std, device=images.device).mul_(255)
    pixels = images.permute(0, 2, 3, 1)
    if not pixels.is_contiguous():
        return images.float().sub_(centre[:, None, None]).div_(scale[:, None, None])
    # channels last: three channels at a time cannot be vectorised, a row of pixels can; the same bits 4 times sooner
    width = pixels.shape[2]
    rows = pixels.flatten(2).float().sub_(centre.repeat(width)).div_(scale.repeat(width))
    return rows.view(pixels.shape).permute(0, 3, 1, 2)


def filled(images: torch.Tensor, count: int) -> torch.Tensor:
    """Add black images until there are `count`: for another number of images some kernels round otherwise.

    Raises ValueError if there are more.
    """
    missing = count - len(images)
    if missing < 0:
        raise ValueError(f"expected at most {count} images, got {len(images)}")
    return torch.cat([images, images.new_zeros(missing, *images.shape[1:])]) if missing else images


def _cut(stored: Pixels, box: Box) -> torch.Tensor:
    """A copy of part of an image as (1, 3, H, W) with the strides of a channels-last batch: resizing's fast path."""
    crop = stored[box.top : box.top + box.height, box.left : box.left + box.width].copy()
    return torch.from_numpy(crop).unsqueeze(0).permute(0, 3, 1, 2)


def _resized(view: torch.Tensor, side_px: int, mode: str) -> torch.Tensor:
    if view.shape[2:] == (side_px, side_px):
        return view
    return functional.interpolate(view, (side_px, side_px), mode=mode, antialias=True)


def _random_box(height: int, width: int, min_area: float, rng: np.random.Generator) -> Box:
    for _ in range(10):
        area = height * width * rng.uniform(min_area, 1)
        aspect = math.exp(rng.uniform(-_ASPECT, _ASPECT))
        box_width, box_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            top, left = rng.integers(0, height - box_height + 1), rng.integers(0, width - box_width + 1)
            return Box(int(top), int(left), box_height, box_width)
    return _centre_box(height, width)


def _centre_box(height: int, width: int) -> Box:
    square = min(height, width)
    return Box((height - square) // 2, (width - square) // 2, square, square)


def _shift(view: torch.Tensor, shift_px: int, rng: np.random.Generator) -> torch.Tensor:
    side = view.shape[-1]
    padded = functional.pad(view.float(), [shift_px] * 4, mode="reflect").to(torch.uint8)
    top, left = rng.integers(0, 2 * shift_px + 1, size=2)
    return padded[:, :, top : top + side, left : left + side]


def _cut_out(view: torch.Tensor, cutout_px: int, rng: np.random.Generator) -> None:
    """Cover a square around a random pixel, in place."""
    top, left = rng.integers(0, view.shape[-1], size=2) - cutout_px // 2
    hidden = view[:, :, max(0, top) : top + cutout_px, max(0, left) : left + cutout_px]
    hidden[:] = (torch.tensor(IMAGENET_MEAN) * 255).round().to(torch.uint8)[:, None, None]
