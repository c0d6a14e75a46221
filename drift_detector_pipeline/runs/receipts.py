"""The receipt of a finished run, run.json: which code, data, settings and machine made which weights.

Written by modeling/train.py as the last file of a run, read by everybody who asks a run anything.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from drift_detector_pipeline.errors import DataError, ResumeError
from drift_detector_pipeline.files import file_hash, write_json
from drift_detector_pipeline.processed.manifest import Processed, open_processed
from drift_detector_pipeline.runs.facts import git_state, package_versions, this_command
from drift_detector_pipeline.runs.machine import Machine, instruction_set
from drift_detector_pipeline.settings import Data, Settings

OUTPUTS = Path("outputs")
RECEIPT = "run.json"
WEIGHT_FILES = ("final_model.safetensors", "best_model.safetensors")


def write_receipt(folder: Path, facts: dict[str, Any]) -> None:
    """Write run.json, the last file of a finished run."""
    hashes = {name: file_hash(folder / name) for name in WEIGHT_FILES}
    write_json(folder / RECEIPT, facts | {"weights_sha256": hashes})


def environment_facts(settings: Settings, data: Processed, machine: Machine) -> dict[str, Any]:
    """What a receipt records about the code, the data and the machine."""
    return {
        "command": this_command(),
        "git": git_state(),
        "where": os.environ.get("PIPELINE_IMAGE") or ("container" if Path("/.dockerenv").exists() else "host"),
        "processed_path": str(data.folder),
        "data_fingerprint": data.fingerprint,
        "packages": package_versions(),
        "python": sys.version.split()[0],
        "seed": settings.run.seed,
        "device": machine.device.type,
        "instruction_set": instruction_set(machine.device),
        "threads": machine.threads,
        "precision": machine.precision,
        "processes": machine.processes,
    }


def read_receipt(folder: Path) -> dict[str, Any]:
    """Read the receipt of a finished run. Raises ResumeError if there is none or it cannot be read."""
    try:
        receipt: dict[str, Any] = json.loads((folder / RECEIPT).read_text(encoding="utf-8"))
        receipt["end"]
    except FileNotFoundError as error:
        raise ResumeError(f"{folder}: no {RECEIPT}, so no finished run; pass RUN=outputs/DATE/TIME") from error
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ResumeError(f"{folder / RECEIPT}: no whole receipt ({reason})") from error
    return receipt


def newest_finished() -> Path:
    """The finished run under outputs/ that ended last. Raises ResumeError if there is none."""
    finished = [path.parent for path in OUTPUTS.glob(f"**/{RECEIPT}")]
    if not finished:
        raise ResumeError(f"no finished run under {OUTPUTS}/; train one first: make train")
    return max(finished, key=lambda folder: str(read_receipt(folder)["end"]))


def compare_facts(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Describe each value that differs between two flat dictionaries."""
    return [
        f"{key} was {before.get(key)!r}, now {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]


def data_of(folder: Path, receipt: dict[str, Any]) -> Processed:
    """The processed data a run was trained on, and no other.

    Raises ResumeError if the receipt is not whole, DataError if the data is missing or another.
    """
    try:
        data, fingerprint = Data.model_validate(receipt["settings"]["data"]), receipt["data_fingerprint"]
    except (KeyError, TypeError, ValidationError) as error:
        raise ResumeError(f"{folder}: its receipt has settings this version does not know ({error})") from error
    processed = open_processed(data)
    if processed.fingerprint != fingerprint:
        raise DataError(f"{processed.folder}: not the data that {folder} was trained on; run: make process_data")
    return processed
