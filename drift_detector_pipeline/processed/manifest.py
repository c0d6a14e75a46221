"""What a processed folder says of itself, and whether it still serves: manifest.json beside images.bin and index.csv.

Written last by dataset.py, so a folder with a manifest is complete; read by everything that uses processed data,
through `open_processed`.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.processed.packing import PackedImages
from drift_detector_pipeline.settings import Data

FORMAT = 1  # of the processed folder; another number in a manifest means: build it again
FILES = {"images.bin", "index.csv", "manifest.json"}
REPORT = "data_report"  # folder that data_report.py adds; it goes with the images it describes


class Processed(NamedTuple):
    """A finished processed folder."""

    folder: Path
    manifest: dict[str, Any]
    images: PackedImages

    @property
    def classes(self) -> list[str]:
        """Class names; a label is an index into them."""
        return list(self.manifest["classes"])

    @property
    def task(self) -> str | None:
        """Which kind of truth there is; None in folders from before there were tasks."""
        return self.manifest.get("task")

    @property
    def fingerprint(self) -> str:
        """SHA-256 over pixels, index and class names."""
        return str(self.manifest["fingerprint"])


def open_processed(data: Data, remedy: str | None = None) -> Processed:
    """Open the processed folder of `data` for reading.

    Raises DataError if it is not there or was made with other settings, naming the command that makes it: `remedy`.
    """
    manifest = read_manifest(data.processed_path)
    remedy = remedy or f'run: make process_data ARGS="data={data.name}" (with the overrides of this command)'
    if manifest is None:
        raise DataError(f"{data.processed_path}: no processed data; {remedy}")
    if stale := why_unusable(data, manifest):
        raise DataError(f"{data.processed_path}: {stale}; {remedy}")
    return Processed(data.processed_path, manifest, PackedImages(data.processed_path))


def deciding_settings(data: Data) -> dict[str, Any]:
    """The settings that decide what a processed folder holds."""
    return data.model_dump(include={"name", "stored_side_px", "val_fraction", "fit_fraction"})


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    return ", ".join(f"data.{key}={old.get(key)}, now {value}" for key, value in new.items() if old.get(key) != value)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Read manifest.json; None where there is no processed data. Raises DataError if it is damaged or foreign."""
    path = folder / "manifest.json"
    if not path.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise DataError(f"{folder}: holds files but no manifest.json; choose an empty data.processed_path=PATH")
        return None
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: no readable JSON ({error}); remove {folder} and run: make process_data") from error
    if not isinstance(manifest, dict) or "fingerprint" not in manifest:
        raise DataError(f"{path}: not the manifest of processed data; choose another data.processed_path=PATH")
    return manifest


def why_unusable(data: Data, manifest: dict[str, Any]) -> str | None:
    """Why a processed folder does not serve these settings, or None; does not look at the source."""
    if manifest.get("format") != FORMAT:
        return f"its format is {manifest.get('format')}, now {FORMAT}"
    if missing := sorted(name for name in FILES if not (data.processed_path / name).exists()):
        return f"{missing[0]} is missing"
    if manifest["settings"] != deciding_settings(data):
        return f"it was made with {_difference(manifest['settings'], deciding_settings(data))}"
    return None
