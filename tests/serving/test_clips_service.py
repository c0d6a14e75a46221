"""A service of a model of clips that was trained and exported: it says what `make predict` says of the same files."""

import json
import shutil

import httpx
import numpy as np
import pytest
from clip_runs import words
from drawn_clips import draw_videos, frames_of
from drawn_video import write_frames
from running import running

from drift_detector_pipeline.config import load, load_section
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.modeling.labels import predict
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.release.export import export_run
from drift_detector_pipeline.settings_in_use import Export, Predict
from drift_detector_pipeline.video.timeline import predict_timeline

pytestmark = pytest.mark.slow  # a run is trained and exported first
RATE = 12


def make(root):
    """root/source of real videos, root/processed, root/run and root/artefact."""
    draw_videos(root / "source", sources=3, clips=2, frames=RATE, rate=RATE)
    given = [*words(root), f"data.raw_path={root}/source", "data.clip_seconds=1"]
    process(load(given).settings.data)
    assert train(load([*given, f"hydra.run.dir={root}/run"])).exit_status == 0
    allowed = ["export.max_labels_changed=1", "export.max_accuracy_lost=1"]
    export_run(root / "run", load_section(Export, [f"export.path={root}/artefact", *allowed]))


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_clips_and_timelines_are_those_of_make_predict(made_once, tmp_path):
    root = made_once("clips_served", make)
    weights = shutil.copytree(root / "run", tmp_path / "run") / "final_model.safetensors"
    frames = [frame for clip in range(4) for frame in frames_of("moving", 7, clip, RATE)][: int(3.5 * RATE)]
    film = write_frames(tmp_path / "film.mp4", frames, rate=RATE)
    np.savez(tmp_path / "clip.npz", frames=np.stack(frames[:RATE]))
    done = predict_timeline(weights, film, load_section(Predict, []), ["run.device=cpu"], lambda: False)
    expected = lines(done.folder / "timeline.jsonl")
    [clip] = lines(predict(weights, [str(tmp_path / "clip.npz")]).folder / "predictions.jsonl")
    with running(root / "artefact", tmp_path) as service:
        film_said, clip_said = (
            httpx.post(f"{service.address}/predict", content=path.read_bytes(), timeout=60).json()["answers"][0]
            for path in (film, tmp_path / "clip.npz")
        )
    assert clip_said["label"] == clip["label"]
    assert clip_said["probability"] == pytest.approx(clip["probability"], abs=1e-4)
    assert len(film_said["timeline"]) == len(expected) == 4
    for one, other in zip(film_said["timeline"], expected, strict=True):
        assert (one["second"], one["start"], one["end"]) == (other["second"], other["start"], other["end"])
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-4)
