"""Boxes as annotated -> boxes of the stored picture: turned, cut to it, what is no box left out, all of it counted.

In: what an annotation says, and how the picture lies in its file. Out: `Boxes` in px of the stored picture, and notes:
a sentence -> how often. Read by entries.py while pictures are packed, as only then their true size is known.
"""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Boxes
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images.decoder import upright_sides
from drift_detector_pipeline.raw.listing import ImageBoxes, RawBox

EVERY_CLASS = -1  # label of a box to be ignored whatever is found there

NO_AREA = "boxes without area: dropped"
OUTSIDE = "boxes wholly outside of their picture: dropped"
TINY = "boxes of which less than 1 px lies in their picture: dropped"
CLIPPED = "boxes that reach beyond their picture: cut to it"
IGNORED = "boxes to ignore: kept, neither learned from nor counted as missed"
TURNED = "pictures that EXIF turns and whose boxes were given as in the file: boxes turned, too"
OTHER_SIZE = "pictures of another size than their annotation says: the pixels were believed"

_ROUNDING_PX = 0.01  # beyond the border, or short of a pixel, that comes of rounded annotations


class Lie(NamedTuple):
    """How a picture lies in its file, and how it is stored."""

    size: tuple[int, int]  # width and height in px in the file
    orientation: int  # of EXIF, 1 to 8
    stored: tuple[int, int]  # width and height in px as stored, upright

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height in px once it is turned."""
        height, width = upright_sides(self.size, self.orientation)
        return width, height


def place(given: ImageBoxes, lie: Lie, labels: Mapping[str, int]) -> tuple[Boxes, Counter[str]]:
    """Boxes of the stored picture in the order given, and what had to be done to them.

    Raises DataError, whose text is the reason to leave the picture out, if EXIF turns it and the annotation's size does
    not tell which way its boxes are meant, or if a box has a class that `labels` does not know.
    """
    notes, (width, height) = Counter[str](), lie.upright
    boxes, turned = upright(given, lie)
    wrong = given.size is not None and given.size not in (lie.size, lie.upright)
    notes.update({TURNED: int(turned), OTHER_SIZE: int(wrong)})
    kept, found = list[tuple[float, float, float, float]](), list[RawBox]()
    for box in boxes:
        what, inside = _cut(box[:4], width, height)
        if what:
            notes[what] += 1
        if inside:
            notes[IGNORED] += box.ignore
            kept.append(inside)
            found.append(box)
    scale = np.array(lie.stored * 2) / (width, height, width, height)
    placed = (np.array(kept, np.float64).reshape(-1, 4) * scale).astype(np.float32)
    numbers = np.array([_label(box, labels) for box in found], dtype=np.int64)
    return Boxes(placed, numbers, np.array([box.ignore for box in found], dtype=np.bool_)), +notes


def upright(given: ImageBoxes, lie: Lie) -> tuple[list[RawBox], bool]:
    """Boxes in px of the upright picture, neither cut nor dropped, and whether they had to be turned for that.

    Raises DataError as `place` does.
    """
    width, height = lie.upright
    if given.normalised:
        scaled = ((box, (box.x0 * width, box.y0 * height, box.x1 * width, box.y1 * height)) for box in given.boxes)
        return [RawBox(*ends, box.class_name, box.ignore) for box, ends in scaled], False
    if not given.boxes or not _boxes_follow(given.size, lie):
        return list(given.boxes), False
    return [RawBox(*_turned(box, lie), box.class_name, box.ignore) for box in given.boxes], True


def _boxes_follow(annotated: tuple[int, int] | None, lie: Lie) -> bool:
    """Whether the boxes are meant for the picture as in the file, and so turn with it."""
    if lie.orientation == 1:
        return False
    fits, fits_in_file = annotated == lie.upright, annotated == lie.size
    if fits == fits_in_file:
        said = "{} x {} px".format(*annotated) if annotated else "no size"
        raise DataError(
            f"EXIF turns this picture of {lie.size[0]} x {lie.size[1]} px (orientation {lie.orientation}), and the "
            f"annotation, which says {said}, does not tell whether its boxes are turned, too; save the picture upright"
        )
    return fits_in_file


def _turned(box: RawBox, lie: Lie) -> tuple[float, float, float, float]:
    """A box as in the file -> the same box upright. Only turns that swap the sides can be told by a size."""
    width, height = lie.size
    x0, y0, x1, y1 = box[:4]
    if lie.orientation in (7, 8):
        x0, x1 = width - x1, width - x0
    if lie.orientation in (6, 7):
        y0, y1 = height - y1, height - y0
    return y0, x0, y1, x1


def _cut(
    box: tuple[float, float, float, float], width: int, height: int
) -> tuple[str, tuple[float, float, float, float] | None]:
    """What becomes of a box, "" if nothing; and what of it lies in the picture, None if it is dropped."""
    x0, y0, x1, y1 = box
    if not (x1 > x0 and y1 > y0):
        return NO_AREA, None
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        return OUTSIDE, None
    inside = (max(0.0, x0), max(0.0, y0), min(x1, float(width)), min(y1, float(height)))
    if min(inside[2] - inside[0], inside[3] - inside[1]) < 1 - _ROUNDING_PX:
        return TINY, None
    return CLIPPED if max(-x0, -y0, x1 - width, y1 - height) > _ROUNDING_PX else "", inside


def _label(box: RawBox, labels: Mapping[str, int]) -> int:
    if box.ignore and not box.class_name:
        return EVERY_CLASS
    if box.class_name not in labels:
        raise DataError(f"a box of the class {box.class_name!r}, which is none of this data set's")
    return labels[box.class_name]
