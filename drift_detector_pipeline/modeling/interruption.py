"""SIGTERM and Ctrl-C as a polite request: finish the step, write a checkpoint, then leave.

A second signal ends the process at once.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Whether a signal has asked the run to stop, and which."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    @property
    def exit_status(self) -> int:
        """What shells expect of a process that a signal ended: 143 after SIGTERM, 130 after Ctrl-C."""
        return 128 + (self.signal or signal.SIGTERM)


@contextmanager
def caught() -> Iterator[Interruption]:
    """Turn the first SIGTERM or SIGINT into a request; the handlers of before come back afterwards."""
    interruption = Interruption()
    signals = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in signals}

    def note(number: int, frame: FrameType | None) -> None:
        interruption.signal = signal.Signals(number)
        for each in signals:
            signal.signal(each, before[each])

    for number in signals:
        signal.signal(number, note)
    try:
        yield interruption
    finally:
        for number in signals:
            signal.signal(number, before[number])
