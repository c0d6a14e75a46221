"""Whether packed images are still what was written: changed bytes are noticed before anybody learns from them.

In: a processed folder, and the fingerprint and class names of its manifest. Out: what is damaged, or None. The
fingerprint decides, as folders of every version have one; checksums, where there are some, only tell where.
"""

import hashlib
import itertools
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.json_files import read_json
from drift_detector_pipeline.processed.packing import BOXES, CHECKSUMS, IMAGES, INDEX, read_index
from drift_detector_pipeline.whole_files import refuse_endless

_BLOCK = 2**20  # bytes read at a time
_SHOWN = 200  # letters of a path, at most: a damaged line may be the whole file


def fingerprint_of(packed_sha256: str, classes: Sequence[str]) -> str:
    """SHA-256 over pixels, index, boxes where there are any, and class names.

    `packed_sha256` is what `write_packed` returned.
    """
    return hashlib.sha256(f"{packed_sha256} {list(classes)}".encode("utf-8", "surrogateescape")).hexdigest()


def find_damage(folder: Path, fingerprint: str, classes: Sequence[str]) -> str | None:
    """What in a processed folder is not as it was written, or None. Reads every byte: 1 to 2 GB a second on one core.

    Raises DataError if a file cannot be read.
    """
    try:
        whole = _on_disk(folder, classes) == fingerprint
        if whole:
            return None
        return _in_lines(folder, INDEX) or _in_lines(folder, BOXES) or _in_images(folder) or _elsewhere(folder)
    except OSError as error:
        raise DataError(f"{error.filename or folder}: {error.strerror}; run: make process_data") from error


def _on_disk(folder: Path, classes: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for path in (folder / IMAGES, folder / INDEX, *_boxes(folder)):
        try:
            refuse_endless(path)
        except ValueError as error:
            raise DataError(f"{path}: {error}; run: make process_data") from error
        with path.open("rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return fingerprint_of(digest.hexdigest(), classes)


def _boxes(folder: Path) -> list[Path]:
    return [folder / BOXES] if (folder / BOXES).exists() else []


def _in_lines(folder: Path, name: str) -> str | None:
    """The first line that differs, or why it is no such table; None if nothing is found, as without checksums."""
    expected = _checksums(folder, name)
    if not expected:
        return None
    lines = (folder / name).read_bytes().split(b"\n")
    for number, (line, checksum) in enumerate(itertools.zip_longest(lines, expected), start=1):
        if line is None or zlib.crc32(line) != checksum:
            path = (line or b"").partition(b",")[0][:_SHOWN].decode("utf-8", "backslashreplace")
            return f"{name} is damaged, first in line {number}" + f" ({path})" * bool(path and name == INDEX)
    return None


def _in_images(folder: Path) -> str | None:
    """The first image that differs or is not there to its end; None if nothing is found."""
    try:
        columns = read_index(folder)
        paths, sizes = columns["path"], _sizes(columns)
    except (DataError, ValueError):
        return f"{INDEX} is damaged"
    expected = _checksums(folder, IMAGES) or []
    trusted = "" if expected else f", going by {INDEX}"  # which nothing vouches for
    with (folder / IMAGES).open("rb") as file:
        for path, size, checksum in itertools.zip_longest(paths, sizes, expected[: len(paths)]):
            content = file.read(size)
            if len(content) < size:
                return f"{IMAGES} is cut short, first in the image {path}{trusted}"
            if checksum is not None and zlib.crc32(content) != checksum:
                return f"{IMAGES} is damaged, first in the image {path}"
        return f"{IMAGES} goes on after its last image{trusted}" if file.read(1) else None


def _sizes(columns: Mapping[str, Sequence[str]]) -> list[int]:
    """Bytes of each image. Raises ValueError if the index has none."""
    if "bytes" in columns:
        return [max(0, int(length)) for length in columns["bytes"]]
    sides = zip(columns["height"], columns["width"], columns.get("frames") or itertools.repeat("1"), strict=False)
    return [int(height) * int(width) * int(frames) * 3 for height, width, frames in sides]


def _elsewhere(folder: Path) -> str:
    names = (IMAGES, INDEX, *(path.name for path in _boxes(folder)))
    if all(_checksums(folder, name) for name in names):
        return f"{' and '.join(names)} are whole, the fingerprint or class names of the manifest are not"
    return f"{', '.join(names)} or the manifest is damaged (their SHA-256 is not the fingerprint of the manifest)"


def _checksums(folder: Path, name: str) -> list[int] | None:
    """Of the lines or images of a packed file, where they were written and can be read."""
    try:
        values = read_json(folder / CHECKSUMS)[name]
        return [int(value) for value in values]
    except (OSError, ValueError, KeyError, TypeError):
        return None
