"""What happens to those who ask while a model is exchanged, while the service is told to stop, while too many ask."""

import asyncio
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import httpx
import pytest
from running import process, running
from small_artefact import make_artefact, png, world

from drift_detector_pipeline.proof.askers import ask_during, until
from drift_detector_pipeline.proof.under_load import answers_of

CONTENTS = [png(pixels) for pixels in world(40, 60)[0]]
ADMIN = {"SERVING_ADMIN_KEY": "secret"}
KEY = {"X-API-Key": "secret"}


async def swaps(address, count):
    async with httpx.AsyncClient(base_url=address, headers=KEY, timeout=60) as client:
        models = []
        for number in range(count):
            await asyncio.sleep(0.1)
            answer = await client.post("/model", json={"folder": ("second", "first")[number % 2]})
            assert answer.status_code == 200, answer.text
            models.append(answer.json()["model"])
    return models


def test_no_request_is_lost_over_swaps_and_each_answer_is_that_of_the_model_it_names(models, tmp_path) -> None:
    with running(models / "first", tmp_path, ADMIN) as service:
        seen, given = asyncio.run(ask_during(swaps(service.address, 4), service.address, CONTENTS))
        assert service.service.log.flush()
        rows = {model: len(service.service.log.newest(model, 10**6)) for model in service.service.log.models()}
    known = dict(answers_of(models / name, CONTENTS) for name in ("first", "second"))
    assert not seen.lost and not seen.never_accepted and seen.statuses == {200} and len(seen.answers) > 20
    for one in seen.answers:
        [said] = one.said["answers"]
        assert (said["label"], said["probability"]) == known[one.said["model"]][one.number]
    assert {one.said["model"] for one in seen.answers} == set(known) == set(given)
    assert len(rows) == 2 and sum(rows.values()) == len(seen.answers)


def test_a_damaged_or_foreign_artefact_changes_nothing(models, tmp_path) -> None:
    place = tmp_path / "models"
    make_artefact(place / "good", 0)
    make_artefact(place / "bad", 1, reference=False)
    with (place / "bad" / "model.onnx").open("ab") as file:
        file.write(b"x")
    (place / "link").symlink_to(models / "second")
    with running(place / "good", tmp_path, ADMIN) as service:
        before = httpx.get(f"{service.address}/model").json()
        for name, status in (("bad", 409), ("nothing", 404), ("../good", 422), ("link", 404), ("", 422), ("\0", 422)):
            answer = httpx.post(f"{service.address}/model", json={"folder": name}, headers=KEY)
            assert answer.status_code == status, (name, answer.text)
        assert httpx.post(f"{service.address}/model", json={"folder": "good"}).status_code == 401
        assert httpx.get(f"{service.address}/model").json() == before


@pytest.mark.slow
def test_while_it_drains_it_is_not_ready_and_still_answers(models, tmp_path) -> None:
    with process(models / "first", tmp_path, "serving.drain_s=60") as (started, address):
        started.send_signal(signal.SIGINT)
        for _ in range(100):
            if httpx.get(f"{address}/ready").status_code == 503:
                break
            time.sleep(0.02)
        answer = httpx.post(f"{address}/predict", content=CONTENTS[0])
        assert answer.status_code == 200 and answer.headers["connection"] == "close"
        assert httpx.get(f"{address}/v2/health/ready").status_code == 503
        assert httpx.get(f"{address}/health").status_code == 200 and started.poll() is None


def test_too_many_are_refused_fast_and_the_others_answered(models, tmp_path) -> None:
    with running(models / "first", tmp_path, in_flight=4) as service:
        enough = until(lambda: batched(service) >= 10 and refused(service) >= 10)
        seen, _ = asyncio.run(ask_during(enough, service.address, CONTENTS, 24))
        assert httpx.post(f"{service.address}/predict", content=CONTENTS[0]).status_code == 200
    assert not seen.lost and seen.statuses == {200, 503}
    told = [one for one in seen.answers if one.status == 503]
    assert all(one.retry_after == "1" and one.said["request_id"] for one in told)


def batched(service):
    return service.service.metrics.batch._sum.get()


def refused(service):
    return service.service.metrics.refused.labels("busy")._value.get()


def test_an_address_that_is_taken_or_none_and_settings_that_are_none_are_said(models, call_main, monkeypatch) -> None:
    monkeypatch.setenv("PORT", "")
    said = call_main("serving.__main__", f"export.path={models / 'first'}", "serving.host=203.0.113.7")
    assert said.returncode == 1 and "serving.host=203.0.113.7" in said.stderr
    said = call_main("serving.__main__", "serving.prot=1")
    assert said.returncode == 1 and "serving.port" in said.stderr
    said = call_main("serving.__main__", "training.epochs=1")
    assert said.returncode == 1 and "make serve takes only" in said.stderr
    monkeypatch.setenv("PORT", "70000")
    assert "serving.port" in call_main("serving.__main__").stderr


@pytest.mark.parametrize("typed", ["frist", "models/first", "mistyped"])
def test_a_mistyped_folder_is_answered_with_those_that_are_there(typed, models, call_main) -> None:
    said = call_main(
        "serving.__main__", f"export.path={models / typed}", f"serving.models_path={models}", "serving.port=0"
    )
    assert said.returncode == 1 and f"{models / typed}: no exported model in it; did you mean {models}/" in said.stderr
    assert "firs" not in typed or f"did you mean {models / 'first'} or " in said.stderr
    assert said.stderr.endswith(f'To export one there: make export ARGS="export.path={models / typed}"\n')
    assert not (models / typed).exists()


@pytest.mark.slow
def test_the_usual_folder_is_exported_into_whatever_others_there_are(models, call_main, tmp_path) -> None:
    shutil.copytree(models / "first", tmp_path / "models" / "fast")
    said = call_main("serving.__main__", "serving.port=0", cwd=tmp_path)
    assert "models/artefact: no artefact yet; the newest run is exported first" in said.stdout
    assert said.stderr.endswith("models/artefact: no artefact, and none could be exported; see above\n")


@pytest.mark.slow
def test_the_environment_says_port_and_database_as_containers_do(models, tmp_path) -> None:
    database = f"sqlite:///{tmp_path}/by=environment, odd.sqlite"
    with process(models / "plain", tmp_path, DATABASE_URL=database, PORT="") as (_, address):
        httpx.post(f"{address}/predict", content=CONTENTS[0]).raise_for_status()
        assert (tmp_path / "by=environment, odd.sqlite").exists()
    assert os.environ.get("DATABASE_URL") is None


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc lists processes")
def test_a_service_is_one_process_which_counts_all_that_it_answers(models, tmp_path) -> None:
    """Of several workers Prometheus would be told by whichever answers it."""
    with process(models / "plain", tmp_path) as (started, address):
        for content in CONTENTS[:4]:
            httpx.post(f"{address}/predict", content=content).raise_for_status()
        assert "".join(one.read_text() for one in Path(f"/proc/{started.pid}/task").glob("*/children")) == ""
        said = httpx.get(f"{address}/metrics").text
        assert sum(float(line.split()[-1]) for line in said.splitlines() if line.startswith("drift_images_total")) == 4
