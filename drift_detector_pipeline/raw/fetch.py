"""The raw data set, in its place and checked: the file, DVC's cache, DVC's remote, the public address, in this order.

In: `Data.raw_path` and `Data.source_url`, or `Data.source_archives`, of which each has its place in the folder
`raw_path`. Out: the path, or a `DataError` that names every place tried. Read by dataset.py, which calls `ensure_raw`
always, and `verify` when the source is not the one it packed before.

A file is checked by its `.dvc` file if it has one, else by a SHA-256: that of the settings, or the one that was
recorded when the file first came.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

import yaml

from drift_detector_pipeline.console import log, progress_wanted
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import exclusive, file_hash
from drift_detector_pipeline.raw import remote
from drift_detector_pipeline.raw.archives import archives_of
from drift_detector_pipeline.raw.download import DownloadError, download, size_bytes
from drift_detector_pipeline.raw.recorded import ENDING, record, recorded
from drift_detector_pipeline.settings import Data
from drift_detector_pipeline.whole_files import read_plain

_PULL_LIMIT_S = 900  # for the DVC remote: it has no limit of its own, and the public address comes after it


class Pointer(NamedTuple):
    """What a `.dvc` file says about the file it stands beside."""

    file: Path
    md5: str
    size_bytes: int


class _Wanted(NamedTuple):
    """A file that is to be there."""

    path: Path
    url: str | None  # public address
    sha256: str | None = None  # that its publisher or somebody else has told


class _NotHereError(Exception):
    """Why one place does not provide the file; the next one is tried."""


def ensure_raw(data: Data) -> Path:
    """Return `data.raw_path`, an archive or a folder; what is missing is fetched and verified first.

    A file that is there costs a look at its size: whether to hash it, too, is the caller's decision (`verify`).
    Raises DataError: nothing provides it, its size is not that of its `.dvc` file, or it cannot be written.
    """
    path = data.raw_path
    if path is None:
        raise ValueError(f"data={data.name} has no raw file")
    if data.source_archives and _is_place_of_archives(path):
        for archive in data.source_archives:
            _ensure(_Wanted(path / archive.file_name, archive.url, archive.sha256))
    else:
        _ensure(_Wanted(path, data.source_url))
    return path


def _is_place_of_archives(path: Path) -> bool:
    """Whether archives are to lie there: not where somebody has unpacked them, or names another archive."""
    return not path.exists() or (path.is_dir() and (not any(path.iterdir()) or bool(archives_of(path))))


def _ensure(wanted: _Wanted) -> None:
    path = wanted.path
    if not path.exists():
        _fetch_alone(wanted)
    if not (path.is_file() or path.is_dir()):
        raise DataError(f"{path}: neither a file nor a folder; data.raw_path is an archive (tgz, tar, zip) or a folder")
    pointer = read_pointer(path)
    if pointer and path.is_file() and path.stat().st_size != pointer.size_bytes:
        raise DataError(_mismatch(path, pointer))
    if wanted.sha256 and not pointer and recorded(path) != wanted.sha256:  # put there by hand
        found = file_hash(path)
        if found != wanted.sha256:
            raise DataError(_other_bytes(path, found, wanted.sha256))
        record(path, found)


def verify(path: Path) -> None:
    """Raise DataError if a file of `path` is not what its `.dvc` file or its recorded SHA-256 says; others pass."""
    for archive in archives_of(path):
        pointer = read_pointer(archive)
        if pointer and not _matches(archive, pointer):
            raise DataError(_mismatch(archive, pointer))
        expected = None if pointer else recorded(archive)
        if expected and (found := file_hash(archive)) != expected:
            raise DataError(_other_bytes(archive, found, expected))


def read_pointer(path: Path) -> Pointer | None:
    """Read `<path>.dvc`; None if there is none."""
    file = _pointer_file(path)
    if not file.exists():
        return None
    try:
        [output] = yaml.safe_load(read_plain(file))["outs"]
        if not isinstance(output["md5"], str):  # the text of a list that names itself would have no end
            raise TypeError
        return Pointer(file, output["md5"], int(output["size"]))
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: expected one output with md5 and size; `git checkout {file}` restores it") from error


def _pointer_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.dvc")


def _matches(path: Path, pointer: Pointer) -> bool:
    return path.stat().st_size == pointer.size_bytes and file_hash(path, "md5") == pointer.md5


def _mismatch(path: Path, pointer: Pointer) -> str:
    found, size_bytes = file_hash(path, "md5"), path.stat().st_size
    return (
        f"{path} is not the file that {pointer.file} describes: md5 {found} and {size_bytes} bytes, expected "
        f"{pointer.md5} and {pointer.size_bytes} bytes. It is left alone. Remove it and run `make process_data` again "
        "to fetch the right one, or use yours under another name: data.raw_path=PATH"
    )


def _other_bytes(path: Path, found: str, expected: str) -> str:
    return (
        f"{path} is not the file it should be: SHA-256 {found}, expected {expected}. It is left alone. Remove it and "
        f"{path.name}{ENDING} and run `make process_data` again to fetch the right one"
    )


def _fetch_alone(wanted: _Wanted) -> None:
    """Fetch a file unless another process, for which this one waits, has just done so."""
    path = wanted.path
    if wanted.url is None and not _pointer_file(path).exists():
        raise DataError(
            f"{path}: no such file or folder; data.raw_path is an archive (tgz, tar, zip) or a folder with one "
            "subfolder a class, or with boxes as VOC, COCO, KITTI or YOLO have them. `data=digits` works without any "
            "file."
        )
    try:
        with exclusive(path.with_name(f".{path.name}.lock")):
            if not path.exists():
                _fetch(wanted)
    except OSError as error:
        raise DataError(f"{error.filename or path}: {error.strerror}; {path.parent} must be writable") from error


def _fetch(wanted: _Wanted) -> None:
    """Try each place in turn; DataError with all reasons if none has the file."""
    path, url, pointer = wanted.path, wanted.url, read_pointer(wanted.path)
    reasons, places = [f"the file {path}: missing"], dict[str, Callable[[], None]]()
    if pointer:
        places["DVC cache"] = lambda: _from_cache(path, pointer)
        places["DVC remote"] = lambda: _from_remote(path, pointer)
    else:
        reasons.append(f"DVC cache and DVC remote: they do not know it, {_pointer_file(path)} is missing")
    if url:
        places[f"public address {url}"] = lambda: _from_address(wanted, pointer, url)
    else:
        reasons.append("public address: data.source_url is not set")
    for place, bring in places.items():
        try:
            bring()
        except _NotHereError as reason:
            reasons.append(f"{place}: {reason}")
        else:
            return log.info("%s: brought from the %s", path, place)
    raise DataError(_nowhere(wanted, pointer, reasons))


def _nowhere(wanted: _Wanted, pointer: Pointer | None, reasons: list[str]) -> str:
    path, url, sha256 = wanted
    checksum = f" (SHA-256 {sha256})" if sha256 else ""
    if pointer:
        checksum = f" (md5 {pointer.md5}, {pointer.size_bytes} bytes)"
    ways = ["`make dvc_pull`, once the remote is set up: docs/data_remotes.md"] if pointer else []
    if url:
        ways.append(f"fetch {url}{checksum} by hand and put it at {path}")
    ways.append('train without any download: `make train ARGS="data=digits"`')
    return (
        "\n  - ".join(["the raw data was found nowhere:", *reasons])
        + "\n  Any of these helps:\n  - "
        + "\n  - ".join(ways)
    )


def _from_cache(path: Path, pointer: Pointer) -> None:
    try:
        repository = remote.open_repository(path.parent)
        stored = repository.cache / "files" / "md5" / pointer.md5[:2] / pointer.md5[2:]
        if not stored.exists():
            raise _NotHereError("not in it")
        is_folder = pointer.md5.endswith(".dir")  # then `stored` is a list of objects; dvc reads it
        if not is_folder and not _matches(stored, pointer):  # dvc itself would trust a read-only file
            stored.unlink()
            raise _NotHereError("its copy was damaged; it is removed")
        remote.dvc(repository, ["checkout", "--quiet", pointer.file.name])
    except DataError as error:
        raise _NotHereError(str(error)) from error


def _from_remote(path: Path, pointer: Pointer) -> None:
    try:
        repository = remote.open_repository(path.parent)
        name = repository.default_remote
        remote.check_ready(repository, name)
        log.info("%s: pulling %d MB from the DVC remote %s", path, pointer.size_bytes // 1_000_000, name)
        words = ["pull", *remote.jobs(), "-r", name, pointer.file.name]
        remote.dvc(repository, words, show=progress_wanted(), limit_s=_PULL_LIMIT_S)
    except DataError as error:
        raise _NotHereError(str(error)) from error
    if path.is_file() and not _matches(path, pointer):
        path.unlink()
        raise _NotHereError("it sent a different file")


def _from_address(wanted: _Wanted, pointer: Pointer | None, url: str) -> None:
    """Download `url` beside the path, check it, rename it; a broken download is continued, also by the next run."""
    path, part = wanted.path, wanted.path.with_name(f"{wanted.path.name}.part")
    if pointer is None or size_bytes(part) != pointer.size_bytes:
        try:
            download(url, part)
        except DownloadError as error:
            raise _NotHereError(str(error)) from error
    if pointer and not _matches(part, pointer):
        found = f"md5 {file_hash(part, 'md5')} and {part.stat().st_size} bytes"
        _refuse(part, found, f"{pointer.md5} and {pointer.size_bytes} bytes")
    sha256 = None if pointer else file_hash(part)
    if sha256 and wanted.sha256 and sha256 != wanted.sha256:
        _refuse(part, f"SHA-256 {sha256} and {part.stat().st_size} bytes", wanted.sha256)
    part.replace(path)
    if pointer:
        _fill_cache(pointer)
    if sha256:
        record(path, sha256)
        log.info("%s: SHA-256 %s, %s", path, sha256, "as expected" if wanted.sha256 else "recorded: nobody has told it")


def _refuse(part: Path, found: str, expected: str) -> NoReturn:
    part.unlink()
    raise _NotHereError(f"sent {found}, expected {expected}; removed, the next try starts over")


def _fill_cache(pointer: Pointer) -> None:
    """Let DVC's cache have the file, too, so that the next checkout needs no download."""
    try:
        repository = remote.open_repository(pointer.file.parent)
        remote.dvc(repository, ["commit", "--quiet", "--force", pointer.file.name])
    except DataError as error:
        log.warning("%s: downloaded and verified, but not put into DVC's cache: %s", pointer.file, error)
