"""What is refused before it costs anything: too much, too many, too slow, no key; and what a refused client is told."""

import asyncio
import http.client
import os
import socket
import time

import httpx
import pytest
from running import running
from small_artefact import png, world

from drift_detector_pipeline.proof.odd_requests import bombs, damaged
from drift_detector_pipeline.serving.keys import keys_of

IMAGE = png(world(1, 3)[0][0])


@pytest.fixture(scope="module")
def service(models, tmp_path_factory):
    with running(models / "first", tmp_path_factory.mktemp("log"), max_upload_mb=0.5, in_flight=4) as started:
        yield started


def refusals(service, reason):
    return service.service.metrics.refused.labels(reason)._value.get()


@pytest.mark.slow
def test_a_length_above_the_limit_is_refused_before_the_body_is_sent(service) -> None:
    host, port = service.address.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()
    answer = connection.getresponse()  # nothing of the body was sent
    assert answer.status == 413 and b"0.5 MB" in answer.read()


def test_a_body_without_length_is_counted_as_it_comes(service) -> None:
    def pieces():
        for _ in range(100):
            yield b"x" * 10_000

    answer = httpx.post(f"{service.address}/predict", content=pieces(), timeout=10)
    assert answer.status_code == 413
    assert httpx.post(f"{service.address}/predict", content=b"x" * 499_999).status_code == 415


def test_a_client_that_sends_all_of_a_body_too_large_is_told_why(service) -> None:
    for _ in range(5):
        answer = httpx.post(f"{service.address}/predict", content=b"x" * 3_000_000, timeout=10)
        assert answer.status_code == 413 and "smaller" in answer.json()["detail"]


def test_more_than_so_many_at_once_are_refused_at_once_and_told_when_to_come_again(service) -> None:
    held = [slow_upload(service) for _ in range(4)]
    try:
        wait_until(lambda: service.app.in_flight == 4)
        started = time.perf_counter()
        answer = httpx.post(f"{service.address}/predict", content=IMAGE)
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
        assert answer.headers["content-type"] == "application/problem+json"
        assert time.perf_counter() - started < 2
        with slow_upload(service) as unread, unread.makefile("rb") as file:  # nobody waits for the rest of its body
            assert b" 503 " in file.readline()
        assert httpx.get(f"{service.address}/ready").status_code == 200  # busy is not broken
    finally:
        for one in held:
            one.close()
    wait_until(lambda: service.app.in_flight == 0)
    assert httpx.post(f"{service.address}/predict", content=IMAGE).status_code == 200


def slow_upload(service):
    """A request whose body does not end."""
    host, port = service.address.removeprefix("http://").split(":")
    opened = socket.create_connection((host, int(port)))
    opened.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
    return opened


def wait_until(holds, seconds=10):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_cut_upload_leaves_nothing_behind(service) -> None:
    before = refusals(service, "cut")
    for number in range(10):
        opened = slow_upload(service)
        wait_until(lambda: service.app.in_flight == 1)
        opened.close()
        wait_until(lambda number=number: refusals(service, "cut") == before + 1 + number)
    assert service.app.in_flight == service.app.held_bytes == 0


def test_a_body_that_does_not_come_is_given_up(service, monkeypatch) -> None:
    monkeypatch.setattr(service.app, "_limits", service.app._limits._replace(upload_s=0.2))
    with slow_upload(service) as opened, opened.makefile("rb") as file:
        answer = file.read()
    assert b" 408 " in answer.splitlines()[0] and b"within 0.2 s" in answer
    wait_until(lambda: service.app.in_flight == 0)


def test_bodies_of_all_requests_together_are_bounded(service, monkeypatch) -> None:
    monkeypatch.setattr("drift_detector_pipeline.serving.admission.UPLOADS_AT_ONCE", 0.5)
    answer = httpx.post(f"{service.address}/predict", content=b"x" * 300_000)
    assert answer.status_code == 503 and "large bodies" in answer.json()["detail"]
    assert service.app.held_bytes == 0


def test_without_a_key_nothing_but_health_pages_and_documentation_opens(models, tmp_path) -> None:
    environment = {"SERVING_API_KEYS": "alpha, beta"}
    with running(models / "first", tmp_path, environment) as service:
        for path in ("/health", "/ready", "/", "/docs", "/openapi.json", "/page/page.css", "/v2/health/live"):
            assert httpx.get(service.address + path).status_code == 200, path
        for path in ("/metrics", "/model", "/drift", "/v2", "/v2/models/stripes", "/nothing"):
            answer = httpx.get(service.address + path)
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer", path
        for headers in ({}, {"X-API-Key": "gamma"}, {"Authorization": "Bearer"}, {"Authorization": "Basic alpha"}):
            assert httpx.post(f"{service.address}/predict", content=IMAGE, headers=headers).status_code == 401
        for headers in ({"X-API-Key": "alpha"}, {"Authorization": "Bearer beta"}):
            assert httpx.post(f"{service.address}/predict", content=IMAGE, headers=headers).status_code == 200
        swap = httpx.post(f"{service.address}/model", json={"folder": "second"}, headers={"X-API-Key": "alpha"})
        assert swap.status_code == 403


def test_keys_are_kept_as_hashes_and_empty_ones_open_nothing() -> None:
    keys = keys_of({"SERVING_API_KEYS": "one,, two ,", "SERVING_ADMIN_KEY": ""})
    assert len(keys.ask) == 2 and keys.admin is None and b"one" not in b"".join(keys.ask)
    assert keys.may_ask({b"x-api-key": b"two"}) and not keys.may_ask({b"x-api-key": b""}) and not keys.may_ask({})
    assert not keys.may_change({b"x-api-key": b"one"})
    assert keys_of({}).may_ask({}) and not keys_of({}).may_change({b"x-api-key": b""})


@pytest.mark.parametrize("bomb", list(bombs(IMAGE)), ids=lambda bomb: bomb.name)
def test_files_that_promise_much_cost_little_and_never_a_fault(service, bomb) -> None:
    assert len(bomb.content) < 500_000
    answer = httpx.post(f"{service.address}/predict", content=bomb.content, timeout=30)
    assert answer.status_code == bomb.status, answer.text


def test_odd_bytes_never_make_a_fault(service) -> None:
    with httpx.Client(base_url=service.address, timeout=30) as client:
        for content in damaged(world(1, 4)[0][0], 150):
            assert client.post("/predict", content=content).status_code in (200, 415, 422)


def test_admission_alone_lets_other_protocols_through() -> None:
    """Lifespan messages are none of its business."""
    from drift_detector_pipeline.serving.admission import Admission, Limits
    from drift_detector_pipeline.serving.metrics import Metrics

    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    admission = Admission(app, Limits(10, 1), keys_of(os.environ), Metrics(), lambda: "")
    asyncio.run(admission({"type": "lifespan"}, None, None))
    assert seen == ["lifespan"]
