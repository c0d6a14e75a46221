"""True boxes as tensors, and where nothing is to be learned. Read by faster_rcnn.py and yolox.py.

M true boxes of an image, G of them to be learned, the others regions to be ignored: no place there is background.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from drift_detector_pipeline.arrays import Boxes

_INSIDE = 0.5  # of a box's own area, in one region: then nobody says what it shows


class Truth(NamedTuple):
    """What an image teaches."""

    boxes: torch.Tensor  # float32 (G, 4)
    labels: torch.Tensor  # int64 (G,)
    ignored: torch.Tensor  # float32 (M - G, 4)


def truths(targets: Sequence[Boxes], device: torch.device) -> list[Truth]:
    """Each image's boxes on a device."""
    return [_truth(one, device) for one in targets]


def is_ignored(boxes: torch.Tensor, ignored: torch.Tensor) -> torch.Tensor:
    """Whether more than half of each box lies in one of the regions, bool (R,)."""
    if not len(ignored):
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    low = torch.maximum(boxes[:, None, :2], ignored[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], ignored[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(2)
    own = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
    return (shared > _INSIDE * own[:, None]).any(1)


def _truth(target: Boxes, device: torch.device) -> Truth:
    boxes = torch.from_numpy(target.boxes).to(device)
    ignore = torch.from_numpy(target.ignore).to(device)
    return Truth(boxes[~ignore], torch.from_numpy(target.labels).to(device)[~ignore], boxes[ignore])
