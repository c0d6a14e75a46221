"""Boxes and labels on a frame, as people see them.

In: uint8 (H, W, 3) and what boxes.jsonl says of the frame. Out: a copy with it drawn in. Fed by boxed.py.
"""

import colorsys
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.video.lines import Line

_GOLDEN = 0.618034  # of the circle of hues: colours of neighbouring numbers lie far apart
_LINES_A_FRAME, _TEXTS_A_FRAME = 240, 28  # a line's width and a text's height, as parts of the shorter side
_LEAST_TEXT_PX = 11


def drawn(pixels: Pixels, line: Line, score: float) -> Pixels:
    """The frame with its boxes of at least this score and those of numbered things, each thing in a colour of its own.

    Of a classification: its label in the upper left corner.
    """
    image = Image.fromarray(pixels)
    pencil = ImageDraw.Draw(image)
    if "boxes" not in line:
        _label(pencil, (0, 0), f"{line['label']} {line['probability']:.2f}", _colour(1), image.size)
    for box in reversed([one for one in line.get("boxes", ()) if one["track"] or one["score"] >= score]):
        _box(pencil, box, image.size)
    return np.asarray(image)


def _box(pencil: ImageDraw.ImageDraw, box: dict[str, Any], size: tuple[int, int]) -> None:
    x0, y0, x1, y1 = (round(side) for side in box["box"])
    colour = _colour(box["track"] or 0)
    pencil.rectangle(
        (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=max(2, min(size) // _LINES_A_FRAME)
    )
    number = f" {box['track']}" if box["track"] else ""
    _label(pencil, (x0, y0), f"{box['label']}{number} {box['score']:.2f}", colour, size)


def _label(
    pencil: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, colour: tuple[int, int, int], size: tuple[int, int]
) -> None:
    """Text on a filled ground above a corner, or below where there is no room, all of it inside the frame."""
    font = _font(max(_LEAST_TEXT_PX, min(size) // _TEXTS_A_FRAME))
    _, _, width, height = pencil.textbbox((0, 0), text, font=font)
    left = max(0, min(corner[0], size[0] - int(width) - 4))
    top = corner[1] - int(height) - 3
    top = top if top >= 0 else max(0, corner[1])
    pencil.rectangle((left, top, left + width + 3, top + height + 2), fill=colour)
    pencil.text((left + 2, top), text, fill=(0, 0, 0) if _light(colour) else (255, 255, 255), font=font)


def _colour(number: int) -> tuple[int, int, int]:
    if not number:
        return 160, 160, 160
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN % 1, 0.85, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def _light(colour: tuple[int, int, int]) -> bool:
    red, green, blue = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue > 140  # luma, on which black is read best


@lru_cache
def _font(px: int) -> Any:
    return ImageFont.load_default(px)
