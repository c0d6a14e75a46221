"""Whether packed images are still what was written: changed bytes are noticed before anybody learns from them.

In: a processed folder, and the fingerprint and class names of its manifest. Out: what is damaged, or None. The
fingerprint decides, as folders of every version have one; checksums, where there are some, only tell where.
"""

import hashlib
import itertools
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.processed.packing import CHECKSUMS, IMAGES, INDEX, read_index

_BLOCK = 2**20  # bytes read at a time


def fingerprint_of(packed_sha256: str, classes: Sequence[str]) -> str:
    """SHA-256 over pixels, index and class names; `packed_sha256` is what `write_packed` returned."""
    return hashlib.sha256(f"{packed_sha256} {list(classes)}".encode("utf-8", "surrogateescape")).hexdigest()


def find_damage(folder: Path, fingerprint: str, classes: Sequence[str]) -> str | None:
    """What in a processed folder is not as it was written, or None. Reads every byte: 1 to 2 GB a second on one core.

    Raises DataError if a file cannot be read.
    """
    try:
        whole = _on_disk(folder, classes) == fingerprint
        return None if whole else _in_index(folder) or _in_images(folder) or _elsewhere(folder)
    except OSError as error:
        raise DataError(f"{error.filename or folder}: {error.strerror}; run: make process_data") from error


def _on_disk(folder: Path, classes: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in (IMAGES, INDEX):
        with (folder / name).open("rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return fingerprint_of(digest.hexdigest(), classes)


def _in_index(folder: Path) -> str | None:
    """The first line that differs, or why it is no index; None if nothing is found, as without checksums."""
    lines = (folder / INDEX).read_bytes().split(b"\n")
    expected = _checksums(folder, INDEX)
    for number, (line, checksum) in enumerate(itertools.zip_longest(lines, expected or []), start=1):
        if expected and (line is None or zlib.crc32(line) != checksum):
            path = (line or b"").partition(b",")[0].decode("utf-8", "backslashreplace")
            return f"{INDEX} is damaged, first in line {number}" + f" ({path})" * bool(path)
    return None


def _in_images(folder: Path) -> str | None:
    """The first image that differs or is not there to its end; None if nothing is found."""
    try:
        paths, _, _, heights, widths, _ = read_index(folder)
        sizes = [int(height) * int(width) * 3 for height, width in zip(heights, widths, strict=True)]
    except (DataError, ValueError):
        return f"{INDEX} is damaged"
    expected = _checksums(folder, IMAGES) or []
    trusted = "" if expected else f", going by {INDEX}"  # which nothing vouches for
    with (folder / IMAGES).open("rb") as file:
        for path, size, checksum in itertools.zip_longest(paths, sizes, expected[: len(paths)]):
            pixels = file.read(size)
            if len(pixels) < size:
                return f"{IMAGES} is cut short, first in the image {path}{trusted}"
            if checksum is not None and zlib.crc32(pixels) != checksum:
                return f"{IMAGES} is damaged, first in the image {path}"
        return f"{IMAGES} goes on after its last image{trusted}" if file.read(1) else None


def _elsewhere(folder: Path) -> str:
    if _checksums(folder, INDEX) and _checksums(folder, IMAGES):
        return f"{IMAGES} and {INDEX} are whole, the fingerprint or class names of the manifest are not"
    return f"{IMAGES}, {INDEX} or the manifest is damaged (their SHA-256 is not the fingerprint of the manifest)"


def _checksums(folder: Path, name: str) -> list[int] | None:
    """Of the lines or images of a packed file, where they were written and can be read."""
    try:
        values = json.loads((folder / CHECKSUMS).read_bytes())[name]
        return [int(value) for value in values]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
