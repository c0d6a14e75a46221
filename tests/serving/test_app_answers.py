"""What a real service answers on a loopback port: images however they are sent, errors that say what to do."""

import base64
import io
import json

import httpx
import numpy as np
import pytest
from PIL import Image
from running import running
from small_artefact import CLASSES, SIDE_PX, png, world

from drift_detector_pipeline.serving.engine import open_engine
from drift_detector_pipeline.serving.replies import PredictBody

IMAGES = [png(pixels) for pixels in world(20, 77)[0]]


@pytest.fixture(scope="module")
def service(models, tmp_path_factory):
    with running(models / "first", tmp_path_factory.mktemp("log")) as started:
        yield started


@pytest.fixture
def client(service):
    with httpx.Client(base_url=service.address, timeout=30) as opened:
        yield opened


@pytest.fixture(scope="module")
def expected(models):
    """Probabilities and scores of IMAGES, by the engine alone."""
    engine = open_engine(models / "first")
    return engine.answer(np.stack([engine.prepare(content) for content in IMAGES]))


def problem_of(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == status and said["request_id"] == answer.headers["x-request-id"]
    assert said["title"] and said["detail"] and said["type"].startswith("/docs#")
    return said


def test_one_image_as_the_body_is_labelled_as_the_engine_labels_it(client, expected) -> None:
    said = client.post("/predict", content=IMAGES[0]).json()
    PredictBody.model_validate(said)
    [answer] = said["answers"]
    best = int(expected.probabilities[0].argmax())
    assert answer["label"] == CLASSES[best] and answer["probability"] == float(expected.probabilities[0][best])
    assert [share["probability"] for share in answer["top3"]] == sorted(map(float, expected.probabilities[0]))[::-1]


@pytest.mark.parametrize(
    ("content", "source", "status"),
    [(IMAGES[0], "gate-3", 200), (b"", "", 400), (IMAGES[0], "no/name", 422), (b"no image", "", 415)],
)
def test_the_short_way_and_the_one_through_the_routes_say_the_same(client, content, source, status) -> None:
    """Without a query a request takes the first."""
    own = {"X-Request-Id": "same", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"} | (
        {"X-Source": source} if source else {}
    )
    short, long = (client.post(f"/predict{query}", content=content, headers=own) for query in ("", "?scores=false"))
    assert short.status_code == long.status_code == status
    said = [{**answer.json(), "milliseconds": 0, "detail": ""} for answer in (short, long)]
    assert said[0] == said[1]
    differing = {"date", "content-length"}
    headers = [
        {name: value for name, value in answer.headers.items() if name not in differing} for answer in (short, long)
    ]
    assert headers[0] == headers[1] and headers[0]["x-request-id"] == "same"


def test_several_images_keep_their_order_as_a_form_as_json_and_as_data_uris(client, expected) -> None:
    files = [("images", (f"{place}.png", content)) for place, content in enumerate(IMAGES)]
    texts = [base64.b64encode(content).decode() for content in IMAGES]
    labels = [CLASSES[place] for place in expected.probabilities.argmax(axis=1)]
    for sent in (
        {"files": files},
        {"json": {"images": texts}},
        {"json": {"images": [f"data:image/png;base64,{text}" for text in texts]}},
    ):
        answers = client.post("/predict", **sent).json()["answers"]
        assert [answer["label"] for answer in answers] == labels


@pytest.mark.parametrize("headers", [{"content-type": "application/x-www-form-urlencoded"}, {}])
def test_json_is_read_whatever_curl_calls_it(client, headers) -> None:
    text = base64.b64encode(IMAGES[0]).decode()
    tensor = {"name": "encoded", "shape": [1], "datatype": "BYTES", "data": [text]}
    for path, sent in (("/predict", {"images": [text]}), ("/v2/models/stripes/infer", {"inputs": [tensor]})):
        assert client.post(path, content=json.dumps(sent), headers=headers).status_code == 200


def test_scores_are_those_of_the_engine_to_the_bit_alone_and_in_a_batch(client, expected) -> None:
    files = [("images", (f"{place}.png", content)) for place, content in enumerate(IMAGES)]
    together = client.post("/predict", params={"scores": True}, files=files).json()["answers"]
    alone = [client.post("/predict", params={"scores": True}, content=one).json()["answers"][0] for one in IMAGES]
    assert together == alone
    values = np.array([[score["value"] for score in answer["scores"]] for answer in alone], np.float32)
    assert np.array_equal(values, expected.phi)
    assert all(0 <= score["rank"] <= 1 for answer in alone for score in answer["scores"])


def test_a_photograph_of_another_size_and_format_is_cropped(client) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)).save(buffer, "jpeg")
    assert client.post("/predict", content=buffer.getvalue()).status_code == 200


