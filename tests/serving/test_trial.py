"""A model in the shadow and models that answer single sources: over a real service, its log and its numbers."""

import asyncio
import re
import shutil

import httpx
import numpy as np
import pytest
from running import DEFAULTS, running
from small_artefact import CLASSES, SIDE_PX, make_artefact, png, world
from sqlalchemy import select

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.proof.askers import ask_during, until
from drift_detector_pipeline.release.artefact import read_artefact, write_artefact
from drift_detector_pipeline.release.registry import register
from drift_detector_pipeline.serving import trial
from drift_detector_pipeline.serving.engine import Engine, open_engine
from drift_detector_pipeline.serving.stored_verdicts import newest_verdicts
from drift_detector_pipeline.serving.tables import request
from drift_detector_pipeline.settings_in_use import Serving

IMAGES = world(60, 60)[0]
CONTENTS = [png(pixels) for pixels in IMAGES]


@pytest.fixture
def place(models, tmp_path):
    """models/ with the folder that answers, and a version; beside it one that has another word for `across`."""
    here = tmp_path / "models"
    shutil.copytree(models / "first", here / "artefact")
    shutil.copytree(models / "second", tmp_path / "renamed")
    artefact = read_artefact(tmp_path / "renamed")
    write_artefact(artefact._replace(classes=[CLASSES[0], "sideways", CLASSES[2]]))
    return here, register(models / "second", here)


def serving(place, tmp_path, **settings):
    return running(place / "artefact", tmp_path, models_path=place, **settings)


def ask(service, content, source=""):
    answer = httpx.post(f"{service.address}/predict", content=content, headers={"X-Source": source} if source else {})
    assert answer.status_code == 200, answer.text
    return answer.json()


def rows(service):
    assert service.service.log.flush()
    with service.service.log.engine.connect() as connection:
        return connection.execute(select(request).order_by(request.c.id)).all()


def answers_of(folder):
    """(label, probability) of each image by the model in a folder."""
    engine = open_engine(folder)
    chances = engine.answer(np.stack([engine.prepare(content) for content in CONTENTS])).probabilities
    return engine, [(engine.artefact.classes[row.argmax()], float(row.max())) for row in chances]


