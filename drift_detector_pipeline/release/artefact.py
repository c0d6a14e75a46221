"""One folder that is all a service needs: exported networks, the drift reference built through them, a manifest.

In: a filled folder. Out: artefact.json, its last file, and an `Artefact` back, every byte checked. Written by
export.py, read by the service. Nothing here or in executable.py needs PyTorch.

    model.onnx        images uint8 (N, S, S, 3) -> probabilities, logits, features and, if there are any, early means
    model.int8.onnx   the same in whole numbers, if that passed its checks
    second_look.onnx  of networks with BatchNorm: images, statistics, own -> logits, features, blended
    deviation.npy     of clips with model.options.pooling=mean_and_deviation: its weights, float32 (K, D)
    reference.npz, reference.json   the training world, seen through the file that is served; absent without `fit`
    MODEL_CARD.md     for people
    artefact.json     this manifest, with a hash of itself
"""

import re
from pathlib import Path
from typing import Any, Literal, NamedTuple

from drift_detector_pipeline.clip_cut import ClipCut
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import SEAL, file_hash, is_as_sealed, is_there, sealed, write_json
from drift_detector_pipeline.json_files import read_json, typed

MODELS = Path("models")
VERSIONS = "versions"  # below models/: copies that nobody changes, see registry.py
MANIFEST, CARD = "artefact.json", "MODEL_CARD.md"
MODEL, INT8, SECOND_LOOK = "model.onnx", "model.int8.onnx", "second_look.onnx"
DEVIATION, REFERENCE = "deviation.npy", "reference.npz"
BOXES, CLIPS = "boxes", "clips"  # tasks, as tasks/catalog.py has them

MOST_FRAMES = 512  # of a clip

_HASH_LETTERS = 8
_ODD = re.compile(r"[^A-Za-z0-9._-]+")

Runtime = Literal["onnxruntime", "openvino"]
Precision = Literal["fp32", "int8", "bf16"]


class Artefact(NamedTuple):
    """What artefact.json says."""

    folder: Path  # not in the file
    file: str  # that is served, MODEL or INT8
    runtime: Runtime
    precision: Precision
    name: str  # of the network, as in the receipt
    classes: list[str]
    side_px: int  # S, of the square crop that is looked at
    stored_side_px: int  # shorter side that an image is decoded to first
    rows_independent: bool  # measured: an image's answer has the same bits in any batch; else batches are filled up
    sha256: dict[str, str]  # of every other file of the folder
    receipt_sha256: str
    facts: dict[str, Any]  # the measured table, preprocessing, versions: for the card and the page
    task: str | None = None  # "boxes", "clips"; None, as in folders from before there were others: labels
    overlap: float | None = None  # of boxes: IoU above which two of a class are one
    clip_seconds: float | None = None  # of clips: longer videos are cut into such
    stored_frames: int | None = None  # of clips: most frames of one, evenly spread in time, that some are chosen from
    k_frames: int | None = None  # of clips: these some, whose logits' mean is what is said of a clip

    @property
    def clip(self) -> ClipCut | None:
        """How clips are cut; None of a model for images."""
        if self.clip_seconds is None or self.stored_frames is None or self.k_frames is None:
            return None
        return ClipCut(self.clip_seconds, self.stored_frames, self.k_frames)

    @property
    def identity(self) -> str:
        """Names the executable that a drift reference belongs to: not weights, but file, runtime and precision."""
        own = f"{self.sha256[self.file]}:{self.runtime}:{self.precision}"
        return f"{own}:{self.sha256[DEVIATION]}" if DEVIATION in self.sha256 else own


def write_artefact(artefact: Artefact) -> Artefact:
    """Hash what lies in the folder, write artefact.json last, and return the artefact with its hashes."""
    files = sorted(path for path in artefact.folder.iterdir() if path.name != MANIFEST)
    whole = artefact._replace(sha256={path.name: file_hash(path) for path in files})
    values = whole._asdict()
    del values["folder"]
    known = {name: value for name, value in values.items() if value is not None}
    write_json(artefact.folder / MANIFEST, sealed(known))
    return whole


def read_artefact(folder: Path) -> Artefact:
    """Read artefact.json and compare every file with its hash. Raises DataError that names the file and a remedy."""
    artefact = read_manifest(folder)
    for name, expected in artefact.sha256.items():
        _check_file(folder / name, expected)
    return artefact


