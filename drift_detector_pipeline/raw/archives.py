"""Archives on their way to files: nothing leaves the target folder, nothing damaged passes for whole.

In: an archive (zip, or tar: plain, gz, bz2 or xz). Out: files on disk. Read by dataset.py, and by
images/named_files.py for archives of anybody's images. What a path may be is `tarfile`'s judgement, also for a zip.
"""

import bz2
import copy
import errno
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, Self, TypeVar

from drift_detector_pipeline.console import log, progress_bar
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.first_bytes import first_bytes, what_unpacked
from drift_detector_pipeline.raw.listing import is_clutter
from drift_detector_pipeline.raw.split_names import split_name

_DECOMPRESS: dict[bytes, Any] = {b"\x1f\x8b": gzip.GzipFile, b"BZh": bz2.BZ2File, b"\xfd7zXZ\0": lzma.LZMAFile}
ENDINGS = (".zip", ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")
_BESIDE = (".sha256", ".dvc", ".part")
MOST_GROWTH, ANY_SIZE = 200, 1 << 28  # times an archive's own size, and bytes, to which it may grow in any case
# zipfile gives all that their next bytes hold at once, a gigabyte for a kilobyte, whatever is asked for.
_UNBOUNDED = {zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "LZMA"}
_ON_DISK = 4096  # bytes that even an empty file takes
_LONGEST_HEADER = 1 << 20  # bytes of a long name or the like, which tarfile reads as a whole
_CLASHES = (IsADirectoryError, NotADirectoryError, FileExistsError)  # a file and a folder of one name in the archive
# A decompressor's; a place before the file's first byte; names that no file here can have.
_OF_THE_ARCHIVE = {None, errno.EINVAL, errno.ENAMETOOLONG, errno.EILSEQ}
_DAMAGED: tuple[type[Exception], ...] = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError,
    ValueError, RuntimeError,  # zipfile: unknown compression, encrypted
    IndexError, struct.error,  # ... a member without a name, a field that is cut
)  # fmt: skip
_REFUSED: tuple[type[Exception], ...] = (*_DAMAGED, DataError)
_OTHER_NAMES = "If names of classes are wrong, unpack it with the program that packed it, and name the folder"
_Member = TypeVar("_Member", bound=tarfile.TarInfo)


def archives_of(source: Path) -> list[Path]:
    """A source's archives, sorted: itself if it is a file, or what its folder holds if that is archives alone.

    Beside archives there may be what belongs to them: checksums, DVC's files, downloads that are not complete.
    """
    if not source.is_dir():
        return [source] if source.is_file() else []
    files = [path for path in sorted(source.iterdir()) if not is_clutter(path) and path.suffix not in _BESIDE]
    return files if all(path.is_file() and path.name.lower().endswith(ENDINGS) for path in files) else []


def extract_all(archives: Sequence[Path], target: Path) -> None:
    """Write the files of all `archives` below `target`, as `extract` does.

    `train.zip` beside `test.zip` go to folders of these names, unless their files lie in folders named as parts.
    """
    parts = [split_name(_stem(archive)) for archive in archives]
    apart = all(parts) and len({name.part for name in parts if name}) > 1
    for archive in archives:
        extract(archive, target / _stem(archive) if apart and not _names_parts(archive, target) else target)


def _stem(archive: Path) -> str:
    """Its name without the ending: `train` of train.tar.gz."""
    ending = max((ending for ending in ENDINGS if archive.name.lower().endswith(ending)), key=len, default="")
    return archive.name[: len(archive.name) - len(ending)]


def _names_parts(archive: Path, target: Path) -> bool:
    """Whether its first file lies in a folder that names a part; False of an archive that is not whole."""
    try:
        inside = (path.relative_to(target) for path, _ in _files(archive, target))
        first = next((path for path in inside if not any(is_clutter(Path(name)) for name in path.parts)), Path())
    except _REFUSED:
        return False  # and extract says what is wrong
    return any(split_name(name) for name in first.parts[:-1])


def extract(archive: Path, target: Path) -> None:
    """Write the files of `archive` below `target`.

    Absolute paths are taken as below `target`. Files of one name, also of an earlier archive, are warned of. Raises
    DataError if the archive is damaged, of an unknown kind, grows beyond `MOST_GROWTH` and `ANY_SIZE`, or holds a path
    that climbs out, a link, a device, a name that is too long, or a file and a folder of one name. Memory holds a piece
    of a file, never a whole one.
    """
    target.mkdir(parents=True, exist_ok=True)
    twice = list[Path]()
    try:
        room = max(MOST_GROWTH * archive.stat().st_size, ANY_SIZE)
        with progress_bar(total=None, title=f"extract {archive.name}", unit=" files") as bar:
            for path, pieces in _files(archive, target):
                twice += [path] * path.is_file()
                path.parent.mkdir(parents=True, exist_ok=True)
                room -= _ON_DISK
                with path.open("wb") as written:
                    for piece in pieces:
                        room -= len(piece)
                        _refuse_growth(archive, room)
                        written.write(piece)
                _refuse_growth(archive, room)
                bar.update()
        if twice:
            log.warning(
                "%s: %d files have the name of an earlier one, such as %s, and take its place",
                archive, len(twice), twice[0].relative_to(target),
            )  # fmt: skip
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno not in _OF_THE_ARCHIVE and not isinstance(error, _CLASHES):
            raise  # the file system's error; that of a decompressor has no number
        raise DataError(
            f"{archive}: not a complete tar or zip archive ({error}). Fetch or pack it again, then repeat this command"
        ) from error


