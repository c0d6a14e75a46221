"""What .env sets, if there is one: `python -m drift_detector_pipeline.dot_env COMMAND WORDS` starts a command with it.

In: lines such as NAME=value, quotes tolerated. Out: the environment, where what is set already wins. Read by the
Makefile, drift-pipeline and the container's entrypoint.
"""

import io
import os
import sys
from pathlib import Path

from dotenv import dotenv_values

from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.whole_files import read_at_most

FILE = Path(".env")
_MOST_BYTES = 1 << 20


@exit_status
def main() -> int:
    """Become the command that the words name, which has the values of .env."""
    set_variables()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606  # ends here


def set_variables() -> None:
    """Set what .env says and nobody has set. Raises ConfigError if it cannot be read."""
    for name, value in variables(FILE).items():
        if value is not None:
            os.environ.setdefault(name, value)


def variables(path: Path) -> dict[str, str | None]:
    """The values of a file such as .env; none where there is none. Raises ConfigError if it cannot be read."""
    try:
        content = read_at_most(path, _MOST_BYTES)  # also of a pipe, as managers of passwords make one
        text = (content or b"").decode("utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        return {}
    except OSError as error:
        raise _unreadable(path, error.strerror) from error
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"no UTF-8 ({error.object[error.start]:#x})") from error
    if content is None:
        raise _unreadable(path, f"more than {_MOST_BYTES:,} bytes")
    if "\0" in text:
        raise _unreadable(path, "has a zero byte")
    return dotenv_values(stream=io.StringIO(text))


def _unreadable(path: Path, reason: str | None) -> ConfigError:
    return ConfigError(f"{path}: {reason}; expected a text file in UTF-8 with lines such as NAME=value")


if __name__ == "__main__":
    sys.exit(main())
