"""What is found in parts of an image -> what is in the image, each thing once.

In: answers in px of their tiles. Out: one answer in px of the image. Read by modeling/labels.py through the task.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Flags, Float64s
from drift_detector_pipeline.box_geometry import covered, iou
from drift_detector_pipeline.images.tiles import OVERLAP, Tile
from drift_detector_pipeline.tasks.task import Answer

_SAME = 0.5  # IoU from which two boxes of a class are one thing, or share of a cut box that lies in the other
_EDGE = 0.01  # of a tile's side: nearer to an edge within the image, a box may be cut off there


class _Piece(NamedTuple):
    """A box found in a tile."""

    box: Float64s  # (4,), px of the image
    label: str
    score: float
    cut: bool  # its tile may not show all of it
    coarse: bool  # found in the whole image, while there are parts that show more


def join(parts: Sequence[tuple[Answer, Tile]], image: tuple[int, int], threshold: float | None) -> Answer:
    """Put the boxes of all parts of an image (height, width) into one answer, best first, from a least score on.

    Of boxes of one class that overlap by half the best stays; one that a tile's edge may have cut gives way to any
    other that covers half of it. What the whole image shows is believed only of things too large to lie whole in a
    part, and unless a part says better what is there. One part alone keeps all its boxes.
    """
    least = threshold or 0.0
    pieces = [piece for said, tile in parts for piece in _pieces(said, tile, image) if piece.score >= least]
    if len(parts) > 1:
        smallest = OVERLAP * max(parts[1][1].width, parts[1][1].height)
        pieces = [piece for piece in pieces if not piece.coarse or np.ptp(piece.box.reshape(2, 2), 0).max() > smallest]
    pieces.sort(key=lambda piece: (piece.cut, -piece.score))
    kept = pieces if len(parts) == 1 else _once(pieces)
    kept = sorted(kept, key=lambda piece: -piece.score)
    boxes = [{"label": one.label, "score": one.score, "box": [round(float(x), 2) for x in one.box]} for one in kept]
    return {**parts[0][0], "boxes": boxes}


def _pieces(said: Answer, tile: Tile, image: tuple[int, int]) -> list[_Piece]:
    height, width = image
    inner = np.array([tile.left > 0, tile.top > 0, tile.left + tile.width < width, tile.top + tile.height < height])
    whole = (tile.width, tile.height) == (width, height)
    found = []
    for one in said["boxes"]:
        box = np.array(one["box"], np.float64)
        gaps = np.array([box[0], box[1], tile.width - box[2], tile.height - box[3]])
        near = gaps < _EDGE * np.array([tile.width, tile.height] * 2)
        moved = box + np.array([tile.left, tile.top] * 2)
        found.append(_Piece(moved, one["label"], one["score"], bool((near & inner).any()), whole))
    return found


def _once(pieces: list[_Piece]) -> list[_Piece]:
    """Each thing once; whole boxes come before cut ones, among them the best first."""
    if not pieces:
        return []
    boxes: Any = np.stack([piece.box for piece in pieces])
    labels = np.array([piece.label for piece in pieces])
    cut, coarse = (np.array([getattr(piece, name) for piece in pieces]) for name in ("cut", "coarse"))
    left: Flags = np.ones(len(pieces), np.bool_)
    kept = []
    for place, piece in enumerate(pieces):
        if not left[place]:
            continue
        kept.append(piece)
        one = boxes[place : place + 1]
        overlapping, alike = iou(one, boxes)[0] > _SAME, labels == piece.label
        same = alike & (overlapping | (cut & (covered(boxes, one)[:, 0] > _SAME)))
        left &= ~(same | (overlapping & coarse & (not piece.coarse)))
    return kept
