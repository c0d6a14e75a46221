"""A weight file of this project or of others -> the tensors of one module, under that module's names.

In: a path and the names a module expects. Out: tensors by name. Read by pretrained.py.
"""

import itertools
import pickle
import struct
import warnings
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import ModelError, first_line
from drift_detector_pipeline.first_bytes import first_bytes, what_else
from drift_detector_pipeline.starts import missing_weights, no_weights

# Where training programs keep a state dict among other things: of several that fit alike the first is taken, and said.
_NESTED = (
    "state_dict_ema", "model_ema", "state_dict", "model", "ema_state_dict", "ema", "model_state_dict", "net", "teacher",
)  # fmt: skip
# What wrappers put before each name: several processes, compiled modules, modules that hold the network.
_WRAPPERS = {"module", "_orig_mod", "model", "backbone", "net", "network", "encoder", "frame"}
# What damaged files raise; of the old .pth format PyTorch checks nothing before it builds tensors of it.
_UNREADABLE = (
    *(pickle.UnpicklingError, SafetensorError, OSError, EOFError, ValueError, TypeError, LookupError, RuntimeError),
    *(AssertionError, AttributeError, ArithmeticError, MemoryError, struct.error),
    *(zipfile.BadZipFile, zlib.error),
)


class _Unwrapped(NamedTuple):
    """A state dict, and its names without what wrappers put before them."""

    own: dict[str, torch.Tensor]
    beside: set[str]  # names without that prefix
    unlisted: str = ""  # the prefix, if it is no usual one


def read_state(path: Path, expected: Collection[str], key: str) -> tuple[dict[str, torch.Tensor], set[str]]:
    """The tensors of a file under the names of a module, and the names of what else lies beside them.

    Of dicts in dicts the one is taken that fits best, wherever it lies. Raises ModelError if there is none, or the file
    is missing, damaged or something else; it calls the file by `key`, the setting that names it.
    """
    if not path.is_file():
        raise missing_weights(key, path)
    try:
        _check_sums(path)
        found = load_file(path) if _is_safetensors(path) else _unpickled(path)
    except _UNREADABLE as error:
        raise no_weights(key, path, _why(path, error)) from error
    states = _states(found)
    if not states:
        raise ModelError(f"{key}={path}: holds no state dict, which names tensors")
    fits = {place: _without_wrappers(state, expected) for place, state in states.items()}
    place = max(sorted(fits, key=_rank), key=lambda place: len(fits[place].own.keys() & expected))
    if place:
        log.info("%s: of %s, the weights under %s are taken", path, ", ".join(map(str, found)), ".".join(place))
    if unlisted := fits[place].unlisted:
        log.info("%s: the names of this model's tensors begin with %s there", path, unlisted)
    return fits[place].own, fits[place].beside


def _unpickled(path: Path) -> Any:
    """What PyTorch reads; its words on a damaged file of the old format warn of its own storages, by the way."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "TypedStorage is deprecated")
        return torch.load(path, "cpu", weights_only=True)


def _why(path: Path, error: Exception) -> str:
    """What a file is instead, or the error's own words; PyTorch's say how to run the pickled code after all."""
    own = type(error).__name__ if isinstance(error, pickle.UnpicklingError) else first_line(error)
    return what_else(first_bytes(path)) or own


def _is_safetensors(path: Path) -> bool:
    """By its bytes: a length, and JSON. Where those are neither that nor PyTorch's, by its name."""
    start = first_bytes(path)
    return start[8:9] == b"{" or (path.suffix.lower() == ".safetensors" and start[:2] not in (b"PK", b"\x80\x02"))


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
