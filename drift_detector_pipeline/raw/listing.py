"""What a source holds, whatever its layout: its images in order, and what was left out.

Made by the readers in formats/ and by processed/digits.py, read by dataset.py.
"""

from pathlib import Path
from typing import NamedTuple

_CLUTTER = {"thumbs.db", "desktop.ini", "__macosx", "icon\r"}


class RawImage(NamedTuple):
    """One image of a source, before decoding."""

    path: str  # below the source's root, with forward slashes
    class_name: str
    in_val_folder: bool | None  # None: the source has no validation folder
    key: str  # the path below the split folder, what the hash is taken of


class Listing(NamedTuple):
    """The images of a source, sorted by path, and what was left out."""

    root: Path
    images: list[RawImage]
    ignored: list[str]  # files outside class folders, hidden files, broken links
    unused_folders: list[str]  # beside train and val, such as a second validation folder
    task: str | None = None  # for which the truth is meant; None: labels


def is_clutter(path: Path) -> bool:
    """Whether a file or folder is hidden or left by an operating system, going by its name."""
    return path.name.startswith(".") or path.name.lower() in _CLUTTER
