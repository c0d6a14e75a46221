"""Networks by name: any timm model, a small MLP, and a fast network for images of about 32 px.

In: `model.*` settings, number of classes, side of the input. Out: a `Network`. Read by tasks, weights.py
and modeling/session.py.
"""

import difflib
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import timm
import torch
from timm.models import get_pretrained_cfg, group_parameters
from torch import nn

from drift_detector_pipeline.errors import ModelError, first_line
from drift_detector_pipeline.files import file_hash
from drift_detector_pipeline.images.model_input import IMAGENET_MEAN, IMAGENET_STD
from drift_detector_pipeline.networks.conv_small import ConvSmall
from drift_detector_pipeline.networks.pretrained import (
    hub_or_cache,
    is_backbone_only,
    load_backbone,
    load_pretrained,
    preprocessing_in,
)
from drift_detector_pipeline.networks.wheel import LITE0, create_lite0
from drift_detector_pipeline.settings import Model
from drift_detector_pipeline.starts import FROM_A_RUN, weight_file


class Network(NamedTuple):
    """A model and what it expects of its input."""

    module: nn.Module  # float32 (N, 3, S, S) -> logits (N, K); what a task makes of it
    mean: tuple[float, ...]  # of pixel values in 0..1
    std: tuple[float, ...]
    pretrained_sha256: str | None  # of `model.pretrained_path`


def create(name: str, classes: int, side_px: int, options: dict[str, Any], *, pretrained: bool = False) -> nn.Module:
    """Create a module by name; raises ModelError for a name or an option that does not exist."""
    own: dict[str, Callable[..., nn.Module]] = {"mlp": _mlp, "conv_small": ConvSmall}
    try:
        if name in own:
            return own[name](classes, **options)
        if name == LITE0:
            return create_lite0(classes, options, pretrained=pretrained)
        if not timm.is_model(name):
            near = difflib.get_close_matches(name.split(".")[0], [*timm.list_models(), *own, LITE0], n=5, cutoff=0)
            raise ModelError(f"model.name={name}: no such timm model; the nearest are {', '.join(near)}")
        if _has_fixed_input(name):
            options = {"img_size": side_px} | options
        if pretrained:
            hub_or_cache()
        module: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=classes, **options)
        return module
    except (TypeError, ValueError, AssertionError) as error:
        raise ModelError(f"model.name={name} does not take model.options={options}: {error}") from error
    except (OSError, RuntimeError) as error:  # what timm and the hub raise without a network or without weights
        reason = f"model.name={name} model.pretrained={str(pretrained).lower()}: {first_line(error)}"
        remedy = ". Fetch the weights elsewhere and pass model.pretrained=false model.pretrained_path=FILE"
        raise ModelError(reason + remedy * pretrained) from error


def check_input(module: nn.Module, name: str, classes: int, side_px: int) -> None:
    """Raise ModelError unless `module` turns an image of `side_px` into `classes` logits."""
    try:
        with torch.no_grad():
            shape = tuple(module.eval()(torch.zeros(1, 3, side_px, side_px)).shape)
    except (RuntimeError, ValueError, TypeError, AssertionError, AttributeError) as error:
        raise ModelError(
            f"model.name={name}: it cannot take images of {side_px} px ({first_line(error)}); "
            "try another data.img_size, or other model.options"
        ) from error
    finally:
        module.train()
    if shape != (1, classes):
        raise ModelError(
            f"model.name={name}: gives {shape} for one image, expected (1, {classes}); check model.options"
        )


def build(
    settings: Model, classes: int, side_px: int, making: Callable[..., nn.Module] = create,
    checking: Callable[[nn.Module, str, int, int], None] = check_input,
) -> Network:  # fmt: skip
    """Build a network for `classes` classes. Random weights are drawn from torch's global generator.

    A task may bring a `making` and a `checking` of its own; these give logits (N, K).

    Raises ModelError if the name, an option or the pretrained weights do not exist or do not fit.
    """
    if settings.num_classes not in (None, classes):
        raise ModelError(f"model.num_classes={settings.num_classes}, but the data has {classes} classes; leave it null")
    module = making(settings.name, classes, side_px, settings.options, pretrained=settings.pretrained)
    checking(module, settings.name, classes, side_px)
    of_images: nn.Module = getattr(module, "frame", module)  # of clips it is a part: what others train is for images
    expects, sha256 = _start(of_images, settings)
    if of_images is not module and (settings.pretrained or settings.pretrained_path or settings.backbone_run):
        hold_norms(of_images)  # frames of a clip are alike: a step sees few scenes
    freeze(of_images, settings.frozen_stages)
    mean, std = tuple(expects.get("mean", IMAGENET_MEAN)), tuple(expects.get("std", IMAGENET_STD))
    return Network(module, mean, std, sha256)


def _start(module: nn.Module, settings: Model) -> tuple[dict[str, Any], str | None]:
    """Load what the network starts from; return what that expects of its input and the hash of its file, if any."""
    file = settings.pretrained_path
    if settings.backbone_run is not None:
        file = weight_file(settings.backbone_run)
        load_backbone(module, file, FROM_A_RUN)
    elif file is not None and is_backbone_only(module, file):
        load_backbone(module, file)
    elif file is not None:
        load_pretrained(module, file)
    if file is None and not settings.pretrained:
        return {}, None
    hold_norms(getattr(module, "pretrained_part", None))
    expects = (preprocessing_in(file) if file else {}) or getattr(module, "pretrained_cfg", {})
    return expects, file_hash(file) if file else None


def freeze(module: nn.Module, stages: int) -> None:
    """Stop the first `stages` layer groups from learning: 1 is the stem, then one group a stage.

    Raises ModelError if the model has no such groups, or nothing would be left to learn.
    """
    if stages == 0:
        return
    if not hasattr(module, "group_matcher"):
        raise ModelError("model.frozen_stages: this model has no stages; use 0")
    groups = group_parameters(module, module.group_matcher(coarse=True))  # type: ignore[operator]
    if stages >= len(groups):
        raise ModelError(f"model.frozen_stages={stages}: the model has {len(groups)} stages; freeze fewer")
    frozen = {name for stage in sorted(groups)[:stages] for name in groups[stage]}
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name not in frozen)


def hold_norms(part: nn.Module | None) -> None:
    """Let BatchNorm of a pretrained part stay as it was: a step of boxes or clips sees too few images to do better."""
    for layer in part.modules() if part is not None else ():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            for weight in layer.parameters():
                weight.requires_grad_(False)


def set_training(module: nn.Module) -> None:
    """Put a module into training mode, except BatchNorm in frozen stages: its statistics stay as they were."""
    module.train()
    for layer in module.modules():
        if (
            isinstance(layer, nn.modules.batchnorm._BatchNorm)
            and layer.weight is not None
            and not layer.weight.requires_grad
        ):
            layer.eval()


def _has_fixed_input(name: str) -> bool:
    found = get_pretrained_cfg(name, allow_unregistered=True)
    takes_size = "img_size" in inspect.signature(timm.model_entrypoint(name.split(".")[0])).parameters
    return takes_size or bool(found and found.fixed_input_size)


def _mlp(classes: int, *, width: int = 128) -> nn.Module:
    """Two hidden layers on 8 x 8 averages: small enough for tests, real enough to learn digits."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(3 * 64, width), nn.ReLU(),
        nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes),
    )  # fmt: skip


def parameter_count(module: nn.Module) -> int:
    """Number of weights that learn."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def seed_everything(*numbers: int) -> None:
    """Make torch's global generators a function of `numbers`."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1)))
