"""A clip sent to a service: the mean of its frames as training says it, a video second by second, hostile arrays."""

import io
import zipfile

import httpx
import numpy as np
import pytest
from drawn_video import write_frames
from running import process, running
from small_artefact import SIDE_PX, make_clips_artefact, world

from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.frames.moments import clips_of, small_frames
from drift_detector_pipeline.frames.pieces import by_second
from drift_detector_pipeline.frames.read import frame_times
from drift_detector_pipeline.images.model_input import inference_crop
from drift_detector_pipeline.serving.asked_for import check_name, check_useful, checkpoint_of
from drift_detector_pipeline.serving.engine import open_engine
from drift_detector_pipeline.serving.replies import PredictBody
from drift_detector_pipeline.tasks.classification.metrics import probabilities
from drift_detector_pipeline.tasks.clips.curve import decide
from drift_detector_pipeline.tasks.clips.frames import middles, said_together

RATE = 8
OWN = object()  # the weights of the deviation that the model has
FRAMES = np.concatenate([world(40, seed)[0] for seed in range(2)]).repeat(2, axis=1).repeat(2, axis=2)  # of 48 px


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "clips"
    make_clips_artefact(folder)
    with running(folder, tmp_path_factory.mktemp("log"), max_video_seconds=5.0) as started:
        yield started


@pytest.fixture
def client(service):
    with httpx.Client(base_url=service.address, timeout=60) as opened:
        yield opened


def packed(frames, **arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, frames=frames, **arrays)
    return buffer.getvalue()


def expected(service, stored, deviation=OWN):
    """Probabilities of a stored clip (T, H, W, 3), as an evaluation has them."""
    crops = np.stack([inference_crop(stored[place], SIDE_PX) for place in middles(len(stored), 4)])
    engine = service.service.engine
    said, weights = engine.answer(crops), engine.deviation if deviation is OWN else deviation
    return probabilities(said_together(said.logits, features=said.features, deviation=weights)[None])[0]


def problem_of(answer, status):
    assert answer.status_code == status, answer.text
    return answer.json()["detail"]


def test_an_array_is_one_clip_and_its_answer_the_mean_of_its_frames_to_the_bit(client, service):
    for frames in (FRAMES[:30], FRAMES[:7], FRAMES[:3], FRAMES[:1]):
        reply = client.post("/predict", content=packed(frames, other=np.zeros(3))).json()
        PredictBody.model_validate(reply)
        [said] = reply["answers"]
        chances = expected(service, small_frames(frames, SIDE_PX, 12))
        assert (
            said["probability"] == chances.max()
            and said["label"] == service.service.engine.artefact.classes[int(chances.argmax())]
        )
        assert (said["frames"], said["seconds"], said["timeline"]) == (min(4, len(frames)), None, [])


def test_a_video_is_answered_as_a_whole_and_for_the_clip_that_begins_at_each_second(client, service, tmp_path):
    path = write_frames(tmp_path / "x.mp4", FRAMES[:28], rate=RATE)
    reply = client.post("/predict", files={"video": ("x.mp4", path.read_bytes(), "video/mp4")}).json()
    PredictBody.model_validate(reply)
    [said] = reply["answers"]
    pieces = by_second(path.name, *frame_times(path), 1.0)
    stored = list(clips_of(tmp_path, pieces, SIDE_PX, 12))
    assert [one["second"] for one in said["timeline"]] == [0, 1, 2, 3] and said["timeline"][3]["end"] == 3.5
    for one, clip in zip(said["timeline"], stored, strict=True):
        assert one["probability"] == expected(service, clip).max()
    [whole] = clips_of(tmp_path, [pieces[0]._replace(end=3.5, frames=28)], SIDE_PX, 12)
    assert said["probability"] == expected(service, whole).max()
    assert (said["frames"], said["seconds"], said["problem"]) == (4, 3.5, None)


