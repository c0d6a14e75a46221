"""Videos that are written: the frames that went in come out, at their times, and a browser plays them."""

import base64
from fractions import Fraction

import numpy as np
import pytest
from browsers import needs_browser, open_browser
from drawn_video import av, scene

from drift_detector_pipeline.frames.read import open_video
from drift_detector_pipeline.frames.write import SUFFIX, video_writer

CODECS = sorted(SUFFIX)


def write(path, frames, codec="h264", times=None):
    with video_writer(path, Fraction(25), codec) as writer:
        for number, pixels in enumerate(frames):
            writer.write(pixels, times[number] if times else None)
    return path


def frames_of(path):
    with open_video(path) as video:
        return list(video.frames())


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_written_is_read_again_with_its_colours(tmp_path, codec):
    frames = frames_of(write(tmp_path / "x", [scene(n) for n in range(20)], codec))
    assert [frame.seconds for frame in frames] == pytest.approx([n / 25 for n in range(20)])
    for frame in frames:
        assert np.abs(frame.pixels[32, 12 + 4 * frame.number + 6].astype(int) - (220, 40, 40)).max() < 40
        assert np.abs(frame.pixels.astype(int) - scene(frame.number)).mean() < 4


@pytest.mark.parametrize("codec", CODECS)
def test_the_same_frames_are_the_same_bytes(tmp_path, codec):
    one, other = (write(tmp_path / name, [scene(n) for n in range(12)], codec).read_bytes() for name in "ab")
    assert one == other


@pytest.mark.parametrize("codec", CODECS)
def test_odd_sides_gain_a_row_and_a_column(tmp_path, codec):
    frames = frames_of(write(tmp_path / "x", [scene(n, (121, 161)) for n in range(3)], codec))
    assert {frame.pixels.shape for frame in frames} == {(122, 162, 3)}
    assert np.abs(frames[0].pixels[:121, :161].astype(int) - scene(0, (121, 161))).mean() < 4


def test_frames_keep_times_of_their_own(tmp_path):
    times = [0.0, 0.02, 0.04, 0.5, 0.51, 2.0]
    path = write(tmp_path / "x", [scene(n) for n in range(6)], times=times)
    assert [frame.seconds for frame in frames_of(path)] == pytest.approx(times)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("shape", [(1, 1), (2, 40), (41, 3)])
@pytest.mark.parametrize("times", [[0.0, 0.0, 0.0], [0.0, 1e9, 2e9], [5.0, 1.0, 5.1]])
def test_odd_sizes_and_times_are_written_frame_by_frame(tmp_path, codec, shape, times):
    written = write(tmp_path / "x", [np.zeros((*shape, 3), np.uint8)] * 3, codec, times=times)
    assert [frame.number for frame in frames_of(written)] == [0, 1, 2]


def test_a_frame_of_another_size_is_scaled_to_the_first(tmp_path):
    frames = frames_of(write(tmp_path / "x", [scene(0), np.repeat(np.repeat(scene(1), 2, 0), 2, 1)]))
    assert {frame.pixels.shape for frame in frames} == {(120, 160, 3)}
    assert np.abs(frames[1].pixels.astype(int) - scene(1)).mean() < 4


@pytest.mark.slow
def test_it_says_its_colours_and_plays_before_it_is_whole(tmp_path):
    path = write(tmp_path / "x", [scene(n) for n in range(10)])
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert (frame.format.name, frame.colorspace, frame.color_range) == ("yuv420p", 1, 1)


@pytest.mark.slow
@needs_browser
@pytest.mark.filterwarnings("default")  # of the browser's driver
@pytest.mark.parametrize("codec", CODECS)
def test_a_browser_plays_it_to_the_end_and_shows_the_right_frame(tmp_path, codec):
    content = base64.b64encode(write(tmp_path / "x", [scene(n) for n in range(25)], codec).read_bytes()).decode()
    source = f"data:video/{SUFFIX[codec].removeprefix('.')};base64,{content}"
    with open_browser() as browser:
        page = browser.new_page()
        page.set_content(f"<video id=v muted src='{source}'></video><canvas id=c width=160 height=120></canvas>")
        said = page.evaluate(_PLAY)
    assert said["duration"] == pytest.approx(1.0, abs=0.05)
    assert said["size"] == [160, 120]
    assert np.abs(np.array(said["red"]) - (220, 40, 40)).max() < 40
    assert said["ended"]


# Frame 10 is looked at, then all is played: the red square lies at 50..74 across, 30..54 down.
_PLAY = """async () => {
  const video = document.getElementById("v"), canvas = document.getElementById("c");
  const until = (name) => new Promise((done, failed) => {
    video.addEventListener(name, done, {once: true});
    video.addEventListener("error", () => failed(new Error("cannot play: " + video.error.message)), {once: true});
  });
  if (video.readyState < 2) await until("loadeddata");
  const moved = until("seeked");
  video.currentTime = 10.5 / 25;
  await moved;
  const pencil = canvas.getContext("2d");
  pencil.drawImage(video, 0, 0);
  const red = [...pencil.getImageData(55, 33, 1, 1).data].slice(0, 3);
  const ended = until("ended");
  await video.play();
  await ended;
  return {duration: video.duration, size: [video.videoWidth, video.videoHeight], red, ended: video.ended};
}"""
