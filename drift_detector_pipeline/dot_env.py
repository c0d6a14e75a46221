"""What .env sets, if there is one: `python -m drift_detector_pipeline.dot_env COMMAND WORDS` starts a command with it.

In: lines such as NAME=value, quotes tolerated. Out: the environment, where what is set already wins. Read by the
Makefile, drift-pipeline and the container's entrypoint.
"""

import os
import sys
from pathlib import Path

from dotenv import dotenv_values

from drift_detector_pipeline.errors import ConfigError, exit_status

FILE = Path(".env")


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
        text = path.read_bytes().decode("utf-8")
    except (FileNotFoundError, IsADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"no UTF-8 ({error.object[error.start]:#x})"
        raise ConfigError(f"{path}: {reason}; expected a text file in UTF-8 with lines such as NAME=value") from error
    if "\0" in text:
        raise ConfigError(f"{path}: has a zero byte; expected a text file in UTF-8 with lines such as NAME=value")
    return dotenv_values(path)


if __name__ == "__main__":
    sys.exit(main())
