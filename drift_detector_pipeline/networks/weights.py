"""Weights as files: safetensors whose header is enough to predict with nothing else, and their hashes.

In: a module's state and a `Description`. Out: the same bytes for the same weights, anywhere. Written by
modeling/session.py, read by everything that predicts.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from drift_detector_pipeline.clip_cut import ClipCut
from drift_detector_pipeline.errors import ModelError
from drift_detector_pipeline.files import write_atomically
from drift_detector_pipeline.networks.header import HEADER, check_description, read_header, unreadable
from drift_detector_pipeline.networks.models import Network, create
from drift_detector_pipeline.networks.tensors_hash import tensors_hash
from drift_detector_pipeline.settings import Model


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
    check_description(path, description)
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
        raise unreadable(path, error) from error
    return module.eval(), description


def pack_tensors(tensors: Mapping[str, torch.Tensor], header: dict[str, Any]) -> bytes:
    """Serialize tensors and a JSON header as safetensors bytes."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return bytes(save(on_cpu, metadata={HEADER: json.dumps(header, sort_keys=True)}))


def unpack_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `pack_tensors` wrote. Raises ModelError if the file is missing, damaged or foreign."""
    header = read_header(path)
    try:
        with safe_open(str(path), "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise unreadable(path, error) from error


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
