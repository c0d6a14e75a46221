"""From a person's images to the crops a detector looks at.

In: uint8 (m, H, W, 3) or paths. Out: a `Window` of crops, all of one side, or an `Album`, which holds a part of them at
a time. Read by detector.py.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images.crops import read_stored
from drift_detector_pipeline.images.decoder import Side
from drift_detector_pipeline.images.letterbox import letterbox
from drift_detector_pipeline.images.model_input import IMAGENET_MEAN, IMAGENET_STD, inference_crop

LARGEST_PX = 2**14  # side of an image; more is no image but damage
MOST_SHARED = 0.1  # of the reference that may be among `fit`, too
CHUNK = 1024  # images that are held at a time: 154 MB of 224 px
Images = Pixels | Sequence[str | Path]
Shape = Literal["crop", "letterbox"]


class Preparation(NamedTuple):
    """How an image becomes model input; part of what a detector is tied to."""

    side_px: int  # of the square crop
    stored_side_px: int  # shorter side of a decoded file, before the crop; the longer one before a letterbox
    mean: tuple[float, ...] = IMAGENET_MEAN  # of values in 0..1; of no use to a callable
    std: tuple[float, ...] = IMAGENET_STD
    early: tuple[str, ...] | None = None  # names of layers; None: found as `scores.signals.find_layers` does
    classifier: str | None = None
    shape: Shape = "crop"  # the middle of an image, or all of it in a corner; what lacks it in a file is a crop

    def view(self, pixels: Pixels) -> Pixels:
        """An image (H, W, 3) as the model is shown it, (S, S, 3)."""
        return (letterbox if self.shape == "letterbox" else inference_crop)(pixels, self.side_px)

    def as_values(self) -> dict[str, Any]:
        """What `preparation_from` undoes, as plain JSON; a crop as it has always been written."""
        values = self._asdict()
        return {name: value for name, value in values.items() if (name, value) != ("shape", "crop")}


class Shown(Protocol):
    """Images that were judged, wherever they are, some of which are looked at once more."""

    @property
    def names(self) -> Sequence[str]:
        """Of the readable ones."""

    @property
    def unreadable(self) -> dict[str, str]:
        """Name -> why."""

    def crops_of(self, places: Sequence[int]) -> Pixels:
        """Some of the readable ones, by their places: uint8 (n, S, S, 3)."""


class Window(NamedTuple):
    """Images on the way to a verdict."""

    crops: Pixels  # (m, S, S, 3)
    names: list[str]
    unreadable: dict[str, str]  # name -> why

    def chunks(self) -> Iterator[Pixels]:
        """All of the crops, CHUNK at a time."""
        return (self.crops[start : start + CHUNK] for start in range(0, len(self.crops), CHUNK))

    def crops_of(self, places: Sequence[int]) -> Pixels:
        """Some of the crops, (n, S, S, 3)."""
        return self.crops[list(places)]


class Album:
    """Images of any number on the way to a verdict, opened a chunk at a time and, where needed, some of them again.

    `names`, of the readable ones, and `unreadable`, name -> why, are whole once `chunks` has been gone through.
    Raises DataError if `images` are neither arrays nor paths. Arrays are named by their place.
    """

    def __init__(self, images: Images, preparation: Preparation, names: Sequence[str] | None = None) -> None:
        self.names, self.unreadable = list[str](), dict[str, str]()
        self._preparation, self._kept = preparation, _none_of(preparation.side_px)
        self._given = _checked_array(images) if isinstance(images, np.ndarray) else _as_paths(images)
        self._called = list(names or map(str, range(len(images)) if isinstance(images, np.ndarray) else self._given))

    def chunks(self) -> Iterator[Pixels]:
        """Open all: uint8 (n, S, S, 3), n = CHUNK but in the last one; a chunk's memory is used for the next one."""
        side, opened = self._preparation.side_px, self.opened()
        chunk = np.empty((min(CHUNK, len(self._given)), side, side, 3), np.uint8)
        while count := _fill(chunk, islice(opened, CHUNK)):
            if len(self._given) <= CHUNK:
                self._kept = chunk[:count]
            yield chunk[:count]

    def opened(self) -> Iterator[Pixels]:
        """Open all, one by one: uint8 (S, S, 3)."""
        self.names.clear()
        self.unreadable.clear()
        for name, crop in self._crops(range(len(self._given)), self.unreadable):
            self.names.append(name)
            yield crop

    def crops_of(self, places: Sequence[int]) -> Pixels:
        """Some of the images that `chunks` gave, by their places among these: uint8 (n, S, S, 3).

        Raises DataError if a file cannot be read any more.
        """
        if len(self._kept):
            return self._kept[list(places)]
        readable = [place for place, name in enumerate(self._called) if name not in self.unreadable]
        lost = dict[str, str]()
        crops = [crop for _, crop in self._crops([readable[place] for place in places], lost)]
        if lost:
            name, why = next(iter(lost.items()))
            raise DataError(f"{name}: {why}, though it was read a moment ago; images that are judged must stay")
        return _stacked(crops, self._preparation.side_px)

    def _crops(self, places: Sequence[int], unreadable: dict[str, str]) -> Iterator[tuple[str, Pixels]]:
        how, given = self._preparation, self._given
        if isinstance(given, np.ndarray):
            return ((self._called[place], how.view(given[place])) for place in places)
        files = [(self._called[place], given[place]) for place in places]
        side: Side = "shorter" if how.shape == "crop" else "longer"
        stored = read_stored(files, how.stored_side_px, side, unreadable)
        return ((name, how.view(one.pixels)) for name, one in stored)


