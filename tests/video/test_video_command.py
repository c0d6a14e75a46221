"""`make predict VIDEO=...`: a folder like that of images, once, however often it was stopped on the way."""

import json
import os
import signal
import subprocess
import time

import pytest
from conftest import ci_environment, module_command, run_module
from drawn_video import scene, write_frames
from finished_runs import finished_run, own_copy
from PIL import Image

from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.errors import DataError, ModelError
from drift_detector_pipeline.files import file_hash
from drift_detector_pipeline.frames.read import open_video
from drift_detector_pipeline.modeling.labels import predict
from drift_detector_pipeline.settings_in_use import Predict
from drift_detector_pipeline.video.__main__ import main
from drift_detector_pipeline.video.predicted import predict_video

HOW = load_section(Predict, [])
FRAMES = 70  # two batches of a classification


@pytest.fixture(scope="module")
def weights(made_once, tmp_path_factory):
    """A weight file of a classification; predictions only add to its folder."""
    run = own_copy(finished_run(made_once, "fp32"), tmp_path_factory.mktemp("weights") / "run")
    return run / "final_model.safetensors"


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_frames(tmp_path_factory.mktemp("video") / "street.mp4", [scene(n % 40) for n in range(FRAMES)])


def test_the_folder_has_lines_the_drawn_video_and_a_summary(weights, video):
    done = predict_video(weights, video, HOW, [], lambda: False)
    assert {path.name for path in done.folder.iterdir()} == {"boxes.jsonl", "boxed.mp4", "summary.json"}
    summary = json.loads((done.folder / "summary.json").read_text())
    assert summary["frames"] == FRAMES == sum(summary["boxes"].values())
    assert (summary["video_sha256"], summary["weights_sha256"]) == (file_hash(video), file_hash(weights))
    assert (summary["problem"], summary["stream"]["header"]["frames"]) == (None, FRAMES)
    assert done.folder.parent == weights.parent / "predictions"
    assert [path.name for path in done.folder.parent.iterdir() if path.name.startswith(".")] == []


def test_a_frame_is_labelled_as_the_same_image_is(weights, video, tmp_path):
    with open_video(video) as opened:
        for frame in opened.frames():
            Image.fromarray(frame.pixels).save(tmp_path / f"{frame.number:03}.png")
    images = predict(weights, [str(tmp_path)]).folder / "predictions.jsonl"
    lines = predict_video(weights, video, HOW, [], lambda: False).folder / "boxes.jsonl"
    of_images, of_frames = ([json.loads(line) for line in path.read_text().splitlines()] for path in (images, lines))
    assert [{**one, "path": None} for one in of_images] == [
        {"path": None} | {key: value for key, value in one.items() if key not in ("frame", "seconds")}
        for one in of_frames
    ]


def test_a_stopped_run_leaves_no_folder_that_looks_finished_and_the_same_call_goes_on(weights, video):
    place = weights.parent / "predictions"
    before = set(place.glob("*"))
    assert predict_video(weights, video, HOW, ["run.threads=1"], lambda: True) is None
    [partial] = place.glob(".video_*.partial")
    assert len((partial / "boxes.jsonl").read_text().splitlines()) == 64
    assert {path for path in place.glob("*") if not path.name.startswith(".")} == {
        path for path in before if not path.name.startswith(".")
    }
    done = predict_video(weights, video, HOW, ["run.threads=1"], lambda: False)
    undisturbed = predict_video(weights, video, HOW, ["run.threads=1"], lambda: False)
    assert done.folder != undisturbed.folder
    for name in ("boxes.jsonl", "boxed.mp4"):
        assert (done.folder / name).read_bytes() == (undisturbed.folder / name).read_bytes()


def test_another_threshold_or_another_video_does_not_go_on_from_these_lines(weights, video, tmp_path):
    assert predict_video(weights, video, HOW, [], lambda: True) is None
    other = write_frames(tmp_path / "street.mp4", [scene(0)] * 5)
    assert predict_video(weights, other, HOW, [], lambda: False).words.startswith("5 frames")
    done = predict_video(weights, video, HOW, [], lambda: False)
    assert done.words.startswith(f"{FRAMES} frames")


