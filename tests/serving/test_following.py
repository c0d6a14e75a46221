"""The service follows the champion: nobody is lost over promotions, and nobody broken is let in."""

import asyncio
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading

import httpx
import pytest
import running as runs
from conftest import ROOT
from small_artefact import make_artefact, png, world

from drift_detector_pipeline.proof.askers import until
from drift_detector_pipeline.release.registry import champion, promote, register, rollback
from drift_detector_pipeline.serving.engine import open_engine
from drift_detector_pipeline.serving.following import Followed, open_champion

CONTENTS = [png(pixels) for pixels in world(40, 60)[0]]


@pytest.fixture
def place(models, tmp_path):
    """models/ with three versions, the first of them champion; and the names of the three."""
    here = tmp_path / "models"
    names = [register(models / name, here) for name in ("first", "second", "plain")]
    promote(names[0], why="the first", place=here)
    return here, names


@contextlib.contextmanager
def following(place, tmp_path, **settings):
    """A service in this process that follows `place`."""
    engine, followed = open_champion(place)
    service = runs.Running(engine.artefact.folder, tmp_path, {"SERVING_ADMIN_KEY": "secret"}, followed, **settings)
    with runs.started(service):
        yield service


def model(service):
    return httpx.get(f"{service.address}/model").json()["version"]


def metric(service, name):
    found = re.search(rf"^{name} (\S+)$", httpx.get(f"{service.address}/metrics").text, re.MULTILINE)
    return float(found[1])


def wait_for(service, holds):
    asyncio.run(until(lambda: holds(service), 20))


def test_whoever_is_promoted_or_rolled_back_to_answers_soon(place, tmp_path):
    here, names = place
    with following(here, tmp_path) as service:
        assert (model(service), metric(service, "drift_champion")) == (names[0], 1)
        promote(names[1], why="better", force=True, place=here)
        wait_for(service, lambda service: model(service) == names[1])
        assert metric(service, "drift_champion") == 2
        rollback(why="worse", place=here)
        wait_for(service, lambda service: metric(service, "drift_champion") == 3)
        assert model(service) == names[0]
        assert httpx.post(f"{service.address}/predict", content=CONTENTS[0]).status_code == 200


def break_version(here, version):
    path = here / "versions" / version / "model.onnx"
    whole = path.read_bytes()
    path.write_bytes(b"rotten")
    return lambda: path.write_bytes(whole)


def test_a_champion_that_cannot_be_opened_is_refused_until_it_is_mended(place, tmp_path, monkeypatch):
    monkeypatch.setattr("drift_detector_pipeline.serving.following._PATIENCE_S", (0.1, 0.1))
    here, names = place
    with following(here, tmp_path) as service:
        promote(names[1], why="better", force=True, place=here)
        mend = break_version(here, names[1])
        wait_for(service, lambda service: metric(service, "drift_champion_refused") == 1)
        assert (model(service), metric(service, "drift_champion")) == (names[0], 1)
        assert httpx.post(f"{service.address}/predict", content=CONTENTS[0]).status_code == 200
        mend()
        wait_for(service, lambda service: model(service) == names[1])
        assert metric(service, "drift_champion_refused") == 0


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["{", "[]", '{"version": "../../etc"}'])
def test_a_champion_json_that_is_none_changes_nothing(place, tmp_path, broken):
    here, names = place
    with following(here, tmp_path) as service:
        path = here / "champion.json"
        whole = path.read_text()
        path.write_text(broken)
        wait_for(service, lambda service: metric(service, "drift_champion_refused") == 1)
        assert model(service) == names[0]
        path.unlink()
        wait_for(service, lambda service: metric(service, "drift_champion_refused") == 0)
        path.write_text(whole)
        assert model(service) == names[0]


def test_other_files_than_those_promoted_are_refused(place, tmp_path):
    here, names = place
    with following(here, tmp_path) as service:
        shutil.rmtree(here / "versions" / names[1])
        make_artefact(here / "versions" / names[1], 7, reference=False)
        path = here / "champion.json"
        path.write_text(path.read_text().replace(names[0], names[1]))
        wait_for(service, lambda service: metric(service, "drift_champion_refused") == 1)
        assert model(service) == names[0]


