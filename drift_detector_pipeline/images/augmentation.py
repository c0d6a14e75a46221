"""From a stored image to one of its many training views: which one, the generator says, and nothing else does.

H, W: a stored image's sides; S: the side of the model input. Everything is uint8. Fed by
processed/packing.py, read by tasks/classification/task.py.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from drift_detector_pipeline.images.distortions import jitter_colours, rand_augment
from drift_detector_pipeline.images.model_input import IMAGENET_MEAN, Box, centre_box
from drift_detector_pipeline.images.stored_jpeg import Packed, large_enough
from drift_detector_pipeline.images.transforms import cut, resized

if TYPE_CHECKING:  # whoever only looks at images needs no configuration
    from drift_detector_pipeline.settings import Augmentation

_ASPECT = math.log(4 / 3)  # random resized crops are between 3:4 and 4:3


def augment(stored: Packed, side_px: int, how: Augmentation, rng: np.random.Generator) -> torch.Tensor:
    """Return a random view of a stored image for training: uint8 (S, S, 3), a function of `rng` alone.

    A random resized crop keeping at least `min_area` (Szegedy et al. 2015, arXiv 1409.4842), or the central square
    if that is 1; then a shift of up to `shift_px` with reflected borders, a mirror image half of the time, RandAugment,
    colour jitter, and a square of `cutout_px` in the mean colour, part of which may lie outside (DeVries & Taylor 2017,
    arXiv 1708.04552). What is off draws no random number.
    """
    height, width, _ = stored.shape
    box = _random_box(height, width, how.min_area, rng) if how.min_area < 1 else centre_box(height, width)
    view = resized(cut(*large_enough(stored, box, side_px)), side_px, "bilinear")
    if how.shift_px:
        view = _shift(view, how.shift_px, rng)
    if how.flip is True and rng.random() < 0.5:
        view = view.flip(-1)
    view = rand_augment(view, how.rand_augment, rng)
    view = jitter_colours(view, how.colour_jitter, rng)
    if how.cutout_px:
        _cut_out(view, how.cutout_px, rng)
    return view[0].permute(1, 2, 0)


def mirrored(rng: np.random.Generator, epoch: int) -> bool:
    """Whether an alternating flip mirrors an image in this epoch; `rng` is the image's, the same in every epoch.

    After Jordan 2024 (arXiv 2404.00498): no two epochs in a row show the same side, as independent draws do half of the
    time.
    """
    return bool((rng.random() < 0.5) ^ (epoch % 2 == 1))


def _random_box(height: int, width: int, min_area: float, rng: np.random.Generator) -> Box:
    for _ in range(10):
        area = height * width * rng.uniform(min_area, 1)
        aspect = math.exp(rng.uniform(-_ASPECT, _ASPECT))
        box_width, box_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            top, left = rng.integers(0, height - box_height + 1), rng.integers(0, width - box_width + 1)
            return Box(int(top), int(left), box_height, box_width)
    return centre_box(height, width)


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