def test_two_processes_are_not_at_the_same_video(weights, video):
    assert predict_video(weights, video, HOW, [], lambda: True) is None
    [partial] = (weights.parent / "predictions").glob(".video_*.partial")
    code = (
        "import sys; from pathlib import Path; from drift_detector_pipeline.files import held_alone\n"
        "with held_alone(Path(sys.argv[1])): print('held', flush=True); input()"
    )
    words = [module_command("x")[0], "-c", code, str(partial / ".lock")]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ci_environment()
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(DataError, match="another process is at this video"):
            predict_video(weights, video, HOW, [], lambda: False)
        other.communicate("\n")
    assert predict_video(weights, video, HOW, [], lambda: False) is not None


def test_a_video_of_nothing_and_a_missing_weight_file_leave_nothing(weights, video, tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"text" * 100)
    before = set((weights.parent / "predictions").glob("*"))
    with pytest.raises(DataError, match=r"x\.mp4: no video that can be read"):
        predict_video(weights, tmp_path / "x.mp4", HOW, [], lambda: False)
    assert set((weights.parent / "predictions").glob("*")) == before
    with pytest.raises(ModelError, match=r"none\.safetensors: no such weight file"):
        predict_video(tmp_path / "none.safetensors", video, HOW, [], lambda: False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name one video, or a folder of videos: make predict"),
        (["", "a.mp4", "b.mp4"], "name one video, or a folder of videos: make predict"),
        (["none.safetensors", "street.mp4"], "none.safetensors: no such weight file"),
        (["", "none.mp4"], "none.mp4: no files there"),
        (["", "text.mp4"], "text.mp4: no video that can be read"),
        (["", "street.mp4", "predict.pictures=3"], "predict.pictures=3: make predict VIDEO= takes only"),
        (["", "street.mp4", "predict.codec=av1"], "predict.codec"),
        (["run", "street.mp4", "predict.tile_px=64"], "predict.tile_px=64: is for models of boxes"),
    ],
)
def test_a_wrong_command_is_one_message_and_exit_status_1(words, said, weights, video, tmp_path, monkeypatch, capsys):
    (tmp_path / "text.mp4").write_text("I am no video")
    (tmp_path / "street.mp4").write_bytes(video.read_bytes())
    (tmp_path / "run").symlink_to(weights.parent)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["video", *words])
    assert main() == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1].startswith(f"error: {said}")


@pytest.mark.slow
def test_the_command_stops_at_ctrl_c_and_the_same_command_goes_on_to_the_same_bytes(weights, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "final_model.safetensors").write_bytes(weights.read_bytes())
    long = write_frames(tmp_path / "long.mp4", [scene(n % 30, (48, 64)) for n in range(500)])
    command = module_command("video", str(run), str(long), "run.threads=1")
    with subprocess.Popen(command, env=ci_environment(), stderr=subprocess.PIPE, text=True) as running:
        while not any(path.stat().st_size for path in run.glob("predictions/.video_*/boxes.jsonl")):
            assert running.poll() is None, running.stderr.read()
            time.sleep(0.001)
        os.kill(running.pid, signal.SIGINT)
        said = running.stderr.read()
    assert (running.returncode, said) == (130, "warning: stopped; the same command goes on from here\n")
    [partial] = (run / "predictions").iterdir()
    assert 0 < len((partial / "boxes.jsonl").read_bytes().splitlines()) < 500
    done = run_module("video", str(run), str(long), "run.threads=1")
    [folder] = (run / "predictions").iterdir()
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr.endswith(f": {folder}/\n")
    undisturbed = predict_video(run / "final_model.safetensors", long, HOW, ["run.threads=1"], lambda: False).folder
    for name in ("boxes.jsonl", "boxed.mp4"):
        assert (folder / name).read_bytes() == (undisturbed / name).read_bytes()
