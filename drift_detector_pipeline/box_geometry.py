"""Rectangles: how they overlap, which of them say the same. NumPy only, as the service computes with it too.

M and N boxes, float32 (M, 4): x0 y0 x1 y1 in px, half-open. Read by networks/boxes/found.py, by what measures boxes and
by what cuts images.
"""

from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Indices, Labels


class Kept(NamedTuple):
    """What non-maximum suppression leaves of M boxes, best first."""

    places: Indices  # among the M
    agreement: Float32s  # mean IoU with the boxes put away for it, 0 where there were none


def area(boxes: Float32s) -> Float32s:
    """Areas in square px, (M,); 0 for a box that is turned inside out."""
    sides: Float32s = np.maximum(boxes[:, 2:] - boxes[:, :2], np.float32(0))
    return sides[:, 0] * sides[:, 1]


def intersection(boxes: Float32s, others: Float32s) -> Float32s:
    """Areas that each box shares with each other one, (M, N)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    sides: Float32s = np.maximum(high - low, np.float32(0))
    shared: Float32s = sides[..., 0] * sides[..., 1]
    return shared


def iou(boxes: Float32s, others: Float32s) -> Float32s:
    """Intersection over union in 0..1, (M, N); 0 for two boxes without area."""
    shared = intersection(boxes, others)
    union: Float32s = np.maximum(area(boxes)[:, None] + area(others)[None] - shared, np.float32(1e-9))
    return shared / union


def covered(boxes: Float32s, regions: Float32s) -> Float32s:
    """Share in 0..1 of each box's own area that lies in each region, (M, N)."""
    own: Float32s = np.maximum(area(boxes)[:, None], np.float32(1e-9))
    return intersection(boxes, regions) / own


def clip(boxes: Float32s, width: float, height: float) -> Float32s:
    """The parts of boxes that lie in an image of this size, (M, 4); a box outside becomes one without area."""
    return np.clip(boxes, 0, np.array([width, height, width, height], dtype=boxes.dtype))


def nms(boxes: Float32s, scores: Float32s, labels: Labels, threshold: float, most: int) -> Kept:
    """Keep the best box of each class among those with an IoU above `threshold`, at most `most` in all.

    Boxes are taken by falling score, equal ones by their place: nothing depends on how a sort treats ties.
    """
    left = np.argsort(-scores, kind="stable")
    places, agreement = list[int](), list[float]()
    while len(left) and len(places) < most:
        best, left = left[0], left[1:]
        overlap = iou(boxes[best : best + 1], boxes[left])[0]
        away = (labels[left] == labels[best]) & (overlap > threshold)
        places.append(int(best))
        agreement.append(float(overlap[away].mean()) if away.any() else 0.0)
        left = left[~away]
    return Kept(np.array(places, dtype=np.int64), np.array(agreement, dtype=np.float32))
