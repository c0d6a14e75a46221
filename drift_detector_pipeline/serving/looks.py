"""Spot checks: verdicts that somebody asks for now, beside the counted ones and never in their way.

In: rows of the log, or images at hand. Out: a `Look`, within seconds, or a problem that says to come again. One at a
time, in a thread of lower priority; a few wait, more are refused at once. Read by the endpoints about drift.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from drift_detector_pipeline.drift.detecting import Detector
from drift_detector_pipeline.serving.judging import be_nice
from drift_detector_pipeline.serving.problems import RequestError

WAITING = 4  # spot checks that wait while one is made
PATIENCE_S = 20.0  # for a turn and the verdict together; clients commonly give up after 30 s
AGAIN_S = 10.0  # of that a second look at the images may take; without it the estimate is from the scores alone

_Result = TypeVar("_Result")


class Looks:
    """One thread and a few places before it. All methods belong to one event loop."""

    def __init__(self) -> None:
        self.inside = 0  # spot checks that are made or wait
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "look", initializer=be_nice)
        self._own: tuple[Detector, Detector] | None = None

    async def stop(self) -> None:
        """End the thread."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Stay among the few that wait. Raises RequestError if there is no place."""
        if self.inside > WAITING:
            raise RequestError("busy", f"{self.inside} spot checks are being made or wait; come again in a moment")
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    async def make(self, work: Callable[[], _Result]) -> _Result:
        """Do something in the thread when it is one's turn. Raises RequestError if that takes too long.

        What has begun goes on to its end, and whoever comes next waits for it.
        """
        try:
            async with asyncio.timeout(PATIENCE_S), self._turn:
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except TimeoutError as error:
            raise RequestError("busy", f"no verdict within {PATIENCE_S:g} s on a busy machine; come again") from error

    def own(self, detector: Detector) -> Detector:
        """The same detector for spot checks alone.

        What windows of one size are compared with is kept for the next window, and costs more than a verdict: windows
        of other sizes would take that from counted ones.
        """
        if self._own is None or self._own[0] is not detector:
            self._own = detector, copy.copy(detector)
        return self._own[1]
