"""Spot checks: one at a time, a few waiting, each answered or refused in time, in nobody's way."""

import asyncio
import contextlib
import threading
import time

import httpx
import pytest
from running import running
from small_artefact import png, world

from drift_detector_pipeline.serving import drift_answers, looks

WINDOW = 32
USUAL = [png(pixels) for pixels in world(40, 80)[0]]
NEGATIVES = [("images", ("a.png", png(255 - pixels))) for pixels in world(WINDOW, 81)[0]]
ADMIN = {"SERVING_ADMIN_KEY": "secret"}


@pytest.fixture(scope="module")
def service(models, tmp_path_factory):
    """A service with 40 rows in its log; a window is full with more than that."""
    with running(models / "first", tmp_path_factory.mktemp("log"), ADMIN, window=64) as started:
        files = [("images", ("a.png", one)) for one in USUAL]
        httpx.post(f"{started.address}/predict", files=files).raise_for_status()
        yield started


@contextlib.contextmanager
def busy(service, run):
    """Something that takes as long as the context, in a thread of the service."""
    begun, over = threading.Event(), threading.Event()
    work = asyncio.run_coroutine_threadsafe(run(lambda: (begun.set(), over.wait(60))), service.loop)
    assert begun.wait(30)
    try:
        yield
    finally:
        over.set()
        with contextlib.suppress(Exception):  # given up by the service
            work.result(30)


def look(service, **parameters):
    return httpx.post(f"{service.address}/drift", params={"last": 40} | parameters, timeout=60)


async def looks_at_once(service, count):
    async with httpx.AsyncClient(timeout=60) as client:
        return await asyncio.gather(*(client.post(f"{service.address}/drift?last=40") for _ in range(count)))


def test_a_spot_check_does_not_wait_for_counted_verdicts(service) -> None:
    with busy(service, service.service.judge.run):
        answer = look(service)
        assert answer.status_code == 200 and answer.json()["images"] == 40 and not answer.json()["counted"]


def test_of_many_at_once_a_few_wait_and_the_others_are_told_to_come_again(service) -> None:
    found = list[httpx.Response]()
    asking = threading.Thread(target=lambda: found.extend(asyncio.run(looks_at_once(service, 12))))
    with busy(service, service.service.looks.make):
        asking.start()
        while service.service.looks.inside <= looks.WAITING:
            time.sleep(0.01)
        refused = look(service)
        assert refused.status_code == 503 and int(refused.headers["retry-after"]) >= 1
        assert refused.headers["content-type"] == "application/problem+json"
        assert "spot checks are being made or wait; come again" in refused.json()["detail"]
        assert httpx.post(f"{service.address}/predict", content=USUAL[0]).status_code == 200
        assert httpx.get(f"{service.address}/drift").status_code == 200
    asking.join(60)
    assert sorted(one.status_code for one in found) == [200] * (1 + looks.WAITING) + [503] * (11 - looks.WAITING)
    assert service.service.looks.inside == 0 and look(service).status_code == 200


def test_whoever_waits_too_long_is_told_to_come_again(service, monkeypatch) -> None:
    monkeypatch.setattr(looks, "PATIENCE_S", 0.2)
    release = threading.Event()
    service.service.looks._thread.submit(release.wait, 60)
    try:
        answer = look(service)
        assert answer.status_code == 503 and "no verdict within 0.2 s" in answer.json()["detail"]
        assert answer.headers["retry-after"]
    finally:
        release.set()


def test_more_rows_than_there_are_may_be_asked_for_and_none_are_too_few(service) -> None:
    assert look(service, last=10_000).json()["images"] >= 40
    assert look(service, last=10_001).status_code == 422
    none = look(service, source="nobody")
    assert none.status_code == 200 and none.json()["level"] == "too few images" and none.json()["images"] == 0


def test_windows_of_other_sizes_leave_what_counted_verdicts_compare_with(service) -> None:
    detector = service.service.engine.detector
    assert look(service).json()["level"] == "quiet" and not detector._labellings
    assert service.service.looks.own(detector) is service.service.looks.own(detector) is not detector


def test_while_the_model_is_exchanged_every_spot_check_is_of_one_model(service) -> None:
    async def exchanged():
        address, answers = service.address, list[httpx.Response]()
        async with httpx.AsyncClient(timeout=60, headers={"X-API-Key": "secret"}) as client:
            for folder in ("second", "first"):
                asked = [client.post(f"{address}/drift?last=40"), client.post(f"{address}/drift", files=NEGATIVES)]
                swap = client.post(f"{address}/model", json={"folder": folder})
                answers += await asyncio.gather(*asked, swap)
        return answers

    assert [answer.status_code for answer in asyncio.run(exchanged())] == [200] * 6


def test_a_second_look_that_is_not_done_in_time_is_done_without(service, monkeypatch) -> None:
    monkeypatch.setattr(drift_answers, "AGAIN_S", 0.2)
    release = threading.Event()
    service.service.judge._again.submit(release.wait, 60)
    try:
        said = httpx.post(f"{service.address}/drift", files=NEGATIVES, timeout=60).json()
        assert said["level"] in ("notice", "alert") and not said["by_copy"] and not said["detail"]["accuracy"]["undone"]
    finally:
        release.set()
    monkeypatch.setattr(drift_answers, "AGAIN_S", 60.0)
    said = httpx.post(f"{service.address}/drift", files=NEGATIVES, timeout=60).json()
    assert said["detail"]["accuracy"]["undone"] == "inverted"


def test_a_second_look_that_fails_costs_no_verdict(models, tmp_path, caplog) -> None:
    def fails(images):
        raise RuntimeError("the runtime has no memory")

    with running(models / "first", tmp_path, window=WINDOW) as service:
        service.service.engine.detector.forward = fails
        httpx.post(f"{service.address}/predict", files=NEGATIVES).raise_for_status()
        end = time.monotonic() + 60
        while (newest := httpx.get(f"{service.address}/drift").json()["newest"]) is None:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert newest["level"] in ("notice", "alert") and not newest["detail"]["accuracy"]["undone"]
        assert look(service, last=WINDOW).json()["level"] == newest["level"]


def test_a_service_that_is_told_to_stop_answers_the_spot_checks_it_has(models, tmp_path) -> None:
    found = list[httpx.Response]()
    with running(models / "first", tmp_path, window=WINDOW) as service:
        asking = threading.Thread(target=lambda: found.extend(asyncio.run(looks_at_once(service, 3))))
        with busy(service, service.service.looks.make):
            asking.start()
            while service.service.looks.inside < 3:
                time.sleep(0.01)
            service.server.should_exit = True
            time.sleep(0.2)
        asking.join(60)
    assert [one.status_code for one in found] == [200] * 3
