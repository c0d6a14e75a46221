"""Single crops -> batches of whatever waits, without a timer; another model between two batches.

In: crops from many requests. Out: to each its row, and the engine that computed it. Under load batches form by
themselves while the runtime is busy; at low load nobody waits for company.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Pixels
from drift_detector_pipeline.drift.kept_rows import kept_of
from drift_detector_pipeline.drift.scores.signals import Signals
from drift_detector_pipeline.networks.boxes.found import Found
from drift_detector_pipeline.serving.engine import MOST, Answers, Crop, Engine
from drift_detector_pipeline.serving.problems import RequestError

Says = Callable[[Engine, Pixels], Answers]


class Answered(NamedTuple):
    """What is said of one image, and by whom."""

    engine: Engine
    probabilities: Float32s  # (K,)
    phi: Float32s | None  # (S,)
    found: Found | None = None  # in px of the crop; None of a model that says labels
    logits: Float32s | None = None  # (K,); None where boxes are found
    crop: Crop | None = None  # that it was asked about; None if that was sent as it is
    signals: Signals | None = None  # of a frame of a clip, a row
    features: Float32s | None = None  # (D,) of a frame of a clip whose deviation counts

    @property
    def kept(self) -> bytes:
        """What the log keeps of it for verdicts; nothing of a model without reference."""
        return b"" if self.phi is None else kept_of(self.phi, self.found)


class _Job(NamedTuple):
    crop: Pixels
    prepared_by: Engine
    pinned: bool  # answered by `prepared_by`, whoever answers others
    answered: "asyncio.Future[Answered]"


class Batcher:
    """A queue, a loop and one thread for the runtime. All methods belong to one event loop."""

    def __init__(
        self, engine: Engine, on_batch: Callable[[int], None] = lambda images: None, say: Says = Engine.answer
    ) -> None:
        """`say`: how an engine is asked, in the runtime's thread."""
        self.engine = engine  # the loop reads it once a batch: assigning another is a swap
        self._on_batch, self._say = on_batch, say
        self._queue = asyncio.Queue[_Job]()  # admission.py bounds what gets here
        self._runtime = ThreadPoolExecutor(1, "runtime")
        self._loop: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Images that are in no batch yet."""
        return self._queue.qsize()

    def start(self) -> None:
        """Answer from now on."""
        self._loop = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop answering; whoever still waits gets a problem."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        while not self._queue.empty():
            _fail([self._queue.get_nowait()], RequestError("stopping", "the service stopped first; ask again"))
        self._runtime.shutdown()

    async def answer(self, crop: Pixels, prepared_by: Engine, *, pinned: bool = False) -> Answered:
        """Answer one crop that `prepared_by` made, by that model only if `pinned`. Raises RequestError if it fails."""
        job = _Job(crop, prepared_by, pinned, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(job)
        return await job.answered

    async def _run(self) -> None:
        while True:
            jobs = [await self._queue.get()]
            while len(jobs) < MOST and not self._queue.empty():
                jobs.append(self._queue.get_nowait())
            current = self.engine
            await self._answer(current, [job for job in jobs if _fits(job, current)])
            # Pinned, or cropped for another model just before a swap to one of another size: answered by that one.
            others = dict[Engine, list[_Job]]()
            for job in jobs:
                if not _fits(job, current):
                    others.setdefault(job.prepared_by, []).append(job)
            for engine, own in others.items():
                await self._answer(engine, own)

    async def _answer(self, engine: Engine, jobs: list[_Job]) -> None:
        jobs = [job for job in jobs if not job.answered.done()]  # whoever asked may have gone
        if not jobs:
            return
        self._on_batch(len(jobs))
        crops = np.stack([job.crop for job in jobs])
        try:
            said = await asyncio.get_running_loop().run_in_executor(self._runtime, self._say, engine, crops)
        except asyncio.CancelledError:
            _fail(jobs, RequestError("stopping", "the service stopped first; ask again"))
            raise
        except Exception as error:  # whatever a runtime raises must reach those who wait, and not end the loop
            _fail(jobs, error)
            return
        for job, answered in zip(jobs, each_of(engine, said), strict=True):
            if not job.answered.done():
                job.answered.set_result(answered)


def each_of(engine: Engine, said: Answers) -> list[Answered]:
    """What is said of each image of a batch."""
    found = list[Answered]()
    for place, chances in enumerate(said.probabilities):
        row = None if said.phi is None else said.phi[place]
        boxes = None if said.found is None else said.found[place]
        logits = None if said.logits is None else said.logits[place]
        signals = None if said.signals is None else said.signals.take(slice(place, place + 1))
        features = None if said.features is None else said.features[place]
        found.append(Answered(engine, chances, row, boxes, logits, signals=signals, features=features))
    return found


def _fits(job: _Job, engine: Engine) -> bool:
    return not job.pinned and job.prepared_by.sizes_px == engine.sizes_px


def _fail(jobs: list[_Job], error: Exception) -> None:
    for job in jobs:
        if not job.answered.done():
            job.answered.set_exception(error)