def test_a_model_exchanged_by_hand_stays_until_the_next_promotion(place, models, tmp_path):
    here, names = place
    shutil.copytree(models / "second", here / "fast")
    with following(here, tmp_path) as service:
        for name in (names[2], "fast"):  # a version, and a folder beside versions/
            said = httpx.post(f"{service.address}/model", json={"folder": name}, headers={"X-API-Key": "secret"})
            assert said.status_code == 200, said.text
        asyncio.run(asyncio.sleep(1.5))
        assert httpx.get(f"{service.address}/model").json()["model"] == open_engine(models / "second").model
        promote(names[2], why="better", force=True, place=here)
        wait_for(service, lambda service: model(service) == names[2])


def test_at_the_start_a_broken_champion_makes_room_for_the_one_before(place):
    here, names = place
    promote(names[1], why="b", force=True, place=here)
    promote(names[2], why="c", force=True, place=here)
    break_version(here, names[2])
    break_version(here, names[1])
    engine, followed = open_champion(here)
    assert (engine.version, followed) == (names[0], Followed(here, None))
    break_version(here, names[0])
    with pytest.raises(Exception, match=rf"{names[2]}/model.onnx: damaged"):
        open_champion(here)


def test_without_a_champion_there_is_nobody_to_follow(tmp_path):
    assert open_champion(tmp_path) is None


@contextlib.contextmanager
def served(tmp_path, *words):
    """`make serve` in `tmp_path` without export.path; yields its address and its process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "drift_detector_pipeline.serving", f"serving.port={port}", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CI_MODE": "true"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE) as started:
        try:
            runs.until_ready(f"http://127.0.0.1:{port}", started)
            yield f"http://127.0.0.1:{port}", started
        finally:
            started.kill()


def version_at(address):
    return httpx.get(f"{address}/model").json()["version"]


@pytest.mark.slow
def test_make_serve_serves_the_champion_and_with_export_path_that_artefact(place, models, tmp_path):
    here, names = place
    with served(tmp_path) as (address, _):
        assert version_at(address) == names[0]
    with served(tmp_path, f"export.path={models / 'second'}") as (address, _):
        assert version_at(address) == names[1]  # the same bytes have the same name
        promote(names[2], why="c", force=True, place=here)
        asyncio.run(asyncio.sleep(1.5))
        assert version_at(address) == names[1]


@pytest.mark.slow
def test_make_serve_without_a_champion_serves_models_artefact_until_there_is_one(models, tmp_path):
    here = tmp_path / "models"
    shutil.copytree(models / "first", here / "artefact")
    with served(tmp_path) as (address, _):
        before = version_at(address)
        name = register(models / "second", here)
        promote(name, why="the first", place=here)
        asyncio.run(until(lambda: version_at(address) == name, 20))
        assert before == register(here / "artefact", here)


@pytest.mark.slow
def test_a_container_is_given_both_folders_and_the_champion_wins(place, models, tmp_path):
    here, names = place
    words = f"export.path={models / 'plain'}", f"serving.models_path={here}"
    with served(tmp_path, *words) as (address, _):
        assert version_at(address) == names[0]
    (here / "champion.json").unlink()
    with served(tmp_path, *words) as (address, _):
        assert version_at(address) == names[2]


@pytest.mark.slow
def test_kills_of_promote_beside_a_service_leave_it_answering(place, tmp_path):
    here, names = place
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from drift_detector_pipeline.release.registry import promote, rollback\n"
        "here, name = Path(sys.argv[1]), sys.argv[2]\n"
        "while True:\n"
        "    promote(name, why='b', force=True, place=here)\n    rollback(why='a', place=here)\n"
    )
    with following(here, tmp_path) as service:
        for _ in range(5):
            with subprocess.Popen([sys.executable, "-c", code, str(here), names[1]], cwd=ROOT) as promoting:
                timer = threading.Timer(0.5, promoting.kill)
                timer.start()
                while promoting.poll() is None:
                    assert httpx.post(f"{service.address}/predict", content=CONTENTS[0]).status_code == 200
            if champion(here).version != names[0]:
                rollback(why="again", place=here)
        wait_for(service, lambda service: metric(service, "drift_champion") == champion(here).number)
        assert metric(service, "drift_champion_refused") == 0
