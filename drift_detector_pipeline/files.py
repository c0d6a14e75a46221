"""Files that exist only when they are complete: atomic writes, hashes, locks.

Used by every stage that leaves something behind.
"""

import contextlib
import datetime
import errno
import fcntl
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from drift_detector_pipeline.errors import DataError

_Cell = TypeVar("_Cell")
# Also as wide characters, which spreadsheets of East Asia take for the same.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step: a reader, or a kill, sees the old file or the new one."""
    partial = path.with_name(f".{path.name}.partial")
    with disk_full_explained(path):
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def dated_folder(place: Path) -> Path:
    """A name below `place` that is not taken: the date and time in seconds, later if two want the same."""
    started = datetime.datetime.now()
    names = (started + datetime.timedelta(seconds=later) for later in itertools.count())
    return next(path for name in names if not (path := place / f"{name:%Y-%m-%d_%H-%M-%S}").exists())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; file names that are no UTF-8 come back as they were."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


def spreadsheet_row(cells: Iterable[_Cell]) -> list[_Cell | str]:
    """Cells of a CSV file, those that a spreadsheet would run as a formula made text by an apostrophe before them."""
    return [f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULAS) else cell for cell in cells]


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """Hexadecimal digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


@contextlib.contextmanager
def disk_full_explained(path: Path) -> Iterator[None]:
    """Turn "no space left" while writing below `path` into a `DataError` that says where and how much is free."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
        free_mb = shutil.disk_usage(existing).free // 1_000_000
        raise DataError(
            f"{path}: the disk is full or a limit is reached ({error.strerror}; {free_mb} MB free). What was there "
            "before is unharmed. Free some space (`make clean` removes caches and partial files), then run it again."
        ) from error


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file `path`: a second process that wants it waits until the first is done or dead."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_there(path: Path) -> bool:
    """Whether there is a file or a folder, also if `path` is longer than a name may be, as several in one word are."""
    try:
        return path.exists()
    except OSError:
        return False
