"""The words of a command: which run it is about, which images, which words are its own and which are settings.

In: sys.argv. Out: a `Command`. Read by every command that takes more than settings; by those that go on until somebody
stops them, how that is told.
"""

import difflib
import queue
import re
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.files import from_home, is_there, is_utf8
from drift_detector_pipeline.meant import meant

_OPTION = re.compile(r"--?[A-Za-z][\w-]*(=|$)")
_NO_CHOICES: Mapping[str, Sequence[str]] = {}


class Command(NamedTuple):
    """What was typed, sorted."""

    target: Path | None  # a run's folder or a weight file; None: not named
    images: list[str]  # files, folders, patterns, archives
    own: dict[str, str]  # words of this command alone, such as split=val
    overrides: list[str]  # other words of the form key=value


def read_command(
    words: Sequence[str], own: Mapping[str, Sequence[str]] = _NO_CHOICES, *, takes_images: bool = False
) -> Command:
    """Sort the words of a command; `own` names its own ones, each with the values it may have.

    The first name is the target; with `takes_images` also if it is empty, as `make predict` without RUN has it, and the
    names after it are images. A leading `~/` is the home folder. Raises ConfigError for a value that is none of the
    choices, an option with dashes, or a second name where there is no place for one.
    """
    chosen, others = _own_words(words, own)
    overrides = [word for word in others if _is_override(word)]
    names = [word for word in others if word not in overrides and (word or takes_images)]
    if dashed := next((word for word in names if _OPTION.match(word) and not is_there(Path(word))), None):
        typed = f"has no dashes: {dashed.lstrip('-')}" if "=" in dashed else "looks like run.threads=1"
        raise ConfigError(f"{dashed}: no such option; a setting {typed}")
    target, *images = map(from_home, names or [""])
    if images and not takes_images:
        raise ConfigError(f"{' '.join(images)}: one run at a time, and {target} is named before")
    return Command(Path(target) if target else None, images, chosen, overrides)


def refuse_others(overrides: Sequence[str], allowed: Sequence[str], command: str, why: str = "") -> None:
    """Raise ConfigError if a word sets a key that `command` does not take, with those that it takes, nearest first."""
    for word in overrides:
        if (key := word.partition("=")[0]) in allowed:
            continue
        typed = [one for one in meant(word) if one.partition("=")[0] in allowed]
        if not typed and len(same := [one for one in allowed if one.endswith(f".{key}")]) == 1:
            typed = [f"{same[0]}={word.partition('=')[2]}"]
        if typed:
            raise ConfigError(f"{word}: no such setting; did you mean {typed[0]}?")
        nearest = difflib.get_close_matches(key, allowed, n=len(allowed) or 1, cutoff=0)
        takes = f"takes only {', '.join(f'{one}=...' for one in nearest)}" if nearest else "takes no settings"
        raise ConfigError(f"{word}: {command} {takes}{why and f'; {why}'}")


def values_of(words: Sequence[str], texts: Sequence[str] = ()) -> dict[str, str]:
    """What words of the form key=value set; one that is empty gives way to a later one, as make has them.

    Raises ConfigError for a second value, or if one of `texts` is not UTF-8.
    """
    found = dict[str, str]()
    for word in words:
        name, _, value = word.partition("=")
        if found.get(name) and found[name] != value:
            raise ConfigError(f"{word}: {name}={found[name]} is named before; name one")
        if name in texts and not is_utf8(value):
            raise ConfigError(f"{word}: its letters are not UTF-8, so they cannot be kept; type them in UTF-8")
        found[name] = value
    return found


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that is set when this process is interrupted or terminated: what is under way is finished first.

    Only in a process's main thread.
    """
    stop, before = _Stop(), dict[signal.Signals, Any]()
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, lambda *_: stop.set())
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Stop(threading.Event):
    """An event that a signal handler may set: the lock of a usual one may be held by the very wait it interrupts."""

    def __init__(self) -> None:
        super().__init__()
        self._asked, self._bell = False, queue.SimpleQueue[None]()  # whose `put` may interrupt a `get`

    def is_set(self) -> bool:
        return self._asked

    def set(self) -> None:
        self._asked = True
        self._bell.put(None)

    def wait(self, timeout: float | None = None) -> bool:
        if not self._asked:
            with suppress(queue.Empty):
                self._bell.put(self._bell.get(timeout=timeout))  # on, for whoever else waits
        return self._asked


def _own_words(words: Sequence[str], own: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], list[str]]:
    found, others = dict[str, str](), list[str]()
    for word in words:
        name, _, value = word.partition("=")
        if name not in own or word == name:
            others.append(word)
        elif name in found:
            raise ConfigError(f"{word}: {name}={found[name]} is named before; name one")
        elif value in own[name]:
            found[name] = value
        else:
            raise ConfigError(f"{word}: choose from {', '.join(own[name])}")
    return found, others


def _is_override(word: str) -> bool:
    """Whether a word reads `key=value` and is no file's name."""
    return bool(re.match(r"\+{0,2}[\w.]+=", word)) and not is_there(Path(word))
