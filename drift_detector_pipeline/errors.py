"""Everything this package raises on purpose, and how the edge shows it.

PipelineError
├── ConfigError    a key, type or value in conf/ or on the command line
│   └── TooLateError  what must be in the environment before a command starts; it then starts itself again
├── DataError      an archive, an image, a processed folder, a full disk
├── ModelError     an unknown model or optimizer, weights that do not fit
├── TrainingError  a loss that is not finite
├── ResumeError    a run that cannot be continued or repeated
└── ContainerError a container image that is larger than agreed

Each message names the path or value, what was expected and the command that fixes it.
"""

import errno
import functools
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from drift_detector_pipeline.stopped import as_command, held_back

# What acts on a terminal or hides what stands there: controls, directions of writing, odd ends of lines, and bytes that
# are no UTF-8.
_ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BREAK_OF_A_NAME = re.compile(r"\n(?!  )")  # a message's own further lines are indented
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NOT_WRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM}
_NO_MEMORY = ("can't allocate memory", "out of memory")  # as PyTorch says it, on a CPU and on a GPU
_A_FILE_OR_A_FOLDER = "a file here and a folder there: "
_ANOTHER_KIND = dict.fromkeys((errno.ENOTDIR, errno.EISDIR, errno.EEXIST), _A_FILE_OR_A_FOLDER) | {
    errno.ENAMETOOLONG: "", errno.ELOOP: "", errno.ENOENT: "it went away meanwhile, or nothing can be made there: ",
}  # fmt: skip


class PipelineError(Exception):
    """Base of all errors a person can act on; shown without a traceback."""


class ConfigError(PipelineError):
    """A setting that cannot be used: unknown key, wrong type, value out of range."""


class TooLateError(ConfigError):
    """Names and values that libraries read when they are loaded, so that the command must start again with them."""

    def __init__(self, reason: str, environment: Mapping[str, str]) -> None:
        super().__init__(" ".join([reason, *(f"{name}={value}" for name, value in environment.items())]))
        self.environment = environment


class DataError(PipelineError):
    """Raw or processed data that is missing, damaged, or cannot be written."""


class ModelError(PipelineError):
    """A model, optimizer or weight file that does not exist or does not fit."""


class TrainingError(PipelineError):
    """Training that cannot go on."""


class ResumeError(PipelineError):
    """A run that cannot be continued or repeated as asked."""


class ContainerError(PipelineError):
    """A container image that is larger than agreed, or whose history cannot be read."""


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its kind if it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def visible(text: str, *, names_only: bool = False) -> str:
    """`text` for a console: what a file's name must not do there is shown as an escape, such as x1b after a backslash.

    Line breaks are kept; with `names_only` those alone that a message makes itself.
    """
    shown = _ACTING.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)
    return _BREAK_OF_A_NAME.sub(r"\\n", shown) if names_only else shown


def without_password(text: str) -> str:
    """`text` with three stars for the password of an address in it."""
    return re.sub(r":[^:/@]+@", ":***@", text)


def disk_full(error: OSError, path: Path | None) -> str:
    """What is full and what helps; who wrote may not tell where, which is then here or among temporary files."""
    places = [path] if path else [Path.cwd(), Path(tempfile.gettempdir())]
    existing = [next(one for one in (place, *place.absolute().parents) if one.exists()) for place in places]
    free = [f"{shutil.disk_usage(one).free // 1_000_000} MB free" for one in existing]
    where = free[0] if path else ", ".join(f"{place}: {one}" for place, one in zip(places, free, strict=True))
    return (
        f"{f'{path}: ' if path else ''}the disk is full or a limit is reached ({error.strerror}; {where}). What was "
        "there before is unharmed. Free some space (`make clean` removes caches and partial files), then run it again."
    )


def exit_status(main: Callable[[], int]) -> Callable[[], int]:
    """Wrap a command so that a `PipelineError` becomes one message on stderr and exit status 1.

    So does a file or folder that may not be read or written, and memory that is used up, wherever a command comes upon
    it. A command that is to start again does. One that a signal stops ends as stopped.py has it.
    """

    @functools.wraps(main)
    def command() -> int:
        return _status(lambda: as_command(main))

    return command


def _status(main: Callable[[], int]) -> int:
    try:
        status = main()
        print(end="", flush=True)  # what is wrong with the output is said here
        return status
    except TooLateError as again:
        sys.stdout.flush()
        with held_back():
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **again.environment})  # noqa: S606
    except PipelineError as error:
        print(f"error: {visible(str(error), names_only=isinstance(error, DataError))}", file=sys.stderr)
    except OSError as error:
        if error.errno in NO_SPACE:
            said = disk_full(error, error.filename and Path(os.fsdecode(error.filename)))
        elif error.errno in NOT_WRITABLE and error.filename is not None:
            said = f"{error.filename}: {error.strerror}; what is read must be readable, and where results go writable"
        elif error.errno in _ANOTHER_KIND and error.filename is not None:
            said = f"{error.filename}: {error.strerror}; {_ANOTHER_KIND[error.errno]}choose another name"
        else:
            raise
        print(f"error: {visible(said)}", file=sys.stderr)
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY)):
            raise
        said = f"not enough memory ({first_line(error)}); use smaller batches or images, and check the files it reads"
        print(f"error: {visible(said)}", file=sys.stderr)
    return 1
