"""Tests of one version against another, as files, and whether one of them lets a candidate in.

In: models/gates/<candidate>_against_<champion>/gate.json, written by whoever tests models. Out: why it does not let the
candidate in, or nothing. Read by registry.py. Of the file this much is read here; the rest is for people:

    {"passed": true, "reasons": ["..."], "candidate": {"version": ..., "manifest_sha256": ...}, "champion": {the same}}
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drift_detector_pipeline.files import file_hash
from drift_detector_pipeline.json_files import read_json
from drift_detector_pipeline.release.artefact import MANIFEST, MODELS, version_of

GATES, GATE = "gates", "gate.json"


def identified(folder: Path) -> dict[str, str]:
    """How a gate.json names one of its two models: under "candidate", and under "champion"."""
    return {"version": version_of(folder), "manifest_sha256": file_hash(folder / MANIFEST)}


def gates(candidate: str, against: str, place: Path = MODELS) -> list[Path]:
    """Every gate.json about two versions, the oldest first."""
    wanted = f"{candidate}_against_{against}"
    folders = [path.parent for path in (place / GATES).glob(f"*/{GATE}")]
    numbers = {folder: folder.name.removeprefix(wanted) for folder in folders if folder.name.startswith(wanted)}
    own = {folder: int(text[1:] or 1) for folder, text in numbers.items() if re.fullmatch(r"(_\d+)?", text)}
    return [folder / GATE for folder in sorted(own, key=own.__getitem__)]


def newest_gate(candidate: str, place: Path = MODELS) -> str | None:
    """What the newest test of a version came to, in three words; None if there was none."""
    paths = sorted((place / GATES).glob(f"{candidate}_against_*/{GATE}"), key=lambda path: path.stat().st_mtime_ns)
    if not paths:
        return None
    try:
        found = read_json(paths[-1])
        return f"{'passed' if found['passed'] is True else 'failed'} against {found['champion']['version']}"
    except (OSError, ValueError, TypeError, LookupError):
        return f"{paths[-1]}: damaged"


def objection(path: Path, candidate: Mapping[str, Any], standing: Mapping[str, Any], ask: str) -> str:
    """Why this gate.json does not let a version in; "" if it does."""
    try:
        found = read_json(path)
        about = found["candidate"], found["champion"]
        hashes = [(one["version"], one["manifest_sha256"]) for one in about]
        passed, reasons = found["passed"] is True, [str(reason) for reason in found.get("reasons", [])]
    except (OSError, ValueError, TypeError, LookupError) as error:
        return f"{path}: no test's result ({type(error).__name__}: {error}); test it: {ask}"
    if hashes[0] != (candidate["version"], candidate["manifest_sha256"]):
        return f"{path}: is about {hashes[0][0]} with other files; test it: {ask}"
    if hashes[1] != (standing["version"], standing["manifest_sha256"]):
        tested, now = hashes[1][0], standing["version"]
        return f"{path}: was tested against {tested}, and the champion is {now}; test it again: {ask}"
    return "" if passed else f"{path}: did not pass: {'; '.join(reasons) or 'see there'}"