def number(service, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", httpx.get(f"{service.address}/metrics").text, re.MULTILINE)
    return float(found[1]) if found else None


def wait_for(holds):
    asyncio.run(until(holds, 20))


def shadowed(service):
    return sum(row.shadow for row in rows(service))


def test_a_shadow_answers_every_image_under_its_own_name_and_nobody_sees_it(place, tmp_path):
    here, version = place
    with serving(here, tmp_path, shadow=version) as service:
        given = [ask(service, content, "gate-3") for content in CONTENTS[:20]]
        wait_for(lambda: shadowed(service) == 20)
        found = rows(service)
        said = httpx.get(f"{service.address}/shadow").json()
    engine, expected = answers_of(here / "versions" / version)
    assert {one["model"] for one in given} == {open_engine(here / "artefact").model} != {engine.model}
    beside = {row.request_id: row for row in found if row.shadow}
    for place_of, (one, want) in enumerate(zip(given, expected, strict=False)):
        row, own = (
            beside[one["request_id"]],
            next(r for r in found if not r.shadow and r.request_id == one["request_id"]),
        )
        assert (CLASSES[row.predicted], row.probability) == (want[0], pytest.approx(want[1], abs=0)), place_of
        assert (row.image_sha256, row.source) == (own.image_sha256, "gate-3")
        assert row.model_id != own.model_id and len(row.phi) == 4 * len(engine.scores)
    assert (said["images"], said["dropped"]) == (20, 0)
    assert said["candidate"]["version"] == version and said["champion"]["model"] == given[0]["model"]
    assert said["candidate"]["milliseconds"] > 0 and said["champion"]["milliseconds"] > 0


@pytest.mark.slow
def test_disagreement_is_that_of_different_images_with_its_interval(place, tmp_path):
    here, _ = place
    version = register(tmp_path / "renamed", here)
    with serving(here, tmp_path, shadow=version) as service:
        labels = [ask(service, content)["answers"][0]["label"] for content in CONTENTS[:30] for _ in range(2)][::2]
        wait_for(lambda: shadowed(service) == 60)
        said = httpx.get(f"{service.address}/shadow").json()
        across = labels.count("across")
        agreeing = number(service, 'drift_shadow_images_total{agrees="true"}')
        assert agreeing == 2 * (30 - across)
        assert number(service, 'drift_shadow_images_total{agrees="false"}') == 2 * across
        assert number(service, "drift_shadow_milliseconds_count") == 60
    assert (said["images"], said["disagreements"]) == (30, across)
    assert said["low"] < said["disagreement"] == across / 30 < said["high"]


@pytest.mark.slow
def test_windows_of_the_shadow_are_judged_by_themselves_and_shown_to_no_alert(place, tmp_path):
    here, version = place
    with serving(here, tmp_path, shadow=version, window=32) as service:
        for content in CONTENTS[:40]:
            ask(service, content)
        log = service.service.log
        ids = {log.facts_of(one).sha256: one for one in log.models()}
        own, shadow = (ids[open_engine(folder).artefact.sha256["model.onnx"]]
                       for folder in (here / "artefact", here / "versions" / version))  # fmt: skip
        wait_for(lambda: newest_verdicts(log, own) and newest_verdicts(log, shadow))
        verdicts = newest_verdicts(log, shadow, 10)
        said = httpx.get(f"{service.address}/shadow").json()
        metrics = httpx.get(f"{service.address}/metrics").text
        report = httpx.get(f"{service.address}/drift/{verdicts[0].id}/report")
    assert len(verdicts) == 1 and verdicts[0].images == 32
    assert said["candidate"]["newest"]["images"] == said["champion"]["newest"]["images"] == 32
    assert report.status_code == 200
    assert re.findall(r'^drift_level\{model="(\w+)"\}', metrics, re.MULTILINE) == [open_engine(here / "artefact").model]
    assert sum(float(value) for value in re.findall(r"^drift_verdicts_total\{.*\} (\S+)", metrics, re.MULTILINE)) == 1


@pytest.mark.slow
def test_a_shadow_that_is_behind_drops_images_and_no_answer_waits(place, tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "MOST_WAITING", 2)
    here, _ = place
    slow = register(make_artefact(tmp_path / "slow", 9, wait=60, reference=False).folder, here)
    with serving(here, tmp_path, shadow=slow) as service:
        seen, _ = asyncio.run(ask_during(asyncio.sleep(2), service.address, CONTENTS))
        dropped = httpx.get(f"{service.address}/shadow").json()["dropped"]
        assert number(service, "drift_shadow_dropped_total") >= dropped > 0
        wait_for(lambda: shadowed(service) + number(service, "drift_shadow_dropped_total") == len(seen.answers))
    assert not seen.lost and seen.statuses == {200}


def test_a_shadow_that_fails_is_counted_and_harms_nobody(place, tmp_path, monkeypatch):
    here, version = place
    with serving(here, tmp_path, shadow=version) as service:
        monkeypatch.setattr(service.service.shadow.engine, "executable", None)
        for content in CONTENTS[:3]:
            ask(service, content)
        wait_for(lambda: httpx.get(f"{service.address}/shadow").json()["dropped"] == 3)
        assert shadowed(service) == 0


def test_a_shadow_that_takes_other_crops_is_not_asked(place, tmp_path):
    here, version = place
    artefact = read_artefact(shutil.copytree(here / "versions" / version, tmp_path / "larger"))
    write_artefact(artefact._replace(stored_side_px=SIDE_PX + 8))
    with serving(here, tmp_path, shadow=register(tmp_path / "larger", here)) as service:
        ask(service, CONTENTS[0])
        assert httpx.get(f"{service.address}/shadow").json()["dropped"] == 1


def test_without_a_shadow_there_is_no_thread_no_number_and_the_endpoint_says_how_to_have_one(place, tmp_path):
    here, _ = place
    with serving(here, tmp_path) as service:
        said = httpx.get(f"{service.address}/shadow")
        assert (said.status_code, "serving.shadow=VERSION" in said.json()["detail"]) == (409, True)
        assert "shadow" not in httpx.get(f"{service.address}/metrics").text
        assert service.service.shadow is None
        assert service.service.batcher._say is Engine.answer  # as ever, nothing in between


def test_a_canary_answers_its_source_and_nobody_else(place, tmp_path):
    here, version = place
    engine, expected = answers_of(here / "versions" / version)
    with serving(here, tmp_path, canary={"gate-3": version}) as service:
        for place_of, content in enumerate(CONTENTS[:10]):
            canary, other = ask(service, content, "gate-3"), ask(service, content, "gate-4")
            assert canary["model"] == engine.model != other["model"] == ask(service, content)["model"]
            said = canary["answers"][0]
            assert (said["label"], said["probability"]) == expected[place_of]
        assert not any(row.shadow for row in rows(service))
        by_source = {(row.source, row.model_id) for row in rows(service)}
        assert len(by_source) == 3 and len({model for source, model in by_source if source != "gate-3"}) == 1


def test_sources_of_both_are_answered_side_by_side_under_load(place, tmp_path):
    here, version = place
    with serving(here, tmp_path, canary={"gate-3": version}, shadow=version) as service:

        async def beside():
            async with httpx.AsyncClient(base_url=service.address, timeout=30) as client:
                found = [await client.post("/predict", content=content, headers={"X-Source": "gate-3"})
                         for content in CONTENTS[:20]]  # fmt: skip
            return [answer.json()["model"] for answer in found]

        seen, models = asyncio.run(ask_during(beside(), service.address, CONTENTS))
        assert set(models) == {open_engine(here / "versions" / version).model}
        assert {one.said["model"] for one in seen.answers} == {open_engine(here / "artefact").model}
        wait_for(
            lambda: shadowed(service) + httpx.get(f"{service.address}/shadow").json()["dropped"] == len(seen.answers)
        )
        assert {row.source for row in rows(service) if row.shadow} == {""}  # the canary's own answers need no shadow


def test_crops_and_verdicts_of_a_canarys_source_are_its_own(place, tmp_path):
    here, version = place
    with serving(here, tmp_path, canary={"gate-3": version}, window=32) as service:
        for content in CONTENTS[:32]:
            ask(service, content, "gate-3")
        wait_for(lambda: httpx.get(f"{service.address}/drift?source=gate-3").json()["newest"])
        drift = httpx.get(f"{service.address}/drift?source=gate-3").json()
        assert drift["model"] == open_engine(here / "versions" / version).model and drift["newest"]["images"] == 32
        assert httpx.get(f"{service.address}/drift/{drift['newest']['id']}/report").status_code == 200
        tensor = {
            "name": "images",
            "shape": [1, SIDE_PX, SIDE_PX, 3],
            "datatype": "UINT8",
            "data": IMAGES[0].ravel().tolist(),
        }
        url = f"{service.address}/v2/models/stripes/infer"
        said = httpx.post(url, json={"inputs": [tensor]}, headers={"X-Source": "gate-3"}).json()
        assert said["model_version"] == drift["model"]
        assert (
            httpx.post(url, json={"inputs": [tensor]}).json()["model_version"] == open_engine(here / "artefact").model
        )


def test_a_version_on_trial_that_is_not_there_is_said_before_anything_is_served(place, tmp_path):
    here, version = place
    for settings in ({"shadow": "resnet18-0"}, {"canary": {"gate-3": "resnet18-0"}}):
        own = Serving(**DEFAULTS | {"database": f"sqlite:///{tmp_path}/log.sqlite", "models_path": here} | settings)
        with pytest.raises(DataError, match=f"resnet18-0: no version in .*; the nearest are {version}"):
            trial.open_trials(own)
