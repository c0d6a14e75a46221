"""Everything this package raises on purpose, and how the edge shows it.

PipelineError
├── ConfigError    a key, type or value in conf/ or on the command line
├── DataError      an archive, an image, a processed folder, a full disk
├── ModelError     an unknown model or optimizer, weights that do not fit
├── TrainingError  a loss that is not finite
├── ResumeError    a run that cannot be continued or repeated
└── ContainerError a container image that is larger than agreed

Each message names the path or value, what was expected and the command that fixes it.
"""

import errno
import functools
import sys
from collections.abc import Callable

_OF_THE_DISK = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT}


class PipelineError(Exception):
    """Base of all errors a person can act on; shown without a traceback."""


class ConfigError(PipelineError):
    """A setting that cannot be used: unknown key, wrong type, value out of range."""


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


def exit_status(main: Callable[[], int]) -> Callable[[], int]:
    """Wrap a command so that a `PipelineError` becomes one message on stderr and exit status 1.

    So does a file or folder that may not be read or written, wherever a command comes upon it.
    """

    @functools.wraps(main)
    def command() -> int:
        try:
            return main()
        except PipelineError as error:
            print(f"error: {error}", file=sys.stderr)
        except OSError as error:
            if error.errno not in _OF_THE_DISK or error.filename is None:
                raise
            place = f"{error.filename}: {error.strerror}"
            print(f"error: {place}; what is read must be readable, and where results go writable", file=sys.stderr)
        return 1

    return command
