"""The SHA-256 that a file had when it came, for files that DVC does not track: `<file>.sha256` beside it.

As `sha256sum` writes it, so that `sha256sum -c` checks it, too. Written by fetch.py when a file arrives, read there
before its bytes are used.
"""

import re
from pathlib import Path

from drift_detector_pipeline.errors import NOT_WRITABLE, DataError
from drift_detector_pipeline.files import write_atomically
from drift_detector_pipeline.whole_files import read_plain

ENDING = ".sha256"
_LINE = re.compile(r"([0-9a-fA-F]{64})(?:\s.*)?\s*")


def recorded(path: Path) -> str | None:
    """What is recorded of `path`; None: nothing. Raises DataError if that is no SHA-256."""
    place = _place(path)
    if not place.exists():
        return None
    try:
        found = _LINE.fullmatch(read_plain(place).decode(errors="replace"))
    except ValueError:
        found = None
    if not found:
        raise DataError(f"{place}: expected a SHA-256 of 64 digits and the file's name; remove it to record it anew")
    return found[1].lower()


def record(path: Path, sha256: str) -> None:
    """Record it; where nothing can be written, it is computed again next time."""
    try:
        write_atomically(_place(path), f"{sha256}  {path.name}\n".encode("utf-8", "surrogateescape"))
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise


def _place(path: Path) -> Path:
    return path.with_name(f"{path.name}{ENDING}")