def read_manifest(folder: Path) -> Artefact:
    """Read artefact.json alone, for what is only listed. Raises DataError if it is not there or damaged."""
    path = folder / MANIFEST
    try:
        values = _object(path)
        own = {name: value for name, value in values.items() if name != SEAL}
        artefact = _checked(typed(Artefact, {**own, "folder": folder}))
        if not is_as_sealed(values):
            raise ValueError(f"changed since it was written, as {SEAL} shows")
        return artefact
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; {_remedy(folder, 'export a finished run first')}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: damaged ({error}); {_remedy(folder)}") from error


def version_of(folder: Path) -> str:
    """The name that an artefact has, or would have, as a version. Raises DataError if there is no manifest."""
    try:
        values = _object(folder / MANIFEST)
        name = _ODD.sub("_", str(values["name"])).strip(".-") or "model"
    except (OSError, ValueError, LookupError) as error:
        raise DataError(f"{folder / MANIFEST}: no manifest of an exported model; make export writes one") from error
    return f"{name}-{file_hash(folder / MANIFEST)[:_HASH_LETTERS]}"


def newest_artefact(place: Path = MODELS) -> Path:
    """The folder directly below `place` whose artefact.json was written last. Raises DataError if there is none."""
    if not (found := artefacts_in(place)):
        raise DataError(f"{place}: no exported model in it; export a finished run first: make export")
    return max(found, key=lambda folder: (folder / MANIFEST).stat().st_mtime_ns)


def artefacts_in(place: Path = MODELS) -> list[Path]:
    """The folders directly below `place` with an artefact.json; none whose name begins with a dot."""
    return [path.parent for path in place.glob(f"*/{MANIFEST}") if not path.parent.name.startswith(".")]


def refuse_foreign(target: Path) -> None:
    """Raise DataError if replacing `target` would remove something that no export has written."""
    if target.is_dir() and any(target.iterdir()) and not (target / MANIFEST).exists():
        raise DataError(f"{target}: holds other things than an exported model; choose another export.path=PATH")
    if target.exists() and not target.is_dir():
        raise DataError(f"{target}: is a file; choose another export.path=PATH")
    if above := next((folder for folder in target.parents if is_there(folder) and not folder.is_dir()), None):
        raise DataError(f"{above}: is a file, and a folder is wanted there; choose another export.path=PATH")


def _object(path: Path) -> dict[str, Any]:
    """The values of a manifest. Raises ValueError if it holds none."""
    values = read_json(path)
    if not isinstance(values, dict):
        raise ValueError("expected an object")
    return values


def _checked(artefact: Artefact) -> Artefact:
    """Raise ValueError unless the parts, each of its kind, can be true together."""
    right = {
        "file": artefact.file in (MODEL, INT8) and artefact.file in artefact.sha256,
        "task": artefact.task in (None, BOXES, CLIPS),
        "overlap": (artefact.overlap is None) == (artefact.task != BOXES) and 0 < (artefact.overlap or 0.5) <= 1,
        "clip_seconds, stored_frames, k_frames": _cut_is_right(artefact),
        "classes": len(artefact.classes) > (artefact.task != BOXES),
        "side_px, stored_side_px": min(artefact.side_px, artefact.stored_side_px) > 0,
        "sha256": all(Path(name).name == name for name in artefact.sha256),  # nothing outside the folder
    }
    if wrong := [name for name, holds in right.items() if not holds]:
        raise ValueError(f"an impossible {wrong[0]}")
    return artefact


def _cut_is_right(artefact: Artefact) -> bool:
    seconds, stored, shown = artefact.clip_seconds, artefact.stored_frames, artefact.k_frames
    if artefact.task != CLIPS:
        return (seconds, stored, shown) == (None, None, None)
    if seconds is None or stored is None or shown is None:
        return False
    return seconds > 0 and all(1 <= number <= MOST_FRAMES for number in (stored, shown))


def _check_file(path: Path, expected: str) -> None:
    try:
        found = file_hash(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; {_remedy(path.parent)}") from error
    if found != expected:
        raise DataError(
            f"{path}: damaged or exchanged (SHA-256 {found[:12]}, {MANIFEST} says {expected[:12]}); "
            f"{_remedy(path.parent)}"
        )


def _remedy(folder: Path, export: str = "export again") -> str:
    if folder.parent.name == VERSIONS:
        return "fetch it again: make models_pull"
    words = "" if folder == MODELS / "artefact" else f' ARGS="export.path={folder}"'
    return f"{export}: make export{words}"
