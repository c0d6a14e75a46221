"""What a service says about drift: counted verdicts of full windows, spot checks, reports."""

import time

import httpx
import numpy as np
import pytest
from running import running
from small_artefact import png, world

from drift_detector_pipeline.serving.drift_answers import DriftBody, VerdictBody
from drift_detector_pipeline.serving.stored_verdicts import newest_verdicts, verdict_of
from drift_detector_pipeline.serving.verdicts import judge_again

WINDOW = 32
USUAL = [png(pixels) for pixels in world(64, 50)[0]]
BRIGHT = [png(pixels) for pixels in world(40, 51, light=190.0)[0]]


def forms(contents):
    """Requests of at most 40 images."""
    return [
        [("images", ("a.png", one)) for one in contents[start : start + 40]] for start in range(0, len(contents), 40)
    ]


@pytest.fixture(scope="module")
def service(models, tmp_path_factory):
    with running(models / "first", tmp_path_factory.mktemp("log"), window=WINDOW) as started:
        yield started


@pytest.fixture(scope="module")
def judged(service):
    """The service after two usual windows and one of bright images of another camera."""
    for source, contents in (("old", USUAL), ("new", BRIGHT)):
        for files in forms(contents):
            httpx.post(f"{service.address}/predict", files=files, headers={"X-Source": source}).raise_for_status()
    history(service, 3)
    return service


def history(service, count):
    """The counted verdicts, once there are so many."""
    end = time.monotonic() + 60
    while len(found := httpx.get(f"{service.address}/drift", params={"history": 9}).json()["history"]) < count:
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def test_full_windows_are_judged_by_themselves_each_source_for_itself(judged) -> None:
    said = httpx.get(f"{judged.address}/drift", params={"history": 10}).json()
    DriftBody.model_validate(said)
    assert sorted(one["source"] for one in said["history"]) == ["new", "old", "old"]
    assert all(one["counted"] and one["images"] == WINDOW for one in said["history"])
    [bright] = httpx.get(f"{judged.address}/drift", params={"history": 10, "source": "new"}).json()["history"]
    assert bright["level"] in ("notice", "alert") and bright["p"] <= 0.01 and bright["summary"]
    assert said["newest"]["detail"]["channels"] and said["window"] == WINDOW and said["behind"] is False


def test_a_stored_verdict_comes_again_from_its_rows_to_the_bit(judged) -> None:
    engine, log = judged.service.engine, judged.service.log
    for stored in newest_verdicts(log, engine.log_id, 3):
        again = judge_again(log, stored.id, engine.detector)
        assert (again.level, again.p, again.accuracy.accuracy) == (stored.level, stored.p, stored.accuracy)


@pytest.mark.parametrize(("keep_crops", "undone"), [(True, "inverted"), (False, "")])
def test_negatives_are_named_and_judged_by_what_undoing_them_shows(models, tmp_path, keep_crops, undone) -> None:
    negatives = [png(255 - pixels) for pixels in world(WINDOW, 70)[0]]
    with running(models / "first", tmp_path, window=WINDOW, keep_crops=keep_crops) as service:
        httpx.post(f"{service.address}/predict", files=forms(negatives)[0]).raise_for_status()
        history(service, 1)
        newest = httpx.get(f"{service.address}/drift").json()["newest"]
        assert newest["level"] in ("notice", "alert") and not newest["by_copy"]
        assert newest["detail"]["accuracy"]["undone"] == undone
        assert (newest["detail"]["cause"]["kind"] == "inverted") == keep_crops
        engine, log = service.service.engine, service.service.log
        [stored] = newest_verdicts(log, engine.log_id)
        assert judge_again(log, stored.id, engine.detector) == verdict_of(stored)
        look = httpx.post(f"{service.address}/drift", files=forms(negatives)[0], timeout=60).json()
        assert look["detail"]["accuracy"]["undone"] == "inverted"  # of images at hand there are always crops


def test_the_report_of_a_verdict_is_one_page_that_needs_nothing_else(judged) -> None:
    newest = httpx.get(f"{judged.address}/drift").json()["newest"]
    answer = httpx.get(judged.address + newest["report"])
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert newest["summary"][1] in answer.text.replace("&#39;", "'") and 'src="http' not in answer.text
    assert httpx.get(f"{judged.address}/drift/999999/report").status_code == 404
    assert httpx.get(f"{judged.address}/drift/0/report").status_code == 422


