"""Weights that others have trained: a local file, or the hub, from which timm fetches.

In: a module and a path. Out: the module with those weights. Read by models.py.
"""

import itertools
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import requests
import torch
from huggingface_hub import constants as hub
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import ModelError
from drift_detector_pipeline.first_bytes import first_bytes, what_else
from drift_detector_pipeline.starts import FROM_OTHERS, missing_weights, no_weights

# Where training programs keep a state dict among other things; the first that is there is taken, and said.
_NESTED = ("state_dict_ema", "model_ema", "state_dict", "model", "ema_state_dict", "ema", "model_state_dict", "net")
# What wrappers put before each name: several processes, compiled modules, modules that hold the network.
_WRAPPERS = {"module", "_orig_mod", "model", "backbone", "net", "network", "encoder", "frame"}
# What damaged files raise; of the old .pth format PyTorch checks nothing before it builds tensors of it.
_UNREADABLE = (
    *(pickle.UnpicklingError, SafetensorError, OSError, EOFError, ValueError, TypeError, LookupError, RuntimeError),
    *(AssertionError, AttributeError, ArithmeticError, MemoryError, struct.error),
    *(zipfile.BadZipFile, zlib.error),
)
_COUNTER = "num_batches_tracked"  # BatchNorm has it since PyTorch 0.4.1


def load_pretrained(module: nn.Module, path: Path) -> None:
    """Load a safetensors or PyTorch weight file (never arbitrary pickles).

    The state dict may lie under a usual key and its names have usual prefixes. A head that is missing or of another
    size starts afresh, as do counters of BatchNorm; what does is said. Raises ModelError if the file is missing,
    unreadable, or has other layers.
    """
    expected, head = module.state_dict(), _head_names(module)
    state, beside = _without_wrappers(_read_state(path, FROM_OTHERS), expected.keys())
    reshaped = {name for name in state.keys() & expected.keys() if state[name].shape != expected[name].shape}
    missing, foreign = expected.keys() - state.keys(), state.keys() - expected.keys()
    counters = {name for name in missing if name.endswith(_COUNTER)}
    fresh = head if (missing | reshaped) & head else set[str]()
    other_head = {name for name in foreign if fresh and _is_other_head(name, expected.keys() - head)}
    if missing - head - counters or foreign - other_head or reshaped - head:
        raise ModelError(
            f"{FROM_OTHERS}={path}: not weights of this model ({len(missing)} tensors missing, {len(foreign)} "
            f"foreign, {len(reshaped)} of a different shape); check model.name, model.options and data.img_size"
        )
    if fresh:
        why = "has a different number of classes" if reshaped else "has no head of this model"
        log.info("%s: %s; the head starts afresh", path, why)
    if counters:
        log.info("%s: has no %s of %d layers; they count from 0", path, _COUNTER, len(counters))
    if beside | other_head:
        log.info("%s: tensors left out as not of this model: %d", path, len(beside | other_head))
    module.load_state_dict({name: state[name] for name in state.keys() & expected.keys() - fresh}, strict=False)


def load_backbone(module: nn.Module, path: Path, key: str = FROM_OTHERS) -> None:
    """Load all but the head from a weight file of a network with the same backbone, whatever that was trained for.

    Where the network has a part named `pretrained_part`, that is its backbone and all else starts afresh. timm names
    the same layer `stages.0` in a classifier and `stages_0` in a backbone: both are taken. Errors as `load_pretrained`;
    they call the file by `key`, the setting that names it.
    """
    part: nn.Module = getattr(module, "pretrained_part", module)
    head = set() if part is not module else _head_names(module)
    expected = {name: tensor for name, tensor in part.state_dict().items() if name not in head}
    own, _ = _without_wrappers(_read_state(path, key), expected.keys())
    state = {_plain(name): tensor for name, tensor in own.items()}
    found = {name: state[_plain(name)] for name in expected if _plain(name) in state}
    missing = [name for name in expected if name not in found and not name.endswith(_COUNTER)]
    reshaped = [name for name in found if found[name].shape != expected[name].shape]
    if missing or reshaped:
        raise ModelError(
            f"{key}={path}: not weights of this backbone ({len(missing)} tensors missing, {len(reshaped)} of a "
            f"different shape, such as {(missing + reshaped)[0]}); check model.name and model.options"
        )
    part.load_state_dict(found, strict=False)
    fresh = len(module.state_dict()) - len(found)
    log.info("%s: %d tensors of the backbone are taken, %d others start afresh", path, len(found), fresh)


