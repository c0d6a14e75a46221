"""Batches of whatever waits: everybody gets the own row, and one model is exchanged for another between two batches."""

import asyncio

import numpy as np
import pytest
from small_artefact import world

from drift_detector_pipeline.serving.batcher import Batcher
from drift_detector_pipeline.serving.engine import MOST, open_engine
from drift_detector_pipeline.serving.problems import RequestError

CROPS = world(100, 8)[0]


@pytest.fixture(scope="module")
def engines(models):
    return open_engine(models / "first"), open_engine(models / "second")


def answers_of(engine, work):
    async def all_of_it():
        sizes = []
        batcher = Batcher(engine, sizes.append)
        batcher.start()
        try:
            return await work(batcher), sizes
        finally:
            await batcher.stop()

    return asyncio.run(all_of_it())


def test_each_request_gets_its_own_row_and_batches_are_bounded(engines) -> None:
    async def ask(batcher):
        return await asyncio.gather(*(batcher.answer(crop, engines[0]) for crop in CROPS))

    found, sizes = answers_of(engines[0], ask)
    alone = [engines[0].answer(crop[None]) for crop in CROPS]
    assert all(
        np.array_equal(one.probabilities, other.probabilities[0]) for one, other in zip(found, alone, strict=True)
    )
    assert all(np.array_equal(one.phi, other.phi[0]) for one, other in zip(found, alone, strict=True))
    assert sum(sizes) == 100 and max(sizes) == MOST and len(sizes) < 20


def test_one_that_is_alone_does_not_wait_for_others(engines) -> None:
    found, sizes = answers_of(engines[0], lambda batcher: batcher.answer(CROPS[0], engines[0]))
    assert sizes == [1] and found.engine is engines[0]


def test_after_a_swap_every_answer_names_the_model_that_computed_it(engines) -> None:
    async def ask(batcher):
        async def one(place):
            await asyncio.sleep(0.001 * place)
            batcher.engine = engines[place // 10 % 2]
            return await batcher.answer(CROPS[place], engines[0])

        return await asyncio.gather(*map(one, range(100)))

    found, _ = answers_of(engines[0], ask)
    assert {answered.engine for answered in found} == set(engines)
    for crop, answered in zip(CROPS, found, strict=True):
        assert np.array_equal(answered.probabilities, answered.engine.answer(crop[None]).probabilities[0])


def test_crops_of_another_size_are_answered_by_the_model_they_were_made_for(engines, monkeypatch) -> None:
    other = type(engines[0]).sizes_px.fget
    monkeypatch.setattr(type(engines[0]), "sizes_px", property(lambda self: (*other(self), self is engines[1])))

    async def ask(batcher):
        batcher.engine = engines[1]
        return await asyncio.gather(*(batcher.answer(CROPS[place], engines[place % 2]) for place in range(20)))

    found, _ = answers_of(engines[0], ask)
    assert [answered.engine for answered in found] == [engines[0], engines[1]] * 10


def test_a_model_that_fails_fails_those_who_asked_and_nobody_after_them(engines) -> None:
    async def ask(batcher):
        wrong = np.zeros((3, 3, 3), np.uint8)
        said = await asyncio.gather(batcher.answer(wrong, engines[0]), return_exceptions=True)
        return said, await batcher.answer(CROPS[0], engines[0])

    (said, after), _ = answers_of(engines[0], ask)
    assert isinstance(said[0], Exception) and after.engine is engines[0]


def test_whoever_waits_when_it_stops_is_told(engines) -> None:
    async def all_of_it():
        batcher = Batcher(engines[0])
        waiting = [asyncio.ensure_future(batcher.answer(crop, engines[0])) for crop in CROPS[:3]]
        await asyncio.sleep(0)
        await batcher.stop()
        return await asyncio.gather(*waiting, return_exceptions=True)

    said = asyncio.run(all_of_it())
    assert [type(one) for one in said] == [RequestError] * 3 and said[0].status == 503
