"""The raw data set, in its place and checked: the file, DVC's cache, DVC's remote, the public address, in this order.

In: `Data.raw_path` and `Data.source_url`. Out: the path, or a `DataError` that names every place tried. Read by
dataset.py, which calls `ensure_raw` always, and `verify` when the file is not the one it packed before.
"""

import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml

from drift_detector_pipeline import remote
from drift_detector_pipeline.config import Data
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import disk_full_explained, exclusive, file_hash

if TYPE_CHECKING:
    import requests

log = logging.getLogger(__name__)

_PATIENCE = 3  # attempts in a row that bring nothing new before the public address is given up
_BACKOFF_S = 0.5  # before the second attempt; doubled before each further one
_TIMEOUT_S = (10, 60)  # to connect; between two pieces of the body
_PULL_LIMIT_S = 900  # for the DVC remote: it has no limit of its own, and the public address comes after it
_CHUNK_BYTES = 1 << 16


class Pointer(NamedTuple):
    """What a `.dvc` file says about the file it stands beside."""

    file: Path
    md5: str
    size_bytes: int


class _NotHereError(Exception):
    """Why one place does not provide the file; the next one is tried."""


class _BrokenOffError(Exception):
    """Why a download stopped; it is continued."""


def ensure_raw(data: Data) -> Path:
    """Return `data.raw_path`, an archive or a folder; a missing one is fetched and verified first.

    A file that is there costs a look at its size: whether to hash it, too, is the caller's decision (`verify`).
    Raises DataError: nothing provides it, its size is not that of its `.dvc` file, or it cannot be written.
    """
    path = data.raw_path
    if path is None:
        raise ValueError(f"data={data.name} has no raw file")
    if not path.exists():
        _fetch_alone(path, data.source_url)
    pointer = read_pointer(path)
    if pointer and path.is_file() and path.stat().st_size != pointer.size_bytes:
        raise DataError(_mismatch(path, pointer))
    return path


def verify(path: Path) -> None:
    """Raise DataError if `path` is not the file its `.dvc` file describes; a folder or an untracked file passes."""
    pointer = read_pointer(path)
    if pointer and path.is_file() and not _matches(path, pointer):
        raise DataError(_mismatch(path, pointer))


def read_pointer(path: Path) -> Pointer | None:
    """Read `<path>.dvc`; None if there is none."""
    file = _pointer_file(path)
    if not file.exists():
        return None
    try:
        [output] = yaml.safe_load(file.read_text(encoding="utf-8"))["outs"]
        return Pointer(file, str(output["md5"]), int(output["size"]))
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
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


def _fetch_alone(path: Path, url: str | None) -> None:
    """Fetch `path` unless another process, for which this one waits, has just done so."""
    if url is None and not _pointer_file(path).exists():
        raise DataError(
            f"{path}: no such file or folder; data.raw_path is an archive (tgz, tar, zip) or a folder with one "
            "subfolder a class. `data=digits` works without any file."
        )
    try:
        with exclusive(path.with_name(f".{path.name}.lock")):
            if not path.exists():
                _fetch(path, url)
    except OSError as error:
        raise DataError(f"{error.filename or path}: {error.strerror}; {path.parent} must be writable") from error


def _fetch(path: Path, url: str | None) -> None:
    """Try each place in turn; DataError with all reasons if none has the file."""
    pointer = read_pointer(path)
    reasons, places = [f"the file {path}: missing"], dict[str, Callable[[], None]]()
    if pointer:
        places["DVC cache"] = lambda: _from_cache(path, pointer)
        places["DVC remote"] = lambda: _from_remote(path, pointer)
    else:
        reasons.append(f"DVC cache and DVC remote: they do not know it, {_pointer_file(path)} is missing")
    if url:
        places[f"public address {url}"] = lambda: _from_address(path, pointer, url)
    else:
        reasons.append("public address: data.source_url is not set")
    for place, bring in places.items():
        try:
            bring()
        except _NotHereError as reason:
            reasons.append(f"{place}: {reason}")
        else:
            return log.info("%s: brought from the %s", path, place)
    raise DataError(_nowhere(path, pointer, url, reasons))


