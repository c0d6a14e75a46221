"""From a person's images to the crops a detector looks at.

In: uint8 (m, H, W, 3) or paths. Out: a `Window` of crops, all of one side. Read by detector.py.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images.crops import read_crops
from drift_detector_pipeline.images.transforms import IMAGENET_MEAN, IMAGENET_STD, inference_crop

LARGEST_PX = 2**14  # side of an image; more is no image but damage
Images = Pixels | Sequence[str | Path]


class Preparation(NamedTuple):
    """How an image becomes model input; part of what a detector is tied to."""

    side_px: int  # of the square crop
    stored_side_px: int  # shorter side of a decoded file, before the crop
    mean: tuple[float, ...] = IMAGENET_MEAN  # of values in 0..1; of no use to a callable
    std: tuple[float, ...] = IMAGENET_STD
    early: tuple[str, ...] | None = None  # names of layers; None: found as `scores.signals.find_layers` does
    classifier: str | None = None


class Window(NamedTuple):
    """Images on the way to a verdict."""

    crops: Pixels  # (m, S, S, 3)
    names: list[str]
    unreadable: dict[str, str]  # name -> why


def preparation_from(values: Mapping[str, Any]) -> Preparation:
    """Undo `_asdict` and JSON. Raises KeyError, TypeError or ValueError if a part is missing or cannot be."""
    parts = (values[name] for name in Preparation._fields)
    found = Preparation._make(tuple(part) if isinstance(part, list) else part for part in parts)
    sides, numbers = (found.side_px, found.stored_side_px), np.array([found.mean, found.std], dtype=np.float64)
    layers = [found.classifier, *(found.early or ())]
    right = {
        "side_px or stored_side_px": all(type(side) is int and 0 < side <= LARGEST_PX for side in sides),
        "mean or std": numbers.shape == (2, 3) and np.isfinite(numbers).all() and (numbers[1] > 0).all(),
        "layer": all(isinstance(name, str | None) for name in layers) and isinstance(found.early, tuple | None),
    }
    if wrong := [name for name, holds in right.items() if not holds]:
        raise ValueError(f"its preparation has an impossible {wrong[0]}")
    return found


def open_images(images: Images, preparation: Preparation, names: Sequence[str] | None = None) -> Window:
    """Decode and crop; arrays are named by their place. Raises DataError if `images` are neither arrays nor paths."""
    side = preparation.side_px
    if isinstance(images, (str, Path)):
        raise DataError(f"{images}: expected a list of paths, such as sorted(Path({str(images)!r}).glob('*.jpg'))")
    if isinstance(images, np.ndarray):
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape[1:]:
            raise DataError(f"images: expected uint8 (m, H, W, 3) or paths, got {images.dtype} {images.shape}")
        shown = list(names or map(str, range(len(images))))
        return Window(_stacked([inference_crop(image, side) for image in images], side), shown, {})
    files = _as_paths(images)
    unreadable = dict[str, str]()
    named = list(zip(names or map(str, files), files, strict=True))
    found = list(read_crops(named, preparation.stored_side_px, side, unreadable))
    return Window(_stacked([crop for _, crop in found], side), [name for name, _ in found], unreadable)


def all_readable(images: Images, preparation: Preparation) -> Pixels:
    """The crops of all images. Raises DataError if one cannot be read."""
    window = open_images(images, preparation)
    if window.unreadable:
        name, why = next(iter(window.unreadable.items()))
        raise DataError(f"{name}: {why}; a detector is built from readable images only")
    return window.crops


def _as_paths(images: Sequence[str | Path]) -> list[Path]:
    given = list(images) if isinstance(images, Iterable) else [images]
    if other := [one for one in given if not isinstance(one, str | os.PathLike)]:
        raise DataError(
            f"images: expected uint8 (m, H, W, 3) or a list of paths, got a {type(images).__name__} with "
            f"{type(other[0]).__name__}; np.stack makes one array of several"
        )
    return [Path(path) for path in given]


def _stacked(crops: Sequence[Pixels], side: int) -> Pixels:
    return np.stack(crops) if len(crops) else np.zeros((0, side, side, 3), np.uint8)
