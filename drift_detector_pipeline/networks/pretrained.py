"""Weights that others have trained: a local file, or the hub, from which timm fetches.

In: a module and a path. Out: the module with those weights. Read by models.py.
"""

import itertools
import json
import pickle
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

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

# Where training programs keep a state dict among other things: of several that fit alike the first is taken, and said.
_NESTED = (
    "state_dict_ema", "model_ema", "state_dict", "model", "ema_state_dict", "ema", "model_state_dict", "net", "teacher",
)  # fmt: skip
# What wrappers put before each name: several processes, compiled modules, modules that hold the network.
_WRAPPERS = {"module", "_orig_mod", "model", "backbone", "net", "network", "encoder", "frame"}
_FINAL = "final_model.safetensors"  # of a run's folder, see runs/folders.py
_COUNTER = "num_batches_tracked"  # BatchNorm has it since PyTorch 0.4.1


def load_pretrained(module: nn.Module, path: Path) -> None:
    """Load a safetensors or PyTorch weight file (never arbitrary pickles).

    The state dict may lie under a usual key and its names have usual prefixes. A head that is missing or of another
    size starts afresh, as do counters of BatchNorm; what does is said. Raises ModelError if the file is missing,
    unreadable, or has other layers.
    """
    expected, head = module.state_dict(), _head_names(module)
    state, beside = _read_state(path, expected.keys())
    reshaped = {name for name in state.keys() & expected.keys() if not _is_alike(state[name], expected[name])}
    missing, foreign = expected.keys() - state.keys(), state.keys() - expected.keys()
    counters = {name for name in missing if name.endswith(_COUNTER)}
    fresh = head if (missing | reshaped) & head else set[str]()
    other_head = {name for name in foreign if fresh and _is_other_head(name, expected.keys() - head)}
    if missing - head - counters or foreign - other_head or reshaped - head:
        raise ModelError(
            f"model.pretrained_path={path}: not weights of this model ({len(missing)} tensors missing, {len(foreign)} "
            f"foreign, {len(reshaped)} of a different shape or kind); check model.name, model.options and data.img_size"
        )
    taken = {name: state[name] for name in expected if name in state and name not in fresh}
    _refuse_no_numbers(path, taken)
    if fresh:
        why = "has a different number of classes" if reshaped else "has no head of this model"
        log.info("%s: %s; the head starts afresh", path, why)
    if counters:
        log.info("%s: has no %s of %d layers; they count from 0", path, _COUNTER, len(counters))
    if beside | other_head:
        log.info("%s: tensors left out as not of this model: %d", path, len(beside | other_head))
    module.load_state_dict(taken, strict=False)


def load_backbone(module: nn.Module, path: Path) -> None:
    """Load all but the head from a weight file of a network with the same backbone, whatever that was trained for.

    Where the network has a part named `pretrained_part`, that is its backbone and all else starts afresh. timm names
    the same layer `stages.0` in a classifier and `stages_0` in a backbone: both are taken. Errors as `load_pretrained`.
    """
    part: nn.Module = getattr(module, "pretrained_part", module)
    head = set() if part is not module else _head_names(module)
    expected = {name: tensor for name, tensor in part.state_dict().items() if name not in head}
    state = {_plain(name): tensor for name, tensor in _read_state(path, expected.keys())[0].items()}
    found = {name: state[_plain(name)] for name in expected if _plain(name) in state}
    missing = [name for name in expected if name not in found and not name.endswith(_COUNTER)]
    reshaped = [name for name in found if not _is_alike(found[name], expected[name])]
    if missing or reshaped:
        raise ModelError(
            f"{path}: not weights of this backbone ({len(missing)} tensors missing, {len(reshaped)} of a different "
            f"shape or kind, such as {(missing + reshaped)[0]}); check model.name and model.options"
        )
    _refuse_no_numbers(path, found)
    part.load_state_dict(found, strict=False)
    fresh = len(module.state_dict()) - len(found)
    log.info("%s: %d tensors of the backbone are taken, %d others start afresh", path, len(found), fresh)


def is_backbone_only(module: nn.Module, path: Path) -> bool:
    """Whether a file holds nothing of a network but, at most, its part that others pretrain."""
    if not hasattr(module, "pretrained_part"):
        return False
    ours = {id(tensor) for tensor in module.pretrained_part.parameters()}  # type: ignore[union-attr]
    own = {name for name, tensor in module.named_parameters() if id(tensor) not in ours}
    return not own & _read_state(path, module.state_dict().keys())[0].keys()


def weight_file(run: Path) -> Path:
    """The final weights of a run, if `run` is a run's folder; else `run`, a weight file itself."""
    return run / _FINAL if run.is_dir() else run


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


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its kind if it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _why(path: Path, error: Exception) -> str:
    """What a file is instead, or the error's own words; PyTorch's say how to run the pickled code after all."""
    own = type(error).__name__ if isinstance(error, pickle.UnpicklingError) else first_line(error)
    return what_else(first_bytes(path)) or own