def is_backbone_only(module: nn.Module, path: Path) -> bool:
    """Whether a file holds nothing of a network but, at most, its part that others pretrain."""
    if not hasattr(module, "pretrained_part"):
        return False
    ours = {id(tensor) for tensor in module.pretrained_part.parameters()}  # type: ignore[union-attr]
    own = {name for name, tensor in module.named_parameters() if id(tensor) not in ours}
    return not own & _without_wrappers(_read_state(path, FROM_OTHERS), module.state_dict().keys())[0].keys()


def preprocessing_in(path: Path) -> dict[str, Any]:
    """What a weight file written by this package says of its input; empty for a foreign one, or where that is odd."""
    if path.suffix != ".safetensors":
        return {}
    with safe_open(str(path), "pt") as file:
        header = (file.metadata() or {}).get("model", "{}")
    try:
        found = json.loads(header)["preprocessing"]
        mean, std = np.array(found["mean"], dtype=np.float64), np.array(found["std"], dtype=np.float64)
        usable = mean.shape == std.shape == (3,) and np.isfinite([mean, std]).all() and (std > 0).all()
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


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its kind if it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _why(path: Path, error: Exception) -> str:
    """What a file is instead, or the error's own words; PyTorch's say how to run the pickled code after all."""
    own = type(error).__name__ if isinstance(error, pickle.UnpicklingError) else first_line(error)
    return what_else(first_bytes(path)) or own


def _read_state(path: Path, key: str) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise missing_weights(key, path)
    try:
        _check_sums(path)
        found = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except _UNREADABLE as error:
        raise no_weights(key, path, _why(path, error)) from error
    while isinstance(found, dict) and (parts := [one for one in _NESTED if isinstance(found.get(one), dict)]):
        log.info("%s: of %s, the weights under %s are taken", path, ", ".join(map(str, found)), parts[0])
        found = found[parts[0]]
    if not isinstance(found, dict):
        raise ModelError(f"{key}={path}: holds no state dict")
    if not all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in found.items()):
        raise ModelError(f"{key}={path}: its state dict holds more than tensors")
    return found


def _check_sums(path: Path) -> None:
    """Raise ValueError if a part of a .pth is not as its checksum says, which PyTorch does not ask.

    Files written without checksums have none that is right.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        wrong = [name for name in archive.namelist() if not _is_whole(archive, name)]
        if wrong and len(wrong) < len(archive.namelist()):
            raise ValueError(f"damaged: {wrong[0]} is not as its checksum says")


def _is_whole(archive: zipfile.ZipFile, name: str) -> bool:
    try:
        with archive.open(name) as part:
            while part.read(1 << 20):
                pass
        return True
    except (zipfile.BadZipFile, zlib.error, EOFError):
        return False


def _without_wrappers(
    state: dict[str, torch.Tensor], expected: Collection[str]
) -> tuple[dict[str, torch.Tensor], set[str]]:
    """The state under the names of the module, by the wrappers' prefix that fits most, and the names without it."""

    def fitting(prefix: str) -> int:
        return sum(f"{prefix}{name}" in state for name in expected)

    prefix = max(sorted({prefix for name in state for prefix in _wrapped(name)} | {""}, key=len), key=fitting)
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return own, {name for name in state if not name.startswith(prefix)}


def _wrapped(name: str) -> Iterator[str]:
    """The prefixes of a tensor's name that consist of wrappers only: `module.`, `module.backbone.`, ..."""
    wrappers = itertools.takewhile(_WRAPPERS.__contains__, name.split("."))
    return itertools.accumulate(f"{wrapper}." for wrapper in wrappers)


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
