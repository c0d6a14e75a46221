"""Who answers, and all who did: champion.json and history.jsonl in models/, read and written.

In: a folder. Out: a `Champion`, or all of them. Read by registry.py, which alone changes them, one command at a time.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import write_atomically
from drift_detector_pipeline.json_files import parsed, read_json, typed
from drift_detector_pipeline.release.artefact import MODELS

CHAMPION, HISTORY = "champion.json", "history.jsonl"
Action = Literal["promote", "rollback", "heal", "retrain"]


class Champion(NamedTuple):
    """Who answers, and how that came to be."""

    number: int  # counts up with every change
    version: str
    manifest_sha256: str  # of its artefact.json, and so of every file
    at: str  # ISO 8601, UTC
    who: str
    why: str
    gate: str | None  # gate.json that let it in, from the folder models/ on
    action: Action


def champion(place: Path = MODELS) -> Champion | None:
    """Who answers; None if nobody was ever promoted. Raises DataError if champion.json is damaged."""
    path = place / CHAMPION
    try:
        return _champion(read_json(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: damaged ({error}); the last line of {HISTORY} says what it should hold, or remove it and "
            'make promote VERSION=... WHY=... ARGS="force=true"'
        ) from error


def history(place: Path = MODELS) -> list[Champion]:
    """All champions, the oldest first. Raises DataError if a line is damaged."""
    return _whole(_lines(place), champion(place))


def undoable(past: Sequence[Champion]) -> list[str]:
    """Versions that a rollback can still go back to, the last one the champion's."""
    known = list[str]()
    for one in past:
        while one.action == "rollback" and known and known[-1] != one.version:
            known.pop()
        if known[-1:] != [one.version]:
            known.append(one.version)
    return known


def reconciled(place: Path) -> list[Champion]:
    """The history, with the line that a kill has kept out of it."""
    lines, whole = _lines(place), history(place)
    if len(whole) > len(lines) or not _ends(place):
        write_history(whole, place)
    return whole


def _whole(lines: list[Champion], last: Champion | None) -> list[Champion]:
    return lines if last is None or lines[-1:] == [last] else [*lines, last]


def _lines(place: Path) -> list[Champion]:
    """What history.jsonl holds; a last line without its end was cut off and does not count."""
    path, found = place / HISTORY, list[Champion]()
    text = path.read_bytes() if path.exists() else b""
    for number, line in enumerate(text.split(b"\n")[:-1], 1):
        try:
            found.append(_champion(parsed(line)))
        except ValueError as error:
            raise DataError(f"{path}, line {number}: damaged ({error}); git has the file as it was") from error
    return found


def _ends(place: Path) -> bool:
    path = place / HISTORY
    return not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")


def write_history(found: Sequence[Champion], place: Path) -> None:
    """Write all lines; a kill leaves the old ones or the new ones."""
    text = "".join(json.dumps(one._asdict(), ensure_ascii=False) + "\n" for one in found)
    write_atomically(place / HISTORY, text.encode("utf-8", "backslashreplace"))


def _champion(values: object) -> Champion:
    """Raise ValueError unless these are a champion's."""
    found = typed(Champion, values)
    if Path(found.version).name != found.version:
        raise ValueError(f"an impossible version, {found.version}")
    return found
