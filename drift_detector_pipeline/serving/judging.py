"""Windows of the log -> verdicts, beside the requests and never in their way.

In: rows of the log and, if they are kept, the newest crops. Out: counted verdicts, in the log and as metrics; second
looks, for spot checks, too. Threads of lower priority, where the system has such: one judges, one looks again.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.console import log as console
from drift_detector_pipeline.drift.decision import Again
from drift_detector_pipeline.errors import PipelineError
from drift_detector_pipeline.serving.crops import Crops, look_at_crops
from drift_detector_pipeline.serving.engine import Engine
from drift_detector_pipeline.serving.metrics import Metrics
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.rows import StoredRow, StoredVerdict
from drift_detector_pipeline.serving.stored_verdicts import newest_verdicts
from drift_detector_pipeline.serving.verdicts import LookAgain, judge_windows, nothing_more
from drift_detector_pipeline.settings_in_use import Serving

KEPT_WINDOWS = 2  # so many windows of crops are kept, of all sources together
_AT_LEAST_EVERY_S = 2.0  # others may have filled a window in the same log
_WRITTEN_S = 1.0  # so long is waited for rows on their way into the log
_NICE = 10

_Result = TypeVar("_Result")


class Judge:
    """Judges windows as they fill. Methods belong to one event loop unless they say so."""

    def __init__(self, log: RequestLog, metrics: Metrics, settings: Serving) -> None:
        self._log, self._metrics, self._settings = log, metrics, settings
        self._thread = ThreadPoolExecutor(1, "judge", initializer=be_nice)
        self._again = ThreadPoolExecutor(1, "again", initializer=be_nice)  # the memory of one second look at a time
        self._ending = threading.Event()
        self._crops = Crops(0)
        self._sizes_px: tuple[int, int] | None = None
        self._fresh = dict[Engine, int]()  # models with rows that no judgement has seen, and how many
        self._due = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._answering: Engine | None = None
        self._canaries: Collection[Engine] = ()
        self._shadow: Engine | None = None

    def start(self) -> None:
        """Judge from now on."""
        self._loop = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End after the window at hand; others that are full are judged by whoever opens the log next."""
        self._ending.set()
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        for thread in (self._thread, self._again):
            await asyncio.to_thread(thread.shutdown)

    def know(self, *, canaries: Collection[Engine], shadow: Engine | None) -> None:
        """Models beside the champion: `canaries` answer, too; verdicts on `shadow` are stored, and no metrics."""
        self._canaries, self._shadow = canaries, shadow

    def follow(self, engine: Engine, newest: StoredVerdict | None) -> None:
        """Show the newest verdict on `engine`, which answers from now on; keep its crops."""
        self._metrics.forget_verdict()
        self._answering = engine
        if newest is not None:
            self._show(engine, newest)
        if engine.sizes_px != self._sizes_px:
            self._sizes_px = engine.sizes_px
            self._crops = Crops(KEPT_WINDOWS * self._settings.window * 3 * engine.artefact.side_px**2)

    def newest_of(self, engine: Engine) -> StoredVerdict | None:
        """The newest stored verdict on a model; from any thread. Raises DataError if the log cannot be read."""
        return next(iter(newest_verdicts(self._log, engine.log_id)), None)

    def saw(self, engine: Engine, source: str, image_sha256: bytes, crop: Pixels) -> None:
        """Take note of an image that was logged."""
        if engine.detector is None:
            return
        if self._settings.keep_crops and not engine.looks_at_clips and engine.sizes_px == self._sizes_px:
            self._crops.put(source, image_sha256, crop)
        self._fresh[engine] = self._fresh.get(engine, 0) + 1
        if self._fresh[engine] >= self._settings.window:
            self._due.set()

    def looks_again(self, engine: Engine, crops: Crops | None = None, *, patience_s: float | None = None) -> LookAgain:
        """A second look at rows of `engine`, at `crops` or at those that were kept, waited for so long; any thread.

        Only one is made at a time: it may take as much memory as everything else. If it is not done in time, or fails,
        it gives None, and so leaves the estimate to the scores.
        """
        kept = self._crops if engine.sizes_px == self._sizes_px else Crops(0)
        if engine.detector is None or (crops is None and not self._settings.keep_crops):
            return nothing_more
        look_again = look_at_crops(kept if crops is None else crops, engine.detector)

        def ask(rows: Sequence[StoredRow], looks_changed: bool) -> Again | None:
            coming = self._again.submit(look_again, rows, looks_changed)
            try:
                return coming.result(patience_s)
            except TimeoutError:
                coming.cancel()
            except Exception as error:  # whatever a runtime raises must not end the judging
                console.warning("no second look, the estimate is from the scores alone: %s", error)
            return None

        return ask

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Do something in the judge's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), _AT_LEAST_EVERY_S)
            self._due.clear()
            engines, self._fresh = list(self._fresh), {}
            for engine in engines:
                if not await self.run(partial(self._judge, engine)):
                    self._fresh.setdefault(engine, 0)  # what is not in the log yet may fill a window

    def _judge(self, engine: Engine) -> bool:
        """Judge all that is full, in the judge's thread; False if there may be more that is not written yet."""
        detector = engine.detector
        if detector is None:
            return True
        written = self._log.flush(_WRITTEN_S)
        try:
            found = judge_windows(
                self._log, engine.log_id, detector, window=self._settings.window,
                look_again=self.looks_again(engine), ended=self._ending.is_set,
            )  # fmt: skip
        except PipelineError as error:
            console.warning("no verdict for now: %s", error)
            return False
        for verdict in found if engine is not self._shadow else ():
            self._metrics.verdicts.labels(verdict.level).inc()
            self._show(engine, verdict)
        return written

    def _show(self, engine: Engine, verdict: StoredVerdict) -> None:
        if engine is self._answering:
            self._metrics.show_verdict(engine.model, verdict.level, verdict.p)
            if engine.detector is not None:
                measure, estimate = engine.detector.words.measure, (verdict.accuracy, verdict.low, verdict.high)
                self._metrics.show_worth(measure, estimate)
        elif engine in self._canaries:  # the estimate has no label, and is the champion's
            self._metrics.show_verdict(engine.model, verdict.level, verdict.p)


def be_nice() -> None:
    """Give this thread a lower priority; elsewhere than on Linux that would be the whole process's."""
    with contextlib.suppress(AttributeError, OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
