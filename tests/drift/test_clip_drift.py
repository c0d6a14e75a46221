"""Drift of clips: a source counts once, whole sources are compared, and of few of them nothing is said."""

import json
import shutil

import numpy as np
import pytest
from clip_runs import make_moving, words
from drawn_clips import draw_videos, frames_of, pack_clips

from drift_detector_pipeline.config import load
from drift_detector_pipeline.corruptions.faults import change
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.drift import permutation
from drift_detector_pipeline.drift.__main__ import judge_images
from drift_detector_pipeline.drift.build_reference import build_reference
from drift_detector_pipeline.drift.clips.build import clip_detector_of
from drift_detector_pipeline.drift.clips.groups import LEAST, of_sources, refuse_few
from drift_detector_pipeline.drift.clips.signals import over_frames, read_clip_signals
from drift_detector_pipeline.drift.clips.window import sources_among
from drift_detector_pipeline.drift.detecting import Rows
from drift_detector_pipeline.drift.permutation import labellings_of, scale_of
from drift_detector_pipeline.drift.scores.signals import Outputs, read_signals
from drift_detector_pipeline.drift.watch import watch_folder
from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.processed.packing import PackedImages
from drift_detector_pipeline.serving.batcher import each_of
from drift_detector_pipeline.serving.clips import of_frames
from drift_detector_pipeline.serving.engine import open_engine
from drift_detector_pipeline.tasks.clips.frames import looked_at, said_together

RATE = 12  # frames a second; clips of one second
SOURCES = 20  # of each class


def rows(sources, clips, rng, alike=1.0):
    """Clips whose scores are those of their source and, as far apart again, their own; and who took them."""
    of_source = alike * rng.normal(size=(sources, 1, 4))
    scores = (of_source + rng.normal(size=(sources, clips, 4))).reshape(-1, 4).astype(np.float32)
    return Rows(scores, np.zeros(len(scores), np.int64)), [f"s{number // clips}" for number in range(len(scores))]


def test_a_source_is_the_mean_of_its_clips_and_the_class_of_most_of_them():
    given = Rows(np.arange(6, dtype=np.float32)[:, None], np.array([1, 1, 0, 2, 1, 0]))
    names, own = of_sources(given, ["b", "a", "b", "a", "b", "c"])
    assert names == ["b", "a", "c"]
    assert own.scores.ravel().tolist() == [2.0, 2.0, 5.0] and own.predicted.tolist() == [1, 1, 0]


def test_clips_of_a_source_cry_wolf_where_sources_do_not():
    """Nothing changes; sixteen sources of eight clips against twelve others, forty times."""
    rng, scale = np.random.default_rng(0), scale_of(np.zeros(4), np.eye(4, dtype=np.float32), 1)
    raised = {"clips": 0, "sources": 0}
    for _ in range(40):
        (before, whose), (now, others) = rows(16, 8, rng), rows(12, 8, rng)
        for what, old, new in (
            ("clips", before, now),
            ("sources", of_sources(before, whose)[1], of_sources(now, others)[1]),
        ):
            labellings = labellings_of(old.scores, old.predicted, 1, len(new.scores), scale, 199)
            raised[what] += permutation.test_window(labellings, new.scores, new.predicted).p <= 0.05
    assert raised["sources"] <= 6 and raised["clips"] >= 15


def test_fewer_sources_than_eight_are_refused_with_how_many_there_are_and_what_to_do():
    refuse_few([f"s{number}" for number in range(LEAST)], "day", "More.")
    with pytest.raises(DataError, match=r"day: 30 clips from 1 source \(yard\), .* from 8 sources or more\. Name"):
        refuse_few(["yard"] * 30, "day", "Name others.")
    with pytest.raises(DataError, match=r"from 7 sources \(s0, s1, s2, \.\.\.\)"):
        refuse_few([f"s{number}" for number in range(7)], "day", "")


