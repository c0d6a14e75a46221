"""Drift of clips where the model is used: a window is of many cameras, each counts once, and of few nothing is said."""

import logging
import threading

import httpx
import numpy as np
import pytest
from clip_runs import words
from drawn_clips import draw_videos, frames_of
from drawn_video import write_frames
from running import running

from drift_detector_pipeline.config import load, load_section
from drift_detector_pipeline.corruptions.faults import change
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.drift.clips.detector import ClipDetector
from drift_detector_pipeline.drift.clips.groups import of_sources
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.lifecycle.labelling.basket import make_basket_of
from drift_detector_pipeline.lifecycle.labelling.stretch import stretch_of
from drift_detector_pipeline.lifecycle.labels_of_images import refuse_task
from drift_detector_pipeline.lifecycle.watching.alarms import alarms
from drift_detector_pipeline.lifecycle.watching.monitor import watch_log
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.processed.packing import PackedImages
from drift_detector_pipeline.release.export import export_run
from drift_detector_pipeline.serving.batcher import each_of
from drift_detector_pipeline.serving.clips import of_frames
from drift_detector_pipeline.serving.engine import open_engine
from drift_detector_pipeline.serving.stored_verdicts import stored_verdict, verdict_of
from drift_detector_pipeline.serving.verdicts import judge_again
from drift_detector_pipeline.settings_in_use import Basket, Export, Monitor
from drift_detector_pipeline.tasks.clips.frames import looked_at

pytestmark = pytest.mark.slow  # a run is trained and exported first
RATE = 12


def make(root):
    """root/artefact with a reference."""
    draw_videos(root / "source", sources=20, clips=2, frames=RATE, rate=RATE)
    given = [
        *words(root), f"data.raw_path={root}/source", "data.clip_seconds=1", "data.val_fraction=0.4",
        "data.fit_fraction=0.3", "training.epochs=1",
    ]  # fmt: skip
    process(load(given).settings.data)
    assert train(load([*given, f"hydra.run.dir={root}/run"])).exit_status == 0
    allowed = ["export.max_labels_changed=1", "export.max_accuracy_lost=1"]
    export_run(root / "run", load_section(Export, [f"export.path={root}/artefact", *allowed]))


def send(service, folder, cameras, clips, *, pale=False):
    """Each camera's clips, as videos like those that were learned from."""
    folder.mkdir()
    for number in range(cameras * clips):
        source, clip = 100 + number % cameras, number // cameras
        frames = frames_of(("moving", "still")[clip % 2], source, clip, RATE)
        frames = change(frames, "contrast", 4, keys=range(RATE)) if pale else frames
        file = write_frames(folder / f"{number}.mp4", list(frames), rate=RATE)
        headers = {"X-Source": f"camera{source}"}
        httpx.post(f"{service.address}/predict", content=file.read_bytes(), headers=headers).raise_for_status()


def newest(service):
    """The newest counted verdict, once one was made of all that is in the log."""
    service.service.log.flush()
    assert service.on_loop(service.service.judge.run(lambda: service.service.judge._judge(service.service.engine)))
    return httpx.get(f"{service.address}/drift").json()["newest"]


def test_a_window_is_of_twelve_cameras_and_of_one_nothing_is_said(made_once, tmp_path):
    root = made_once("clips_judged", make)
    with running(root / "artefact", tmp_path, window=24) as service:
        assert "no window" not in httpx.get(f"{service.address}/drift").text and newest(service) is None
        send(service, tmp_path / "day", 1, 24)
        day = newest(service)
        assert day["level"] == "too few images" and day["images"] == 24 and day["p"] is None
        [sentence] = day["summary"]
        assert "told from 8 sources or more, and these come from 1" in sentence and "X-Source" in sentence
        send(service, tmp_path / "usual", 12, 2)
        usual = newest(service)
        assert usual["level"] == "quiet" and usual["source"] == "" and usual["images"] == 24
        assert usual["detail"]["images"] == 12 and "12 sources of clips" in usual["summary"][0]
        send(service, tmp_path / "pale", 12, 2, pale=True)
        pale = newest(service)
        assert pale["level"] in ("notice", "alert") and pale["detail"]["carrier_names"][0].startswith("camera")
        page = httpx.get(service.address + pale["report"]).text
        assert "12 sources of clips" in page and "Each source counts once" in page
        asked = httpx.post(f"{service.address}/drift", content=(tmp_path / "day" / "0.mp4").read_bytes())
        assert asked.status_code == 409 and "POST /drift?last=24" in asked.json()["detail"]
        look = httpx.post(f"{service.address}/drift?last=24").json()
        assert look["level"] == pale["level"] and look["p"] == pale["p"] and not look["counted"]
        log, detector = service.service.log, open_engine(root / "artefact").detector
        for told in (day, usual, pale):
            assert judge_again(log, told["id"], detector) == verdict_of(stored_verdict(log, told["id"]))


def test_what_is_kept_of_clips_is_what_the_reference_was_built_from(made_once):
    """The clips of `val`, frame by frame through the served file, are the sources of the reference."""
    root = made_once("clips_judged", make)
    engine, images = open_engine(root / "artefact"), PackedImages(root / "processed")
    places, cut = images.indices("val").tolist(), engine.artefact.clip
    rows = []
    for place in places:
        said = engine.answer(looked_at(images[place], cut.k_frames, engine.artefact.side_px))
        rows.append(of_frames(each_of(engine, said)))
    kept = engine.detector.rows_from([one.kept for one in rows], np.array([one.probabilities.argmax() for one in rows]))
    names, own = of_sources(kept, [images.sources[place] for place in places])
    assert len(names) >= 8 and isinstance(engine.detector, ClipDetector)
    np.testing.assert_allclose(own.scores, engine.detector.reference.scores, rtol=1e-3, atol=1e-4)
    assert own.predicted.tolist() == engine.detector.reference.predicted.tolist()


def test_the_monitor_leaves_clips_out_and_says_what_judges_them(made_once, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("drift_detector_pipeline"), "propagate", True)  # the training turned it off
    root = made_once("clips_judged", make)
    with running(root / "artefact", tmp_path) as service, caplog.at_level("INFO"):
        send(service, tmp_path / "pale", 12, 2, pale=True)
        service.service.log.flush()
        words = [f"monitor.database={service.settings.database!r}", f"monitor.models_path={root}", "monitor.once=true"]
        assert watch_log(load_section(Monitor, words), "", threading.Event()) == 0
        assert alarms(service.service.log) == []
    [said] = [line for line in caplog.messages if "is not watched" in line]
    assert "clips of one source are alike" in said and "GET /drift" in said


def test_what_cannot_be_done_of_clips_is_said_with_what_can(made_once, tmp_path):
    root = made_once("clips_judged", make)
    with pytest.raises(ConfigError, match="it says labels of clips, and healing is for models that say labels of imag"):
        refuse_task("clips", root / "artefact", "healing")
    with running(root / "artefact", tmp_path) as service:
        send(service, tmp_path / "clips", 2, 1)
        service.service.log.flush()
        with pytest.raises(ConfigError, match=r"says labels of clips, and a basket is for .* Add videos"):
            make_basket_of(
                service.service.log, stretch_of(service.service.log, {}), None, load_section(Basket, []),
                place=tmp_path / "baskets", models=root,
            )  # fmt: skip
