"""What lives as long as a service does: the model that answers, threads that decode, the log, verdicts.

In: bytes of images. Out: answers, each logged; verdicts in the background. Read by app.py and protocol.py.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.errors import PipelineError
from drift_detector_pipeline.release.artefact import MANIFEST, REFERENCE
from drift_detector_pipeline.serving.batcher import Answered, Batcher
from drift_detector_pipeline.serving.clips import ClipSaid, look_at_clip, of_frames
from drift_detector_pipeline.serving.decoding import Decoder, Prepared, thumbnail_of
from drift_detector_pipeline.serving.engine import Crop, Engine, open_engine
from drift_detector_pipeline.serving.following import Followed, Follower, places_of
from drift_detector_pipeline.serving.judging import Judge
from drift_detector_pipeline.serving.kept import kept_images
from drift_detector_pipeline.serving.lane import Lane, Sent, hash_of, limits_of
from drift_detector_pipeline.serving.looks import Looks
from drift_detector_pipeline.serving.metrics import Metrics
from drift_detector_pipeline.serving.problems import RequestError
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.rows import ModelFacts, Row, StoredVerdict
from drift_detector_pipeline.serving.trial import Shadow, Taken, Trials
from drift_detector_pipeline.serving.videos import Watched, watch
from drift_detector_pipeline.settings_in_use import Serving


class Asker(NamedTuple):
    """Who asks."""

    request_id: str
    source: str  # camera or client; "" unless named
    started: float  # seconds, of time.perf_counter


class Service:
    """One model at a time, exchanged between two batches. All methods belong to one event loop."""

    def __init__(
        self,
        engine: Engine,
        log: RequestLog,
        settings: Serving,
        folder: Path,
        followed: Followed | None = None,
        trials: Trials | None = None,
    ) -> None:
        """`engine`: of the artefact `folder`; others beside it may be exchanged for it, or champions take its place."""
        trials = trials or Trials()
        self.settings, self.log, self.metrics = settings, log, Metrics()
        self._places = places_of(followed, folder)
        self._follower = None if followed is None else Follower(followed, self.exchange)
        self._following: asyncio.Task[None] | None = None
        self.decoder = Decoder(int(settings.max_megapixels * 1e6))
        self.lane = Lane()
        self.judge, self.looks = Judge(log, self.metrics, settings), Looks()
        self.kept = kept_images(settings)
        self._swapping = asyncio.Lock()
        for one in (engine, *set(trials.canaries.values()), *filter(None, [trials.shadow])):
            self._register(one)
        self._canaries = trials.canaries
        self.judge.know(canaries=[*trials.canaries.values()], shadow=trials.shadow)
        self.shadow = Shadow(trials.shadow, log, self.metrics, self.judge.saw) if trials.shadow else None
        say = Engine.answer if self.shadow is None else self.shadow.spent.say
        self.batcher = Batcher(engine, self.metrics.batch.observe, say)
        self._announce(engine, self.judge.newest_of(engine))
        self._tell_numbers()

    @property
    def engine(self) -> Engine:
        """The one that answers."""
        return self.batcher.engine

    def start(self) -> None:
        """Answer and judge from now on."""
        self.batcher.start()
        self.judge.start()
        if self.shadow is not None:
            self.shadow.start()
        if self._follower is not None:
            self._following = asyncio.create_task(self._follower.run())

    async def stop(self) -> None:
        """Finish what was begun, and write what was logged."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await self.batcher.stop()
        if self.shadow is not None:
            await self.shadow.stop()
        self.decoder.stop()
        await asyncio.to_thread(self.lane.stop)
        await self.looks.stop()
        await self.judge.stop()
        await asyncio.to_thread(self.log.close)
        if self.kept:
            await asyncio.to_thread(self.kept.close)

    async def predict(self, contents: Sequence[bytes], asker: Asker) -> list[Answered]:
        """Answer images, all by the same model, and log them. Raises RequestError for the first that cannot be used."""
        found = await self.read(contents, asker.source)
        for (prepared, answered), content in zip(found, contents, strict=True):
            self._keep(prepared.crop.pixels, prepared.sha256, answered, asker)
            if self.kept:
                self.kept.put(prepared.sha256, content)
        return [answered for _, answered in found]

    async def watch(self, content: bytes, asker: Asker, gone: Callable[[], Awaitable[bool]]) -> Watched:
        """Answer every frame of a short video, all by the same model; one of them, drawn at random, is logged.

        Raises RequestError as `videos.watch` does.
        """
        sent = self._sent(content, asker, gone)
        watched = await watch(self.lane, sent, limits_of(self.settings))
        crop, answered = watched.one
        self._keep(crop.pixels, await hash_of(content), answered, asker)
        self.metrics.images.labels(sent.engine.model).inc(len(watched.frames) - 1)
        return watched

    async def look_at_clip(self, content: bytes, asker: Asker, gone: Callable[[], Awaitable[bool]]) -> ClipSaid:
        """Say what happens in a video or an array of frames; the clip is one row of the log.

        Raises RequestError as `videos.watch` does; also if the model is none of clips.
        """
        sent, limits, shown = self._sent(content, asker, gone), limits_of(self.settings), self.settings.k_frames
        cut = sent.engine.artefact.clip
        if cut is None:
            raise RequestError("type", "an array of frames is for a model of clips; this one looks at single images")
        said = await look_at_clip(self.lane, sent, cut if shown is None else cut._replace(k_frames=shown), limits)
        whole = _checked(said.answered)
        assert whole.crop is not None
        self._keep(whole.crop.pixels, await hash_of(content), whole, asker)
        return said

    def _sent(self, content: bytes, asker: Asker, gone: Callable[[], Awaitable[bool]]) -> Sent:
        engine = self.engine_for(asker.source)

        async def ask(crop: Crop) -> Answered:
            return _checked((await self.batcher.answer(crop.pixels, engine, pinned=True))._replace(crop=crop))

        return Sent(content, engine, ask, gone)

    def engine_for(self, source: str | None) -> Engine:
        """Who answers a source."""
        return self._canaries.get(source or "", self.engine)

    def loaded(self) -> list[Engine]:
        """All models that answer or are on trial, the one that answers first."""
        shadow = [] if self.shadow is None else [self.shadow.engine]
        return list(dict.fromkeys([self.engine, *self._canaries.values(), *shadow]))

    async def read(self, contents: Sequence[bytes], source: str = "") -> list[tuple[Prepared, Answered]]:
        """Answer images without logging them. Raises RequestError as `predict` does."""
        pinned = source in self._canaries
        while True:
            engine = self.engine_for(source)
            found = await asyncio.gather(
                *(
                    self._one(content, engine, which, pinned=pinned)
                    for which, content in zip(_places(len(contents)), contents, strict=True)
                )
            )
            if len({answered.engine for _, answered in found}) == 1:
                return list(found)  # else a swap came between: once more

    async def predict_crops(self, crops: Sequence[Pixels], hashes: Sequence[bytes], asker: Asker) -> list[Answered]:
        """The same for uint8 (S, S, 3) crops of the current model. Raises RequestError if they are of another size."""
        pinned = asker.source in self._canaries
        while True:
            engine = self.engine_for(asker.source)
            _check_sides(crops, engine)
            found = await asyncio.gather(*(self.batcher.answer(crop, engine, pinned=pinned) for crop in crops))
            if len({answered.engine for answered in found}) == 1:
                break
        said = [_checked(_alone(one)) for one in found]
        for crop, own, answered in zip(crops, hashes, said, strict=True):
            self._keep(crop, own, answered, asker)
        return said

    async def predict_clip(self, crops: Pixels, asker: Asker) -> Answered:
        """What is said of uint8 (k, S, S, 3), the frames of one clip. Raises RequestError as `predict_crops` does."""
        engine = self.engine_for(asker.source)
        _check_sides(crops, engine)
        answers = await asyncio.gather(*(self.batcher.answer(crop, engine, pinned=True) for crop in crops))
        whole = _checked(of_frames([_checked(one) for one in answers]))
        self._keep(crops[len(crops) // 2], hashlib.sha256(crops.tobytes()).digest(), whole, asker)
        return whole

    async def swap(self, name: str) -> Engine:
        """Let the artefact in the folder `name` answer from the next batch on: a version, or one beside the first.

        Raises RequestError if there is no such folder or its files do not fit together; nothing changes then.
        """
        for place in self._places:
            folder = (place / name).resolve()
            if folder.parent == place.resolve() and (folder / MANIFEST).is_file():
                return await self.exchange(folder)
        raise RequestError("unknown", f"{name}: no artefact of that name beside the one that was started with")

    async def exchange(self, folder: Path) -> Engine:
        """Let the artefact in `folder` answer from the next batch on. Raises RequestError as `swap` does."""
        async with self._swapping:
            try:
                engine = await asyncio.to_thread(open_engine, folder)
                await asyncio.to_thread(self._register, engine)
                newest = await asyncio.to_thread(self.judge.newest_of, engine)
            except PipelineError as error:
                raise RequestError("unable", str(error)) from error
            self.batcher.engine = engine
            self._announce(engine, newest)
        return engine

    def _tell_numbers(self) -> None:
        """Let Prometheus ask for what changes by itself; a number without meaning here is 0, not missing."""
        watch, count, log, follower, kept = self.metrics.watch, self.metrics.count, self.log, self._follower, self.kept
        number = "Number of the champion that answers; 0: another model"
        watch("drift_champion", number, lambda: 0 if follower is None else follower.number)
        refused = "1 if the champion cannot be opened"
        watch("drift_champion_refused", refused, lambda: bool(follower and follower.refused))
        watch("drift_queue_depth", "Images that wait for a batch", lambda: self.batcher.waiting)
        watch("drift_log_behind", "1 if the request log is older than it should be", lambda: log.behind)
        count("drift_log_dropped", "Rows that the request log could not keep", lambda: log.dropped)
        if kept is not None:
            count("drift_images_not_kept", "Images that could not be kept", lambda: kept.dropped)

    def _register(self, engine: Engine) -> None:
        """Give the model its number in the log. Raises DataError if the database does not answer."""
        artefact = engine.artefact
        reference = artefact.sha256.get(REFERENCE, "")
        names = [score.name for score in engine.scores]
        engine.log_id = self.log.register(
            ModelFacts(
                artefact.sha256[artefact.file], reference, artefact.runtime, artefact.precision, artefact.name,
                artefact.classes, names,
            )
        )  # fmt: skip

    def _announce(self, engine: Engine, newest: StoredVerdict | None) -> None:
        self.metrics.serve(engine.model, engine.artefact.sha256[engine.artefact.file])
        self.judge.follow(engine, newest)

    async def _one(self, content: bytes, engine: Engine, which: str, *, pinned: bool) -> tuple[Prepared, Answered]:
        try:
            async with self.decoder.prepared(content, engine) as prepared:
                answered = await self.batcher.answer(prepared.crop.pixels, engine, pinned=pinned)
                return prepared, _checked(_alone(answered._replace(crop=prepared.crop)))
        except RequestError as problem:
            raise RequestError(problem.kind, which + problem.detail) from problem

    def _keep(self, crop: Pixels, sha256: bytes, answered: Answered, asker: Asker) -> None:
        """Log one answer; never waits, never raises."""
        engine, chances = answered.engine, answered.probabilities
        best = int(chances.argmax())
        milliseconds = 1000 * (time.perf_counter() - asker.started)
        row = Row(
            time.time(), asker.request_id, asker.source, sha256, best, float(chances[best]), milliseconds, answered.kept
        )
        sampled = self.settings.thumbnails > random.random()
        self.log.put(engine.log_id, row, thumbnail_of(crop) if sampled else None)
        self.judge.saw(engine, asker.source, sha256, crop)
        self.metrics.images.labels(engine.model).inc()
        if self.shadow is not None and asker.source not in self._canaries and not engine.looks_at_clips:
            self.shadow.take(Taken(crop, sha256, answered, asker.request_id, asker.source))


def _alone(answered: Answered) -> Answered:
    """What is said of a single image; a model of clips takes it for a clip of one frame."""
    return of_frames([answered]) if answered.engine.looks_at_clips else answered


def _checked(answered: Answered) -> Answered:
    """Raise RequestError unless the model said numbers."""
    numbers = [answered.probabilities] if answered.phi is None else [answered.probabilities, answered.phi]
    if not all(np.isfinite(values).all() for values in numbers):
        raise RequestError(
            "failed", "the model gives no finite numbers for this image; its file or reference is damaged"
        )
    return answered


def _check_sides(crops: Sequence[Pixels] | Pixels, engine: Engine) -> None:
    side = engine.artefact.side_px
    if any(crop.shape != (side, side, 3) for crop in crops):
        raise RequestError("value", f"images: expected crops of {side} px")


def _places(images: int) -> list[str]:
    """How a problem names each image; the only one needs no name."""
    return [""] if images == 1 else [f"image {place} of {images}: " for place in range(1, images + 1)]
