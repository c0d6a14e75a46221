"""Ctrl-C and SIGTERM at any moment: one sentence, the exit status that shells expect, and no half folder.

Installed by the package's `__init__` where a command of ours is what the process was started for, before anything else
is imported. Until a command's work begins there is nothing to clean up, and the process ends at once: an exception
raised amid an import may be swallowed there. Afterwards `Stopped` is raised, so that whatever holds a half folder
removes it, and raised again if somebody swallows it. Those that answer signals themselves, as training, set their own.
"""

import atexit
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PACKAGE, _SCRIPT = "drift_detector_pipeline", "drift-pipeline"
_AGAIN_S = 0.3  # until an exception that was swallowed is raised again
_IMPORTED_S = 0.02  # between two looks whether an import is over
_ONE_PRESS_S = 1.0  # a terminal and a parent may each tell of the same Ctrl-C


class Stopped(KeyboardInterrupt):  # no error
    """A signal has asked this process to stop."""


class _Phase(Enum):
    STARTING = 0  # nothing is made yet
    WORKING = 1
    FINISHED = 2


class _State:
    """Of this process."""

    owner = 0  # the process that this was installed in; 0: nowhere
    phase = _Phase.STARTING
    asked: signal.Signals | None = None
    asked_at = 0.0
    said = False  # how it ended
    held = False  # signals wait, also those that another thread was given
    waiting: signal.Signals | None = None
    kept = "what was complete before is kept, nothing half made is left, and the same command begins again"


def install() -> None:
    """Answer SIGINT and SIGTERM from now on, if this process is a command of ours."""
    if not is_command():
        return
    _State.owner = os.getpid()
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as after nohup
            signal.signal(number, _asked_to_stop)
    atexit.register(_deaf)  # first in, last out
    let_through()


def is_command() -> bool:
    """Whether this process was started for one of our commands: not by pytest, a script or a notebook that imports us.

    The interpreter calls itself -m while it looks for the module that is to be run.
    """
    if sys.argv[:1] == ["-m"]:
        return any(word.partition(".")[0] == _PACKAGE for word in sys.orig_argv)
    return bool(sys.argv) and os.path.basename(sys.argv[0]).removesuffix(".exe") == _SCRIPT  # noqa: PTH119  # no imports


def as_command(work: Callable[[], int]) -> int:
    """Do a command's work; what it returns, or 130 or 143 and one sentence if a signal came meanwhile."""
    before, _State.phase = _State.phase, _Phase.WORKING
    try:
        try:
            return work()
        finally:
            _State.phase = before if before is _Phase.WORKING else _Phase.FINISHED
    except BaseException:
        if _State.asked is None:
            raise
        return _ended(_State.asked)


def nothing_made() -> None:
    """A command that only looks for another one has come to its end: that one starts."""
    _State.phase = _Phase.STARTING


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """What takes seconds to import, before anything is made: a signal ends it at once."""
    before, _State.phase = _State.phase, _Phase.STARTING
    try:
        yield
    finally:
        _State.phase = before


@contextlib.contextmanager
def keeping(what: str) -> Iterator[None]:
    """Say in the sentence, while this is held, what is kept and how to go on."""
    before, _State.kept = _State.kept, what
    try:
        yield
    except BaseException:
        if _State.asked is None:  # else the sentence is about it
            _State.kept = before
        raise
    _State.kept = before


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """In a command of ours, let signals wait; in processes started meanwhile, too, until those `let_through`.

    The mask is what such processes inherit. It is this thread's alone: if the signal goes to another thread, as one of
    numpy's or of a progress bar, Python answers it here all the same, so the answer waits, too.
    """
    if not _State.owner or _State.held:
        yield
        return
    masked = hasattr(signal, "pthread_sigmask")  # not on Windows
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ()) if masked else set()
    try:
        _State.held = True
        if masked:
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        yield
    finally:
        if masked:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)  # what waited there waits here now
        _State.held = False
        if _State.waiting is not None:
            number, _State.waiting = _State.waiting, None
            signal.raise_signal(number)


