"""The words of a command: which are its own, which are settings, which are names of files.

In: sys.argv. Out: what the command asked for, checked. Read by every command that takes more than settings.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from drift_detector_pipeline.config import load
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.files import is_there
from drift_detector_pipeline.settings import Settings


def own_words(words: Sequence[str], choices: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], list[str]]:
    """Take words such as `split=val` out of a command line; return them and the others.

    Raises ConfigError if the value is none of the choices.
    """
    found, others = dict[str, str](), list[str]()
    for word in words:
        name, _, value = word.partition("=")
        if name not in choices or word == name:
            others.append(word)
        elif value in choices[name]:
            found[name] = value
        else:
            raise ConfigError(f"{word}: choose from {', '.join(choices[name])}")
    return found, others


def overrides_among(words: Sequence[str]) -> list[str]:
    """The words that look like `key=value` and are no file's name."""
    return [word for word in words if re.match(r"[\w.]+=", word) and not is_there(Path(word))]


def checked(
    overrides: Sequence[str], allowed: Sequence[str] = (), says: str = "", fixed: Sequence[str] = ()
) -> Settings:
    """Read the overrides a command takes, and `fixed` ones it does not.

    Raises ConfigError with `says` and the nearest valid key if one is not among the `allowed` keys.
    """
    for word in overrides:
        if (key := word.partition("=")[0]) not in allowed:
            order = difflib.get_close_matches(key, allowed, n=len(allowed), cutoff=0)
            raise ConfigError(f"{word}: {says}; further words may be {', '.join(f'{one}=...' for one in order)}")
    return load(["data=digits", *fixed, *overrides]).settings
