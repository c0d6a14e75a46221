"""Weights as files: safetensors whose header is enough to predict with nothing else, and their hashes.

In: a module's state and a `Description`. Out: the same bytes for the same weights, anywhere. Written by
modeling/session.py, read by everything that predicts.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from drift_detector_pipeline.clip_cut import ClipCut
from drift_detector_pipeline.errors import ModelError
from drift_detector_pipeline.files import is_utf8, write_atomically
from drift_detector_pipeline.first_bytes import first_bytes, what_else
from drift_detector_pipeline.networks.models import Network, create
from drift_detector_pipeline.networks.tensors_hash import tensors_hash
from drift_detector_pipeline.settings import Model

LARGEST_PX, MOST_FRAMES, LONGEST_S = 2048, 512, 3600  # side of an image; of a clip; as in settings.py
_HEADER = "model"  # one key only: safetensors writes several in no fixed order, which would change the hash


def describe(
    settings: Model, network: Network, classes: list[str], img_size: int, stored_side_px: int, precision: str,
    task: str | None = None, clip: ClipCut | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What the header of a weight file says: architecture, classes, preprocessing and what it was evaluated in.

    `task` is left out where it is what files from before there were tasks are about: equal weights keep their hash.
    `clip`: of a network for clips, how they are cut.
    """
    return ({"task": task} if task else {}) | {
        "architecture": settings.name,
        "options": settings.options,
        "classes": classes,
        "precision": precision,
        "preprocessing": {
            "stored_side_px": stored_side_px,
            "img_size": img_size,
            "mean": list(network.mean),
            "std": list(network.std),
            **(clip._asdict() if clip else {}),
        },
    }


def save_weights(path: Path, state: Mapping[str, torch.Tensor], description: dict[str, Any]) -> None:
    """Write a state dict and its description as safetensors, atomically; equal weights give equal bytes."""
    write_atomically(path, pack_tensors(state, description | {"sha256": tensors_hash(state)}))


def load_model(path: Path, making: Callable[..., nn.Module] = create) -> tuple[nn.Module, dict[str, Any]]:
    """Rebuild the module of a weight file, in evaluation mode on the CPU, and return it with its description.

    `making` is what the task of the file creates modules with (tasks/catalog.py). Raises ModelError if the file is
    missing, damaged or not written by this package.
    """
    state, description = unpack_tensors(path)
    if description.pop("sha256", None) != tensors_hash(state):
        raise ModelError(f"{path}: damaged, or not written by this pipeline (its tensors do not match their SHA-256)")
    _check_description(path, description)
    name, classes, side_px = (
        description["architecture"],
        description["classes"],
        description["preprocessing"]["img_size"],
    )
    wanted = (name, len(classes), side_px, description["options"])
    try:
        _check_sizes(path, state, lambda: making(*wanted), name)
        module = making(*wanted)
        module.load_state_dict(state)
    except (RuntimeError, ArithmeticError, MemoryError, AttributeError, LookupError) as error:
        raise ModelError(f"{path}: the weights do not fit {name} ({error})") from error
    except (TypeError, ValueError) as error:
        raise _unreadable(path, error) from error
    return module.eval(), description


def read_description(path: Path) -> dict[str, Any]:
    """Read only what a weight file's header says of its model; every part is there and of its kind.

    Raises ModelError as `load_model` does.
    """
    description = read_header(path)
    _check_description(path, description)
    return description


def clip_cut(description: Mapping[str, Any]) -> ClipCut | None:
    """How a description says that clips are cut; None: its model is for images."""
    shape = description["preprocessing"]
    named = [shape.get(name) for name in ClipCut._fields]
    return None if named == [None] * len(named) else ClipCut(*named)


def pack_tensors(tensors: Mapping[str, torch.Tensor], header: dict[str, Any]) -> bytes:
    """Serialize tensors and a JSON header as safetensors bytes."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return bytes(save(on_cpu, metadata={_HEADER: json.dumps(header, sort_keys=True)}))


def unpack_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `pack_tensors` wrote. Raises ModelError if the file is missing, damaged or foreign."""
    header = read_header(path)
    try:
        with safe_open(str(path), "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def read_header(path: Path) -> dict[str, Any]:
    """Read only the JSON header of a file that `pack_tensors` wrote; errors as `unpack_tensors`."""
    try:
        with safe_open(str(path), "pt") as file:
            header = json.loads((file.metadata() or {})[_HEADER])
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such weight file; train one first: make train") from error
    except (SafetensorError, OSError, ValueError, KeyError, RecursionError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(header, dict):
        raise _unreadable(path, TypeError(f"its header is {header!r:.40}"))
    return header


def _check_description(path: Path, description: Mapping[str, Any]) -> None:
    """Raise ModelError unless each part of a description is there and can be what it says."""
    try:
        shape = description["preprocessing"]
        sides = [shape[name] for name in ("stored_side_px", "img_size")]
        right = {
            "architecture": isinstance(description["architecture"], str),
            "options": isinstance(description["options"], dict),
            "classes": isinstance(description["classes"], list)
            and description["classes"]
            and all(isinstance(name, str) for name in description["classes"]),
            "precision": isinstance(description.get("precision"), str | None),
            "task": isinstance(description.get("task"), str | None),
            "stored_side_px, img_size": all(type(side) is int and 0 < side <= LARGEST_PX for side in sides),
            "mean": _three_numbers(shape["mean"]),
            "std": _three_numbers(shape["std"]) and all(value > 0 for value in shape["std"]),
            "cut of clips": _possible_cut(clip_cut(description)),
        }
    except (KeyError, TypeError) as error:
        raise _unreadable(path, error) from error
    if wrong := [name for name, holds in right.items() if not holds]:
        raise _unreadable(path, ValueError(f"its header has an impossible {wrong[0]}"))


def _possible_cut(cut: ClipCut | None) -> bool:
    if cut is None:
        return True
    counts = all(type(count) is int and 0 < count <= MOST_FRAMES for count in (cut.stored_frames, cut.k_frames))
    return counts and isinstance(cut.clip_seconds, int | float) and 0 < cut.clip_seconds <= LONGEST_S


def _three_numbers(values: object) -> bool:
    numbers = values if isinstance(values, list) else []
    return len(numbers) == 3 and all(isinstance(one, int | float) and math.isfinite(one) for one in numbers)


def _check_sizes(path: Path, state: Mapping[str, torch.Tensor], make: Callable[[], nn.Module], name: str) -> None:
    """Raise ModelError if a header asks for other sizes than the tensors have, before memory is taken for them."""
    try:
        with torch.device("meta"):  # shapes only
            planned = {key: tensor.shape for key, tensor in make().state_dict().items()}
    except ModelError:
        return  # not every architecture can be laid out without memory; making it says what is wrong
    sizes = {key: tensor.shape for key, tensor in state.items()}
    if wrong := [key for key, expected in planned.items() if sizes.get(key, expected) != expected]:
        found, expected = (tuple(one[wrong[0]]) for one in (sizes, planned))
        raise ModelError(f"{path}: the weights do not fit {name} ({wrong[0]} is {found}, expected {expected})")


def _unreadable(path: Path, error: Exception) -> ModelError:
    if not is_utf8(path):
        return ModelError(f"{path}: weights are read only where all names are UTF-8; rename or move its folder")
    reason = what_else(first_bytes(path)) if path.is_file() else "it is a folder"
    return ModelError(
        f"{path}: damaged, or not written by this pipeline ({reason or f'{type(error).__name__}: {error}'})"
    )
