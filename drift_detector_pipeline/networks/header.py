"""What a weight file says of its model, without its tensors: no PyTorch, which takes seconds to import.

In: a safetensors file. Out: its description, as weights.py wrote it. Read by weights.py and by whoever only tells of a
model.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from drift_detector_pipeline.clip_cut import ClipCut
from drift_detector_pipeline.errors import ModelError
from drift_detector_pipeline.files import is_utf8
from drift_detector_pipeline.first_bytes import first_bytes, what_else
from drift_detector_pipeline.whole_files import refuse_endless

LARGEST_PX, MOST_FRAMES, LONGEST_S = 2048, 512, 3600  # side of an image; of a clip; as in settings.py
HEADER = "model"  # one key only: safetensors writes several in no fixed order, which would change the hash


def read_description(path: Path) -> dict[str, Any]:
    """Read only what a weight file's header says of its model; every part is there and of its kind.

    Raises ModelError as `load_model` of weights.py does.
    """
    description = read_header(path)
    check_description(path, description)
    return description


def clip_cut(description: Mapping[str, Any]) -> ClipCut | None:
    """How a description says that clips are cut; None: its model is for images."""
    shape = description["preprocessing"]
    named = [shape.get(name) for name in ClipCut._fields]
    return None if named == [None] * len(named) else ClipCut(*named)


def read_header(path: Path) -> dict[str, Any]:
    """Read only the JSON header of a file that `pack_tensors` wrote; errors as `unpack_tensors` of weights.py."""
    try:
        refuse_endless(path)
        with safe_open(str(path), "np") as file:
            header = json.loads((file.metadata() or {})[HEADER])
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such weight file; train one first: make train") from error
    except (SafetensorError, OSError, ValueError, KeyError, RecursionError) as error:
        raise unreadable(path, error) from error
    if not isinstance(header, dict):
        raise unreadable(path, TypeError(f"its header is {header!r:.40}"))
    return header


def check_description(path: Path, description: Mapping[str, Any]) -> None:
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
        raise unreadable(path, error) from error
    if wrong := [name for name, holds in right.items() if not holds]:
        raise unreadable(path, ValueError(f"its header has an impossible {wrong[0]}"))


def _possible_cut(cut: ClipCut | None) -> bool:
    if cut is None:
        return True
    counts = all(type(count) is int and 0 < count <= MOST_FRAMES for count in (cut.stored_frames, cut.k_frames))
    return counts and isinstance(cut.clip_seconds, int | float) and 0 < cut.clip_seconds <= LONGEST_S


def _three_numbers(values: object) -> bool:
    numbers = values if isinstance(values, list) else []
    return len(numbers) == 3 and all(isinstance(one, int | float) and math.isfinite(one) for one in numbers)


def unreadable(path: Path, error: Exception) -> ModelError:
    """The error for a file that cannot be read as weights."""
    if not is_utf8(str(path.absolute())):
        return ModelError(f"{path}: weights are read only where all names are UTF-8; rename or move its folder")
    reason = what_else(first_bytes(path)) if path.is_file() else "it is a folder" if path.is_dir() else None
    return ModelError(
        f"{path}: damaged, or not written by this pipeline ({reason or f'{type(error).__name__}: {error}'})"
    )
