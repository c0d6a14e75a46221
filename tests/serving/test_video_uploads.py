"""A short video sent to a service: every frame answered as an image is, limits before decoding, nobody else held up."""

import hashlib
import sqlite3
import sys
import threading
import time

import httpx
import numpy as np
import pytest
from drawn_video import write_frames
from running import running
from small_artefact import png, world
from small_boxes import make_boxes_artefact, scene

from drift_detector_pipeline.serving.replies import PredictBody

FRAMES = [scene(number) for number in range(20)]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "cells"
    make_boxes_artefact(folder)
    limits = {"max_video_seconds": 2.0, "max_video_frames": 60, "max_video_megapixels": 1.0}
    with running(folder, tmp_path_factory.mktemp("log"), **limits) as started:
        yield started


@pytest.fixture
def client(service):
    with httpx.Client(base_url=service.address, timeout=60) as opened:
        yield opened


@pytest.fixture(scope="module")
def webm(tmp_path_factory):
    return write_frames(tmp_path_factory.mktemp("video") / "x.webm", FRAMES, codec="libvpx-vp9").read_bytes()


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """One that takes a while."""
    large = np.kron(FRAMES[0], np.ones((7, 12, 1), np.uint8))
    return write_frames(tmp_path_factory.mktemp("video") / "x.mp4", [large] * 50).read_bytes()


