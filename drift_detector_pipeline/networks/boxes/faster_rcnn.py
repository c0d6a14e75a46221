"""Faster R-CNN: regions that may hold something, then what is in them; torchvision's parts with a small head.

N images, K classes, R regions, S side in px. Ren et al., Faster R-CNN, NeurIPS 2015. torchvision's own 320 px model
spends most of its time in a head of 1,024 units for 512 regions an image; a few hundred images are learned as well by
256 units and 64 regions. Made by catalog.py.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import MultiScaleRoIAlign

from drift_detector_pipeline.arrays import Boxes
from drift_detector_pipeline.networks.boxes.backbones import STRIDES, Backbone
from drift_detector_pipeline.networks.boxes.fixed_regions import contents, propose
from drift_detector_pipeline.networks.boxes.found import Found, found
from drift_detector_pipeline.networks.boxes.neck import WIDTH, Neck
from drift_detector_pipeline.networks.boxes.targets import Truth, is_ignored, truths

_ANCHOR_STRIDES = (*STRIDES, 64)  # the coarsest map is halved once more, for what fills the image
_ANCHOR_SIDES = (2.0, 2.8)  # in strides: 16 to 181 px
_ASPECTS = (0.5, 1.0, 2.0)
_IGNORED = -1  # torchvision's label of a place from which nothing is learned


class FasterRcnn(nn.Module):
    """In training (images, truth) -> loss; in evaluation images -> boxes (R, K, 4) and chances (R, K) of each image."""

    overlap = 0.5  # IoU above which two boxes of a class are one

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__()
        self.backbone, self.neck = backbone, Neck(backbone.channels)
        self.rpn, self.roi = _regions(), _contents(classes)

    def forward(self, images: torch.Tensor, targets: Sequence[Boxes] | None = None) -> Any:
        """Images (N, 3, S, S); with targets the loss, a scalar."""
        features, side_px = self._features(images), images.shape[-1]
        with torch.autocast(images.device.type, enabled=False):
            if targets is not None:
                return self._loss(features, targets, side_px)[1]
            regions = self._propose(features, None, side_px)[0]
            return [self._contents(_only(features, one), regions[one], side_px) for one in range(len(images))]

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
        return self.roi.box_predictor.cls_score, self.roi.box_predictor.bbox_pred

    @torch.no_grad()
    def look(self, images: torch.Tensor, targets: Sequence[Boxes] | None = None) -> list[Found]:
        """What is found in each image, whatever its neighbours; with targets also its loss, of the same features."""
        features, side_px = self._features(images), images.shape[-1]
        with torch.autocast(images.device.type, enabled=False):
            return [
                self._look_at(_only(features, one), None if targets is None else targets[one], side_px)
                for one in range(len(images))
            ]

    def raw_from(self, features: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Boxes (N, R, K, 4) and chances (N, R, K) from the backbone's maps: what an exported graph gives."""
        maps = self._maps(features)
        side_px = maps[0].shape[-1] * STRIDES[0]
        regions, real = propose(self.rpn.eval(), maps, side_px)
        return contents(self.roi, maps[: len(STRIDES)], regions, real, side_px)

    def _features(self, images: torch.Tensor) -> list[torch.Tensor]:
        return self._maps(self.backbone(images))

    def _maps(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        maps = [one.float() for one in self.neck(features)]
        return [*maps, functional.max_pool2d(maps[-1], 1, stride=2)]

    def _propose(
        self, features: list[torch.Tensor], learn: list[dict[str, torch.Tensor]] | None, side_px: int
    ) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
        """Regions (R, 4) of each image and, if there is something to learn, the losses."""
        self.rpn.train(learn is not None)  # it has no layer that behaves otherwise in training
        sizes = [(side_px, side_px)] * len(features[0])
        images = features[0].new_empty(0, 3, side_px, side_px)  # it looks only at their size
        regions, losses = self.rpn(ImageList(images, sizes), _named(features), learn)
        return regions, losses

    def _loss(
        self, features: list[torch.Tensor], targets: Sequence[Boxes], side_px: int
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Regions (R, 4) of each image, and how wrong they and what is said of them are."""
        learn = [_as_torchvision(one) for one in truths(targets, features[0].device)]
        regions, losses = self._propose(features, learn, side_px)
        said = sum(losses.values(), features[0].new_zeros(()))
        sampled, _, labels, changes = self.roi.select_training_samples(list(regions), learn)
        if any(map(len, labels)):
            return regions, said + sum(fastrcnn_loss(*self._predict(features, sampled, side_px), labels, changes))
        nothing = sum(weights.sum() for weights in self.roi.parameters()) * 0  # all is ignored here, perhaps not in
        return regions, said + nothing  # the batches of other processes, which wait for a gradient of each weight

    def _contents(
        self, features: list[torch.Tensor], regions: torch.Tensor, side_px: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Boxes (R, K, 4) and chances (R, K) of the regions of one image."""
        logits, changes = self._predict(features, [regions], side_px)
        boxes = self.roi.box_coder.decode(changes, [regions])
        return boxes[:, 1:], logits.softmax(1)[:, 1:]  # the first class of torchvision is the background

    def _predict(
        self, features: list[torch.Tensor], regions: list[torch.Tensor], side_px: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (R, 1 + K) and changes (R, 4 (1 + K)) of the regions of all images."""
        pooled = self.roi.box_roi_pool(_named(features), regions, [(side_px, side_px)] * len(regions))
        said: tuple[torch.Tensor, torch.Tensor] = self.roi.box_predictor(self.roi.box_head(pooled))
        return said

    def _look_at(self, features: list[torch.Tensor], target: Boxes | None, side_px: int) -> Found:
        loss = None
        if target is None:
            (regions,), _ = self._propose(features, None, side_px)
        else:
            with torch.random.fork_rng([features[0].device] if features[0].is_cuda else []):
                torch.manual_seed(0)  # which places are compared with the truth is drawn, alike for every image
                (regions,), loss = self._loss(features, [target], side_px)
        boxes, chances = (one.cpu().numpy() for one in self._contents(features, regions, side_px))
        return found(boxes, chances, side_px, self.overlap, None if loss is None else float(loss))


class _Regions(RegionProposalNetwork):  # type: ignore[misc]
    """torchvision's, without background in ignored regions."""

    def assign_targets_to_anchors(
        self, anchors: list[torch.Tensor], targets: list[dict[str, torch.Tensor]]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """1 for anchors to learn as something, 0 as background, -1 not at all."""
        seen = [one["labels"] != _IGNORED for one in targets]
        learned = [{"boxes": one["boxes"][use]} for one, use in zip(targets, seen, strict=True)]
        labels, boxes = super().assign_targets_to_anchors(anchors, learned)
        for label, places, one, use in zip(labels, anchors, targets, seen, strict=True):
            label[(label == 0) & is_ignored(places, one["boxes"][~use])] = _IGNORED
        return labels, boxes

    def compute_loss(
        self, objectness: torch.Tensor, pred_bbox_deltas: torch.Tensor, labels: list[torch.Tensor],
        regression_targets: list[torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """Losses of objectness and place, 0 where all is ignored."""
        if all((one == _IGNORED).all() for one in labels):
            return objectness.sum() * 0, pred_bbox_deltas.sum() * 0
        losses: tuple[torch.Tensor, torch.Tensor] = super().compute_loss(
            objectness, pred_bbox_deltas, labels, regression_targets
        )
        return losses


class _Contents(RoIHeads):  # type: ignore[misc]
    """torchvision's, without background in ignored regions."""

    def assign_targets_to_proposals(
        self, proposals: list[torch.Tensor], gt_boxes: list[torch.Tensor], gt_labels: list[torch.Tensor]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """For each region a true box and its class, 0 for background, -1 for nothing; ignored boxes are the last."""
        seen = [labels != _IGNORED for labels in gt_labels]
        boxes, classes = ([one[use] for one, use in zip(all_, seen, strict=True)] for all_ in (gt_boxes, gt_labels))
        matched, labels = super().assign_targets_to_proposals(proposals, boxes, classes)
        for label, places, truth, use in zip(labels, proposals, gt_boxes, seen, strict=True):
            label[(label == 0) & is_ignored(places, truth[~use])] = _IGNORED
        return matched, labels


def _regions() -> _Regions:
    sides = tuple(tuple(round(stride * side) for side in _ANCHOR_SIDES) for stride in _ANCHOR_STRIDES)
    anchors = AnchorGenerator(sides, (_ASPECTS,) * len(sides))
    few = {"training": 200, "testing": 200}
    return _Regions(
        anchors, RPNHead(WIDTH, anchors.num_anchors_per_location()[0]), fg_iou_thresh=0.7, bg_iou_thresh=0.3,
        batch_size_per_image=128, positive_fraction=0.5, pre_nms_top_n=few, post_nms_top_n=few, nms_thresh=0.7,
    )  # fmt: skip


def _contents(classes: int) -> _Contents:
    pool = MultiScaleRoIAlign(["0", "1", "2"], output_size=7, sampling_ratio=2)
    return _Contents(
        pool, TwoMLPHead(WIDTH * 7 * 7, 256), FastRCNNPredictor(256, classes + 1), fg_iou_thresh=0.5, bg_iou_thresh=0.5,
        batch_size_per_image=64, positive_fraction=0.25, bbox_reg_weights=None, score_thresh=0.0, nms_thresh=0.5,
        detections_per_img=100,
    )  # fmt: skip


def _as_torchvision(truth: Truth) -> dict[str, torch.Tensor]:
    """Count as torchvision does: classes from 1, ignored regions last."""
    unknown = torch.full((len(truth.ignored),), _IGNORED, device=truth.labels.device)
    return {"boxes": torch.cat([truth.boxes, truth.ignored]), "labels": torch.cat([truth.labels + 1, unknown])}


def _only(features: list[torch.Tensor], one: int) -> list[torch.Tensor]:
    return [level[one : one + 1] for level in features]


def _named(features: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    return {str(level): one for level, one in enumerate(features)}