def let_through() -> None:
    """Hear of signals, those that waited first."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def was_asked_by(number: signal.Signals) -> bool:
    """Whether it was this signal that asked this command to stop."""
    return _State.asked == number


def stopped_amid(status: int, kept: str) -> NoReturn:
    """Part of the work has answered a signal itself and ended with `status`; the signal is meant for all of it.

    Raises `Stopped`, and what is `kept` stands in the sentence.
    """
    if _State.owner:
        _State.asked, _State.asked_at, _State.kept = signal.Signals(status - 128), time.monotonic(), kept
        _mute()
    raise Stopped


def call(command: Sequence[str]) -> int:
    """Run another command of ours and return its status; signals are passed on, and it says what became of it."""
    import subprocess  # slow to import, and most commands need none

    told, before = list[signal.Signals](), {number: signal.getsignal(number) for number in SIGNALS}
    with held_back():
        child = subprocess.Popen(command)

        def pass_on(number: int, frame: FrameType | None) -> None:
            told.append(signal.Signals(number))
            child.send_signal(number)

        for number in SIGNALS:
            signal.signal(number, pass_on)
    try:
        status = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if told:
        _State.asked, _State.said = told[0], status == 128 + told[0]
        raise Stopped
    return status


def _asked_to_stop(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _State.owner:
        return _in_a_fork(number)
    if _State.held:
        _State.waiting = signal.Signals(number)
        return None
    first = _State.asked is None
    if first:
        _State.asked, _State.asked_at = signal.Signals(number), time.monotonic()
    if _State.phase is _Phase.STARTING:
        _leave(f"stopped by {_name(number)} before anything was made; the same command begins again")
    if not first and time.monotonic() - _State.asked_at > _ONE_PRESS_S:
        _leave(
            f"ended at once by a second {_name(number)}: a folder whose name begins with a dot may be left half made; "
            "the same command makes another, and make clean removes it"
        )
    if first and _State.phase is _Phase.WORKING:
        _mute()
        _stop(frame)
    return None


def _in_a_fork(number: int) -> None:
    """Ctrl-C is the parent's to answer; SIGTERM ends this process."""
    if number == signal.SIGTERM:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _stop(frame: FrameType | None) -> None:
    """Raise `Stopped`, and again unless it is under way; only when no import is, and nothing is held back."""
    if _State.phase is not _Phase.WORKING:
        return
    later = _State.held or _is_importing(frame)
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, lambda _, now: _stop(now))
        signal.setitimer(signal.ITIMER_REAL, _IMPORTED_S if later else _AGAIN_S)
        if later or _is_under_way(sys.exception()):
            return
    raise Stopped


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _is_under_way(error: BaseException | None) -> bool:
    """Whether what runs now cleans up."""
    while error is not None:
        if isinstance(error, Stopped | GeneratorExit):
            return True
        error = error.__cause__ or error.__context__
    return False


def _ended(number: signal.Signals) -> int:
    """Say how the command ended, once; its exit status."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)
    if not _State.said:
        _State.said = True
        print(f"stopped by {_name(number)}: {_State.kept}", file=sys.stderr)
    return 128 + number


def _leave(sentence: str) -> None:
    """End without a word from anybody else; temporary folders that libraries make on import are removed."""
    if _State.phase is _Phase.STARTING:
        sys.excepthook = lambda *_: None  # warnings, where they are errors
        with contextlib.suppress(Exception):
            atexit._run_exitfuncs()
    with contextlib.suppress(Exception):  # printed half, or nobody reads it
        sys.stdout.flush()
    if not _State.said:
        with contextlib.suppress(OSError):
            os.write(2, f"{sentence}\n".encode())
    assert _State.asked is not None
    os._exit(128 + _State.asked)


def _name(number: int) -> str:
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


def _deaf() -> None:
    """Nothing is left to stop: the interpreter is about to forget handlers, and a signal would hide the status."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _mute() -> None:
    """No traceback of what falls over meanwhile: `Stopped` where nothing can be raised, threads whose workers ended."""
    sys.unraisablehook = lambda _: None
    if "threading" in sys.modules:
        import threading

        threading.excepthook = lambda _: None
