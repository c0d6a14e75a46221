"""What a processed folder says of itself, and whether it serves given settings: manifest.json.

Written last by dataset.py, so a folder with a manifest is complete; read by everything that uses processed data,
through `open_processed`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, get_args, get_origin

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.json_files import read_json
from drift_detector_pipeline.processed.class_balance import refuse_balance
from drift_detector_pipeline.processed.integrity import find_damage
from drift_detector_pipeline.processed.packing import BOXES, IMAGES, INDEX, PackedImages
from drift_detector_pipeline.settings import Data

FORMAT = 2  # of the processed folder; raised where the same source gives other pixels or classes: it is built again
MANIFEST = "manifest.json"
FILES = {IMAGES, INDEX, BOXES, MANIFEST}  # the boxes only where they are the truth
NOTHING = "no processed data"
CROISSANT = "croissant.json"  # that croissant.py adds
REPORT = "data_report"  # folder that data_report.py adds; it goes with the images it describes


@dataclass(frozen=True)
class Source:
    """What a folder was made from."""

    path: str
    sha256: str  # of an archive; over names and bytes of several; of a folder over its images and what is told of them
    stat: str  # digest of names, sizes and times: equal means the bytes need no second look


@dataclass(frozen=True)
class BadImage:
    """An image that could not be read and was left out."""

    path: str
    reason: str


@dataclass(frozen=True)
class Manifest:
    """manifest.json; its keys are these, in this order. No pydantic: file names here may be no UTF-8."""

    format: int
    name: str
    fingerprint: str  # SHA-256 over pixels, index, boxes where there are any, and class names
    classes: list[str]  # a label is an index into them
    counts: dict[str, dict[str, int]]  # images, or boxes to find, by split and class
    images: int
    settings: dict[str, object]  # `deciding_settings`
    source: Source
    bad_images: list[BadImage]
    ignored_files: list[str]
    unused_folders: list[str]
    pillow: str  # version
    task: str | None = None  # which kind of truth there is; None, as in folders from before there were tasks: labels
    split_images: dict[str, int] | None = None  # images by split, where `counts` does not tell; like `notes`
    notes: dict[str, int] | None = None  # what reading and placing the truth left out, mended or cut -> how often

    class_ids: list[int] | None = None  # the source's own numbers of `classes`, as COCO has; None: it has none
    sources_from: str | None = None  # of clips, how sources are known: "listed", "named" or "unknown"
    sources: dict[str, int] | None = None  # of clips: different sources by split
    jpegs: dict[str, int] | None = None  # images "kept" as their files are, and "encoded" at a "quality"; None: raw

    @property
    def stored_as(self) -> str:
        """The form in which images are stored: raw or jpeg."""
        return "raw" if self.jpegs is None else "jpeg"

    @property
    def images_by_split(self) -> dict[str, int]:
        """Images by split, whatever the truth about them is."""
        return self.split_images or {split: sum(classes.values()) for split, classes in self.counts.items()}


_LATER = {
    "task",
    "split_images",
    "notes",
    "class_ids",
    "sources_from",
    "sources",
    "jpegs",
}  # not in folders whose truth is labels


class Processed(NamedTuple):
    """A finished processed folder."""

    folder: Path
    manifest: Manifest
    images: PackedImages

    @property
    def classes(self) -> list[str]:
        """Class names; a label is an index into them."""
        return self.manifest.classes

    @property
    def task(self) -> str | None:
        """Which kind of truth there is; None: labels."""
        return self.manifest.task

    @property
    def fingerprint(self) -> str:
        """SHA-256 over pixels, index, boxes where there are any, and class names."""
        return self.manifest.fingerprint


def open_processed(data: Data, remedy: str | None = None, *, verify: bool = True) -> Processed:
    """Open the processed folder of `data` for reading.

    Raises DataError if it is not there, was made with other settings or has changed on disk, naming the command that
    makes it: `remedy`; ConfigError if `data.balance` means nothing here. Of several processes that share the work one
    is enough to `verify` that nothing has changed.
    """
    found = (find_whole if verify else find_manifest)(data)
    if not isinstance(found, Manifest):
        remedy = remedy or f'run: make process_data ARGS="data={data.name}" (with the overrides of this command)'
        raise DataError(f"{data.processed_path}: {found}; {remedy}")
    refuse_balance(data.balance, found.task)
    return Processed(data.processed_path, found, PackedImages(data.processed_path))


def find_manifest(data: Data) -> Manifest | str:
    """The manifest of a processed folder that serves these settings, or why there is none; the source is not looked at.

    Raises DataError if what lies there is damaged or not ours.
    """
    values = _read(data.processed_path)
    if values is None:
        return NOTHING
    if values.get("format") != FORMAT:
        said = f"its format is {values.get('format')}"
        return f"another version made it, which read some images and folders differently ({said}, now {FORMAT})"
    manifest = _parsed(values, data.processed_path)
    files = FILES if manifest.task == "boxes" else FILES - {BOXES}
    if missing := sorted(name for name in files if not (data.processed_path / name).exists()):
        return f"{missing[0]} is missing"
    wanted = deciding_settings(data, manifest.task)
    if manifest.settings != wanted:
        return f"it was made with {_difference(manifest.settings, wanted)}"
    return manifest


def find_whole(data: Data) -> Manifest | str:
    """As `find_manifest`, and whether every byte of images and index is still what was written."""
    found = find_manifest(data)
    if isinstance(found, Manifest) and (damage := find_damage(data.processed_path, found.fingerprint, found.classes)):
        return damage
    return found


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json, the last file of a processed folder."""
    values = asdict(manifest)
    write_json(folder / MANIFEST, {k: v for k, v in values.items() if v is not None or k not in _LATER})


