"""Pixels as tensors: parts of an image, resized, normalised, batches filled up.

H, W: a stored image's sides; S: the side of the model input. Everything is uint8 until `normalize`. Read by whatever
runs a network in torch; training's random views are made of these parts in augmentation.py.
"""

import torch
from torch.nn import functional

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.images.model_input import Box


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


def cut(stored: Pixels, box: Box) -> torch.Tensor:
    """A copy of part of an image as (1, 3, H, W) with the strides of a channels-last batch: resizing's fast path."""
    crop = stored[box.top : box.top + box.height, box.left : box.left + box.width].copy()
    return torch.from_numpy(crop).unsqueeze(0).permute(0, 3, 1, 2)


def resized(view: torch.Tensor, side_px: int, mode: str) -> torch.Tensor:
    """Resize uint8 (1, 3, H, W) to (1, 3, S, S), antialiased; `mode` is bilinear or bicubic."""
    if view.shape[2:] == (side_px, side_px):
        return view
    return functional.interpolate(view, (side_px, side_px), mode=mode, antialias=True)
