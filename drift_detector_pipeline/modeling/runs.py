"""Run folders: which one a command continues, what identifies a run, and the receipt it leaves.

    outputs/<date>/<time>/   .hydra/ train.log metrics.jsonl tensorboard/ checkpoints/ *_model.safetensors run.json

Read and written by train.py and reproduce.py; the receipt is for everybody.
"""

import datetime
import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from drift_detector_pipeline.config import Composed, Settings
from drift_detector_pipeline.errors import ResumeError
from drift_detector_pipeline.files import file_hash, write_atomically, write_json
from drift_detector_pipeline.manifest import Processed
from drift_detector_pipeline.modeling.checkpoints import read_identity
from drift_detector_pipeline.modeling.hardware import Machine, instruction_set

OUTPUTS = Path("outputs")
RECEIPT = "run.json"
WEIGHT_FILES = ("final_model.safetensors", "best_model.safetensors")


def identify(settings: Settings, data: Processed, machine: Machine, pretrained_sha256: str | None) -> dict[str, Any]:
    """Everything that decides the bits of the weights, as flat JSON: equal identities may continue each other."""
    sections = {
        "data": settings.data.model_dump(mode="json", include={"img_size", "augmentation"}),
        "model": settings.model.model_dump(mode="json"),
        "training": settings.training.model_dump(mode="json", exclude={"profiler"}),
    }
    return _flat(sections) | {
        "data.fingerprint": data.fingerprint,
        "model.pretrained_sha256": pretrained_sha256,
        "run.seed": settings.run.seed,
        "run.device": machine.device.type,
        "run.precision": machine.precision,
        "run.threads": machine.threads,
        "processes": machine.processes,
    }


def choose_folder(composed: Composed, identity: dict[str, Any]) -> tuple[Path, bool]:
    """Return the run's folder and whether a run is continued there, as `run.resume` says.

    Raises ResumeError if that run is finished, not there, was another one, or has another folder.
    """
    wanted = composed.settings.run.resume
    if wanted is None:
        _refuse_used_folder(composed.run_folder)
        return composed.run_folder, False
    if wanted == "auto":
        found = _newest_unfinished(identity)
        return (found, True) if found else (composed.run_folder, False)
    folder = Path(wanted)
    if composed.run_folder_chosen and composed.run_folder.resolve() != folder.resolve():
        raise ResumeError(f"a run continues in its own folder {folder}: leave out hydra.run.dir={composed.run_folder}")
    if (folder / RECEIPT).exists():
        raise ResumeError(f"run.resume={folder}: this run is finished; nothing is left to do (see {folder / RECEIPT})")
    before = read_identity(folder / "checkpoints")
    if before is None:
        state = "no readable checkpoint" if (folder / "checkpoints").exists() else "no checkpoint"
        raise ResumeError(f"run.resume={folder}: {state} there to go on from; start anew: make train")
    if differences := compare(before, identity):
        raise ResumeError(
            f"run.resume={folder}: the run had other settings that decide its bits: {', '.join(differences)}. "
            "Give the same ones, or start a new run without run.resume"
        )
    return folder, True


def compare(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Describe each value that differs between two flat dictionaries."""
    return [
        f"{key} was {before.get(key)!r}, now {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]


def start_folder(folder: Path, composed: Composed) -> None:
    """Make a new run's folder with the composed configuration in .hydra/, as Hydra's own runs have it."""
    hydra = folder / ".hydra"
    hydra.mkdir(parents=True, exist_ok=True)
    write_atomically(hydra / "config.yaml", composed.config_yaml.encode())
    write_atomically(
        hydra / "overrides.yaml", "".join(f"- {text}\n" for text in composed.overrides).encode() or b"[]\n"
    )


def write_receipt(folder: Path, facts: dict[str, Any]) -> None:
    """Write run.json, the last file of a finished run."""
    hashes = {name: file_hash(folder / name) for name in WEIGHT_FILES}
    write_json(folder / RECEIPT, facts | {"weights_sha256": hashes})


def environment_facts(settings: Settings, data: Processed, machine: Machine) -> dict[str, Any]:
    """What a receipt records about the code, the data and the machine."""
    return {
        "command": this_command(),
        "git": _git(),
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


def now() -> str:
    """The time as ISO 8601 in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def this_command() -> list[str]:
    """The command that runs now, as it can be typed again."""
    module = sys.modules["__main__"].__spec__
    return [Path(sys.executable).name, *(["-m", module.name] if module else [Path(sys.argv[0]).name]), *sys.argv[1:]]


def package_versions() -> dict[str, str]:
    """Installed versions of this project's direct dependencies."""
    wanted = metadata.requires("drift_detector_pipeline") or []
    names = {re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in wanted if "extra ==" not in text}
    return {name: metadata.version(name) for name in sorted(names)}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _refuse_used_folder(folder: Path) -> None:
    if (folder / "checkpoints").exists() or (folder / RECEIPT).exists():
        raise ResumeError(
            f"{folder}: holds a run already. Continue it with run.resume={folder}, or choose another hydra.run.dir"
        )


def _newest_unfinished(identity: dict[str, Any]) -> Path | None:
    checkpoints = sorted(OUTPUTS.glob("**/checkpoints"), key=lambda path: path.stat().st_mtime, reverse=True)
    for folder in checkpoints:
        if not (folder.parent / RECEIPT).exists() and read_identity(folder) == identity:
            return folder.parent
    return None


def _git() -> dict[str, Any]:
    """Commit and dirty flag of the code, or of the image it was built into; None where neither is known."""
    if commit := os.environ.get("PIPELINE_COMMIT"):
        return {"commit": commit.removesuffix("-dirty"), "dirty": commit.endswith("-dirty")}
    root = Path(__file__).parent
    try:
        commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=root, text=True, stderr=subprocess.DEVNULL)  # noqa: S607
        changes = subprocess.check_output(["git", "status", "--porcelain"], cwd=root, text=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    return {"commit": commit.strip(), "dirty": bool(changes.strip())}
