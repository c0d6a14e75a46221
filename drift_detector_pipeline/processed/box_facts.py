"""What boxes a data set holds, in numbers: how many, how large, how long, where, and how they overlap.

N images, M boxes to find; boxes to ignore are counted and otherwise left out. In: a processed folder, the side of the
model's input. Out: plain JSON, and the values that charts are drawn of. Time grows as N and M. Read by box_report.py.
"""

from typing import Any, NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Boxes, Flags, Float64s, Indices
from drift_detector_pipeline.box_geometry import iou
from drift_detector_pipeline.processed.manifest import Processed
from drift_detector_pipeline.processed.splits import SPLITS

SMALL_PX, LARGE_PX = 32, 96  # COCO's: what lies between is medium
TINY_PX = 8  # of a model's input, which has one place to answer from every 8 px at best
TWICE = 0.9  # IoU of two boxes of a class that most likely mean one thing
COMPARED = 500  # boxes of an image whose overlaps are computed: all pairs of more would cost more than all else
_CELLS = 48  # of a map of positions, each way
_BORDER_PX = 0.01


class Overlaps(NamedTuple):
    """For each of the boxes that were compared, its largest IoU with another box of its image."""

    own: Float64s  # (C,) with boxes of its own class, 0: there is no other
    other: Float64s  # (C,) with boxes of other classes
    twice: list[tuple[int, float]]  # image, IoU: pairs of a class above TWICE, the most alike first
    cut_short: int  # images that have more than COMPARED boxes


class Measured(NamedTuple):
    """Boxes to find, as arrays."""

    images: Indices  # (M,) place of the image
    labels: Indices  # (M,)
    side_px: Float64s  # (M,) root of the area, in px of the model's input
    aspect: Float64s  # (M,) width over height
    at_border: Flags  # (M,)
    per_image: Indices  # (N,)
    positions: Float64s  # (48, 48) share of all boxes that cover a place, from the top left of the picture
    overlaps: Overlaps


def measure(data: Processed, side_px: int) -> Measured:
    """Measure the boxes of all splits; `side_px`: the model's input, whose longer side an image then fills."""
    assert data.images.boxes is not None
    every, of = data.images.boxes.all, data.images.boxes.images
    sought = ~every.ignore
    boxes, images, labels = every.boxes[sought].astype(np.float64), of[sought], every.labels[sought]
    frame = data.images.sides[images][:, ::-1].astype(np.float64)  # (M, 2) width and height of each box's image
    sides = boxes[:, 2:] - boxes[:, :2]
    touching = (boxes[:, :2] <= _BORDER_PX) | (boxes[:, 2:] >= frame - _BORDER_PX)
    return Measured(
        images, labels, np.sqrt(sides.prod(axis=1)) * side_px / frame.max(axis=1), sides[:, 0] / sides[:, 1],
        np.logical_or.reduce(touching, axis=1), np.bincount(images, minlength=len(data.images)),
        _positions(boxes / np.tile(frame, 2)), _overlaps(data),
    )  # fmt: skip


def facts_of(data: Processed, found: Measured, side_px: int) -> dict[str, Any]:
    """The numbers of data_report.json."""
    assert data.images.boxes is not None
    splits, ignored = np.array(data.images.splits), data.images.boxes.all.ignore
    shown = [split for split in SPLITS if (splits == split).any()]
    own = found.overlaps.own
    return {
        "total": len(found.labels),
        "ignored": int(ignored.sum()),
        "classes_without_a_box_to_train_on": _to_find_none(data.manifest.counts["train"]),
        "images": {split: int((splits == split).sum()) for split in shown},
        "images_without": {split: int(((splits == split) & (found.per_image == 0)).sum()) for split in shown},
        "per_image": {"mean": _rounded(found.per_image.mean()), "most": int(found.per_image.max())},
        "seen_at_px": side_px,
        "side_px": _spread(found.side_px),
        "share_under_px": {str(px): _share(found.side_px < px) for px in (TINY_PX, SMALL_PX, LARGE_PX)},
        "width_over_height": _spread(found.aspect),
        "at_border": int(found.at_border.sum()),
        "by_class": [_of_class(name, found.labels == label, found) for label, name in enumerate(data.classes)],
        "overlap": {
            "compared": len(own),
            "images_cut_short": found.overlaps.cut_short,
            **{f"own_class_above_{at}": int((own > at).sum()) for at in (0.5, 0.6, 0.7)},
            "other_class_above_0.5": int((found.overlaps.other > 0.5).sum()),
            "perhaps_given_twice": len(found.overlaps.twice),
        },
        "notes": data.manifest.notes or {},
    }


def _of_class(name: str, members: Flags, found: Measured) -> dict[str, Any]:
    return {
        "name": name,
        "boxes": int(members.sum()),
        "images": len(np.unique(found.images[members])),
        "side_px": _spread(found.side_px[members]),
        "share_under_px": {str(px): _share(found.side_px[members] < px) for px in (TINY_PX, SMALL_PX, LARGE_PX)},
        "width_over_height": _spread(found.aspect[members]),
        "at_border": int((found.at_border & members).sum()),
    }


def _positions(shares: Float64s) -> Float64s:
    """How many boxes, in shares (M, 4) of their picture, cover each cell: +1 and -1 at corners, then summed up."""
    starts = np.floor(shares[:, :2] * _CELLS + 1e-6).astype(int).clip(0, _CELLS - 1)
    ends = np.maximum(np.ceil(shares[:, 2:] * _CELLS - 1e-6).astype(int), starts + 1).clip(1, _CELLS)
    corners = np.zeros((_CELLS + 1, _CELLS + 1))
    for x, y, sign in ((starts, starts, 1), (ends, ends, 1), (starts, ends, -1), (ends, starts, -1)):
        np.add.at(corners, (y[:, 1], x[:, 0]), sign)
    return corners.cumsum(axis=0).cumsum(axis=1)[:_CELLS, :_CELLS] / max(1, len(shares))


def _overlaps(data: Processed) -> Overlaps:
    own, other, twice, cut_short = [np.zeros(0)], [np.zeros(0)], list[tuple[int, float]](), 0
    for image in range(len(data.images)):
        truth: Boxes = data.images.target(image)
        chosen = np.flatnonzero(~truth.ignore)
        cut_short += len(chosen) > COMPARED
        boxes, labels = truth.boxes[chosen[:COMPARED]], truth.labels[chosen[:COMPARED]]
        if not len(boxes):
            continue
        shared = iou(boxes, boxes).astype(np.float64)
        np.fill_diagonal(shared, 0)
        same = labels[:, None] == labels[None]
        own.append((shared * same).max(axis=1))
        other.append((shared * ~same).max(axis=1))
        twice += [(image, float(value)) for value in shared[np.triu(same) & (shared > TWICE)]]
    twice.sort(key=lambda pair: (-pair[1], pair[0]))
    return Overlaps(np.concatenate(own), np.concatenate(other), twice, cut_short)


def _spread(values: Float64s | Indices) -> dict[str, float] | None:
    """Where the middle nine of ten lie; None: there are no values."""
    if not len(values):
        return None
    return dict(zip(("p5", "p50", "p95"), map(_rounded, np.quantile(values, [0.05, 0.5, 0.95])), strict=True))


def _to_find_none(counts: dict[str, int]) -> list[str]:
    return [name for name, count in counts.items() if not count]


def _share(flags: Flags) -> float | None:
    return round(float(flags.mean()), 4) if len(flags) else None


def _rounded(value: float) -> float:
    return round(float(value), 2 if value < 10 else 1)
