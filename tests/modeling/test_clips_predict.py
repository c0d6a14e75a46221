"""`make predict` with a model of clips: a row a clip of anybody's files, and what happens when in a video."""

import csv
import json
import shutil

import numpy as np
import pytest
from clip_runs import words
from drawn_clips import draw_videos, frames_of
from drawn_video import write_frames
from PIL import Image

from drift_detector_pipeline.config import load, load_section
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.modeling.evaluation import evaluate
from drift_detector_pipeline.modeling.labels import predict
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.settings_in_use import Predict
from drift_detector_pipeline.video.__main__ import main
from drift_detector_pipeline.video.timeline import is_over_time, predict_timeline

RATE = 12  # frames a second; clips of one second


def make_run(root):
    """root/source of real videos, root/processed and root/run."""
    draw_videos(root / "source", sources=3, clips=2, frames=RATE, rate=RATE)
    given = [*words(root), f"data.raw_path={root}/source", "data.clip_seconds=1", "training.epochs=1"]
    process(load(given).settings.data)
    assert train(load([*given, f"hydra.run.dir={root}/run"])).exit_status == 0


@pytest.fixture(scope="module")
def world(made_once):
    """A folder with videos and a run on them; read only."""
    return made_once("clips_videos", make_run)


@pytest.fixture
def weights(world, tmp_path):
    return shutil.copytree(world / "run", tmp_path / "run") / "final_model.safetensors"


@pytest.fixture
def long_video(tmp_path):
    """Four seconds and a half."""
    frames = [frame for clip in range(5) for frame in frames_of("moving", 7, clip, RATE)]
    return write_frames(tmp_path / "long.mp4", frames[: int(4.5 * RATE)], rate=RATE)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_files_of_val_get_the_probabilities_of_the_evaluation(world, weights):
    target = evaluate(weights.parent)
    with (target / "predictions.csv").open(newline="") as file:
        told = {row["path"]: float(row["probability"]) for row in csv.DictReader(file)}
    done = predict(weights, [str(world / "source" / path) for path in told])
    assert done.predicted == len(told) > 2
    said = {line["path"]: line["probability"] for line in lines(done.folder / "predictions.jsonl")}
    assert said == {str(world / "source" / path): chance for path, chance in told.items()}


def test_a_clip_may_be_a_video_an_array_or_a_folder_of_frames(weights, tmp_path):
    """The same frames without loss in two forms are the same clip; what is none of them is named."""
    frames = frames_of("still", 5, 0, RATE)
    (tmp_path / "in" / "frames").mkdir(parents=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / "in" / "frames" / f"{number}.png")  # 10.png comes after 9.png
    np.savez(tmp_path / "in" / "array.npz", frames=frames)
    write_frames(tmp_path / "in" / "video.mp4", list(frames), rate=RATE)
    (tmp_path / "in" / "notes.txt").write_text("none")
    (tmp_path / "in" / "broken.mp4").write_bytes(b"none")
    done = predict(weights, [str(tmp_path / "in")])
    said = {line.pop("path").rpartition("/")[2]: line for line in lines(done.folder / "predictions.jsonl")}
    assert said.keys() == {"array.npz", "frames", "video.mp4"} and said["array.npz"] == said["frames"]
    assert done.unreadable == 2
    summary = json.loads((done.folder / "summary.json").read_text())
    assert {one["path"].rpartition("/")[2] for one in summary["unreadable"]} == {"notes.txt", "broken.mp4"}