def preparation_from(values: Mapping[str, Any]) -> Preparation:
    """Undo `as_values` and JSON. Raises KeyError, TypeError or ValueError if a part is missing or cannot be."""
    parts = (values.get(name, "crop") if name == "shape" else values[name] for name in Preparation._fields)
    found = Preparation._make(tuple(part) if isinstance(part, list) else part for part in parts)
    sides, numbers = (found.side_px, found.stored_side_px), np.array([found.mean, found.std], dtype=np.float64)
    layers = [found.classifier, *(found.early or ())]
    right = {
        "side_px or stored_side_px": all(type(side) is int and 0 < side <= LARGEST_PX for side in sides),
        "mean or std": numbers.shape == (2, 3) and np.isfinite(numbers).all() and (numbers[1] > 0).all(),
        "shape": found.shape in get_args(Shape),
        "layer": all(isinstance(name, str | None) for name in layers) and isinstance(found.early, tuple | None),
    }
    if wrong := [name for name, holds in right.items() if not holds]:
        raise ValueError(f"its preparation has an impossible {wrong[0]}")
    return found


def open_images(images: Images, preparation: Preparation, names: Sequence[str] | None = None) -> Window:
    """Decode and crop all at once. Raises DataError if `images` are neither arrays nor paths."""
    album = Album(images, preparation, names)
    return Window(_stacked(list(album.opened()), preparation.side_px), album.names, album.unreadable)


def all_readable(images: Images, preparation: Preparation) -> Pixels:
    """The crops of all images. Raises DataError if one cannot be read."""
    window = open_images(images, preparation)
    if window.unreadable:
        name, why = next(iter(window.unreadable.items()))
        raise DataError(f"{name}: {why}; a detector is built from readable images only")
    return window.crops


def refuse_shared(fit: Pixels, ref: Pixels) -> None:
    """Raise DataError if many images are among both: a few that appear twice in a data set do no harm."""
    of_fit, of_ref = ({hashlib.sha256(image.tobytes()).digest() for image in images} for images in (fit, ref))
    shared = len(of_fit & of_ref)
    if shared > MOST_SHARED * len(of_ref):
        raise DataError(
            f"ref_images: {shared} of {len(of_ref)} are among fit_images, too; what was learned from them would take "
            "them for more usual than new ones: give others"
        )


def _checked_array(images: Pixels) -> Pixels:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape[1:]:
        raise DataError(f"images: expected uint8 (m, H, W, 3) or paths, got {images.dtype} {images.shape}")
    return images


def _as_paths(images: Sequence[str | Path]) -> list[Path]:
    if isinstance(images, (str, Path)):
        raise DataError(f"{images}: expected a list of paths, such as sorted(Path({str(images)!r}).glob('*.jpg'))")
    given = list(images) if isinstance(images, Iterable) else [images]
    if other := [one for one in given if not isinstance(one, str | os.PathLike)]:
        raise DataError(
            f"images: expected uint8 (m, H, W, 3) or a list of paths, got a {type(images).__name__} with "
            f"{type(other[0]).__name__}; np.stack makes one array of several"
        )
    return [Path(path) for path in given]


def _fill(chunk: Pixels, crops: Iterable[Pixels]) -> int:
    """Copy crops into a chunk; return how many."""
    count = 0
    for crop in crops:
        chunk[count] = crop
        count += 1
    return count


def _stacked(crops: Sequence[Pixels], side: int) -> Pixels:
    return np.stack(crops) if len(crops) else _none_of(side)


def _none_of(side: int) -> Pixels:
    return np.zeros((0, side, side, 3), np.uint8)
