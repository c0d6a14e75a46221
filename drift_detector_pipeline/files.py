"""Files that exist only when they are complete: atomic writes, folders of one's own, hashes, locks.

Used by every stage that leaves something behind.
"""

import contextlib
import datetime
import errno
import hashlib
import itertools
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, TypeVar

from drift_detector_pipeline.errors import NO_SPACE, NOT_WRITABLE, DataError, disk_full
from drift_detector_pipeline.stopped import held_back

_Cell = TypeVar("_Cell")
# Also as wide characters, which spreadsheets of East Asia take for the same.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
SEAL = "facts_sha256"
_TRIES = 100  # to hold a lock file


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step: a reader, or a kill, sees the old file or the new one.

    A device, such as /dev/stdout, stays one and is written to. Raises IsADirectoryError for a folder.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.absolute().parent == Path("/dev") or (path.exists() and not path.is_file()):
        with disk_full_explained(path):
            path.write_bytes(content)
        return
    partial = path.with_name(f".{path.name}.partial")
    with disk_full_explained(path):
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def make_folder(wanted: Path) -> Path:
    """Make a folder that was not there, `wanted` or its name with _2, _3, ...: of two at once, each has its own."""
    wanted.parent.mkdir(parents=True, exist_ok=True)
    for folder in _names(wanted):
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError("names do not end")


def settled(partial: Path, wanted: Path) -> Path:
    """Rename a folder that is complete to `wanted`, or its name with _2, _3, ..., whichever is free; return which."""
    for folder in _names(wanted):
        try:
            if not folder.exists():
                return partial.rename(folder)
        except OSError as error:  # somebody else's was there first
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                raise
    raise AssertionError("names do not end")


@contextlib.contextmanager
def new_folder(place: Path) -> Iterator[Path]:
    """Give a folder to fill; when all went well it lies below `place` under `final_name`, else nothing is left.

    Raises DataError if `place` cannot be written.
    """
    partial: Path | None = None
    try:
        with disk_full_explained(place):
            with held_back():
                partial = _claim(place / f"{datetime.datetime.now():%Y-%m-%d_%H-%M-%S}")
            yield partial
            partial.rename(final_name(partial))
    except OSError as error:
        raise DataError(f"{error.filename or place}: {error.strerror}; {place} must be writable") from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
        with contextlib.suppress(OSError):
            place.rmdir()  # of a first try that led to nothing


@contextlib.contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """Give a folder to fill beside `target`, then put it in its place: a kill leaves the old one or none, never half.

    If filling it fails, or a signal stops it, the old one stays, and no folder above it that was not there before.
    Raises DataError if a file has the name of the folder.
    """
    if target.exists() and not target.is_dir():
        raise DataError(f"{target}: a file, and a folder is to be written there; name another, or move the file away")
    partial, old = (target.with_name(f".{target.name}.{kind}") for kind in ("partial", "old"))
    for folder in (partial, old):
        shutil.rmtree(folder, ignore_errors=True)
    above = [folder for folder in target.parents if not folder.exists()]
    try:
        partial.mkdir(parents=True)
        yield partial
        if target.exists():
            target.rename(old)
        partial.rename(target)
    finally:
        if old.exists() and not target.exists():  # stopped between the two
            old.rename(target)
        for folder in (partial, old):
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # they hold something
            for folder in above:
                folder.rmdir()


