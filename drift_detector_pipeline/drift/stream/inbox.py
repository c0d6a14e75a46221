"""A folder that fills, and how far it was read: killed at any moment nothing is lost and nothing counted twice.

In: a folder of images, a place of one's own. Out: files not yet counted, in order; state.json, seen.jsonl and
alarms.jsonl. Read by the command and its verdicts.

state.json is replaced in one step and says how long the other two files are. What stands behind that in them was
written by somebody who was killed before he had counted it, and is cut off.
"""

import json
import os
import re
import time
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from drift_detector_pipeline.drift.decision import Level
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import disk_full_explained, is_there, write_atomically
from drift_detector_pipeline.json_files import parsed, read_json
from drift_detector_pipeline.raw.listing import files_below

SETTLED_S = 5.0  # a file that is no image and has not been touched for so long will not become one
_UNDER_WAY = (".part", ".partial", ".tmp", ".crdownload", ".download", ".filepart")  # renamed when they are whole
_BEGIN_ANEW = "move the folder away to begin anew"


class Found(NamedTuple):
    """A file that is not counted yet."""

    name: str  # its path below the folder, with forward slashes
    file: Path
    changed_ns: int  # when it was last written


def waiting(folder: Path, seen: Container[str]) -> list[Found]:
    """The files below `folder` that are not in `seen`, by the time they were last written, then by name.

    Raises DataError if the folder cannot be read.
    """
    found = list[Found]()
    for file in files_below(folder):
        name = file.relative_to(folder).as_posix()
        if name in seen or file.name.lower().endswith(_UNDER_WAY):
            continue
        try:
            found.append(Found(name, file, file.stat().st_mtime_ns))
        except OSError:  # gone since it was listed
            continue
    return sorted(found, key=lambda one: (one.changed_ns, one.name))


def is_settled(one: Found) -> bool:
    """Whether a file that is no image is as it was found and old enough not to become one."""
    try:
        changed_ns = one.file.stat().st_mtime_ns
    except OSError:
        return False
    return changed_ns == one.changed_ns and time.time_ns() - changed_ns > SETTLED_S * 1e9


def source_of(one: Found, kind: str) -> str:
    """The stream a file belongs to: with "folders" the first folder of its name, else all are one, ""."""
    return one.name.partition("/")[0] if kind == "folders" and "/" in one.name else ""


def group_of(one: Found, kind: str) -> str | None:
    """What neighbours that count as one image share: "name" but for its last number, or the "minute"; else None."""
    if kind == "name":
        return re.sub(r"[\W_]*\d+$", "", one.name.rpartition(".")[0] or one.name)
    return str(one.changed_ns // 60_000_000_000) if kind == "minute" else None


class Verdict(NamedTuple):
    """What was said about the images since a change."""

    since: int  # the number of the first one
    level: Level


class Journal:
    """How far a folder was read, in a place that is its own."""

    def __init__(self, place: Path, images: Path) -> None:
        """Open the journal of the folder `images` at `place`. Raises DataError if it is damaged."""
        self.place, self._images = place, images
        self._state, self._seen, self._alarms = place / "state.json", place / "seen.jsonl", place / "alarms.jsonl"
        kept: dict[str, Any] = {"seen_bytes": 0, "alarm_bytes": 0, "watch": None}
        if is_there(self._state):
            kept = _read(self._state)
        try:
            self.watch: dict[str, Any] | None = kept["watch"]
            self.verdicts: dict[str, Verdict] = {
                source: Verdict(int(since), level) for source, (since, level) in kept.get("verdicts", {}).items()
            }
            for file, length in ((self._seen, kept["seen_bytes"]), (self._alarms, kept["alarm_bytes"])):
                _cut(file, int(length))
            lines = [parsed(line) for line in self._seen.read_bytes().splitlines()]
            self.unreadable: dict[str, str] = dict(line for line in lines if isinstance(line, list))
            self.seen: dict[str, None] = {line if isinstance(line, str) else line[0]: None for line in lines}
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{place}: damaged ({type(error).__name__}: {error}); {_BEGIN_ANEW}") from error

    def count(
        self, names: Sequence[str], unreadable: Mapping[str, str], alarms: Sequence[dict[str, Any]],
        watch: dict[str, Any],
    ) -> None:  # fmt: skip
        """Write down what was read, what it raised and where the watch stands, the last in one step."""
        with disk_full_explained(self.place):
            lengths = [_append(self._seen, [*names, *map(list, unreadable.items())]), _append(self._alarms, alarms)]
        own = {"images": str(self._images), "seen_bytes": lengths[0], "alarm_bytes": lengths[1], "watch": watch,
            "verdicts": self.verdicts}  # fmt: skip
        write_atomically(self._state, json.dumps(own).encode())
        self.seen |= dict.fromkeys([*names, *unreadable])
        self.unreadable |= unreadable


def place_for(run: Path, images: Path) -> Path:
    """Where the journal of a folder stands: <run>/watch/<its name>, with _2, _3 behind it for others of that name."""
    base, number = run / "watch" / (images.name or "images"), 1
    while True:
        place = base if number == 1 else base.with_name(f"{base.name}_{number}")
        state = place / "state.json"
        if not is_there(state) or _read(state).get("images") == str(images):
            place.mkdir(parents=True, exist_ok=True)
            return place
        number += 1


def _read(state: Path) -> dict[str, Any]:
    try:
        found = read_json(state)
    except (OSError, ValueError) as error:
        raise DataError(f"{state}: damaged ({error}); {_BEGIN_ANEW}") from error
    if not isinstance(found, dict):
        raise DataError(f"{state}: damaged (no object); {_BEGIN_ANEW}")
    return found


def _cut(file: Path, length: int) -> None:
    with file.open("ab") as opened:
        if not 0 <= length <= opened.tell():
            raise ValueError(f"{file.name} has {opened.tell()} bytes, {length} were written")
        opened.truncate(length)


def _append(file: Path, lines: Sequence[Any]) -> int:
    """Add lines of JSON, on the disk before this returns; return the file's length."""
    with file.open("ab") as opened:
        opened.write("".join(json.dumps(line) + "\n" for line in lines).encode())
        opened.flush()
        if lines:
            os.fsync(opened.fileno())
        return opened.tell()