def test_metrics_hold_the_newest_verdict(judged) -> None:
    newest = httpx.get(f"{judged.address}/drift").json()["newest"]
    lines = dict(
        line.rsplit(" ", 1) for line in httpx.get(f"{judged.address}/metrics").text.splitlines() if line[0] != "#"
    )
    level = {"quiet": 0, "notice": 1, "alert": 2}[newest["level"]]
    assert float(lines[f'drift_level{{model="{judged.service.engine.model}"}}']) == level
    assert float(lines['drift_accuracy_estimate{bound="low"}']) == pytest.approx(newest["low"])
    assert sum(float(value) for name, value in lines.items() if name.startswith("drift_verdicts_total")) == 3


def test_a_look_at_images_at_hand_counts_nothing_and_logs_nothing(judged) -> None:
    judged.service.log.flush()
    before = len(judged.service.log.newest(judged.service.engine.log_id, 10_000))
    bright, usual = (httpx.post(f"{judged.address}/drift", files=forms(some)[0]).json() for some in (BRIGHT, USUAL))
    VerdictBody.model_validate(bright)
    assert bright["level"] != "quiet" and usual["level"] == "quiet" and not bright["counted"]
    assert bright["id"] is None and bright["report"] is None and bright["images"] == 40
    judged.service.log.flush()
    assert len(judged.service.log.newest(judged.service.engine.log_id, 10_000)) == before
    few = httpx.post(f"{judged.address}/drift", files=forms(BRIGHT[:15])[0]).json()
    assert few["level"] == "too few images" and few["p"] is None


def test_a_look_at_the_images_answered_last_is_not_counted_either(judged) -> None:
    said = httpx.post(f"{judged.address}/drift", params={"last": 40, "source": "new"}).json()
    assert said["images"] == 40 and said["level"] != "quiet" and not said["counted"] and said["source"] == "new"
    assert len(httpx.get(f"{judged.address}/drift", params={"history": 10}).json()["history"]) == 3
    assert httpx.post(f"{judged.address}/drift", params={"last": 0}).status_code == 422
    assert httpx.post(f"{judged.address}/drift").status_code == 400


def test_a_restarted_service_shows_the_verdict_of_before(judged, models) -> None:
    with running(models / "first", judged.place, window=WINDOW) as again:
        assert httpx.get(f"{again.address}/drift").json() == httpx.get(f"{judged.address}/drift").json()
        assert "drift_level{" in httpx.get(f"{again.address}/metrics").text


def test_without_a_reference_images_are_labelled_and_drift_is_said_to_be_missing(models, tmp_path) -> None:
    with running(models / "plain", tmp_path) as service:
        assert httpx.post(f"{service.address}/predict", content=USUAL[0]).json()["answers"][0]["label"]
        for answer in (httpx.get(f"{service.address}/drift"), httpx.post(f"{service.address}/drift", content=USUAL[0])):
            assert answer.status_code == 409 and "fit" in answer.json()["detail"]


def test_answers_go_on_while_the_log_cannot_be_written(models, tmp_path) -> None:
    with running(models / "first", tmp_path) as service:
        (tmp_path / "requests.sqlite").unlink()
        for leftover in tmp_path.glob("requests.sqlite-*"):
            leftover.unlink()
        (tmp_path / "requests.sqlite").mkdir()
        for content in USUAL[:20]:
            assert httpx.post(f"{service.address}/predict", content=content).status_code == 200
        assert httpx.get(f"{service.address}/ready").status_code == 200
        (tmp_path / "requests.sqlite").rmdir()


def test_thumbnails_are_kept_of_the_share_that_is_asked_for(models, tmp_path) -> None:
    with running(models / "first", tmp_path, thumbnails=1.0) as service:
        httpx.post(f"{service.address}/predict", content=USUAL[0]).raise_for_status()
        service.service.log.flush()
        [row] = service.service.log.newest(service.service.engine.log_id, 1)
        assert service.service.log.thumbnail_of(row.id).startswith(b"\xff\xd8")
        assert np.isclose(row.probability, service.service.engine.answer(world(64, 50)[0][:1]).probabilities.max())
