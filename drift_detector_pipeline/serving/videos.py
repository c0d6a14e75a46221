"""A short video's bytes -> what a model for images says of each frame.

In: bytes of unknown origin. Out: a `Watched`. What the header promises is checked before a frame is decoded, and what
comes is counted. Read by service.py.
"""

import io
import random
from collections.abc import Generator, Iterator
from contextlib import aclosing
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.frames.read import BrokenVideoError, Frame, Limits, Video, open_video
from drift_detector_pipeline.serving.batcher import Answered
from drift_detector_pipeline.serving.engine import Crop, Engine
from drift_detector_pipeline.serving.lane import NAME, Lane, Sent

_NOTHING = np.zeros((0, 0, 3), np.uint8)


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


async def watch(lane: Lane, sent: Sent, limits: Limits) -> Watched:
    """Ask about every frame.

    Raises RequestError for what is no video, more than the limits allow, or has no frame that can be read; without
    PyAV, too; and if too many videos wait.
    """
    seen, kept = list[Seen](), list[tuple[Crop, Answered]]()
    reading, draw = _Reading(sent.content, sent.engine, limits), random.Random(sent.content[-4096:])
    async with lane.turn():
        async with aclosing(lane.ahead(reading.frames())) as frames:  # type: ignore[type-var]
            async for frame in frames:
                [answered] = await sent.ask_all([frame.crop])
                if draw.randrange(len(seen) + 1) == 0:  # each frame with the same chance
                    kept = [(frame.crop, answered)]
                bare = answered._replace(crop=frame.crop._replace(pixels=_NOTHING))
                seen.append(Seen(frame.number, frame.seconds, bare))
        if not seen:
            raise DataError(reading.problem or f"{NAME}: no frame in it")
    return Watched(seen, kept[0], reading.rate, reading.problem)


class _Reading:
    """A video that is being read."""

    def __init__(self, content: bytes, engine: Engine, limits: Limits) -> None:
        self.problem: str | None = None
        self.rate = 0.0
        self._content, self._engine, self._limits = content, engine, limits

    def frames(self) -> Generator[_Ready, None, None]:
        """The frames; belongs to one thread."""
        with open_video(io.BytesIO(self._content), self._limits, NAME) as video:
            self.rate = float(video.rate)
            for one in self._until_broken(video):
                yield _Ready(one.number, one.seconds, self._engine.view_frame(one.pixels))

    def _until_broken(self, video: Video) -> Iterator[Frame]:
        try:
            yield from video.frames()
        except BrokenVideoError as error:
            self.problem = str(error)