def _files(archive: Path, target: Path) -> Iterator[tuple[Path, Iterator[bytes]]]:
    start = first_bytes(archive)
    if foreign := what_unpacked(start):
        raise ValueError(foreign)
    yield from _zip_files(archive, target) if start.startswith(b"PK") else _tar_files(archive, start, target)


def _refuse_growth(archive: Path, room: int) -> None:
    if room < 0:
        raise DataError(
            f"{archive}: grows to more than {MOST_GROWTH} times its size, which images do not; nothing of it is used. "
            "If that is right, unpack it yourself and name the folder"
        )


class _Header(tarfile.TarInfo):
    """A tar header that must be there: tarfile itself takes an archive cut between two files for a whole one."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        return _short(super().frombuf(buf, encoding, errors))

    @classmethod
    def _frombuf(cls, *given: Any, **options: Any) -> Self:  # what some versions of tarfile call instead
        return _short(super()._frombuf(*given, **options))  # type: ignore[misc, no-any-return]

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise  # the block of zeros that ends an archive
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at byte {tar.offset}") from error


def _short(header: _Member) -> _Member:
    """The header itself. Raises ReadError if it announces names or the like that would fill the memory."""
    if not (header.isreg() or header.isdir()) and header.size > _LONGEST_HEADER:
        raise tarfile.ReadError(f"a header of {header.size:,} bytes")
    return header


def _zip_files(archive: Path, target: Path) -> Iterator[tuple[Path, Iterator[bytes]]]:
    with zipfile.ZipFile(archive) as opened:
        if unsure := [info for info in opened.infolist() if _utf8_name(info) is None]:
            log.warning(
                "%s: does not say how its names are written; %d may be garbled, such as %r. %s",
                archive, len(unsure), unsure[0].filename, _OTHER_NAMES,
            )  # fmt: skip
        for info in opened.infolist():
            path = _place(_as_in_a_tar(info), target, archive)
            if not info.is_dir():
                if info.compress_type in _UNBOUNDED:
                    raise ValueError(f"{_UNBOUNDED[info.compress_type]} inside a zip; pack it as any program does")
                with opened.open(info) as file:
                    yield path, _pieces(file)


def _tar_files(archive: Path, start: bytes, target: Path) -> Iterator[tuple[Path, Iterator[bytes]]]:
    odd = list[str]()
    decompress = next((kind for magic, kind in _DECOMPRESS.items() if start.startswith(magic)), io.FileIO)
    with decompress(archive) as plain, tarfile.open(fileobj=plain, mode="r|", tarinfo=_Header) as opened:
        for member in opened:
            odd += [member.name] * (not _is_unicode(member.name))
            path = _place(member, target, archive)
            if file := opened.extractfile(member):  # None: a folder
                yield path, _pieces(file)
        while plain.read(1 << 20):
            pass  # to the end, where the checksum of the compressed stream is
    if odd:
        log.warning("%s: %d of its names are not UTF-8, such as %r. %s", archive, len(odd), odd[0], _OTHER_NAMES)


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    return iter(partial(file.read, 1 << 16), b"")


def _as_in_a_tar(info: zipfile.ZipInfo) -> tarfile.TarInfo:
    """Name and type of a zip's member, for the judgement that members of a tar get."""
    member = tarfile.TarInfo(_utf8_name(info) or info.filename)
    kind = info.external_attr >> 28  # the file type of Unix modes; 0 where the writer has none
    member.type = tarfile.REGTYPE if kind in (0, 0o4, 0o10) else tarfile.SYMTYPE  # or a device: as little wanted
    return member


def _utf8_name(info: zipfile.ZipInfo) -> str | None:
    """A member's name; None if it is neither marked as UTF-8 nor reads as such.

    Unmarked names are in code page 437 by the standard, and so Python reads them; many programs write UTF-8.
    """
    if info.flag_bits & 0x800 or info.filename.isascii():
        return info.filename
    try:
        return info.filename.encode("cp437").decode()
    except UnicodeEncodeError:
        return info.filename  # newer Pythons look into the field that some programs keep a second name in
    except UnicodeDecodeError:
        return None


def _place(member: tarfile.TarInfo, target: Path, archive: Path) -> Path:
    """Where a member goes, going by the `data` filter; DataError if that is outside `target`, or it is no plain file.

    The filter would let links pass that stay inside. They are refused: images need none, and what was found wrong
    with the filter itself (CVE-2025-4517 and its like) takes one.
    """
    if not (member.isfile() or member.isdir()):
        raise DataError(f"{archive}: {member.name!r} is a link or a device; only plain files are extracted")
    named = copy.copy(member)
    named.name = member.name.replace("\\", "/")  # some Windows programs write such paths
    if (path := _inside(named, target)) is None:
        raise DataError(f"{archive}: {member.name!r} climbs out of the target folder; nothing of this archive is used")
    return path


def _inside(member: tarfile.TarInfo, target: Path) -> Path | None:
    """Where the `data` filter puts a member, None for outside; Pythons before 3.11.4 have none, so by the same rule."""
    if not hasattr(tarfile, "data_filter"):
        path = target / member.name.lstrip("/")
        return path if path.resolve().is_relative_to(target.resolve()) else None
    try:
        return target / tarfile.data_filter(member, str(target)).name
    except tarfile.FilterError:
        return None