def test_where_the_deviation_counts_it_does_so_in_clips_videos_and_numbers(tmp_path):
    weights = np.random.default_rng(0).normal(0, 400, (3, 12)).astype(np.float32)
    make_clips_artefact(tmp_path / "moving", deviation=weights)
    path = write_frames(tmp_path / "x.mp4", FRAMES[:20], rate=RATE)
    numbers = small_frames(FRAMES[:4], SIDE_PX, 4)
    given = {"name": "images", "datatype": "UINT8", "shape": [1, *numbers.shape], "data": numbers.ravel().tolist()}
    with running(tmp_path / "moving", tmp_path) as service, httpx.Client(base_url=service.address) as client:
        [clip, film] = (
            client.post("/predict", content=content, timeout=60).json()["answers"][0]
            for content in (packed(FRAMES[:30]), path.read_bytes())
        )
        [said] = client.post("/v2/models/stripes/infer", json={"inputs": [given]}).json()["outputs"]
    own = [expected(service, stored) for stored in (small_frames(FRAMES[:30], SIDE_PX, 12), numbers)]
    pieces = list(clips_of(tmp_path, by_second(path.name, *frame_times(path), 1.0), SIDE_PX, 12))
    assert clip["probability"] == own[0].max()
    assert [one["probability"] for one in film["timeline"]] == [expected(service, piece).max() for piece in pieces]
    np.testing.assert_allclose(said["data"], own[1], rtol=1e-6)
    assert np.abs(own[0] - expected(service, small_frames(FRAMES[:30], SIDE_PX, 12), None)).max() > 0.01


def test_a_clip_is_one_row_of_the_log(client, service):
    service.service.log.flush(5)
    before = service.service.log.count(service.service.engine.log_id)
    client.post("/predict", content=packed(FRAMES[:20]))
    service.service.log.flush(5)
    assert service.service.log.count(service.service.engine.log_id) == before + 1


def test_a_longer_video_than_is_allowed_is_refused_by_its_header(client, tmp_path):
    path = write_frames(tmp_path / "x.mkv", FRAMES[:60], rate=RATE)
    assert "more than 5; cut it" in problem_of(client.post("/predict", content=path.read_bytes()), 422)


def test_of_a_broken_video_the_seconds_before_the_break_are_said(client, tmp_path):
    rng = np.random.default_rng(0)
    noisy = [rng.integers(0, 256, (96, 96, 3), dtype=np.uint8) for _ in range(24)]
    path = write_frames(
        tmp_path / "x.mp4", noisy, rate=RATE, options={"bf": "0"}, container_options={"movflags": "faststart"}
    )
    content = path.read_bytes()
    [said] = client.post("/predict", content=content[: int(len(content) * 0.8)]).json()["answers"]
    assert said["timeline"] and said["timeline"][-1]["end"] <= 3 and said["label"]


def header(shape, kind="|u1"):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": kind, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def zipped(content, name="frames.npy", how=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (packed(np.zeros((513, 4, 4, 3), np.uint8)), "513 frames, more than 512"),
        (zipped(header((512, 1000, 1000, 3))), "make it smaller"),
        (zipped(header((4, 10**6, 10**6, 3))), "make it smaller"),
        (zipped(header((4, 8, 8, 3)) + bytes(5)), "not as long as its header says"),
        (zipped(header((4, 8, 8, 3), "|O") + bytes(768)), "no whole .npz|expected uint8"),
        (packed(np.zeros((4, 8, 8, 3), np.float32)), "expected uint8 (T, H, W, 3)"),
        (packed(np.zeros((0, 8, 8, 3), np.uint8)), "expected uint8 (T, H, W, 3)"),
        (zipped(b"x", "other.npy"), "no array named frames"),
        (b"PK\x03\x04" + bytes(100), "no whole .npz"),
        (zipped(header((4, 8, 8, 3)).replace(b" \n", b"}\n") + bytes(768)), "no whole .npz"),
        (zipped(header((4, 8, 8, 3)) + bytes(768), how=zipfile.ZIP_LZMA), "numpy.savez does not know"),
    ],
    ids=["frames", "bytes", "pixels", "short", "pickled", "floats", "none", "other", "cut", "no header", "packed"],
)
def test_arrays_that_lie_or_are_too_large_are_refused_by_their_header(client, content, words):
    said = problem_of(client.post("/predict", content=content), 422)
    assert any(part in said for part in words.split("|")), said


