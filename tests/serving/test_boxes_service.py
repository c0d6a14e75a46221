"""A service of a model that finds boxes: they come in px of the image as people see it, and the page draws them."""

import base64
import io
import json
import os
import shutil
import threading
import time
from contextlib import closing

import httpx
import numpy as np
import pytest
from box_runs import make_run_with_reference
from browsers import needs_browser, open_browser
from PIL import Image
from running import running

from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.files import sealed
from drift_detector_pipeline.lifecycle.labelling.basket import make_basket_of
from drift_detector_pipeline.lifecycle.labelling.stretch import stretch_of
from drift_detector_pipeline.lifecycle.labels_of_images import refuse_task
from drift_detector_pipeline.lifecycle.watching.alarm_desk import table
from drift_detector_pipeline.lifecycle.watching.alarms import alarms
from drift_detector_pipeline.lifecycle.watching.detectors import detector_of
from drift_detector_pipeline.lifecycle.watching.monitor import watch_log
from drift_detector_pipeline.modeling.labels import predict
from drift_detector_pipeline.release.export import export_run
from drift_detector_pipeline.serving.replies import PredictBody
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.stored_verdicts import stored_verdict, verdict_of
from drift_detector_pipeline.serving.verdicts import judge_again
from drift_detector_pipeline.settings_in_use import Basket, Export, Monitor

pytestmark = pytest.mark.slow  # a run is trained and exported first

WINDOW = 32
SETTINGS = ["export.max_labels_changed=1", "export.max_accuracy_lost=1"]


@pytest.fixture(scope="module")
def root(made_once):
    """A folder with source/, processed/, the run of a YOLOX and images that it judges; read only."""
    return made_once("boxes_with_reference", make_run_with_reference)


