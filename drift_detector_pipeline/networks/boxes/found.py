"""What a network says of one image: few boxes out of its many. NumPy only, for whoever has no PyTorch.

R raw boxes, K classes, M boxes that are left, S side of the view in px. Fed by faster_rcnn.py, yolox.py and by exported
networks, read by the task of boxes.
"""

from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Labels
from drift_detector_pipeline.box_geometry import clip, nms

MOST = 100  # boxes of an image, as COCO's evaluation counts them
LEAST_SCORE = 0.01
_CANDIDATES = 1000  # that suppression looks at: a bound on its time


class Found(NamedTuple):
    """The boxes of one image, best first; every number is finite."""

    boxes: Float32s  # (M, 4), x0 y0 x1 y1 in px of the view, inside it
    scores: Float32s  # (M,), falling, in 0.01..1
    labels: Labels  # (M,)
    agreement: Float32s  # (M,), mean IoU with the boxes that were put away for this one, 0 where there were none
    loss: Float32s  # (1,) where the truth was given, else (0,)


def found(boxes: Float32s, chances: Float32s, side_px: int, overlap: float, loss: float | None = None) -> Found:
    """Choose among raw boxes, (R, 4) or one a class (R, K, 4), by their chances (R, K) in 0..1.

    Two boxes of a class whose IoU is above `overlap` are one. What is not finite is left out.
    """
    place, label = np.nonzero(chances > LEAST_SCORE)
    scores = chances[place, label].astype(np.float32)
    best = np.argsort(-scores, kind="stable")[:_CANDIDATES]
    place, label, scores = place[best], label[best], scores[best]
    chosen = clip((boxes[place, label] if boxes.ndim == 3 else boxes[place]).astype(np.float32), side_px, side_px)
    usable = np.isfinite(chosen).all(1) & (chosen[:, 2:] > chosen[:, :2]).all(1)
    chosen, scores, label = chosen[usable], scores[usable], label[usable]
    kept = nms(chosen, scores, label, overlap, MOST)
    told = np.array([] if loss is None else [loss], dtype=np.float32)
    return Found(chosen[kept.places], scores[kept.places], label[kept.places], kept.agreement, told)
