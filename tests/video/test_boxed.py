"""A video of two squares -> lines and a drawn video; stopped or killed anywhere it goes on to the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT
from drawn_video import COLOURS, by_colour, scene, write_frames

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.frames.read import open_video
from drift_detector_pipeline.video.boxed import LINES, Detector, Stopped, boxed, words
from drift_detector_pipeline.video.lines import append_lines, read_lines, whole_lines

DETECTOR = Detector(lambda frame: frame, by_colour, 8, list(COLOURS))
FRAMES = 30


def frames():
    """The green square is hidden for five frames, as behind a pole."""
    return [scene(n, hidden=("green",) if 8 <= n < 13 else ()) for n in range(FRAMES)]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_frames(tmp_path_factory.mktemp("video") / "squares.mp4", frames(), options={"crf": "10"})


@pytest.fixture(scope="module")
def whole(video, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, box_it(video, folder)


def box_it(video, folder, detector=DETECTOR, codec="h264", stopping=lambda: False):
    return boxed(video, folder, detector, 0.5, codec, stopping)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("damage", [b"{", b"[" * 50_000, b"null", b"\xff", b'{"frame": 7}'])
def test_lines_from_a_damaged_one_on_are_asked_again(damage, tmp_path):
    append_lines(path := tmp_path / LINES, [{"frame": number, "boxes": []} for number in range(6)])
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:3], damage, *lines[4:]]) + b"\n")
    assert [line["frame"] for line in whole_lines(path, batch=2)] == [0, 1]
    assert path.read_bytes().splitlines() == lines[:2]


def test_each_frame_has_a_line_with_its_boxes(whole):
    folder, done = whole
    lines = list(read_lines(folder / LINES))
    assert [line["frame"] for line in lines] == list(range(FRAMES))
    assert [line["seconds"] for line in lines] == pytest.approx([n / 25 for n in range(FRAMES)])
    [red, green] = lines[0]["boxes"]
    assert (red["label"], red["track"], green["label"], green["track"]) == ("red", 1, "green", 2)
    assert np.abs(np.array(red["box"]) - (10, 30, 34, 54)).max() <= 1
    assert list(red) == ["track", "label", "score", "box"]
    assert (done.frames, done.problem, done.things) == (FRAMES, None, {"green": 1, "red": 1})
    assert words(done) == "30 frames, 1.2 s; green 1, red 1"


def test_things_that_cross_and_hide_keep_their_numbers(whole):
    folder, _ = whole
    said = {(box["label"], box["track"]) for line in read_lines(folder / LINES) for box in line["boxes"]}
    assert said == {("red", 1), ("green", 2)}


def test_the_drawn_video_has_the_frames_at_their_times_with_the_boxes_around_the_things(whole, video):
    folder, _ = whole
    with open_video(folder / "boxed.mp4") as opened:
        shown = list(opened.frames())
    assert [frame.seconds for frame in shown] == pytest.approx([n / 25 for n in range(FRAMES)])
    plain = frames()
    for frame, line in zip(shown, read_lines(folder / LINES), strict=True):
        changed = np.abs(frame.pixels.astype(int) - plain[frame.number]).max(axis=2) > 30
        for box in line["boxes"]:
            x0, _, x1, y1 = (round(side) for side in box["box"])
            assert changed[y1 - 2 : y1, x0:x1].mean() > 0.5, (frame.number, box)
    assert not changed[100:].any()


def test_a_run_that_is_stopped_after_any_batch_goes_on_to_the_same_bytes(video, whole, tmp_path):
    folder, done = whole
    asked = [0]

    def soon():
        asked[0] += 1
        return asked[0] % 2 == 0

    stops = 0
    while True:
        try:
            again = box_it(video, tmp_path, stopping=soon if stops < 2 else lambda: False)
            break
        except Stopped:
            stops += 1
    assert stops == 2
    assert (contents(tmp_path), again) == (contents(folder), done)


@pytest.mark.parametrize("left", [0, 1, 5, 9, 24, 29, 30])
@pytest.mark.parametrize("torn", [b"", b'{"frame": 9, "sec'])
def test_lines_that_a_kill_left_are_taken_in_whole_batches(video, whole, tmp_path, left, torn):
    folder, _ = whole
    lines = (folder / LINES).read_bytes().splitlines(keepends=True)
    (tmp_path / LINES).write_bytes(b"".join(lines[:left]) + torn)
    (tmp_path / "boxed.mp4").write_bytes(b"half")
    asked = []

    def counting(views):
        asked.append(len(views))
        return by_colour(views)

    box_it(video, tmp_path, DETECTOR._replace(answer=counting))
    assert contents(tmp_path) == contents(folder)
    assert sum(asked) == FRAMES - left + left % 8


KILLED = """
import sys, time
from pathlib import Path
sys.path[:0] = {path!r}
from test_boxed import DETECTOR, box_it, by_colour
def slowly(views):
    time.sleep(0.05)
    return by_colour(views)