@pytest.fixture(scope="module")
def exported(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "boxes"
    export_run(root / "run", load_section(Export, [f"export.path={folder}", *SETTINGS]))
    return folder


@pytest.fixture(scope="module")
def service(exported, tmp_path_factory):
    with running(exported, tmp_path_factory.mktemp("log"), window=WINDOW) as started:
        yield started


@pytest.fixture
def client(service):
    with httpx.Client(base_url=service.address, timeout=60) as opened:
        yield opened


@pytest.fixture(scope="module")
def picture(root, service):
    """A picture in which something is found."""
    engine = service.service.engine
    paths = sorted((root / "source").glob("*.png"))
    crops = np.stack([engine.prepare(path.read_bytes()) for path in paths])
    best = [one.scores.max(initial=0) for one in engine.answer(crops).found]
    assert max(best) > 0.1
    return paths[int(np.argmax(best))]


def test_a_service_finds_what_make_predict_finds(client, root, picture):
    path = picture
    said = client.post("/predict", content=path.read_bytes()).json()
    PredictBody.model_validate(said)
    [answer] = said["answers"]
    with Image.open(path) as image:
        assert (answer["width"], answer["height"]) == image.size
    done = predict(root / "run" / "final_model.safetensors", [str(path)])
    [line] = (done.folder / "predictions.jsonl").read_text().splitlines()
    expected = json.loads(line)["boxes"]
    assert len(answer["boxes"]) == len(expected) > 0
    for one, other in zip(answer["boxes"], expected, strict=True):
        assert one["label"] == other["label"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)
        assert one["box"] == pytest.approx(other["box"], abs=0.1)


def test_a_photograph_that_is_stored_on_its_side_has_boxes_where_people_see_things(client, picture):
    with Image.open(picture) as image:
        upright, buffer = np.asarray(image.convert("RGB")), io.BytesIO()
    tags = Image.Exif()
    tags[0x0112] = 6  # to be turned a quarter to the right
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(buffer, "png", exif=tags)
    plain, turned = (
        client.post("/predict", content=content).json()["answers"][0]
        for content in (picture.read_bytes(), buffer.getvalue())
    )
    assert turned == plain


def test_several_images_and_crops_are_answered_together(client, root, service):
    contents = [path.read_bytes() for path in sorted((root / "source").glob("*.png"))[:3]]
    together = client.post("/predict", json={"images": [base64.b64encode(one).decode() for one in contents]}).json()
    alone = [client.post("/predict", content=one).json()["answers"][0] for one in contents]
    assert together["answers"] == alone
    name, side = service.service.engine.artefact.name, service.service.engine.artefact.side_px
    crops = [service.service.engine.prepare(one) for one in contents]
    asked = {
        "name": "images",
        "shape": [3, side, side, 3],
        "datatype": "UINT8",
        "data": np.stack(crops).ravel().tolist(),
    }
    output, phi = client.post(f"/v2/models/{name}/infer", json={"inputs": [asked]}).json()["outputs"]
    rows = np.array(output["data"]).reshape(output["shape"])
    assert phi["shape"] == [3, len(service.service.engine.scores)]
    assert output["name"] == "boxes" and rows.shape[0] == 3 and rows.shape[2] == 6
    assert [int((one[:, 4] >= 0.05).sum()) for one in rows] == [len(one["boxes"]) for one in alone]
    facts = client.get(f"/v2/models/{name}").json()["outputs"]
    assert facts[0] == {"name": "boxes", "shape": [-1, -1, 6], "datatype": "FP32"} and len(facts) == 2


@pytest.fixture(scope="module")
def judged(service, root):
    """32 pale images that were answered, and the counted verdict on them."""
    with httpx.Client(base_url=service.address, timeout=60) as client:
        for number in range(WINDOW):
            content = pale(root, number)
            assert client.post("/predict", content=content, headers={"X-Source": "camera"}).status_code == 200
        for _ in range(600):
            if found := client.get("/drift?source=camera&history=2").json()["newest"]:
                return found
            time.sleep(0.1)
    raise AssertionError("no verdict in a minute")


def pale(root, number):
    """An image of the pale ones, each number another: they are fewer than a window."""
    files = sorted((root / "pale").glob("*.png"))
    pixels = np.asarray(Image.open(files[number % len(files)]).convert("RGB"))
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :: 1 if number < len(files) else -1].copy()).save(buffer, "png")
    return buffer.getvalue()


def test_a_window_of_boxes_gets_one_verdict_with_map50_in_place_of_accuracy(client, judged, service):
    assert judged["counted"] and judged["level"] in ("notice", "alert") and judged["images"] == WINDOW
    assert judged["accuracy"] is None and judged["low"] <= judged["map50"] <= judged["high"]
    assert any("mAP50" in one for one in judged["summary"]) and any("What moved" in one for one in judged["summary"])
    page = client.get(judged["report"]).text
    assert "mAP50" in page and "No picture of them was kept" in page
    lines = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[:1] != "#")
    assert float(lines['drift_map50_estimate{bound="low"}']) == pytest.approx(judged["low"])
    assert not [one for one in lines if one.startswith("drift_accuracy_estimate")]


def test_it_is_repeated_to_the_bit_from_its_rows_by_the_service_and_by_who_sees_no_image(judged, service):
    running_service = service.service
    log, engine = running_service.log, running_service.engine
    stored = stored_verdict(log, judged["id"])
    assert judge_again(log, stored.id, engine.detector) == verdict_of(stored)
    unseeing = detector_of(log.facts_of(engine.log_id), service.folder.parent)
    assert judge_again(log, stored.id, unseeing) == verdict_of(stored)


def test_images_at_hand_are_judged_as_make_drift_would_and_scores_are_told(client, root, service):
    files = [("images", (str(number), pale(root, number), "image/png")) for number in range(20)]
    said = client.post("/drift", files=files).json()
    assert said["level"] in ("notice", "alert") and said["map50"] is not None and not said["counted"]
    told = client.post("/predict?scores=true", content=pale(root, 0)).json()["answers"][0]["scores"]
    assert [one["name"] for one in told] == [one.name for one in service.service.engine.detector.columns]
    assert all(0 <= one["rank"] <= 1 for one in told)


