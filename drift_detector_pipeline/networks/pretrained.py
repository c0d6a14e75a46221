"""Weights that others have trained: a local file, or the hub, from which timm fetches.

In: a module and a path. Out: the module with those weights. Read by models.py.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import requests
import torch
from huggingface_hub import constants as hub
from safetensors import safe_open
from torch import nn

from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import ModelError
from drift_detector_pipeline.networks.weight_files import read_state
from drift_detector_pipeline.starts import FROM_OTHERS

_COUNTER = "num_batches_tracked"  # BatchNorm has it since PyTorch 0.4.1


def load_pretrained(module: nn.Module, path: Path) -> None:
    """Load a safetensors or PyTorch weight file (never arbitrary pickles).

    The state dict may lie under a usual key and its names have usual prefixes. A head that is missing or of another
    size starts afresh, as do counters of BatchNorm; what does is said. Raises ModelError if the file is missing,
    unreadable, or has other layers.
    """
    expected, head = module.state_dict(), _head_names(module)
    state, beside = read_state(path, expected.keys(), FROM_OTHERS)
    reshaped = {name for name in state.keys() & expected.keys() if not _is_alike(state[name], expected[name])}
    missing, foreign = expected.keys() - state.keys(), state.keys() - expected.keys()
    counters = {name for name in missing if name.endswith(_COUNTER)}
    fresh = head if (missing | reshaped) & head else set[str]()
    other_head = {name for name in foreign if fresh and _is_other_head(name, expected.keys() - head)}
    if missing - head - counters or foreign - other_head or reshaped - head:
        raise ModelError(
            f"{FROM_OTHERS}={path}: not weights of this model ({len(missing)} tensors missing, {len(foreign)} "
            f"foreign, {len(reshaped)} of a different shape or kind); check model.name, model.options and data.img_size"
        )
    taken = {name: state[name] for name in expected if name in state and name not in fresh}
    _refuse_no_numbers(FROM_OTHERS, path, taken, module)
    if fresh:
        why = "has a different number of classes" if reshaped else "has no head of this model"
        log.info("%s: %s; the head starts afresh", path, why)
    if counters:
        log.info("%s: has no %s of %d layers; they count from 0", path, _COUNTER, len(counters))
    if beside | other_head:
        log.info("%s: tensors left out as not of this model: %d", path, len(beside | other_head))
    module.load_state_dict(taken, strict=False)


def load_backbone(module: nn.Module, path: Path, key: str = FROM_OTHERS) -> None:
    """Load all but the head from a weight file of a network with the same backbone, whatever that was trained for.

    Where the network has a part named `pretrained_part`, that is its backbone and all else starts afresh. timm names
    the same layer `stages.0` in a classifier and `stages_0` in a backbone: both are taken. Errors as `load_pretrained`;
    they call the file by `key`, the setting that names it.
    """
    part: nn.Module = getattr(module, "pretrained_part", module)
    head = set() if part is not module else _head_names(module)
    expected = {name: tensor for name, tensor in part.state_dict().items() if name not in head}
    state = {_plain(name): tensor for name, tensor in read_state(path, expected.keys(), key)[0].items()}
    found = {name: state[_plain(name)] for name in expected if _plain(name) in state}
    missing = [name for name in expected if name not in found and not name.endswith(_COUNTER)]
    reshaped = [name for name in found if not _is_alike(found[name], expected[name])]
    if missing or reshaped:
        raise ModelError(
            f"{key}={path}: not weights of this backbone ({len(missing)} tensors missing, {len(reshaped)} of a "
            f"different shape or kind, such as {(missing + reshaped)[0]}); check model.name and model.options"
        )
    _refuse_no_numbers(key, path, found, part)
    part.load_state_dict(found, strict=False)
    fresh = len(module.state_dict()) - len(found)
    log.info("%s: %d tensors of the backbone are taken, %d others start afresh", path, len(found), fresh)


def is_backbone_only(module: nn.Module, path: Path) -> bool:
    """Whether a file holds nothing of a network but, at most, its part that others pretrain."""
    if not hasattr(module, "pretrained_part"):
        return False
    ours = {id(tensor) for tensor in module.pretrained_part.parameters()}  # type: ignore[union-attr]
    own = {name for name, tensor in module.named_parameters() if id(tensor) not in ours}
    return not own & read_state(path, module.state_dict().keys(), FROM_OTHERS)[0].keys()


def preprocessing_in(path: Path) -> dict[str, Any]:
    """What a weight file written by this package says of its input; empty for a foreign one, or where that is odd."""
    if path.suffix != ".safetensors":
        return {}
    with safe_open(str(path), "pt") as file:
        header = (file.metadata() or {}).get("model", "{}")
    try:
        found = json.loads(header)["preprocessing"]
        mean, std = np.array(found["mean"], dtype=np.float64), np.array(found["std"], dtype=np.float64)
        usable = mean.shape == std.shape == (3,) and (mean >= 0).all() and (mean <= 1).all() and (std > 0).all()
        usable = usable and np.isfinite(std).all()
    except (ValueError, TypeError, LookupError, RecursionError):  # others write under this name what they like
        return {}
    return {"mean": mean.tolist(), "std": std.tolist()} if usable else {}


def hub_or_cache() -> None:
    """Let the hub's client use its cache only when the hub does not answer: by itself it retries for minutes.

    The client tells the hub nothing of this machine, also where HF_HUB_DISABLE_TELEMETRY=1 is not in the environment.
    """
    hub.HF_HUB_DISABLE_TELEMETRY = True
    if hub.HF_HUB_OFFLINE:
        return
    try:
        requests.head(hub.ENDPOINT, timeout=5)
    except requests.RequestException as error:
        log.warning("%s does not answer (%s); looking in the local cache only", hub.ENDPOINT, type(error).__name__)
        hub.HF_HUB_OFFLINE = True


def _is_alike(given: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether one may stand for the other: of one shape, and no integers, such as quantized weights, for floats."""
    return given.shape == expected.shape and (given.is_floating_point() or not expected.is_floating_point())


def _refuse_no_numbers(key: str, path: Path, state: dict[str, torch.Tensor], module: nn.Module) -> None:
    buffers = {name for name, _ in module.named_buffers()}  # of which bounds of a clamp may be infinite
    if broken := [
        name for name, tensor in state.items() if (tensor.isnan() if name in buffers else ~tensor.isfinite()).any()
    ]:
        raise ModelError(
            f"{key}={path}: {len(broken)} of its tensors, such as {broken[0]}, hold values that are no "
            "numbers (NaN or infinite): their training has failed; take other weights"
        )


def _plain(name: str) -> str:
    return name.replace(".", "_")


def _is_other_head(name: str, body: Collection[str]) -> bool:
    """Whether a tensor's outermost layer is none of the body's: more layers within the body are another model."""
    outermost = name.split(".")[0]
    return not outermost.isdigit() and outermost not in {own.split(".")[0] for own in body}


def _head_names(module: nn.Module) -> set[str]:
    """Names of the tensors whose shape depends on the number of classes."""
    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    found: Any = module.get_classifier() if hasattr(module, "get_classifier") else linear[-1]  # type: ignore[operator]
    layers = found if isinstance(found, tuple) else (found,)  # a distilled model has two
    ours = {id(tensor) for layer in layers for tensor in layer.parameters()}
    return {name for name, tensor in module.named_parameters() if id(tensor) in ours}
