"""Weights that others have trained: a local file, or the hub, from which timm fetches.

In: a module and a path. Out: the module with those weights. Read by models.py.
"""

import json
import pickle
from pathlib import Path
from typing import Any

import requests
import torch
from huggingface_hub import constants as hub
from safetensors import SafetensorError, safe_open
from timm.models import load_state_dict
from torch import nn

from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import ModelError


def load_pretrained(module: nn.Module, path: Path) -> None:
    """Load a safetensors or PyTorch weight file (never arbitrary pickles); a head of another size starts afresh.

    Raises ModelError if the file is missing, unreadable, or has other layers.
    """
    state, expected, head = _read_state(path), module.state_dict(), _head_names(module)
    reshaped = {name for name in state.keys() & expected.keys() if state[name].shape != expected[name].shape}
    missing, foreign = expected.keys() - state.keys(), state.keys() - expected.keys()
    if missing or foreign or reshaped - head:
        raise ModelError(
            f"model.pretrained_path={path}: not weights of this model ({len(missing)} tensors missing, {len(foreign)} "
            f"foreign, {len(reshaped)} of another shape); check model.name, model.options and data.img_size"
        )
    if reshaped:
        log.info("%s: has another number of classes; the head starts afresh", path)
    module.load_state_dict({name: value for name, value in state.items() if name not in reshaped}, strict=False)


def preprocessing_in(path: Path) -> dict[str, Any]:
    """What a weight file written by this package says of its input; empty for a foreign one."""
    if path.suffix != ".safetensors":
        return {}
    with safe_open(str(path), "pt") as file:
        header = (file.metadata() or {}).get("model", "{}")
    preprocessing: dict[str, Any] = json.loads(header).get("preprocessing", {})
    return preprocessing


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


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its kind if it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise ModelError(f"model.pretrained_path={path}: no such file; expected safetensors, or a .pth state dict")
    try:
        state: dict[str, torch.Tensor] = load_state_dict(str(path), device="cpu", weights_only=True)
    except (pickle.UnpicklingError, OSError, ValueError, RuntimeError, SafetensorError, KeyError, EOFError) as error:
        raise ModelError(
            f"model.pretrained_path={path}: no safetensors or .pth file with nothing but weights; pickled code is "
            f"never run ({first_line(error)})"
        ) from error
    except AttributeError as error:  # from timm: what was read is no dictionary
        raise ModelError(f"model.pretrained_path={path}: holds no state dict") from error
    if not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelError(f"model.pretrained_path={path}: its state dict holds more than tensors")
    return state


def _head_names(module: nn.Module) -> set[str]:
    """Names of the tensors whose shape depends on the number of classes."""
    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    found: Any = module.get_classifier() if hasattr(module, "get_classifier") else linear[-1]  # type: ignore[operator]
    layers = found if isinstance(found, tuple) else (found,)  # a distilled model has two
    ours = {id(tensor) for layer in layers for tensor in layer.parameters()}
    return {name for name, tensor in module.named_parameters() if id(tensor) in ours}
