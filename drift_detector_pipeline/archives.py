"""What a raw source holds: extracts archives safely and lists the images of an ImageFolder layout.

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
from typing import IO, Any, NamedTuple, Self

from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.splits import RawImage

VAL_FOLDERS = ("val", "valid", "validation", "test")  # the first that exists becomes `val`
_CLUTTER = {"thumbs.db", "desktop.ini", "__macosx", "icon\r"}
_DECOMPRESS: dict[bytes, Any] = {b"\x1f\x8b": gzip.GzipFile, b"BZh": bz2.BZ2File, b"\xfd7zXZ\0": lzma.LZMAFile}
_LAYOUT = "expected one folder per class, for example PATH/cat/1.jpg, or PATH/train/cat/1.jpg and PATH/val/cat/2.jpg"


class Listing(NamedTuple):
    """The images of a source, sorted by path, and what was left out."""

    root: Path
    images: list[RawImage]
    ignored: list[str]  # files outside class folders, hidden files, broken links
    unused_folders: list[str]  # beside train and val, such as a second validation folder


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


def list_images(source: Path) -> Listing:
    """List the images below `source`, an ImageFolder layout with or without train and validation folders.

    Raises DataError if there are no class folders, fewer than two classes, or a class only in the validation part.
    """
    root = _root(source)
    folders = {path.name.lower(): path for path in _subfolders(root)}
    val = next((folders[name] for name in VAL_FOLDERS if name in folders), None)
    if val is not None and "train" not in folders:
        if _subfolders(val):
            raise DataError(f"{source}: {val.name}/ has class folders, but there is no train/ beside it; {_LAYOUT}")
        val = None  # a class that happens to have such a name
    parts: list[tuple[Path, bool | None]]
    parts = [(folders["train"], None if val is None else False)] if "train" in folders else [(root, None)]
    if val is not None:
        parts.append((val, True))
    images = [image for part, in_val in parts for image in _images_of(part, root, in_val)]
    _check_classes(images, source)
    used = {part for part, _ in parts}
    unused = [] if used == {root} else [path for path in folders.values() if path not in used]
    files = (path for path in root.rglob("*") if not path.is_dir() and not any(map(path.is_relative_to, unused)))
    ignored = {path.relative_to(root).as_posix() for path in files} - {image.path for image in images}
    return Listing(root, sorted(images), sorted(ignored), sorted(path.name for path in unused))


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


def _root(source: Path) -> Path:
    """Descend through wrapping folders, such as the one folder most archives have at their top."""
    folders = _subfolders(source)
    alone = len(folders) == 1 and folders[0].name.lower() != "train" and _subfolders(folders[0])
    return _root(folders[0]) if alone else source


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_clutter(path))


def _images_of(part: Path, root: Path, in_val: bool | None) -> Iterator[RawImage]:
    for folder in _subfolders(part):
        for path in folder.rglob("*"):
            inside = path.relative_to(part)
            if path.is_file() and not any(is_clutter(Path(name)) for name in inside.parts):
                yield RawImage(path.relative_to(root).as_posix(), folder.name, in_val, inside.as_posix())


def is_clutter(path: Path) -> bool:
    """Whether a file or folder is hidden or left by an operating system, going by its name."""
    return path.name.startswith(".") or path.name.lower() in _CLUTTER


def _check_classes(images: list[RawImage], source: Path) -> None:
    classes = {image.class_name for image in images}
    if len(classes) < 2:
        found = f"only the class {classes.pop()!r}" if classes else "no class folders with files"
        raise DataError(f"{source}: {found}; {_LAYOUT}")
    trained = {image.class_name for image in images if not image.in_val_folder}
    if classes - trained:
        raise DataError(
            f"{source}: {', '.join(sorted(classes - trained))} occurs in the validation folder only; "
            f"the classes of train are {', '.join(sorted(trained))}"
        )