def test_request_id_trace_and_source_come_back_or_are_refused(client, service) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {"X-Request-Id": "my-id_1", "traceparent": trace, "X-Source": "gate.3"}
    answer = client.post("/predict", content=IMAGES[0], headers=headers)
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "my-id_1"
    assert answer.headers["traceparent"] == trace
    service.service.log.flush()
    [row] = service.service.log.newest(service.service.engine.log_id, 1, "gate.3")
    assert row.request_id == "my-id_1" and len(row.phi) == 4 * len(service.service.engine.scores)
    odd = client.post("/predict", content=IMAGES[0], headers={"X-Request-Id": "a b", "traceparent": "nonsense"})
    assert len(odd.json()["request_id"]) == 32 and "traceparent" not in odd.headers
    problem_of(client.post("/predict", content=IMAGES[0], headers={"X-Source": "a/b"}), 422)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"content": b""}, 400),
        ({"content": b"no image at all"}, 415),
        ({"content": IMAGES[0][: len(IMAGES[0]) // 2]}, 422),
        ({"content": b"%PDF-1.4 whatever"}, 415),
        ({"json": {"images": []}}, 400),
        ({"json": {"images": ["%%%"]}}, 400),
        ({"json": {"images": [1]}}, 400),
        ({"json": ["x"]}, 400),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400),
        ({"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}, 400),
        ({"content": b"--x", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 400),
        ({"content": b"--x", "headers": {"content-type": "multipart/form-data"}}, 400),
        ({"files": [("images", ("a.png", IMAGES[0]))] * 65}, 400),
        ({"json": {"images": [base64.b64encode(IMAGES[0]).decode()] * 65}}, 422),
        ({"content": IMAGES[0], "params": {"scores": "perhaps"}}, 422),
    ],
)
def test_what_cannot_be_read_is_a_problem_with_a_status_of_its_own(client, sent, status) -> None:
    problem_of(client.post("/predict", **sent), status)


def test_of_several_images_the_one_that_cannot_be_used_is_named(client) -> None:
    files = [("images", ("a.png", IMAGES[0])), ("images", ("b.png", IMAGES[1][:60]))]
    assert "image 2 of 2" in problem_of(client.post("/predict", files=files), 422)["detail"]


def test_unknown_addresses_and_methods_are_problems_too(client) -> None:
    problem_of(client.get("/nothing"), 404)
    assert problem_of(client.delete("/predict"), 405) and client.delete("/predict").headers["allow"] == "POST"


def test_health_readiness_and_model_are_told(client, service) -> None:
    assert client.get("/health").json() == {"status": "alive"}
    assert client.get("/ready").json()["model"] == service.service.engine.model
    said = client.get("/model").json()
    assert said["classes"] == CLASSES and said["side_px"] == SIDE_PX and said["sha256"].startswith(said["model"])
    assert str(service.folder) not in json.dumps(said)


def test_pages_come_from_here_alone_and_say_so_in_their_headers(client) -> None:
    for path in ("/", "/docs", "/page/docs.js", "/page/page.css"):
        answer = client.get(path)
        assert answer.status_code == 200 and "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff" and "http://" not in answer.text.replace(
            "http://127.0.0.1:8000", ""
        )
        assert "access-control-allow-origin" not in answer.headers


def test_metrics_count_what_was_answered(client, service) -> None:
    before = service.service.metrics.images.labels(service.service.engine.model)._value.get()
    client.post("/predict", files=[("images", ("a.png", IMAGES[0])), ("images", ("b.png", IMAGES[1]))])
    text = client.get("/metrics").text
    model = service.service.engine.model
    assert f'drift_images_total{{model="{model}"}} {before + 2}' in text
    names = "requests_total request_seconds_bucket queue_depth batch_size_bucket in_flight log_dropped_total model_info"
    assert all(f"\ndrift_{name}" in text for name in names.split())


def test_the_protocol_answers_files_and_crops_with_the_bits_of_the_engine(client, expected, service) -> None:
    facts = client.get("/v2/models/stripes").json()
    assert facts["inputs"][0]["shape"] == [-1, SIDE_PX, SIDE_PX, 3] and facts["versions"] == [
        service.service.engine.model
    ]
    texts = [base64.b64encode(content).decode() for content in IMAGES]
    encoded = {"name": "encoded", "shape": [len(texts)], "datatype": "BYTES", "data": texts}
    crops = np.stack([service.service.engine.prepare(content) for content in IMAGES])
    pixels = {"name": "images", "shape": list(crops.shape), "datatype": "UINT8", "data": crops.ravel().tolist()}
    for tensor in (encoded, pixels, {**pixels, "data": crops.tolist()}):
        said = client.post("/v2/models/stripes/infer", json={"id": "7", "inputs": [tensor]}).json()
        assert said["id"] == "7" and said["model_version"] == service.service.engine.model
        for output, values in zip(said["outputs"], (expected.probabilities, expected.phi), strict=True):
            assert np.array_equal(np.array(output["data"], np.float32).reshape(output["shape"]), values)
    only = client.post("/v2/models/stripes/infer", json={"inputs": [encoded], "outputs": [{"name": "phi"}]}).json()
    assert [output["name"] for output in only["outputs"]] == ["phi"]


@pytest.mark.parametrize(
    ("tensor", "status"),
    [
        ({"name": "images", "shape": [1, 2, 2, 3], "datatype": "UINT8", "data": [0] * 12}, 422),
        ({"name": "images", "shape": [1, SIDE_PX, SIDE_PX, 3], "datatype": "UINT8", "data": [0]}, 422),
        ({"name": "images", "shape": [1, 1, 1, 3], "datatype": "UINT8", "data": [0, 256, 0]}, 422),
        ({"name": "images", "shape": [1, 1, 1, 3], "datatype": "UINT8", "data": [0, 0.5, 0]}, 422),
        ({"name": "images", "shape": [1, 1, 1, 3], "datatype": "UINT8", "data": [[0], [0, 1]]}, 422),
        ({"name": "images", "shape": [2**62, 4, 1, 1], "datatype": "UINT8", "data": []}, 422),
        ({"name": "images", "shape": [1, 1, 1, 1], "datatype": "UINT8", "data": [2**70]}, 422),
        ({"name": "encoded", "shape": [2], "datatype": "BYTES", "data": ["aa"]}, 422),
        ({"name": "encoded", "shape": [1], "datatype": "BYTES", "data": ["aaaa"]}, 415),
        ({"name": "other", "shape": [1], "datatype": "FP32", "data": [1]}, 422),
    ],
)
def test_tensors_that_do_not_fit_are_problems(client, tensor, status) -> None:
    problem_of(client.post("/v2/models/stripes/infer", json={"inputs": [tensor]}), status)


def test_another_model_or_version_is_unknown(client) -> None:
    for path in ("/v2/models/other", "/v2/models/stripes/versions/000", "/v2/models/other/ready"):
        problem_of(client.get(path), 404)
    assert client.get("/v2/models/stripes/ready").json()["ready"] and client.get("/v2/health/live").status_code == 200
