"""A service of a model that finds boxes: they come in px of the image as people see it, and the page draws them."""

import base64
import io
import json

import httpx
import numpy as np
import pytest
from box_runs import make_run
from PIL import Image
from running import running

from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.modeling.labels import predict
from drift_detector_pipeline.release.export import export_run
from drift_detector_pipeline.serving.replies import PredictBody
from drift_detector_pipeline.settings_in_use import Export

pytestmark = pytest.mark.slow  # a run is trained and exported first

SETTINGS = ["export.max_labels_changed=1", "export.max_accuracy_lost=1"]


@pytest.fixture(scope="module")
def root(made_once):
    """A folder with source/, processed/ and the run of a YOLOX; read only."""
    return made_once("boxes_yolox", make_run)


@pytest.fixture(scope="module")
def service(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "boxes"
    export_run(root / "run", load_section(Export, [f"export.path={folder}", *SETTINGS]))
    with running(folder, tmp_path_factory.mktemp("log")) as started:
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
    [output] = client.post(f"/v2/models/{name}/infer", json={"inputs": [asked]}).json()["outputs"]
    rows = np.array(output["data"]).reshape(output["shape"])
    assert output["name"] == "boxes" and rows.shape[0] == 3 and rows.shape[2] == 6
    assert [int((one[:, 4] >= 0.05).sum()) for one in rows] == [len(one["boxes"]) for one in alone]
    facts = client.get(f"/v2/models/{name}").json()["outputs"]
    assert facts == [{"name": "boxes", "shape": [-1, -1, 6], "datatype": "FP32"}]


def test_a_model_without_reference_answers_and_says_what_is_missing(client, picture):
    assert client.post("/predict", content=picture.read_bytes(), headers={"X-Source": "camera"}).status_code == 200
    said = client.get("/drift?source=camera")
    assert said.status_code == 409 and "reference" in said.json()["detail"]
    assert client.get("/model").json()["task"] == "boxes"


def test_the_page_draws_boxes_and_a_slider_hides_some(picture, service):
    api = pytest.importorskip("playwright.sync_api")
    import shutil

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium: apt-get install chromium")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
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
        browser.close()
    assert complaints == []