def test_a_long_video_is_cut_and_its_timeline_says_the_same(weights, long_video, tmp_path):
    pieces = lines(predict(weights, [str(long_video)]).folder / "predictions.jsonl")
    assert [line["path"].rpartition("#")[2] for line in pieces][:3] == ["00000.000", "00001.000", "00002.000"]
    done = predict_timeline(weights, long_video, load_section(Predict, []), [], lambda: False)
    told = lines(done.folder / "timeline.jsonl")
    assert [(line["second"], line["start"]) for line in told] == [(n, float(n)) for n in range(5)]
    assert [line["top3"] for line in told[:3]] == [line["top3"] for line in pieces[:3]]
    assert {path.name for path in done.folder.iterdir()} == {
        "timeline.jsonl", "timeline.csv", "timeline.png", "summary.json",
    }  # fmt: skip
    with (done.folder / "timeline.csv").open(newline="") as file:
        assert [float(row["probability"]) for row in csv.DictReader(file)] == [line["probability"] for line in told]
    with Image.open(done.folder / "timeline.png") as picture:
        assert picture.width > 600
    summary = json.loads((done.folder / "summary.json").read_text())
    assert (summary["seconds"], summary["problem"], summary["k_frames"]) == (5, None, 4)
    assert is_over_time(weights)


def test_what_clips_csv_lists_is_cut_as_processing_cuts_it(weights, long_video):
    """Whole though it is long, or the part that a row names; a table that tells sources alone lists nothing."""
    table = long_video.parent / "clips.csv"
    for row, expected in (
        ("path,label\nlong.mp4,moving", ["long.mp4"]),
        ("path,label,start,seconds\nlong.mp4,moving,1.5,2", ["long.mp4#00001.500"]),
        ("path,source\nlong.mp4,yard", [f"long.mp4#0000{second}.000" for second in range(5)]),
    ):
        table.write_text(row)
        for named in (long_video.parent, long_video):
            found = lines(predict(weights, [str(named)]).folder / "predictions.jsonl")
            assert [line["path"].rpartition("/")[2] for line in found] == expected


def test_a_folder_of_videos_has_a_timeline_each_and_what_cannot_be_read_is_named(
    weights, long_video, monkeypatch, capsys
):  # fmt: skip
    folder = long_video.parent / "films"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(long_video, folder / name)
    (folder / "c.mp4").write_bytes(b"none")
    (folder / "notes.txt").write_text("none")
    monkeypatch.setattr("sys.argv", ["video", str(weights), str(folder)])
    assert main() == 0
    said = capsys.readouterr().err
    assert "c.mp4: no video that can be read" in said and "a.mp4: 5 s; " in said and "notes" not in said
    told = [json.loads(path.read_text())["video"] for path in weights.parent.glob("predictions/*/summary.json")]
    assert sorted(told) == [str(folder / "a.mp4"), str(folder / "b.mp4")]


def test_the_threshold_is_the_probability_of_what_is_looked_for(weights, long_video):
    """At 0 everything is it, at 1 nothing."""
    labels = [
        {line["label"] for line in lines(
            predict_timeline(weights, long_video, load_section(Predict, [f"predict.threshold={value}"]), [],
                             lambda: False).folder / "timeline.jsonl"
        )} for value in (0, 1)
    ]  # fmt: skip
    assert labels == [{"still"}, {"moving"}]
    with pytest.raises(ConfigError, match=r"predict\.tile_px=64: is for models of boxes"):
        predict(weights, [str(long_video)], ["predict.tile_px=64"])


def test_a_timeline_that_is_stopped_or_has_nothing_leaves_no_folder(weights, long_video, tmp_path):
    how = load_section(Predict, [])
    assert predict_timeline(weights, long_video, how, [], lambda: True) is None
    (tmp_path / "no.mp4").write_bytes(b"none")
    with pytest.raises(DataError, match=r"no\.mp4: no video that can be read"):
        predict_timeline(weights, tmp_path / "no.mp4", how, [], lambda: False)
    assert not (weights.parent / "predictions").exists()


def test_what_is_readable_of_a_broken_video_is_told_and_the_rest_named(weights, tmp_path):
    frames = [frame for clip in range(4) for frame in frames_of("still", 7, clip, RATE)]
    whole = write_frames(tmp_path / "whole.mkv", frames, rate=RATE, options={"g": "6"})
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    done = predict_timeline(weights, broken, load_section(Predict, []), [], lambda: False)
    summary = json.loads((done.folder / "summary.json").read_text())
    assert 0 < summary["seconds"] < 4
