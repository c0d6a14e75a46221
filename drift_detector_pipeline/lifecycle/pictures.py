"""Where the bytes of logged images are, by their SHA-256: in any folder of files, or in one that the service keeps.

In: a folder and the hashes that are wanted. Out: files. Read by basket.py. Of files that nobody wants nothing is
remembered, so a folder of any size takes no more memory than a small one.
"""

import hashlib
import re
import stat
from collections.abc import Iterator, Set
from pathlib import Path

from drift_detector_pipeline.console import log, progress_bar
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import file_hash
from drift_detector_pipeline.raw.listing import everything_below

_KEPT_NAME = re.compile(r"([0-9a-f]{2})[0-9a-f]{62}\.\w+")
_MOST_BYTES = 10**9  # what is larger was never sent to a service, and is not read


def images_by_hash(folder: Path, wanted: Set[bytes]) -> dict[bytes, Path]:
    """A file below `folder` for each of the hashes that is there; files in the service's own order are not all read.

    Raises DataError if there is no such folder, or it cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; name the one that holds the images: IMAGES=FOLDER")
    found = dict(_kept(folder, wanted))
    missing, unread = set(wanted) - found.keys(), 0
    with progress_bar(total=None, title=f"{folder}: hash", unit=" files") as bar:
        for path in _others(folder) if missing else ():
            bar.update()
            own = _hash_of(path)
            unread += own is None
            if own in missing:
                found[own] = path
                missing.remove(own)
                if not missing:
                    break
    if unread:
        log.warning(
            "%s: %d files could not be read, or are no images by their size or kind, and were passed over",
            folder,
            unread,
        )
    return found


def read_checked(path: Path, sha256: bytes) -> bytes | None:
    """The bytes of a file if they are still those of this hash, else None."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return content if hashlib.sha256(content).digest() == sha256 else None


def _kept(folder: Path, wanted: Set[bytes]) -> Iterator[tuple[bytes, Path]]:
    """Files that serving/kept.py may have written, by their names; whoever reads one compares its hash."""
    names = {sha256.hex(): sha256 for sha256 in wanted}
    for part in {name[:2] for name in names}:
        for path in (folder / part).glob(f"{part}*"):
            if path.stem in names:
                yield names[path.stem], path


def _others(folder: Path) -> Iterator[Path]:
    for path in everything_below(folder):
        named = _KEPT_NAME.fullmatch(path.name)
        if not (named and path.parent.name == named[1]):
            yield path


def _hash_of(path: Path) -> bytes | None:
    """None of a file that cannot be read, is none, such as a pipe, or is too large."""
    try:
        known = path.stat()
        if not stat.S_ISREG(known.st_mode) or known.st_size > _MOST_BYTES:
            return None
        return bytes.fromhex(file_hash(path))
    except OSError:
        return None