def problem_of(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()["detail"]


def test_every_frame_has_its_boxes_and_a_thing_keeps_its_number(client, webm):
    reply = client.post("/predict", content=webm, headers={"Content-Type": "video/webm"}).json()
    PredictBody.model_validate(reply)
    [said] = reply["answers"]
    assert (said["height"], said["width"], said["problem"]) == (96, 96, None)
    assert [one["frame"] for one in said["frames"]] == list(range(20))
    assert [one["seconds"] for one in said["frames"]] == pytest.approx([number / 25 for number in range(20)], abs=1e-3)
    for number, frame in enumerate(said["frames"]):
        found = {box["label"]: box for box in frame["boxes"] if box["score"] > 0.5}
        assert found["blue"]["box"] == [48, 64, 64, 80]
        assert found["red"]["box"] == [16 * (number // 4), 16, 16 * (number // 4) + 16, 32]
    blue = {box["track"] for one in said["frames"] for box in one["boxes"] if box["label"] == "blue"}
    assert len(blue) == 1 and None not in blue


def test_a_frame_is_answered_as_the_same_picture_alone(client, tmp_path):
    path = write_frames(tmp_path / "x.avi", FRAMES[:5], codec="ffv1", options={})
    [said] = client.post("/predict", content=path.read_bytes()).json()["answers"]
    import av

    with av.open(str(path)) as opened:
        pictures = [frame.to_ndarray(format="rgb24") for frame in opened.decode(video=0)]
    for picture, frame in zip(pictures, said["frames"], strict=True):
        [alone] = client.post("/predict", content=png(picture)).json()["answers"]
        assert [{name: one[name] for name in ("label", "score", "box")} for one in frame["boxes"]] == alone["boxes"]


def test_a_form_and_a_body_say_the_same_and_a_video_comes_alone(client, webm):
    whole = client.post("/predict", content=webm).json()["answers"]
    form = client.post("/predict", files={"images": ("x.webm", webm, "video/webm")}).json()["answers"]
    assert whole == form
    both = client.post("/predict", files=[("images", ("x.webm", webm)), ("images", ("a.png", png(FRAMES[0])))])
    assert "one a request" in problem_of(both, 422)


@pytest.mark.parametrize(
    ("frames", "extra", "words"),
    [
        ([FRAMES[0]] * 61, {"rate": 60}, "61 frames, more than 60; cut it"),
        ([FRAMES[0]] * 30, {"rate": 10}, "3.0 s, more than 2; cut it"),
        ([np.zeros((1024, 1024, 3), np.uint8)] * 2, {}, "1024 x 1024 px are more than 1,000,000 pixels"),
    ],
    ids=["frames", "seconds", "pixels"],
)
def test_what_a_header_promises_is_refused_before_a_frame_is_decoded(client, tmp_path, frames, extra, words):
    path = write_frames(tmp_path / "x.mp4", frames, **extra)
    begun = time.process_time()
    assert words in problem_of(client.post("/predict", content=path.read_bytes()), 422)
    assert time.process_time() - begun < 1


def test_a_header_that_says_too_little_is_not_believed(client, tmp_path):
    """A matroska file names no number of frames."""
    path = write_frames(tmp_path / "x.mkv", [FRAMES[0]] * 70, rate=60)
    assert "more than 60 frames" in problem_of(client.post("/predict", content=path.read_bytes()), 422)


def test_a_broken_video_is_answered_up_to_where_it_breaks(client, tmp_path):
    rng = np.random.default_rng(0)
    noisy = [rng.integers(0, 256, (96, 96, 3), dtype=np.uint8) for _ in range(20)]
    path = write_frames(tmp_path / "x.mp4", noisy, options={"bf": "0"}, container_options={"movflags": "faststart"})
    content = path.read_bytes()
    [said] = client.post("/predict", content=content[: int(len(content) * 0.7)]).json()["answers"]
    assert 0 < len(said["frames"]) < 20
    assert f"readable up to frame {len(said['frames'])}" in said["problem"]
    for broken in (b"\x1a\x45\xdf\xa3" + bytes(200), b"\0\0\0\x18ftypmp42" + bytes(200)):
        assert "no video that can be read" in problem_of(client.post("/predict", content=broken), 422)


def test_images_are_answered_while_a_video_is_watched_and_others_wait_their_turn(client, service, film):
    asked, statuses = [threading.Thread(target=lambda: statuses.append(_post(service, film))) for _ in range(8)], []
    slowest = 0.0
    for one in asked:
        one.start()
    while any(one.is_alive() for one in asked):
        begun = time.monotonic()
        assert client.post("/predict", content=png(FRAMES[0])).status_code == 200
        slowest = max(slowest, time.monotonic() - begun)
    assert sorted(set(statuses)) == [200, 503] and statuses.count(200) >= 5
    assert slowest < 5
    assert service.service.lane.inside == 0


def _post(service, content):
    return httpx.post(f"{service.address}/predict", content=content, timeout=60).status_code


def test_one_frame_of_a_video_is_a_row_of_the_log(client, service, webm):
    client.post("/predict", content=webm, headers={"X-Source": "film"})
    service.service.log.flush(5)
    with sqlite3.connect(service.settings.database.removeprefix("sqlite:///")) as opened:
        rows = opened.execute("select image_sha256 from request where source = 'film'").fetchall()
    assert rows == [(hashlib.sha256(webm).digest(),)]


def test_whoever_goes_ends_the_watching(service, film):
    seen = []
    original = service.service.batcher._on_batch
    service.service.batcher._on_batch = lambda images: (seen.append(images), original(images))
    try:
        with pytest.raises(httpx.TimeoutException):
            httpx.post(f"{service.address}/predict", content=film, timeout=0.15)
        while service.service.lane.inside:
            time.sleep(0.01)
    finally:
        service.service.batcher._on_batch = original
    assert sum(seen) < 50


def test_a_model_of_labels_says_one_for_each_frame(models, tmp_path):
    pixels, _ = world(6, 3)
    path = write_frames(tmp_path / "x.avi", list(pixels), codec="ffv1")
    with running(models / "first", tmp_path) as service, httpx.Client(base_url=service.address, timeout=30) as client:
        reply = client.post("/predict", content=path.read_bytes()).json()
        PredictBody.model_validate(reply)
        frames = reply["answers"][0]["frames"]
        assert [len(one["top3"]) for one in frames] == [3] * 6 and all("boxes" not in one for one in frames)
        service.service.log.flush(5)
        assert service.service.log.count(service.service.engine.log_id) == 1


def test_without_pyav_the_sentence_names_the_extra(client, webm, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    assert "pip install -e '.[video]'" in problem_of(client.post("/predict", content=webm), 415)
