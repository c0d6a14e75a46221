"""The state of an unfinished run as one hash-checked safetensors file: no pickles, complete or not there.

    checkpoints/last.safetensors       the newest
    checkpoints/previous.safetensors   the one before, should the newest be damaged

Written and read by modeling/session.py; its header is read by folders.py to decide what can be continued.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim import Optimizer

from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import ModelError, ResumeError
from drift_detector_pipeline.files import disk_full_explained, write_atomically
from drift_detector_pipeline.networks.header import read_header
from drift_detector_pipeline.networks.tensors_hash import tensors_hash
from drift_detector_pipeline.networks.weights import pack_tensors, unpack_tensors

_EXACT = {bool: torch.bool, int: torch.int64, float: torch.float64}
NAMES = ("last.safetensors", "previous.safetensors")


class Checkpoint(NamedTuple):
    """Everything a run needs to go on."""

    tensors: dict[str, torch.Tensor]
    progress: dict[str, Any]  # JSON: see train.Progress
    identity: dict[str, object]  # the settings that decide the bits


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the one that was newest is kept as the previous one. A kill loses at most the new one."""
    header = {
        "progress": checkpoint.progress,
        "identity": checkpoint.identity,
        "sha256": tensors_hash(checkpoint.tensors),
    }
    content = pack_tensors(checkpoint.tensors, header)
    last, previous, incoming = folder / NAMES[0], folder / NAMES[1], folder / "incoming.safetensors"
    with disk_full_explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(incoming, content)
        if last.exists():
            last.replace(previous)
        incoming.replace(last)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read the newest whole checkpoint of a run.

    Falls back to the previous one, with a warning. Raises ResumeError if neither can be used.
    """
    problems = []
    for name in NAMES:
        try:
            checkpoint = _read(folder / name)
        except ModelError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            log.warning("%s; going on from %s instead", problem, name)
        return checkpoint
    raise ResumeError(
        f"{folder}: no usable checkpoint ({'; '.join(problems)}). Start anew: make train, without run.resume"
    )


def read_identity(folder: Path) -> dict[str, object] | None:
    """The bit-deciding settings of the run that left checkpoints in `folder`; None if no header can be read."""
    for name in NAMES:
        try:
            identity: dict[str, object] = dict(read_header(folder / name)["identity"])
        except (ModelError, KeyError, TypeError, ValueError):
            continue
        return identity
    return None


def training_tensors(module: nn.Module, average: nn.Module | None, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    """Collect the tensors of model, averaged model and optimizer under flat names."""
    tensors = {f"model.{name}": tensor for name, tensor in module.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in average.state_dict().items()}
    saved = optimizer.state_dict()
    for kind, parts in (("state", saved["state"]), ("group", dict(enumerate(saved["param_groups"])))):
        for index, values in parts.items():
            for name, value in values.items():
                if isinstance(value, torch.Tensor):
                    tensors[f"optimizer.{kind}.{index}.{name}"] = value
                elif isinstance(value, bool | int | float):  # exact as a double, and a Python number again when read
                    tensors[f"number.{kind}.{index}.{name}"] = torch.tensor(value, dtype=_EXACT[type(value)])
    return tensors


def restore_tensors(
    tensors: dict[str, torch.Tensor], module: nn.Module, average: nn.Module | None, optimizer: Optimizer
) -> None:
    """Put back what `training_tensors` collected, in the memory layout each parameter has."""
    module.load_state_dict(_below(tensors, "model."))
    if average is not None:
        average.load_state_dict(_below(tensors, "average."))
    new = optimizer.state_dict()
    parts: dict[str, dict[int, dict[str, Any]]] = {"state": {}, "group": dict(enumerate(new["param_groups"]))}
    numbers = {key: value.item() for key, value in _below(tensors, "number.").items()}
    for key, value in (_below(tensors, "optimizer.") | numbers).items():
        kind, index, name = key.split(".", 2)
        parts[kind].setdefault(int(index), {})[name] = value
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, values in parts["state"].items():
        parts["state"][number] = {name: _in_layout_of(parameters[number], value) for name, value in values.items()}
    optimizer.load_state_dict({"state": parts["state"], "param_groups": list(parts["group"].values())})


def _read(path: Path) -> Checkpoint:
    if not path.exists():
        raise ModelError(f"{path}: not there")
    tensors, header = unpack_tensors(path)
    try:
        if header["sha256"] != tensors_hash(tensors):
            raise ModelError(f"{path}: its tensors do not match their SHA-256")
        return Checkpoint(tensors, dict(header["progress"]), dict(header["identity"]))
    except KeyError as error:
        raise ModelError(f"{path}: no checkpoint of this pipeline (no {error})") from error
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path}: no checkpoint of this pipeline (its header is damaged: {error})") from error


def _below(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _in_layout_of(parameter: torch.Tensor, value: Any) -> Any:
    """Channels-last parameters have channels-last moments; another layout would take another code path, other bits."""
    if not isinstance(value, torch.Tensor) or value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)
