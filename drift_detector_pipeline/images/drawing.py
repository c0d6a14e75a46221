"""Boxes drawn into images, readable without colour: what is found in solid lines with its name, the truth dashed.

H, W: an image's sides in px. In: uint8 (H, W, 3) and boxes in px of it. Out: the same, drawn into. Pillow only. Read by
tasks/boxes/, predictions and whatever shows boxes.
"""

import colorsys
import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from drift_detector_pipeline.arrays import Pixels

Colour = tuple[int, int, int]
# Told apart by most eyes (Okabe & Ito 2008); without black, which would not be seen on photographs.
_COLOURS: tuple[Colour, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167), (0, 114, 178),
)  # fmt: skip
_DASH = 6  # lengths of a line's width
_LONGEST_NAME = 24  # characters


class Drawn(NamedTuple):
    """A box to draw."""

    box: Sequence[float]  # x0 y0 x1 y1 in px
    text: str  # beside it; "": none
    number: int  # of its class: decides the colour
    dashed: bool = False  # as the truth is


def draw_boxes(pixels: Pixels, boxes: Sequence[Drawn], factor: int = 1) -> Pixels:
    """Draw boxes into a copy of an image, `factor` times as large; the last box lies on top."""
    height, width = pixels.shape[:2]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if factor > 1:
        image = image.resize((width * factor, height * factor), Image.Resampling.BILINEAR)
    pen, thick = ImageDraw.Draw(image), max(2, round(max(image.size) / 320))
    font = _font(_letters_px(boxes, factor, max(image.size)))
    for one in boxes:
        corners = [value * factor for value in one.box]
        if one.dashed:
            _dash(pen, corners, thick)
        else:
            pen.rectangle(
                [*corners[:2], corners[2] - 1, corners[3] - 1] if _has_area(corners) else corners,
                outline=colour_of(one.number),
                width=thick,
            )
    for one in boxes:
        if one.text:
            _label(pen, one, [value * factor for value in one.box], font, image.size)
    return np.asarray(image)


def colour_of(number: int) -> Colour:
    """A class's colour; beyond the seventh, hues as far apart as they come."""
    if number < len(_COLOURS):
        return _COLOURS[number]
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.75, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)


def _letters_px(boxes: Sequence[Drawn], factor: int, longer_px: int) -> int:
    """Letters that suit the picture, or its boxes if those are small and many."""
    sides = [factor * min(one.box[2] - one.box[0], one.box[3] - one.box[1]) for one in boxes if one.text]
    largest = longer_px / 45
    return max(11, round(min(largest, median(sides) / 5) if sides else largest))


def _has_area(corners: Sequence[float]) -> bool:
    return corners[2] - 1 >= corners[0] and corners[3] - 1 >= corners[1]


def _dash(pen: ImageDraw.ImageDraw, corners: Sequence[float], thick: int) -> None:
    """A frame of white dashes on black: seen on any ground."""
    x0, y0, x1, y1 = corners
    for start, end in (((x0, y0), (x1, y0)), ((x1, y0), (x1, y1)), ((x1, y1), (x0, y1)), ((x0, y1), (x0, y0))):
        pen.line([start, end], fill=(0, 0, 0), width=thick)
        length = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
        for place in np.arange(0, length, 2 * _DASH * thick / 2):
            first, last = place / length, min(length, place + _DASH * thick / 2) / length
            pen.line([_between(start, end, first), _between(start, end, last)], fill=(255, 255, 255), width=thick)


def _between(start: tuple[float, float], end: tuple[float, float], share: float) -> tuple[float, float]:
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])


def _label(
    pen: ImageDraw.ImageDraw, one: Drawn, corners: Sequence[float], font: ImageFont.FreeTypeFont,
    size: tuple[int, int],
) -> None:  # fmt: skip
    """The text on a ground of the box's colour: above the box, or in it where there is no room."""
    text = one.text if len(one.text) <= _LONGEST_NAME else f"{one.text[: _LONGEST_NAME - 1]}…"
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    wide, high = right - left + 4, bottom - top + 4
    x = max(0, min(corners[0], size[0] - wide))
    y = corners[3] if one.dashed else corners[1] - high
    y = max(0, min(y, size[1] - high))
    ground = (0, 0, 0) if one.dashed else colour_of(one.number)
    pen.rectangle([x, y, x + wide, y + high], fill=ground)
    bright = 0.299 * ground[0] + 0.587 * ground[1] + 0.114 * ground[2] > 128
    pen.text((x + 2 - left, y + 2 - top), text, font=font, fill=(0, 0, 0) if bright else (255, 255, 255))


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which knows most scripts, where matplotlib is installed; Pillow's own elsewhere."""
    found = importlib.util.find_spec("matplotlib")
    file = Path(found.origin or "").parent / "mpl-data/fonts/ttf/DejaVuSans.ttf" if found else None
    if file is not None and file.is_file():
        return ImageFont.truetype(str(file), size)
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font
