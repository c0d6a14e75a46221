"""A short video's bytes -> what a model says of each frame, beside the requests and never in their way.

In: bytes of unknown origin. Out: a `Watched`. What the header promises is checked before a frame is decoded; then
frames are decoded in one thread of lower priority, few at a time, and answered in the batches of everybody: an image
waits for `GROUP` frames at most. One video after another; some wait, more are told to come again.
"""

import asyncio
import contextlib
import io
import itertools
import random
from collections.abc import Awaitable, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np

from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.frames.read import BrokenVideoError, Frame, Limits, Video, open_video
from drift_detector_pipeline.serving.batcher import Answered
from drift_detector_pipeline.serving.engine import Crop, Engine
from drift_detector_pipeline.serving.judging import be_nice
from drift_detector_pipeline.serving.problems import RequestError

GROUP = 4  # frames that are asked about together
WAITING = 4  # videos that wait while one is watched
_NAME = "the video"
_NOTHING = np.zeros((0, 0, 3), np.uint8)
_Result = TypeVar("_Result")

Asks = Callable[[Crop], Awaitable[Answered]]


class Seen(NamedTuple):
    """What is said of one frame; its crop is there without pixels."""

    number: int  # from 0, in the order of decoding
    seconds: float  # since the first frame
    answered: Answered


class Watched(NamedTuple):
    """What is said of a video's frames, at least one."""

    frames: list[Seen]
    one: tuple[Crop, Answered]  # of one frame, drawn at random: what the log keeps, as frames of a video are no sample
    rate: float  # frames a second, as the header says
    problem: str | None  # why there were no more frames


class _Ready(NamedTuple):
    """A frame that can be asked about."""

    number: int
    seconds: float
    crop: Crop


class Videos:
    """Whoever sends a video gets a turn. All methods belong to one event loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, "video", initializer=be_nice)
        self._turn = asyncio.Lock()
        self._inside = 0

    def stop(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    async def watch(self, content: bytes, engine: Engine, ask: Asks, gone: Callable[[], Awaitable[bool]]) -> Watched:
        """Ask about every frame. `gone`: whether nobody waits for the answer any more, which ends it.

        Raises RequestError for what is no video, more than the limits allow, or has no frame that can be read; without
        PyAV, too; and if too many videos wait.
        """
        if self._inside > WAITING:
            raise RequestError("busy", f"{self._inside} videos are being watched or wait for it; come again")
        self._inside += 1
        try:
            async with self._turn:
                return await self._watch(_Reading(content, engine, self._limits), ask, gone)
        except DataError as error:
            raise RequestError("video", str(error)) from error
        except ConfigError as error:  # PyAV is an extra
            raise RequestError("type", str(error)) from error
        finally:
            self._inside -= 1

    async def _watch(self, reading: "_Reading", ask: Asks, gone: Callable[[], Awaitable[bool]]) -> Watched:
        seen, kept = list[Seen](), list[tuple[Crop, Answered]]()
        coming = asyncio.ensure_future(self._in_thread(reading.group))
        try:
            while group := await coming:
                coming = asyncio.ensure_future(self._in_thread(reading.group))  # decoded while these are answered
                answers = await asyncio.gather(*(ask(frame.crop) for frame in group))
                for frame, answered in zip(group, answers, strict=True):
                    if reading.draw.randrange(len(seen) + 1) == 0:  # each frame with the same chance
                        kept = [(frame.crop, answered)]
                    bare = answered._replace(crop=frame.crop._replace(pixels=_NOTHING))
                    seen.append(Seen(frame.number, frame.seconds, bare))
                if await gone():
                    raise RequestError("slow", "whoever asked has gone")
        finally:
            with contextlib.suppress(Exception):  # whatever it was is on its way already
                await coming
            await self._in_thread(reading.close)
        if not seen:
            raise DataError(reading.problem or f"{_NAME}: no frame in it")
        return Watched(seen, kept[0], reading.rate, reading.problem)

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


class _Reading:
    """A video that is being read; all but the attributes belongs to the thread."""

    def __init__(self, content: bytes, engine: Engine, limits: Limits) -> None:
        self.problem: str | None = None
        self.rate = 0.0
        self.draw = random.Random(content[-4096:])
        self._frames = self._read(content, engine, limits)

    def group(self) -> list[_Ready]:
        """The next GROUP frames, fewer at the end, then none."""
        return list(itertools.islice(self._frames, GROUP))

    def close(self) -> None:
        """Give up the file."""
        self._frames.close()

    def _read(self, content: bytes, engine: Engine, limits: Limits) -> Generator["_Ready", None, None]:
        with open_video(io.BytesIO(content), limits, _NAME) as video:
            self.rate = float(video.rate)
            for frame in self._until_broken(video):
                yield _Ready(frame.number, frame.seconds, engine.view_frame(frame.pixels))

    def _until_broken(self, video: Video) -> Iterator[Frame]:
        try:
            yield from video.frames()
        except BrokenVideoError as error:
            self.problem = str(error)