def _nowhere(path: Path, pointer: Pointer | None, url: str | None, reasons: list[str]) -> str:
    checksum = f" (md5 {pointer.md5}, {pointer.size_bytes} bytes)" if pointer else ""
    ways = ["`make dvc_pull`, once the remote is set up: docs/data_remotes.md"] if pointer else []
    if url:
        ways.append(f"fetch {url}{checksum} by hand and put it at {path}")
    ways.append('train without any download: `make train ARGS="data=digits"`')
    return (
        "\n  - ".join(["the raw data was found nowhere:", *reasons])
        + "\nAny of these helps:\n  - "
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
        remote.dvc(repository, ["pull", "-r", name, pointer.file.name], show=_progress_wanted(), limit_s=_PULL_LIMIT_S)
    except DataError as error:
        raise _NotHereError(str(error)) from error
    if path.is_file() and not _matches(path, pointer):
        path.unlink()
        raise _NotHereError("it sent another file")


def _from_address(path: Path, pointer: Pointer | None, url: str) -> None:
    """Download `url` beside `path`, check it, rename it; a broken download is continued, also by the next run."""
    part = path.with_name(f"{path.name}.part")
    if pointer is None or _size_bytes(part) != pointer.size_bytes:
        _download(url, part)
    if pointer and not _matches(part, pointer):
        found = f"md5 {file_hash(part, 'md5')} and {part.stat().st_size} bytes"
        part.unlink()
        raise _NotHereError(
            f"sent {found}, expected {pointer.md5} and {pointer.size_bytes} bytes; removed, the next try starts over"
        )
    part.replace(path)
    if pointer:
        _fill_cache(pointer)


def _download(url: str, part: Path) -> None:
    failures = 0
    while True:
        before = _size_bytes(part)
        try:
            return _continue(url, part)
        except _BrokenOffError as reason:
            failures = 1 if _size_bytes(part) > before else failures + 1
            if failures == _PATIENCE:
                kept = f"; the next try goes on from {part}" if _size_bytes(part) else ""
                raise _NotHereError(f"{reason}, {_PATIENCE} times{kept}") from reason
            log.warning("%s: %s; trying again", url, reason)
            time.sleep(_BACKOFF_S * 2 ** (failures - 1))


def _continue(url: str, part: Path) -> None:
    """Ask once for what `part` still lacks; raises _BrokenOffError or _NotHereError unless that completes it."""
    import requests  # 0.15 s that only a missing file has to cost

    offset = _size_bytes(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
            offset, total = _what_comes(response, part)
            _save(response, part, offset, total)
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        raise _BrokenOffError(_short(error)) from error
    except requests.RequestException as error:
        raise _NotHereError(_short(error)) from error
    if total is not None and _size_bytes(part) < total:
        raise _BrokenOffError(f"broke off after {_size_bytes(part)} of {total} bytes")


def _what_comes(response: "requests.Response", part: Path) -> tuple[int, int | None]:
    """Return the first byte this response brings and the total size; raises as `_continue` if it brings none."""
    status, offset = response.status_code, _size_bytes(part)
    span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    if status == 206 and span.startswith(f"{offset}-"):
        return offset, int(total) if total.isdigit() else None
    if status == 200:  # from the start: a first request, or a server that knows no ranges
        length = response.headers.get("Content-Length")
        return 0, int(length) if length else None
    if status in (206, 416):  # what is there already belongs to another file
        part.unlink(missing_ok=True)
        raise _BrokenOffError(f"HTTP {status}, cannot go on from byte {offset}")
    if status >= 500 or status in (408, 429):
        raise _BrokenOffError(f"HTTP {status} {response.reason}")
    raise _NotHereError(f"HTTP {status} {response.reason}")


def _save(response: "requests.Response", part: Path, offset: int, total: int | None) -> None:
    from tqdm import tqdm

    quiet = not _progress_wanted()
    with (
        disk_full_explained(part),
        part.open("ab" if offset else "wb") as file,
        tqdm(total=total, initial=offset, unit="B", unit_scale=True, desc=part.stem, disable=quiet) as bar,
    ):
        for chunk in response.iter_content(_CHUNK_BYTES):
            file.write(chunk)
            bar.update(len(chunk))
        file.flush()
        os.fsync(file.fileno())


def _short(error: "requests.RequestException") -> str:
    """Return the innermost reason: the libraries wrap it in addresses and object names."""
    inner = error.args[0] if error.args else error
    text = str(getattr(inner, "reason", inner))
    return text.rpartition("): ")[2] or type(error).__name__


def _fill_cache(pointer: Pointer) -> None:
    """Let DVC's cache have the file, too, so that the next checkout needs no download."""
    try:
        repository = remote.open_repository(pointer.file.parent)
        remote.dvc(repository, ["commit", "--quiet", "--force", pointer.file.name])
    except DataError as error:
        log.warning("%s: downloaded and verified, but not put into DVC's cache: %s", pointer.file, error)


def _size_bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _progress_wanted() -> bool:
    return sys.stderr.isatty() and os.environ.get("CI_MODE") != "true"