def deciding_settings(data: Data, task: str | None = None) -> dict[str, object]:
    """The settings that decide what a processed folder of this task holds."""
    names = {"name", "stored_side_px", "val_fraction", "fit_fraction"}
    if "clips" in (task, data.format):
        names |= {"clip_seconds", "stored_frames"}
    settings = data.model_dump(include=names) | ({"format": data.format} if data.format else {})
    if data.stored_as == "raw" or task == "clips":  # folders from before there was a choice say nothing of it
        return settings
    return settings | {"stored_as": f"{data.stored_as}, JPEG of quality {data.jpeg_quality}"}


def _read(folder: Path) -> dict[str, Any] | None:
    path = folder / MANIFEST
    if not path.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise DataError(f"{folder}: holds files but no manifest.json; choose an empty data.processed_path=PATH")
        return None
    try:
        values = read_json(path)
    except ValueError as error:
        raise DataError(f"{path}: no readable JSON ({error}); remove {folder} and run: make process_data") from error
    if not isinstance(values, dict) or "fingerprint" not in values:
        raise DataError(f"{path}: not the manifest of processed data; choose another data.processed_path=PATH")
    return dict(values)


def _names() -> list[str]:
    return [field.name for field in fields(Manifest)]


def _parsed(values: Mapping[str, Any], folder: Path) -> Manifest:
    try:
        known = {name: values[name] for name in _names() if name in values or name not in _LATER}
        parts = {"source": Source(**values["source"]), "bad_images": [BadImage(**bad) for bad in values["bad_images"]]}
        manifest = Manifest(**(known | parts))
        _check_kinds(manifest)
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{folder / MANIFEST}: no whole manifest ({error}); remove {folder} and run: make process_data"
        ) from error
    return manifest


def _check_kinds(manifest: Manifest) -> None:
    """Raise TypeError if a value is not of the kind its field says, KeyError if nothing says what is in train."""
    for field in fields(Manifest):
        kinds: Any = get_args(field.type) if isinstance(field.type, UnionType) else (field.type,)
        value = getattr(manifest, field.name)
        if not isinstance(value, tuple(get_origin(kind) or kind for kind in kinds)):
            raise TypeError(f"{field.name} is {value!r:.40}")
    for counts in (manifest.counts, manifest.counts["train"]):
        if not isinstance(counts, dict):
            raise TypeError(f"counts are {counts!r:.40}")


def _difference(old: Mapping[str, object], new: Mapping[str, object]) -> str:
    keys = [key for key in {**new, **old} if old.get(key) != new.get(key)]
    unsaid = {"stored_as": "raw"}
    return ", ".join(f"data.{key}={old.get(key, unsaid.get(key))}, now {new.get(key, unsaid.get(key))}" for key in keys)