def test_what_a_clip_was_taken_from_is_told_by_table_folder_name_or_block(tmp_path):
    named = sources_among(["d/yard_c01.mp4", "d/yard_c02.mp4", "d/street_c01.mp4"], ["d"], None)
    assert named == ["yard", "yard", "street"]
    folders = sources_among(["d/yard/1.mp4", "d/yard/2.mp4", "d/street/1.mp4"], ["d"], None)
    assert folders == ["yard", "yard", "street"]
    classes = sources_among(["d/moving/yard_c01.mp4", "d/still/yard_c02.mp4"], ["d"], None, ["moving", "still"])
    assert classes == ["yard", "yard"]
    assert sources_among(["d/1.mp4", "d/2.mp4"], ["d"], None) == ["d/1.mp4", "d/2.mp4"]
    pieces = ["a.mp4#00000.000", "a.mp4#00059.000", "a.mp4#00061.000"]
    assert len(set(sources_among(pieces, ["a.mp4"], None))) == 1
    assert [one.rpartition(" ")[2] for one in sources_among(pieces, ["a.mp4"], 1.0)] == ["0", "0", "1"]
    files = [tmp_path / f"{number}.mp4" for number in range(3)]
    for file in files:
        file.touch()
    (tmp_path / "clips.csv").write_text("path,source\n0.mp4,x\n1.mp4,y\n2.mp4,x\n")
    assert sources_among([str(file) for file in files], [str(tmp_path)], None) == ["x", "y", "x"]


def test_signals_of_a_clip_are_means_over_its_frames_whatever_comes_with_it():
    frames = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)

    def forward(images):
        small = images.reshape(len(images), -1)[:, ::512].astype(np.float32)
        return Outputs(small[:, :3], small)

    clips = [frames[:4], frames[4:]]
    both, one = read_clip_signals(clips, forward), read_signals(frames[4:], forward)
    for got, alone, expected in zip(both, read_clip_signals(clips[1:], forward), one, strict=True):
        assert np.array_equal(got[1], alone[0])
        np.testing.assert_allclose(got[1], expected.mean(axis=0), rtol=1e-6)


def test_where_the_deviation_counts_it_counts_in_what_is_said_and_nowhere_else():
    frames = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    weights = np.random.default_rng(1).normal(size=(3, 6)).astype(np.float32)

    def forward(images):
        small = images.reshape(len(images), -1)[:, ::512].astype(np.float32)
        return Outputs(small[:, :3], small)

    given = read_signals(frames[4:], forward)
    moved, mean = (read_clip_signals([frames[:4], frames[4:]], forward, how) for how in (weights, None))
    said = said_together(given.logits, features=given.features, deviation=weights)
    assert np.array_equal(moved.logits[1], said) and not np.allclose(said, mean.logits[1], atol=1)
    assert all(np.array_equal(*both) for both in zip(moved[:3], mean[:3], strict=True))
    assert np.array_equal(over_frames(given, weights).logits, said[None])


