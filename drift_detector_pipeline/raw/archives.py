"""Archives on their way to files: nothing leaves the target folder, nothing damaged passes for whole.

In: an archive (zip, or tar: plain, gz, bz2 or xz) or a folder. Out: files on disk and a `Listing`. Fed by sources.py,
read by dataset.py.
"""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, Self

from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.errors import DataError

_DECOMPRESS: dict[bytes, Any] = {b"\x1f\x8b": gzip.GzipFile, b"BZh": bz2.BZ2File, b"\xfd7zXZ\0": lzma.LZMAFile}


def extract(archive: Path, target: Path) -> None:
    """Write the files of `archive` below `target`.

    Raises DataError if it is damaged, of an unknown kind, or holds a path that climbs out, a link or a device.
    """
    damaged: tuple[type[Exception], ...] = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
    damaged += (EOFError, OSError, ValueError, RuntimeError)  # zipfile: unknown compression, encrypted
    try:
        start = _first_bytes(archive)
        members = _zip_members(archive) if start.startswith(b"PK") else _tar_members(archive, start)
        with progress_bar(total=None, title=f"extract {archive.name}", unit=" files") as bar:
            for name, file in members:
                path = target / _safe(name, archive)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.read())
                bar.update()
    except damaged as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the file system's error; that of a decompressor has no number
        raise DataError(
            f"{archive}: not a complete tar or zip archive ({error}). Fetch or pack it again, then: make process_data"
        ) from error


class _Header(tarfile.TarInfo):
    """A tar header that must be there: tarfile itself takes an archive cut between two files for a whole one."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise  # the block of zeros that ends an archive
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at byte {tar.offset}") from error


def _first_bytes(archive: Path) -> bytes:
    with archive.open("rb") as file:
        return file.read(6)


def _zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = info.external_attr >> 28  # the file type of Unix modes; 0 where the writer has none
            if kind not in (0, 0o4, 0o10):
                raise DataError(f"{archive}: {info.filename!r} is a link or a device; only plain files are extracted")
            if not info.is_dir():
                with opened.open(info) as file:
                    yield info.filename, file


def _tar_members(archive: Path, start: bytes) -> Iterator[tuple[str, IO[bytes]]]:
    decompress = next((kind for magic, kind in _DECOMPRESS.items() if start.startswith(magic)), io.FileIO)
    with decompress(archive) as plain, tarfile.open(fileobj=plain, mode="r|", tarinfo=_Header) as opened:
        for member in opened:
            if not (member.isfile() or member.isdir()):
                raise DataError(f"{archive}: {member.name!r} is a link or a device; only plain files are extracted")
            file = opened.extractfile(member) if member.isfile() else None
            if file is not None:
                yield member.name, file
        while plain.read(1 << 20):
            pass  # to the end, where the checksum of the compressed stream is


def _safe(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and ":" in path.parts[0]):
        raise DataError(f"{archive}: {name!r} climbs out of the target folder; nothing of this archive is used")
    return path
