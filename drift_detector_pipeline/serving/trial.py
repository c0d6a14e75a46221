"""Models on trial: one in the champion's shadow, others that answer single sources for it.

In: crops that were answered, and by whom. Out: what a candidate says of the same crops, as rows of the log that say
shadow, after the answer has gone and never in its way. Read by service.py.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.console import log as console
from drift_detector_pipeline.drift.kept_rows import kept_of
from drift_detector_pipeline.release.registry import open_version
from drift_detector_pipeline.serving.agreement import Said, agree
from drift_detector_pipeline.serving.batcher import Answered
from drift_detector_pipeline.serving.engine import MOST, Answers, Engine, open_engine
from drift_detector_pipeline.serving.judging import be_nice
from drift_detector_pipeline.serving.metrics import Metrics, ShadowMetrics
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.rows import Row
from drift_detector_pipeline.settings_in_use import Serving

_FINISH_S = 5.0  # for what waits when the service stops; the rest is dropped
MOST_WAITING = 64  # crops; what comes beyond them is dropped and counted


class Trials(NamedTuple):
    """Models on trial, warm."""

    shadow: Engine | None = None
    canaries: Mapping[str, Engine] = {}  # by source; nobody changes it


class Taken(NamedTuple):
    """An image that was answered."""

    crop: Pixels
    sha256: bytes
    answered: Answered
    request_id: str
    source: str


def open_trials(settings: Serving) -> Trials:
    """Open what `serving.shadow` and `serving.canary` name. Raises a PipelineError if one cannot be opened."""

    def opened(version: str) -> Engine:
        return open_engine(open_version(version, settings.models_path).folder)

    answering = {version: opened(version) for version in set(settings.canary.values())}
    canaries = {source: answering[version] for source, version in settings.canary.items()}
    return Trials(None if settings.shadow is None else opened(settings.shadow), canaries)


class Spent:
    """Processor time that models took for their images; of OpenVINO, whose threads are its own, time on the clock."""

    def __init__(self) -> None:
        self._images, self._seconds = dict[int, int](), dict[int, float]()

    def say(self, engine: Engine, crops: Pixels) -> Answers:
        """What `engine` answers; from any thread, one at a time of each engine."""
        clock = time.perf_counter if engine.artefact.runtime == "openvino" else time.thread_time
        before = clock()
        answers = engine.answer(crops)
        own = engine.log_id
        self._seconds[own] = self._seconds.get(own, 0.0) + clock() - before
        self._images[own] = self._images.get(own, 0) + len(crops)
        return answers

    def milliseconds(self, engine: Engine) -> float | None:
        """Of an image, on average; None before the first one."""
        images = self._images.get(engine.log_id, 0)
        return 1000 * self._seconds[engine.log_id] / images if images else None


class Shadow:
    """Lets a candidate answer what was answered. All methods belong to one event loop."""

    def __init__(
        self, engine: Engine, log: RequestLog, metrics: Metrics, saw: Callable[[Engine, str, bytes, Pixels], None]
    ) -> None:
        """`saw`: told of each image that was logged."""
        self.engine, self.spent, self.dropped = engine, Spent(), 0
        self._log, self._saw, self._metrics = log, saw, ShadowMetrics(metrics, lambda: self.dropped)
        self._waiting, self._some = deque[Taken](), asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "shadow", initializer=be_nice)
        self._loop: asyncio.Task[None] | None = None
        self._failed = False

    def start(self) -> None:
        """Answer from now on."""
        self._loop = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Answer what waits, if that is done soon, and end."""
        end = time.monotonic() + _FINISH_S
        while self._waiting and time.monotonic() < end:
            await asyncio.sleep(0.01)
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        await asyncio.to_thread(self._thread.shutdown)

    def take(self, taken: Taken) -> None:
        """Take note of an answered image; never waits. What the candidate itself answered is passed over."""
        by = taken.answered.engine
        if by.log_id == self.engine.log_id:
            return
        if len(self._waiting) >= MOST_WAITING or by.sizes_px != self.engine.sizes_px:
            self.dropped += 1
            return
        self._waiting.append(taken)
        self._some.set()

    async def _run(self) -> None:
        # A step of the event loop later than `take`: the answer is on its way by then.
        while True:
            await self._some.wait()
            some = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
            if not self._waiting:
                self._some.clear()
            await self._answer(some)

    async def _answer(self, some: list[Taken]) -> None:
        crops = np.stack([taken.crop for taken in some])
        started = time.perf_counter()
        try:
            said = await asyncio.get_running_loop().run_in_executor(self._thread, self.spent.say, self.engine, crops)
        except Exception as error:  # whatever a runtime raises must not end the trial
            self._give_up(some, str(error))
            return
        numbers = [said.probabilities] if said.phi is None else [said.probabilities, said.phi]
        if not all(np.isfinite(values).all() for values in numbers):
            self._give_up(some, "no finite numbers")
            return
        milliseconds = 1000 * (time.perf_counter() - started) / len(some)
        for place, taken in enumerate(some):
            self._keep(taken, said, place, milliseconds)

    def _keep(self, taken: Taken, said: Answers, place: int, milliseconds: float) -> None:
        chances = said.probabilities[place]
        best = int(chances.argmax())
        found = None if said.found is None else said.found[place]
        phi = b"" if said.phi is None else kept_of(said.phi[place], found)
        row = Row(
            time.time(), taken.request_id, taken.source, taken.sha256, best, float(chances[best]), milliseconds, phi,
            shadow=True,
        )  # fmt: skip
        self._log.put(self.engine.log_id, row)
        self._saw(self.engine, taken.source, taken.sha256, taken.crop)
        given = taken.answered
        champion = Said(given.engine, int(given.probabilities.argmax()), given.kept)
        self._metrics.saw(milliseconds, agrees=agree(Said(self.engine, best, phi), champion))

    def _give_up(self, some: list[Taken], why: str) -> None:
        self.dropped += len(some)
        if not self._failed:
            console.warning(
                "shadow %s: does not answer (%s); such images are counted as dropped", self.engine.version, why
            )
        self._failed = True