def test_an_array_is_for_a_model_of_clips(models, tmp_path):
    with running(models / "plain", tmp_path) as service:
        answer = httpx.post(f"{service.address}/predict", content=packed(FRAMES[:4]))
    assert "for a model of clips" in problem_of(answer, 415)


def test_of_two_classes_the_one_that_is_looked_for_is_said_from_the_threshold_on() -> None:
    said = [{"label": "no_fight", "probability": 0.7}, {"label": "fight", "probability": 0.3}]
    answer = {**said[0], "top3": said}
    for threshold, label in ((0.2, "fight"), (0.3, "fight"), (0.4, "no_fight")):
        assert decide(answer, ["fight", "no_fight"], threshold)["label"] == label


@pytest.mark.slow
def test_the_names_of_other_services_in_the_environment_are_known(tmp_path):
    make_clips_artefact(tmp_path / "two", classes=2)
    images, labels = world(60, 3)
    model = str(tmp_path / "two" / "model.onnx")
    environment = {"MODEL_CHECKPOINT": model, "MODEL_NAME": "stripes", "K_FRAMES": "2", "THRESHOLD": "0"}
    with process(tmp_path / "nowhere", tmp_path, **environment) as (_, address):
        [said] = httpx.post(f"{address}/predict", content=packed(images[labels == 0][:9])).json()["answers"]
    likelier = max(said["top3"], key=lambda one: one["probability"])["label"]
    assert (said["frames"], likelier, said["label"]) == (2, "down", "across")  # a threshold of 0 finds in all


def test_settings_that_could_change_no_answer_of_the_model_are_refused(service, tmp_path, models):
    given, engine = service.service.settings, service.service.engine
    check_useful(given.model_copy(update={"k_frames": 2}), engine)
    with pytest.raises(ConfigError, match=r"serving\.threshold=0\.4 .*stripes tells 3 classes of clips"):
        check_useful(given.model_copy(update={"threshold": 0.4}), engine)
    with pytest.raises(ConfigError, match=r"serving\.k_frames=2 .*stripes looks at images"):
        check_useful(given.model_copy(update={"k_frames": 2}), open_engine(models / "plain"))
    make_clips_artefact(tmp_path / "two", classes=2)
    check_useful(given.model_copy(update={"threshold": 0.4}), open_engine(tmp_path / "two"))


def test_a_checkpoint_that_is_none_is_answered_with_the_command_that_makes_one(service, tmp_path):
    assert checkpoint_of(str(service.folder)) == checkpoint_of(str(service.folder / "model.onnx")) == service.folder
    (tmp_path / "final_model.safetensors").touch()
    with pytest.raises(ConfigError, match=f"make export RUN={tmp_path}, then"):
        checkpoint_of(str(tmp_path / "final_model.safetensors"))
    with pytest.raises(ConfigError, match="no exported model"):
        checkpoint_of(str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="MODEL_NAME=resnet18: the model that would answer is stripes"):
        check_name("resnet18", service.service.engine)


def test_the_open_inference_protocol_takes_clips_as_numbers(client, service):
    clips = np.stack([small_frames(FRAMES[start : start + 4], SIDE_PX, 4) for start in (0, 9)])
    given = {"name": "images", "datatype": "UINT8", "shape": list(clips.shape), "data": clips.ravel().tolist()}
    [said] = client.post("/v2/models/stripes/infer", json={"inputs": [given]}).json()["outputs"]
    assert (said["name"], said["shape"]) == ("probabilities", [2, 3])
    expected_rows = np.concatenate([expected(service, clip) for clip in clips])
    np.testing.assert_allclose(said["data"], expected_rows, rtol=1e-6)
    other = client.post("/v2/models/stripes/infer", json={"inputs": [given | {"shape": [2, 4, SIDE_PX, SIDE_PX, 2]}]})
    assert "or [n, k, S, S, 3]" in problem_of(other, 422)
