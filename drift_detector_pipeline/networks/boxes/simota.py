"""Which places of a detector without anchors answer for which true box: the cheapest, as many as fit it well already.

A places, G true boxes, K classes. SimOTA, Ge et al., YOLOX, 2021, section 2.1: a place is a candidate of a box if it
lies near its centre; a box takes its dynamic number of cheapest candidates; a place wanted twice goes where it is
cheaper. Read by yolox.py.
"""

from typing import NamedTuple

import torch
from torch.nn import functional
from torchvision.ops import box_iou

from drift_detector_pipeline.networks.boxes.targets import Truth

_RADIUS = 1.5  # strides from a box's centre, in x and in y, within which a place is a candidate
_PLACE_WEIGHT = 3.0  # of the overlap's cost beside the class's
_VOTES = 10  # best overlaps of a box, whose sum is the number of places it takes
_NO_CANDIDATE = 1e6  # cost that no other one reaches


class Places(NamedTuple):
    """What each place knows at the start of an assignment."""

    centres: torch.Tensor  # float32 (A, 2) in px
    strides: torch.Tensor  # float32 (A,) in px


class Assigned(NamedTuple):
    """P places that answer for a true box."""

    places: torch.Tensor  # int64 (P,), rising
    boxes: torch.Tensor  # int64 (P,): which of the G
    overlap: torch.Tensor  # float32 (P,): IoU of what the place says now with that box


@torch.no_grad()
def assign(where: Places, boxes: torch.Tensor, logits: torch.Tensor, truth: Truth) -> Assigned:
    """Assign the truth to places that say boxes (A, 4); logits (A, 1 + K) say how surely something, and which class."""
    near = _near(where, truth)
    candidates = torch.nonzero(near.any(0))[:, 0]
    if not len(candidates):
        nowhere = torch.zeros(0, dtype=torch.int64, device=boxes.device)
        return Assigned(nowhere, nowhere, boxes.new_zeros(0))
    overlap = box_iou(truth.boxes, boxes[candidates])
    cost = _PLACE_WEIGHT * -torch.log(overlap + 1e-8) + _class_cost(logits[candidates], truth.labels)
    taken = _cheapest(cost + _NO_CANDIDATE * ~near[:, candidates], overlap)
    used = taken.any(0)
    box = taken[:, used].int().argmax(0)
    return Assigned(candidates[used], box, overlap[:, used].gather(0, box[None])[0])


def _near(where: Places, truth: Truth) -> torch.Tensor:
    """Whether each place is a candidate of each box, bool (G, A)."""
    centres = (truth.boxes[:, :2] + truth.boxes[:, 2:]) / 2
    away = (where.centres[None] - centres[:, None]).abs().amax(2)
    return away < _RADIUS * where.strides


def _class_cost(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy of each place's joint chances with each box's class, (G, places)."""
    chances = (logits[:, 1:].sigmoid() * logits[:, :1].sigmoid()).sqrt()
    wanted = functional.one_hot(labels, chances.shape[1]).to(chances.dtype)
    shape = len(labels), *chances.shape
    entropy = functional.binary_cross_entropy(
        chances[None].expand(shape), wanted[:, None].expand(shape), reduction="none"
    )
    return entropy.sum(2)


def _cheapest(cost: torch.Tensor, overlap: torch.Tensor) -> torch.Tensor:
    """Which candidates each box takes, bool (G, candidates): at most one box a candidate."""
    votes = overlap.topk(min(_VOTES, overlap.shape[1]), dim=1).values.sum(1).int().clamp(min=1)
    rank = cost.argsort(dim=1, stable=True).argsort(dim=1)
    taken = rank < votes[:, None]
    wanted_twice = taken.sum(0) > 1
    cheaper = functional.one_hot(cost.argmin(0), len(cost)).T.bool()
    return torch.where(wanted_twice, cheaper, taken)
