"""The far end of a mirror: lines of JSON about a run become calls of a `Writer`.

In: those lines, on stdin. Out: what the writer writes, and lines of JSON for people on stdout.
Started, fed and heard by mirror.py, in a process of its own, so that whatever happens in here or in a tracker's service
(a hang, a crash, a server that is gone) cannot reach the training. It outlives a killed training only to hand over what
it has. A tracker adds a `Writer` and a call of `write_run` (wandb_writer.py). No torch in here: it would take 470 MB.
"""

import base64
import contextlib
import json
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from drift_detector_pipeline.files import exclusive

MESSAGES = "messages.log"  # what a writer and its libraries print; nobody reads it while all goes well
ELSEWHERE = "metrics.jsonl and tensorboard/ have everything"
_ALIVE_EVERY_S = 1
_END_SLACK_S = 15  # beyond the time for sending: the tracker's own requests at the end

Message = dict[str, Any]


class Start(NamedTuple):
    """The first message: which run it is, and how its tracker is set."""

    run_id: str  # the same after a resume
    name: str  # for people: the end of the run's path
    config: dict[str, Any]  # all settings of the run
    folder: str  # where the writer keeps its files: <run>/<tracker>, there already
    send_s: float  # what sending may take at the end
    options: dict[str, Any]  # the tracker's own


class CaptionedImage(NamedTuple):
    """An image and a line about it."""

    png: bytes
    caption: str


class Writer(Protocol):
    """What a tracker does with one run; whatever a method raises becomes a line for people."""

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Write numbers of a step. A run that goes on repeats some steps, the same to the last bit."""

    def samples(self, pictures: list[CaptionedImage], step: int) -> None:
        """Write what a finished run says about a few images."""

    def model(self, path: Path, name: str, about: dict[str, Any]) -> None:
        """Write the best weights, a file that stays; `about` is its epoch's row."""

    def close(self, exit_code: int) -> list[str]:
        """End the run, 0 if it was finished; return what did not arrive, as far as that is known."""

    def send_later(self) -> str:
        """The command that sends what did not arrive; empty if there is none or it was told before."""


class ParentGoneError(Exception):
    """The training has ended without saying how."""


class Parent:
    """The training process: what it says, and what it is told."""

    def __init__(self) -> None:
        self._pid = os.getppid()
        self._told = os.fdopen(os.dup(1), "w")
        self._printed_before = os.fstat(2).st_size
        os.dup2(2, 1)  # what a tracker's libraries print is not for the training

    def messages(self) -> Iterator[Message]:
        """Yield what the training says; ParentGoneError if it dies.

        Asks whether it lives instead of waiting for the pipe's end: loader workers hold the other end, too. Not on
        Windows, where they do not, and where a pipe cannot be asked.
        """
        buffer = b""
        while self._has_said() and (part := os.read(0, 1 << 16)):
            *lines, buffer = (buffer + part).split(b"\n")
            yield from map(json.loads, lines)
        raise ParentGoneError("the training has ended")

    def _has_said(self) -> bool:
        """Wait until there is something to read; False if there is nothing, and the training is dead."""
        while sys.platform != "win32":
            alive = os.getppid() == self._pid  # asked first: what a dead training said last is in the pipe by now
            if select.select([0], [], [], _ALIVE_EVERY_S if alive else 0)[0]:
                break
            if not alive:
                return False
        return True

    def info(self, text: str) -> None:
        """Tell what a person wants to know."""
        self._tell({"level": logging.INFO, "text": text})

    def warning(self, text: str) -> None:
        """Tell what a person should know."""
        self._tell({"level": logging.WARNING, "text": text})

    def stop(self) -> None:
        """Ask it to stop, as somebody did on the run's page."""
        self._tell({"stop": True})

    def printed(self, folder: Path) -> str:
        """What went to stderr since the start: some libraries tell of a failure in no other way."""
        with (folder / MESSAGES).open("rb") as file:
            file.seek(self._printed_before)
            return file.read().decode(errors="replace")

    def _tell(self, message: Message) -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody listens any more
            print(json.dumps(message), file=self._told, flush=True)


def write_run(open_writer: Callable[[Start, Parent], Writer]) -> int:
    """Write one run: how it is set in the first line, then metrics, samples and the model, then how it ended."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they are for the training, which then tells when it is over
    parent = Parent()
    messages = parent.messages()
    try:
        start = Start(**next(messages))
        with exclusive(Path(start.folder) / ".lock"):  # the writer of a killed run's first part may still be at it
            _write(start, messages, open_writer(start, parent), parent)
    except Exception as error:
        parent.warning(f"stopped ({reason(error)}); {ELSEWHERE}")
    return 0


def reason(error: Exception) -> str:
    """The kind of an error and the last line of what it says."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[-1]}".removesuffix(": ")


def _write(start: Start, messages: Iterator[Message], writer: Writer, parent: Parent) -> None:
    problems: list[str] = []
    exit_code = 1
    with contextlib.suppress(ParentGoneError):
        exit_code = _pass_on(messages, writer, problems)
    _end_after(round(start.send_s) + _END_SLACK_S)
    with _noted(problems):
        problems += writer.close(exit_code)
    if problems:
        command = writer.send_later()
        remedy = f"; to send it later: {command}" if command else ""
        parent.warning(f"not everything arrived ({problems[0]}){remedy}")


def _end_after(seconds: int) -> None:
    """End this process then, whatever it waits for."""
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)
    else:
        timer = threading.Timer(seconds, os._exit, (1,))
        timer.daemon = True
        timer.start()


def _pass_on(messages: Iterator[Message], writer: Writer, problems: list[str]) -> int:
    """Hand messages on until one says how the training ended; return its exit status."""
    for message in messages:
        if "metrics" in message:
            writer.log(message["metrics"], message["step"])
        elif "samples" in message:
            pictures = [CaptionedImage(base64.b64decode(one["png"]), one["caption"]) for one in message["samples"]]
            writer.samples(pictures, message["step"])
        elif "model" in message:
            with _noted(problems):
                writer.model(Path(message["model"]), message["name"], message["about"])
        elif "exit_code" in message:
            return int(message["exit_code"])
    raise AssertionError("messages end with an exit code, or an error")


@contextlib.contextmanager
def _noted(problems: list[str]) -> Iterator[None]:
    """Turn any error into a line of `problems`: trackers raise what they like, and the rest is still to be done."""
    try:
        yield
    except Exception as error:
        problems.append(reason(error))