def test_a_monitor_names_why_a_stream_of_boxes_has_changed(judged, service):
    """From the rows alone: it has no image and no PyTorch."""
    database = service.settings.database
    words = [
        f"monitor.database={database}",
        f"monitor.models_path={service.folder.parent}",
        "monitor.once=true",
        "monitor.cause_images=32",
    ]
    settings = load_section(Monitor, words)
    assert watch_log(settings, "", threading.Event()) == 0
    with closing(RequestLog(database)) as log:
        found = [one for one in alarms(log) if one.source == "camera"]
    assert found and found[-1].level == "notice" and found[-1].cause is not None
    assert found[-1].detail["verdict"]["map50"] and found[-1].detail["alarm"]["measure"] == "map50"
    assert "mAP50" in table(found)


def test_a_model_without_reference_answers_and_says_what_is_missing(root, exported, tmp_path):
    folder = tmp_path / "without"
    shutil.copytree(exported, folder)
    manifest = json.loads((folder / "artefact.json").read_text())
    for name in ("reference.npz", "reference.json"):
        (folder / name).unlink()
        del manifest["sha256"][name]
    (folder / "artefact.json").write_text(json.dumps(sealed(manifest)))
    with running(folder, tmp_path) as started, httpx.Client(base_url=started.address, timeout=60) as client:
        assert client.post("/predict", content=pale(root, 0), headers={"X-Source": "camera"}).status_code == 200
        said = client.get("/drift?source=camera")
        assert said.status_code == 409 and "reference" in said.json()["detail"]
        assert client.get("/model").json()["task"] == "boxes"


def test_a_basket_of_boxes_is_refused_with_what_can_be_done(judged, service, tmp_path):
    log, settings = service.service.log, load_section(Basket, [])
    with pytest.raises(
        ConfigError,
        match=r"yolox: it finds boxes, and a basket is for models that say labels of images\. Draw the",
    ):
        make_basket_of(
            log, stretch_of(log, {"source": "camera"}), None, settings, place=tmp_path, models=service.folder.parent
        )


@pytest.mark.parametrize("what", ["healing", "training on", "a gate"])
def test_what_cannot_be_done_of_boxes_is_said_with_what_can(service, what):
    with pytest.raises(
        ConfigError, match=f"it finds boxes, and {what} is for models that say labels of images. Draw the true"
    ):
        refuse_task(service.service.engine.artefact.task, "models/artefact", what)


@needs_browser
def test_the_page_draws_boxes_a_slider_hides_some_and_the_gauge_tells_map50(picture, service, judged):
    with open_browser() as browser:
        page, complaints = browser.new_page(), []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(service.address)
        page.set_input_files("#files", str(picture))
        page.wait_for_selector("#answers li.found")
        words = page.inner_text("#answers li.found p strong")
        page.fill("#answers li.found input[type=range]", "1")
        assert page.inner_text("#answers li.found p strong") == "nothing" or words == "nothing"
        page.fill("#answers li.found input[type=range]", "0.05")
        shown = page.inner_text("#answers li.found p strong")
        assert any(kind in shown for kind in ("disc", "square"))
        assert page.locator("#answers li.found .histogram span").count() == 10
        assert shown in page.get_attribute("#answers li.found canvas", "aria-label")
        page.wait_for_selector("#gauge .gauge")
        assert all(one in page.inner_text("#gauge") for one in judged["summary"])
        if judged["detail"]["map50"]["known"]:
            assert "Estimated mAP50" in page.get_attribute("#gauge meter", "aria-label")
        if place := os.environ.get("SCREENSHOT"):
            page.screenshot(path=place, full_page=True)
    assert complaints == []