def final_name(partial: Path) -> Path:
    """Where a folder that `new_folder` gave lies once it is complete."""
    return partial.with_name(partial.name.removeprefix(".").removesuffix(".partial"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; file names that are no UTF-8 come back as they were."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values`, as JSON has them, and a hash of them all."""
    own = {name: value for name, value in values.items() if name != SEAL}
    return own | {SEAL: _hash_of(own)}


def is_as_sealed(values: Mapping[str, Any]) -> bool:
    """Whether JSON that was read is what `sealed` gave; so is what was written before there were seals."""
    own = {name: value for name, value in values.items() if name != SEAL}
    return SEAL not in values or values[SEAL] == _hash_of(own)


def _hash_of(values: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(values))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def spreadsheet_row(cells: Iterable[_Cell]) -> list[_Cell | str]:
    """Cells of a CSV file, those that a spreadsheet would run as a formula made text by an apostrophe before them."""
    return [f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULAS) else cell for cell in cells]


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """Hexadecimal digest of a file's bytes. Raises DataError for a pipe or a device, which may have no end."""
    if not (stat.S_ISREG(mode := path.stat().st_mode) or stat.S_ISDIR(mode)):
        raise DataError(f"{path}: a pipe or a device; a plain file is expected")
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


@contextlib.contextmanager
def disk_full_explained(path: Path) -> Iterator[None]:
    """Turn "no space left" while writing below `path` into a `DataError` that says where and how much is free."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        raise DataError(disk_full(error, path)) from error


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file `path`: a second process that wants it waits until the first is done or dead.

    Where it can neither be made nor read nothing is held: what can only be read needs no lock, and who goes on to
    write there is told. Nor is anything where the system has no such locks, as Windows. Of who fails neither the file
    nor folders for it stay that were not there before.
    """
    file, new = _held(path)
    with file or contextlib.nullcontext():
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                for one in new:
                    one.unlink() if one == path else one.rmdir()
            raise


def _held(path: Path) -> tuple[TextIO | None, list[Path]]:
    """The lock file, held, and what was not there before; who failed may have removed the one that was waited for."""
    for _ in range(_TRIES):
        with contextlib.suppress(FileExistsError, FileNotFoundError), contextlib.ExitStack() as opened:
            above = [folder for folder in path.parents if not folder.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            if (file := _flocked(path)) is None:
                return None, []
            opened.enter_context(file)
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                opened.pop_all()
                return file, [path, *above] if file.mode == "x" else []
    path.parent.mkdir(parents=True, exist_ok=True)
    return _flocked(path), []  # where a file is never what its name says, as on some disks of other machines


def _flocked(path: Path) -> TextIO | None:
    """The file, made or at least opened, and held; None if neither can be. Raises FileNotFoundError if it went away."""
    there = True
    for mode in ("x", "r+", "r"):
        try:
            file = path.open(mode)
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno not in NOT_WRITABLE and (there or error.errno != errno.ENOENT):
                raise
            there = False
            continue
        with contextlib.suppress(ImportError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        return file
    return None


@contextlib.contextmanager
def held_alone(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` without waiting; False if another process holds it.

    The lock is the process's, not its children's: the loader workers of a killed training do not keep it. Where the
    file system, or the system, has no locks, nobody is kept out.
    """
    alone = True
    with path.open("ab") as file:
        try:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            alone = error.errno not in {errno.EAGAIN, errno.EACCES}
        except ImportError:
            pass
        yield alone


def is_utf8(text: str) -> bool:
    """Whether a name or a word is UTF-8, without which no weights are read, and no database keeps it."""
    try:
        text.encode()
        return True
    except UnicodeEncodeError:
        return False


def from_home(path: str) -> str:
    """`path` with the home folder for a leading `~/`: a shell leaves that as it is within quotes and behind a `=`."""
    return str(Path(path).expanduser()) if path.startswith("~/") else path


def is_there(path: Path) -> bool:
    """Whether there is a file or a folder, also if `path` is longer than a name may be, as several in one word are."""
    try:
        return path.exists()
    except OSError:
        return False


def _names(wanted: Path) -> Iterator[Path]:
    yield wanted
    yield from (wanted.with_name(f"{wanted.name}_{number}") for number in itertools.count(2))


def _claim(wanted: Path) -> Path:
    """Make the partial folder of `wanted`, or of its next name that is free, for this process alone.

    Only who has made the partial folder may make the final one: once it is there and the final one is not, both names
    are taken for everybody else.
    """
    for final in _names(wanted):
        partial = final.with_name(f".{final.name}.partial")
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.mkdir()
        except (FileExistsError, FileNotFoundError):  # somebody else's, or somebody has just removed the empty place
            continue
        if not final.exists():
            return partial
        partial.rmdir()
    raise AssertionError("names do not end")
