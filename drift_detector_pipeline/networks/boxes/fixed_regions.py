"""Faster R-CNN in shapes that depend on no image, as a graph for other runtimes.

As torchvision chooses and reads regions, with masks in place of lists that grow and shrink: `forward` in inference,
with rows of chance 0 where an image has fewer regions than R. Read by faster_rcnn.py.

N images, L maps, k candidates of a map, R regions, K classes, S side in px.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import roi_align

_LEAST_SIDE_PX = 1e-3  # of a region, as torchvision has it
_ROUNDS = 16  # of suppression: the longest chain of boxes, each put away by the one before, that comes out exactly
_CANONICAL_PX, _CANONICAL_LEVEL = 224, 4  # a region of this side is looked at on the map of stride 2 ** 4


def propose(
    rpn: RegionProposalNetwork, maps: Sequence[torch.Tensor], side_px: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Regions (N, R, 4) in px, best first, and whether each is one, bool (N, R)."""
    said, moved = rpn.head(list(maps))
    images = ImageList(maps[0].new_empty(0, 3, side_px, side_px), [(side_px, side_px)])
    anchors = rpn.anchor_generator(images, list(maps))[0]
    sizes = [one[0].numel() for one in said]
    most = rpn.post_nms_top_n()
    each = [_candidates(rpn, *one, most, side_px) for one in zip(said, moved, anchors.split(sizes), strict=True)]
    boxes, scores = (torch.stack(parts, 1) for parts in zip(*each, strict=True))
    kept = scores.masked_fill(~_left(boxes, scores >= 0, rpn.nms_thresh), -1).flatten(1)
    best, which = kept.topk(most, dim=1)
    return boxes.flatten(1, 2).gather(1, which[..., None].expand(-1, -1, 4)), best >= 0


def contents(
    roi: RoIHeads, maps: Sequence[torch.Tensor], regions: torch.Tensor, real: torch.Tensor, side_px: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes (N, R, K, 4) in px and chances (N, R, K) of regions (N, R, 4), of which some are `real`."""
    images, number = regions.shape[:2]
    flat = regions.flatten(0, 1)
    logits, changes = roi.box_predictor(roi.box_head(_pooled(roi, maps, regions, side_px)))
    boxes = roi.box_coder.decode(changes, [flat])[:, 1:]  # the first class of torchvision is the background
    chances = logits.softmax(1)[:, 1:] * real.flatten()[:, None]
    classes = logits.shape[1] - 1
    return boxes.reshape(images, number, classes, 4), chances.reshape(images, number, classes)


def _candidates(
    rpn: RegionProposalNetwork, said: torch.Tensor, moved: torch.Tensor, anchors: torch.Tensor, most: int, side_px: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The best boxes (N, k, 4) of a map, cut to the image, and their scores (N, k), -1 of what is none."""
    scores = said.permute(0, 2, 3, 1).flatten(1)
    changes = moved.reshape(moved.shape[0], -1, 4, *moved.shape[2:]).permute(0, 3, 4, 1, 2).flatten(1, 3)
    best, which = scores.topk(min(most, len(anchors)), dim=1)
    changes = changes.gather(1, which[..., None].expand(-1, -1, 4))
    boxes = rpn.box_coder.decode_single(changes.flatten(0, 1), anchors[which].flatten(0, 1))
    boxes = boxes.reshape(changes.shape).clamp(0, side_px)
    small = (boxes[..., 2:] - boxes[..., :2] < _LEAST_SIDE_PX).any(2)
    missing = most - best.shape[1]
    scores = best.sigmoid().masked_fill(small, -1)
    return functional.pad(boxes, (0, 0, 0, missing)), functional.pad(scores, (0, missing), value=-1.0)


def _left(boxes: torch.Tensor, real: torch.Tensor, overlap: float) -> torch.Tensor:
    """Which boxes (N, L, k, 4), best first, no better one puts away that is left itself, bool (N, L, k).

    Greedy suppression as rounds over all boxes at once: each round settles at least one box more of every chain.
    """
    low = torch.maximum(boxes[..., :, None, :2], boxes[..., None, :, :2])
    high = torch.minimum(boxes[..., :, None, 2:], boxes[..., None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    same = shared > overlap * (areas[..., :, None] + areas[..., None, :] - shared)
    worse = torch.ones(boxes.shape[-2], boxes.shape[-2], device=boxes.device).tril(-1)  # row: whom the columns beat
    beaten = same.float() * worse
    left = real.float()
    for _ in range(_ROUNDS):
        left = real.float() * (beaten @ left[..., None] < 0.5)[..., 0].float()
    return left > 0.5


def _pooled(roi: RoIHeads, maps: Sequence[torch.Tensor], regions: torch.Tensor, side_px: int) -> torch.Tensor:
    """What each region shows, (N R, C, 7, 7): of the map that suits its size. Maps that suit none are not looked at."""
    images, number = regions.shape[:2]
    image = torch.arange(images, device=regions.device)[:, None].expand(images, number).reshape(-1, 1)
    flat = regions.flatten(0, 1)
    rois = torch.cat([image.to(flat.dtype), flat], 1)
    side = (flat[:, 2:] - flat[:, :2]).prod(1).sqrt()
    level = torch.floor(_CANONICAL_LEVEL + torch.log2(side / _CANONICAL_PX) + 1e-6)
    strides = [side_px // one.shape[-1] for one in maps]
    used = [one for one in strides if one == strides[0] or _CANONICAL_PX * one / 2**_CANONICAL_LEVEL <= side_px]
    pool = roi.box_roi_pool
    pooled = [
        roi_align(one, rois, pool.output_size, 1 / stride, pool.sampling_ratio)
        for one, stride in zip(maps, used, strict=False)
    ]
    said: torch.Tensor = pooled[0]
    for stride, one in zip(used[1:], pooled[1:], strict=True):
        said = torch.where((level >= stride.bit_length() - 1)[:, None, None, None], one, said)
    return said
