"""A file read as a whole: bounded, and never waited for.

In: a path that a person or another file names. Out: its bytes, unless it is no file or has no end. Read by
json_files.py and by whoever reads texts.
"""

import stat
from pathlib import Path

_MOST_BYTES = 1 << 28  # of what is written here; most files have a few kilobytes


def read_plain(path: Path, most: int = _MOST_BYTES) -> bytes:
    """The bytes of a plain file. Raises OSError for a folder, ValueError for a pipe, a device or too many bytes."""
    refuse_endless(path)
    known = path.stat()
    if known.st_size > most:
        raise ValueError(f"{known.st_size:,} bytes, more than any such file has")
    return path.read_bytes()


def refuse_endless(path: Path) -> None:
    """Raise ValueError for a pipe or a device, whose bytes may never come or never end."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ValueError("a pipe or a device; a plain file is expected")


def read_at_most(path: Path, most: int) -> bytes | None:
    """The bytes of a file, or of a pipe or device to its end; None if there are more than `most`, and none is kept."""
    known = path.stat()
    if stat.S_ISREG(known.st_mode):
        return path.read_bytes() if known.st_size <= most else None
    with path.open("rb") as file:
        content = file.read(most + 1)
    return content if len(content) <= most else None