def _read_state(path: Path, expected: Collection[str]) -> tuple[dict[str, torch.Tensor], set[str]]:
    """The tensors of a file under the names of a module, and the names of what else lies beside them.

    Of dicts in dicts the one is taken that fits best, wherever it lies. Raises ModelError if there is none.
    """
    if not path.is_file():
        raise ModelError(f"model.pretrained_path={path}: no such file; expected safetensors, or a .pth state dict")
    try:
        found = load_file(path) if _is_safetensors(path) else torch.load(path, "cpu", weights_only=True)
    except (pickle.UnpicklingError, OSError, ValueError, RuntimeError, SafetensorError, KeyError, EOFError) as error:
        raise ModelError(
            f"model.pretrained_path={path}: no safetensors or .pth file with nothing but weights; pickled code is "
            f"never run ({_why(path, error)})"
        ) from error
    states = _states(found)
    if not states:
        raise ModelError(f"model.pretrained_path={path}: holds no state dict, which names tensors")
    fits = {place: _without_wrappers(state, expected) for place, state in states.items()}
    place = max(sorted(fits, key=_rank), key=lambda place: len(fits[place].own.keys() & expected))
    if place:
        log.info("%s: of %s, the weights under %s are taken", path, ", ".join(map(str, found)), ".".join(place))
    if unlisted := fits[place].unlisted:
        log.info("%s: the names of this model's tensors begin with %s there", path, unlisted)
    return fits[place].own, fits[place].beside


def _is_safetensors(path: Path) -> bool:
    """By its bytes: a length, and JSON. Where those are neither that nor PyTorch's, by its name."""
    start = first_bytes(path)
    return start[8:9] == b"{" or (path.suffix.lower() == ".safetensors" and start[:2] not in (b"PK", b"\x80\x02"))


def _states(found: object) -> dict[tuple[str, ...], dict[str, torch.Tensor]]:
    """All dicts in a file that name tensors, by the keys that lead to each; what else they hold is left out."""
    states: dict[tuple[str, ...], dict[str, torch.Tensor]] = {}
    queue: list[tuple[tuple[str, ...], object]] = [((), found)]
    seen = set[int]()
    for place, inside in queue:  # which grows meanwhile
        if not isinstance(inside, dict) or id(inside) in seen:
            continue
        seen.add(id(inside))
        named = {key: one for key, one in inside.items() if isinstance(key, str) and isinstance(one, torch.Tensor)}
        if named:
            states[place] = named
        queue += [((*place, str(key)), one) for key, one in inside.items()]
    return states


def _rank(place: tuple[str, ...]) -> list[int]:
    """Which of several state dicts is meant, if they fit alike."""
    return [_NESTED.index(key) if key in _NESTED else len(_NESTED) for key in place]


def _is_alike(given: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether one may stand for the other: of one shape, and no integers, such as quantized weights, for floats."""
    return given.shape == expected.shape and (given.is_floating_point() or not expected.is_floating_point())


def _refuse_no_numbers(path: Path, state: dict[str, torch.Tensor]) -> None:
    if broken := [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]:
        raise ModelError(
            f"model.pretrained_path={path}: {len(broken)} of its tensors, such as {broken[0]}, hold values that are no "
            "numbers (NaN or infinite): their training has failed; take other weights"
        )


class _Unwrapped(NamedTuple):
    """A state dict, and its names without what wrappers put before them."""

    own: dict[str, torch.Tensor]
    beside: set[str]  # names without that prefix
    unlisted: str = ""  # the prefix, if it is no usual one


def _without_wrappers(state: dict[str, torch.Tensor], expected: Collection[str]) -> _Unwrapped:
    """The state under the names of the module, by the prefix that fits most: a wrapper's, else any at all."""

    def fitting(prefix: str) -> int:
        return sum(f"{prefix}{name}" in state for name in expected)

    wrappers = sorted({prefix for name in state for prefix in _wrapped(name)} | {""}, key=len)
    prefix, unlisted = max(wrappers, key=fitting), ""
    if not fitting(prefix):
        others = [other for other in _before_any(state, expected) if 2 * fitting(other) > len(expected)]
        prefix = unlisted = max(others, key=fitting, default="")
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return _Unwrapped(own, {name for name in state if not name.startswith(prefix)}, unlisted)


def _before_any(state: Collection[str], expected: Collection[str]) -> list[str]:
    """What stands before the module's first name in the names of a state, in their order."""
    first = next(iter(expected), "")
    return [name.removesuffix(first) for name in state if name.endswith(f".{first}")]


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
