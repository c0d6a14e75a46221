"""The way of everything that takes long to decode, beside the requests and never in theirs.

In: work for a thread of lower priority. Out: its results, one at a time, the next on its way while the last is asked
about. Whoever sends a video gets a turn; some wait, more are told to come again. Read by videos.py and clips.py.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeVar

from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.frames.read import Limits
from drift_detector_pipeline.serving.batcher import Answered
from drift_detector_pipeline.serving.engine import Crop, Engine
from drift_detector_pipeline.serving.judging import be_nice
from drift_detector_pipeline.serving.problems import RequestError
from drift_detector_pipeline.settings_in_use import Serving

NAME = "the video"  # what errors call a file that was sent
WAITING = 4  # files that wait while one is looked at
_Result = TypeVar("_Result")


class Sent(NamedTuple):
    """A file of frames, who answers, and who asks."""

    content: bytes
    engine: Engine
    ask: Callable[[Crop], Awaitable[Answered]]  # about a frame
    gone: Callable[[], Awaitable[bool]]  # whether nobody waits for the answer any more

    async def ask_all(self, crops: list[Crop]) -> list[Answered]:
        """Ask about frames. Raises RequestError if one has no answer, or whoever asked has gone.

        One after another, so that an image waits for one of them at most: four at once hardly got through faster, and
        images waited three times as long.
        """
        answers = list[Answered]()
        for crop in crops:
            answers.append(await self.ask(crop))
            if await self.gone():
                raise RequestError("slow", "whoever asked has gone")
        return answers


class Lane:
    """One thread and a queue before it. All methods belong to one event loop."""

    def __init__(self) -> None:
        self.inside = 0  # files that are looked at or wait
        self._thread = ThreadPoolExecutor(1, "video", initializer=be_nice)
        self._turn = asyncio.Lock()

    def stop(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn. Raises RequestError if too many wait, and for what reading a file raises inside."""
        if self.inside > WAITING:
            raise RequestError("busy", f"{self.inside} videos are looked at or wait for it; come again")
        self.inside += 1
        try:
            async with self._turn:
                yield
        except DataError as error:
            raise RequestError("video", str(error)) from error
        except ConfigError as error:  # PyAV is an extra
            raise RequestError("type", str(error)) from error
        finally:
            self.inside -= 1

    async def ahead(self, made: Generator[_Result, None, None]) -> AsyncIterator[_Result]:
        """What a generator gives, made in the thread, one more than was taken; it is closed there, too."""
        coming = asyncio.ensure_future(self.run(lambda: next(made, None)))
        try:
            while (found := await coming) is not None:
                coming = asyncio.ensure_future(self.run(lambda: next(made, None)))
                yield found
        finally:
            with contextlib.suppress(Exception):  # whatever it was is on its way already
                await coming
            await self.run(made.close)

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Do something in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


async def hash_of(content: bytes) -> bytes:
    """SHA-256, not in the event loop."""
    return await asyncio.to_thread(lambda: hashlib.sha256(content).digest())


def limits_of(settings: Serving) -> Limits:
    """What a video may cost."""
    pixels = int(settings.max_video_megapixels * 1e6)
    return Limits(settings.max_video_frames, settings.max_video_seconds, pixels)
