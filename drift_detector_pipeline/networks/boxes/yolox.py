"""YOLOX: a box, whether it is one and of which class, from every place of three maps at once.

N images, A places (a cell of a map each), K classes, S side in px. Ge et al., YOLOX: Exceeding YOLO Series in 2021: no
anchors, a decoupled head, SimOTA. Its raw output needs nothing but convolutions. Made by catalog.py.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from drift_detector_pipeline.arrays import Boxes
from drift_detector_pipeline.networks.boxes.backbones import STRIDES, Backbone
from drift_detector_pipeline.networks.boxes.found import Found, found
from drift_detector_pipeline.networks.boxes.neck import WIDTH, Neck, conv_norm
from drift_detector_pipeline.networks.boxes.simota import Assigned, Places, assign
from drift_detector_pipeline.networks.boxes.targets import Truth, is_ignored, truths

_PLACE_WEIGHT = 5.0  # of the boxes' loss beside the two others, as published
_FIRST_CHANCE = 0.01  # of anything at a place, before learning: most places hold nothing
_LARGEST = 8.0  # exponent of a box's side in strides: beyond it is no image


class Yolox(nn.Module):
    """In training (images, truth) -> loss; in evaluation images -> boxes (A, 4) and chances (A, K) of each image."""

    overlap = 0.65  # IoU above which two boxes of a class are one, as published

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__()
        self.backbone, self.neck = backbone, Neck(backbone.channels)
        self.heads = nn.ModuleList(_Head(classes) for _ in STRIDES)

    def forward(self, images: torch.Tensor, targets: Sequence[Boxes] | None = None) -> Any:
        """Images (N, 3, S, S); with targets the loss, a scalar."""
        maps = self._maps(images)
        with torch.autocast(images.device.type, enabled=False):
            where, boxes, logits = _decode(maps)
            if targets is None:
                return list(zip(boxes, _chances(logits), strict=True))
            return _loss(where, boxes, logits, truths(targets, images.device))

    @property
    def pretrained_part(self) -> nn.Module:
        """What others may have trained."""
        return self.backbone.net

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        """What pretrained weights expect of an image: mean and std."""
        return self.backbone.pretrained_cfg

    def group_matcher(self, coarse: bool) -> Callable[[str], int]:
        """Numbers the stages of the backbone, as timm's models do; neck and heads are the last."""
        del coarse
        stages = self.backbone.stages()
        return lambda name: stages.get(name.removeprefix("backbone.net."), len(stages))

    def get_classifier(self) -> tuple[nn.Module, ...]:
        """The layers whose shape depends on the number of classes."""
        return tuple(head.get_submodule("classes") for head in self.heads)

    def raw(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Boxes (N, A, 4) in px and chances (N, A, K) of all places."""
        return self.raw_from(self.backbone(images))

    def raw_from(self, features: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The same from the backbone's maps: what an exported graph gives, beside means of these."""
        _, boxes, logits = _decode(self._heads(features))
        return boxes, _chances(logits)

    @torch.no_grad()
    def look(self, images: torch.Tensor, targets: Sequence[Boxes] | None = None) -> list[Found]:
        """What is found in each image, whatever its neighbours; with targets also its loss, of the same output."""
        maps, side_px = self._maps(images), images.shape[-1]
        with torch.autocast(images.device.type, enabled=False):
            where, boxes, logits = _decode(maps)
            known: list[Truth | None] = [None] * len(images) if targets is None else [*truths(targets, images.device)]
            return [_look_at(where, *one, side_px) for one in zip(boxes, logits, known, strict=True)]

    def _maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """What the heads say, float32 (N, 5 + K, S / stride, S / stride) for each stride."""
        return self._heads(self.backbone(images))

    def _heads(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        levels = self.neck(features)
        return [head(level) for head, level in zip(self.heads, levels, strict=True)]


class _Head(nn.Module):
    """Features (N, 96, H, W) -> place (4), is something (1), classes (K) of each cell, (N, 5 + K, H, W)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.narrow = conv_norm(WIDTH, WIDTH, 1)
        self.of_class = nn.Sequential(conv_norm(WIDTH, WIDTH, 3), conv_norm(WIDTH, WIDTH, 3))
        self.of_place = nn.Sequential(conv_norm(WIDTH, WIDTH, 3), conv_norm(WIDTH, WIDTH, 3))
        self.classes = nn.Conv2d(WIDTH, classes, 1)
        self.place, self.something = nn.Conv2d(WIDTH, 4, 1), nn.Conv2d(WIDTH, 1, 1)
        for layer in (self.classes, self.something):
            assert layer.bias is not None
            nn.init.constant_(layer.bias, -math.log((1 - _FIRST_CHANCE) / _FIRST_CHANCE))

    def forward(self, level: torch.Tensor) -> torch.Tensor:
        """The last convolutions are in fp32, whatever runs around them."""
        level = self.narrow(level)
        of_class, of_place = self.of_class(level), self.of_place(level)
        with torch.autocast(level.device.type, enabled=False):
            of_class, of_place = of_class.float(), of_place.float()
            return torch.cat([self.place(of_place), self.something(of_place), self.classes(of_class)], 1)


def _decode(maps: list[torch.Tensor]) -> tuple[Places, torch.Tensor, torch.Tensor]:
    """Boxes (N, A, 4) in px and logits (N, A, 1 + K) of all places, with where these are."""
    where = _places(maps)
    flat = torch.cat([one.flatten(2) for one in maps], 2).transpose(1, 2)
    corners = where.centres - where.strides[:, None] / 2  # a cell's own corner is where nothing is moved
    centres = flat[..., :2] * where.strides[:, None] + corners
    half = flat[..., 2:4].clamp(max=_LARGEST).exp() * where.strides[:, None] / 2
    return where, torch.cat([centres - half, centres + half], 2), flat[..., 4:]


def _places(maps: list[torch.Tensor]) -> Places:
    centres, strides = list[torch.Tensor](), list[torch.Tensor]()
    for one, stride in zip(maps, STRIDES, strict=True):
        rows, columns = (torch.arange(size, device=one.device, dtype=torch.float32) for size in one.shape[-2:])
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        centres.append((torch.stack([x, y], 2).reshape(-1, 2) + 0.5) * stride)
        strides.append(torch.full((x.numel(),), float(stride), device=one.device))
    return Places(torch.cat(centres), torch.cat(strides))


def _chances(logits: torch.Tensor) -> torch.Tensor:
    chances = logits.sigmoid()
    return chances[..., 1:] * chances[..., :1]


def _loss(where: Places, boxes: torch.Tensor, logits: torch.Tensor, known: Sequence[Truth]) -> torch.Tensor:
    """Sums over all images, for each place that answers for a box: place, "is something", class."""
    assigned = [assign(where, *one) for one in zip(boxes, logits, known, strict=True)]
    sums = [_image_loss(*one) for one in zip(boxes, logits, known, assigned, strict=True)]
    answering = max(1, sum(len(one.places) for one in assigned))
    return torch.stack(sums).sum() / answering


def _image_loss(boxes: torch.Tensor, logits: torch.Tensor, truth: Truth, assigned: Assigned) -> torch.Tensor:
    entropy = functional.binary_cross_entropy_with_logits
    said, true = boxes[assigned.places], truth.boxes[assigned.boxes]
    overlap = _overlap(said, true)
    something = torch.zeros_like(logits[:, 0])
    something[assigned.places] = 1
    used = (something > 0) | ~is_ignored(boxes.detach(), truth.ignored)
    classes = functional.one_hot(truth.labels[assigned.boxes], logits.shape[1] - 1) * assigned.overlap[:, None]
    of_place = _PLACE_WEIGHT * (1 - overlap**2).sum()
    of_class = entropy(logits[assigned.places, 1:], classes, reduction="sum")
    return of_place + of_class + entropy(logits[used, 0], something[used], reduction="sum")


def _overlap(boxes: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """IoU of pairs, (P,)."""
    low, high = torch.maximum(boxes[:, :2], others[:, :2]), torch.minimum(boxes[:, 2:], others[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (others[:, 2:] - others[:, :2]).prod(1)
    return shared / (areas - shared + 1e-9)


def _look_at(where: Places, boxes: torch.Tensor, logits: torch.Tensor, truth: Truth | None, side_px: int) -> Found:
    loss = None if truth is None else float(_loss(where, boxes[None], logits[None], [truth]))
    return found(boxes.cpu().numpy(), _chances(logits).cpu().numpy(), side_px, Yolox.overlap, loss)