box_it(Path(sys.argv[1]), Path(sys.argv[2]), DETECTOR._replace(answer=slowly))
"""


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_bytes(video, whole, tmp_path):
    code = KILLED.format(path=[str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "video")])
    command, kills = [sys.executable, "-c", code, str(video), str(tmp_path)], 0
    for batches in (1, 2, 3):
        with subprocess.Popen(command) as running:
            while (
                len((tmp_path / LINES).read_bytes().splitlines() if (tmp_path / LINES).exists() else []) < 8 * batches
            ):
                assert running.poll() is None
                time.sleep(0.005)
            os.kill(running.pid, signal.SIGKILL)
        kills += running.returncode == -signal.SIGKILL
    subprocess.run(command, check=True)
    assert kills == 3
    assert contents(tmp_path) == contents(whole[0])


def test_a_broken_video_is_boxed_up_to_the_break_which_is_named(tmp_path):
    rng = np.random.default_rng(0)
    noisy = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(30)]
    path = write_frames(tmp_path / "x.mp4", noisy, options={"bf": "0"}, container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (folder := tmp_path / "boxed").mkdir()
    done = box_it(path, folder)
    assert done.frames == len(list(read_lines(folder / LINES))) == pytest.approx(15, abs=3)
    assert f"x.mp4: readable up to frame {done.frames}" in str(done.problem)
    with open_video(folder / "boxed.mp4") as opened:
        assert len(list(opened.frames())) == done.frames


def test_a_video_without_a_frame_is_an_error(tmp_path, video):
    content = video.read_bytes()
    start = content.index(b"mdat") + 4
    (tmp_path / "x.mp4").write_bytes(content[:start] + b"\xff" * (len(content) - start))
    with pytest.raises(DataError, match=r"x\.mp4"):
        box_it(tmp_path / "x.mp4", tmp_path)


def test_another_codec_gives_another_file_and_the_same_lines(video, whole, tmp_path):
    (tmp_path / "boxed.mp4").write_bytes(b"begun")
    box_it(video, tmp_path, codec="vp9")
    assert sorted(contents(tmp_path)) == ["boxed.webm", LINES]
    assert (tmp_path / LINES).read_bytes() == (whole[0] / LINES).read_bytes()


def test_a_classification_has_a_label_a_frame(video, tmp_path):
    def answer(views):
        return [{"label": "über fish", "probability": 0.75, "top3": []} for _ in views]

    done = box_it(video, tmp_path, Detector(lambda frame: frame.mean(), answer, 8, ["über fish"]))
    lines = list(read_lines(tmp_path / LINES))
    assert lines[3] == {"frame": 3, "seconds": 0.12, "label": "über fish", "probability": 0.75, "top3": []}
    assert (done.boxes, done.things) == ({"über fish": FRAMES}, None)
    assert json.loads((tmp_path / LINES).read_text(encoding="utf-8").splitlines()[0])["label"] == "über fish"