@pytest.mark.slow
def test_where_the_deviation_counts_file_and_run_have_one_reference_and_judge(made_once, tmp_path):
    """Clips of eight cameras, and the same gone pale, by the run; the artefact's reference is the run's."""
    root = made_once("clips_moving", make_moving)
    run = shutil.copytree(root / "run", tmp_path / "run")
    own, engine = build_reference(run, []), open_engine(root / "artefact")
    served, images = engine.detector, PackedImages(root / "processed")
    np.testing.assert_allclose(own.reference.scores, served.reference.scores, rtol=1e-3, atol=2e-3)
    said, side = [], engine.artefact.side_px
    for place in images.indices("val").tolist():
        said.append(of_frames(each_of(engine, engine.answer(looked_at(images[place], 4, side)))))
    kept = served.rows_from([one.kept for one in said], np.array([one.probabilities.argmax() for one in said]))
    _, rows_of_log = of_sources(kept, [images.sources[place] for place in images.indices("val").tolist()])
    np.testing.assert_allclose(rows_of_log.scores, served.reference.scores, rtol=1e-3, atol=1e-4)
    assert rows_of_log.predicted.tolist() == served.reference.predicted.tolist()
    levels = []
    for how in ("usual", "pale"):
        (tmp_path / how).mkdir()
        for number in range(16):
            frames = frames_of(("moving", "still")[number % 2], 100 + number // 2, number % 2, RATE)
            frames = change(frames, "contrast", 5, keys=range(RATE)) if how == "pale" else frames
            np.savez(tmp_path / how / f"camera{number // 2}_c{number % 2:02d}.npz", frames=frames)
        levels.append(judge_images(run, [str(tmp_path / how)], []))
    assert [one.images for one in levels] == [8, 8]
    assert levels[0].level == "quiet" and levels[1].level in ("notice", "alert")


def test_too_few_clips_to_learn_from_are_refused_before_anything_is_computed(tmp_path):
    data = load([*words(tmp_path), "data.raw_path=drawn"]).settings.data
    pack_clips(data, sources=3, clips=2, splits=("val", "fit"))
    with pytest.raises(DataError, match=r"4 fit clips of 2 classes, and drift is learned from 10 .* larger data\.fit"):
        clip_detector_of(None, None, open_processed(data), {})


def make_run(root):
    """A run on real videos with a reference; beside it videos of one camera, of twelve, and of twelve gone pale."""
    draw_videos(root / "source", sources=SOURCES, clips=2, frames=RATE, rate=RATE)
    given = [
        *words(root), f"data.raw_path={root}/source", "data.clip_seconds=1", "data.val_fraction=0.4",
        "data.fit_fraction=0.3", "training.epochs=1",
    ]  # fmt: skip
    process(load(given).settings.data)
    assert train(load([*given, f"hydra.run.dir={root}/run"])).exit_status == 0
    for folder, sources, clips in (("day", 1, 12), ("usual", 12, 2), ("pale", 12, 2)):
        write_clips(root / folder, sources, clips, pale=folder == "pale")
    build_reference(root / "run", [])


def write_clips(folder, sources, clips, *, pale):
    from drawn_video import write_frames

    folder.mkdir()
    for source in range(100, 100 + sources):
        for clip in range(clips):
            frames = frames_of(("moving", "still")[clip % 2], source, clip, RATE)
            frames = change(frames, "contrast", 4, keys=range(RATE)) if pale else frames
            write_frames(folder / f"camera{source}_c{clip:02d}.mp4", list(frames), rate=RATE)
    if sources > 1:
        told = [f"{file.name},{file.name.partition('_')[0]}" for file in sorted(folder.iterdir())]
        (folder / "clips.csv").write_text("\n".join(["path,source", *told]))


@pytest.fixture(scope="module")
def world(made_once):
    pytest.importorskip("av")
    return made_once("clips_with_reference", make_run)


@pytest.mark.slow
def test_a_day_of_one_camera_is_refused_and_twelve_cameras_are_judged(world):
    with pytest.raises(DataError, match=r"12 clips from 1 source \(camera100\).*clips\.csv.*drift\.block_minutes"):
        judge_images(world / "run", [str(world / "day")], [])
    usual = judge_images(world / "run", [str(world / "usual")], [])
    assert usual.images == 12 and usual.level == "quiet" and not usual.unreadable
    pale = judge_images(world / "run", [str(world / "pale")], [])
    assert pale.level in ("notice", "alert") and pale.images == 12
    told = max((world / "run" / "drift").glob("*/verdict.json"), key=lambda one: one.stat().st_mtime_ns)
    said = json.loads(told.read_text())
    assert "12 sources of clips" in said["summary"][0] and said["carrier_names"][0].startswith("camera")
    assert "Each source counts once" in (told.parent / "report.html").read_text()


@pytest.mark.slow
def test_files_that_are_no_clips_are_named(world, tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(DataError, match=r"no clip among 1 files; .*notes\.txt: no video"):
        judge_images(world / "run", [str(tmp_path)], [])


@pytest.mark.slow
def test_a_folder_that_fills_with_clips_is_not_watched_and_why(world, tmp_path):
    with pytest.raises(ConfigError, match="no stream of them keeps a promise"):
        watch_folder(world / "run", tmp_path, [])
