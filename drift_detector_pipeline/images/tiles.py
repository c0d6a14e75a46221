"""A large image as parts that overlap, so that what is small in it is large enough for a model.

In: an image's sides in px. Out: `Tile`s that cover it. Read by modeling/labels.py and tasks/boxes/joining.py.
"""

import math
from typing import NamedTuple

OVERLAP = 0.2  # of a tile's side: what is smaller than that lies whole in one of them


class Tile(NamedTuple):
    """A part of an image, in px."""

    left: int
    top: int
    width: int
    height: int


def tiles(height: int, width: int, tile_px: int | None) -> list[Tile]:
    """The whole image and, if it is larger than `tile_px`, square parts of it of that side, row by row.

    Neighbours overlap by at least `OVERLAP` of their side, and are spread evenly. None: the whole image alone.
    """
    whole = Tile(0, 0, width, height)
    if tile_px is None or max(height, width) <= tile_px:
        return [whole]
    high, wide = min(height, tile_px), min(width, tile_px)
    places = [(top, left) for top in _starts(height, tile_px) for left in _starts(width, tile_px)]
    return [whole, *(Tile(left, top, wide, high) for top, left in places)]


def _starts(length: int, tile_px: int) -> list[int]:
    if length <= tile_px:
        return [0]
    count = 1 + math.ceil((length - tile_px) / (tile_px * (1 - OVERLAP)))
    return [round(number * (length - tile_px) / (count - 1)) for number in range(count)]
