"""Videos from anywhere: right frames, right side up, how far a broken one is read, and what strangers may not do."""

import io
import itertools
import os
import random
import subprocess
import sys
import tarfile
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from drawn_video import av, scene, write_frames

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.frames.read import BrokenVideoError, Limits, open_video

ARCHIVE = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data")) / "videos_edge.tgz"


def frames_of(source, **limits):
    with open_video(source, Limits(**limits)) as video:
        return list(video.frames())


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    return write_frames(tmp_path_factory.mktemp("video") / "squares.mp4", [scene(number) for number in range(20)])


def test_all_frames_come_in_order_with_their_times(squares):
    frames = frames_of(squares)
    assert [frame.number for frame in frames] == list(range(20))
    assert [frame.seconds for frame in frames] == pytest.approx([number / 25 for number in range(20)])
    assert max(np.abs(frame.pixels.astype(int) - scene(frame.number)).mean() for frame in frames) < 4


def test_skipped_frames_are_counted_and_the_rest_is_the_same_to_the_bit(squares):
    everything = frames_of(squares)
    with open_video(squares) as video:
        rest = list(video.frames(skip=13))
    assert [(one.number, one.pts, one.seconds) for one in rest] == [one[:3] for one in everything[13:]]
    assert all((one.pixels == other.pixels).all() for one, other in zip(rest, everything[13:], strict=True))


def test_bytes_in_memory_are_read_as_a_file_is(squares):
    from_memory = frames_of(io.BytesIO(squares.read_bytes()))
    assert all((a.pixels == b.pixels).all() for a, b in zip(from_memory, frames_of(squares), strict=True))


def test_frames_far_apart_keep_their_times(tmp_path):
    times = [0, 20, 40, 500, 510, 2000]
    path = write_frames(tmp_path / "uneven.mkv", [scene(n) for n in range(6)], pts=times, time_base=Fraction(1, 1000))
    assert [frame.seconds for frame in frames_of(path)] == pytest.approx([one / 1000 for one in times])


@pytest.mark.parametrize("codec", ["libx264", "libvpx", "libvpx-vp9", "mpeg4"])
def test_usual_codecs_are_read(tmp_path, codec):
    suffix = "webm" if "vpx" in codec else "avi" if codec == "mpeg4" else "mov"
    assert len(frames_of(write_frames(tmp_path / f"x.{suffix}", [scene(n) for n in range(5)], codec=codec))) == 5


def test_a_file_that_is_cut_off_says_up_to_where_it_can_be_read(tmp_path):
    rng = np.random.default_rng(0)
    noisy = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(30)]
    path = write_frames(tmp_path / "x.mp4", noisy, options={"bf": "0"}, container_options={"movflags": "faststart"})
    content, counts = path.read_bytes(), list[int]()
    for share in (0.3, 0.5, 0.7, 0.95):
        path.write_bytes(content[: int(len(content) * share)])
        frames = []
        with open_video(path) as video, pytest.raises(BrokenVideoError, match=r"x\.mp4: readable up to frame") as error:
            for frame in video.frames():
                frames.append(frame)
        assert f"up to frame {len(frames)}" in str(error.value)
        counts.append(len(frames))
    assert [abs(count / 30 - share) < 0.08 for count, share in zip(counts, (0.3, 0.5, 0.7, 0.95), strict=True)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text" * 500,
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/passwd\n",
        b"ffconcat version 1.0\nfile a\n",
    ],
    ids=["empty", "text", "playlist", "script"],
)
def test_what_is_no_video_is_an_error_in_words(tmp_path, content):
    (tmp_path / "x.mp4").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.mp4: no video that can be read"):
        frames_of(tmp_path / "x.mp4")


def test_a_playlist_leads_to_no_other_file(tmp_path, squares):
    """...though FFmpeg on its own would follow it."""
    script = tmp_path / "script.ffconcat"
    script.write_text(f"ffconcat version 1.0\nfile '{squares}'\n")
    with av.open(str(script), options={"safe": "0"}) as container:
        assert sum(1 for _ in container.decode(video=0)) == 20
    with pytest.raises(DataError, match="no video that can be read"):
        frames_of(script)


@pytest.mark.parametrize("suffix", ["mp4", "webm"])
def test_broken_bytes_give_frames_or_an_error_in_words(tmp_path, suffix):
    codec = "libvpx" if suffix == "webm" else "libx264"
    whole = write_frames(tmp_path / f"x.{suffix}", [scene(n) for n in range(4)], codec=codec).read_bytes()
    chance, outcomes = random.Random(0), Counter[str]()
    for _ in range(150):
        broken = bytearray(whole)
        for _ in range(chance.choice((1, 5, 50))):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        del broken[chance.choice((len(broken), chance.randrange(len(broken)))) :]
        try:
            outcomes["read"] += bool(frames_of(io.BytesIO(bytes(broken)), frames=50, seconds=60.0, pixels=2_000_000))
        except DataError:
            outcomes["refused"] += 1
    assert outcomes["read"] > 20 and outcomes["refused"] > 20


def test_a_picture_and_a_sound_are_no_videos(tmp_path):
    from PIL import Image

    Image.fromarray(scene(0)).save(tmp_path / "x.png")
    with pytest.raises(DataError, match="no video that can be read"):
        frames_of(tmp_path / "x.png")
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(DataError, match="nothing to see in it"):
        frames_of(tmp_path / "x.mp4")


def test_limits_are_kept_before_a_frame_is_decoded_where_the_header_is_honest(squares):
    for limits, said in (
        ({"frames": 19}, "20 frames, more than 19"),
        ({"seconds": 0.5}, "0.8 s, more than 0.5"),
        ({"pixels": 160 * 120 - 1}, "160 x 120 px are more than 19,199 pixels"),
    ):
        with pytest.raises(DataError, match=said), open_video(squares, Limits(**limits)):
            raise AssertionError("opened")
    assert len(frames_of(squares, frames=20, seconds=0.81, pixels=160 * 120)) == 20


def test_limits_are_kept_where_the_header_says_nothing(tmp_path):
    path = write_frames(tmp_path / "x.mkv", [scene(n) for n in range(20)])
    given = []
    with open_video(path, Limits(frames=7)) as video, pytest.raises(DataError, match="more than 7 frames"):
        for frame in video.frames():
            given.append(frame)
    assert len(given) == 7
    stream = write_frames(tmp_path / "x.ts", [scene(n) for n in range(20)], format="mpegts")
    with open_video(stream, Limits(pixels=160 * 120)) as video:
        video.claimed_seconds = None
        video.limits = Limits(seconds=0.3)
        with pytest.raises(DataError, match=r"longer than 0\.3 s"):
            list(video.frames())


def test_frames_that_grow_on_the_way_are_refused_before_they_take_memory(tmp_path):
    small, large = ([np.full((side, side, 3), 90, np.uint8)] * 3 for side in (64, 512))
    parts = [
        write_frames(tmp_path / f"{n}.h264", part, format="h264", options={"g": "1"}).read_bytes()
        for n, part in enumerate((small, large))
    ]
    whole = tmp_path / "x.ts"
    with (
        av.open(io.BytesIO(parts[0] + parts[1]), format="h264") as raw,
        av.open(str(whole), "w", format="mpegts") as out,
    ):
        stream = out.add_stream_from_template(raw.streams.video[0])
        for number, packet in enumerate(raw.demux(raw.streams.video[0])):
            if packet.size:
                packet.pts = packet.dts = 3600 * number
                packet.stream = stream
                out.mux(packet)
    assert {frame.pixels.shape[0] for frame in frames_of(whole)} == {64, 512}
    with pytest.raises(DataError):
        frames_of(whole, pixels=64 * 64)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux, which says what a process took")
def test_a_small_file_of_huge_frames_is_refused_without_their_memory(tmp_path):
    huge = av.VideoFrame.from_ndarray(np.zeros((6144, 4096), np.uint8), format="yuv420p")  # 4096 x 4096, 25 MB
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "threads": "1"})
        stream.height = stream.width = 4096
        stream.pix_fmt = "yuv420p"
        huge.pts = 0
        container.mux(stream.encode(huge))
        container.mux(stream.encode())
    code = (
        "import re, sys; from pathlib import Path; import av\n"
        "from drift_detector_pipeline.errors import DataError\n"
        "from drift_detector_pipeline.frames.read import Limits, open_video\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "before = peak()\n"
        "try: open_video(Path(sys.argv[1]), Limits(pixels=2_000_000)).__enter__()\n"
        "except DataError as error: print(error)\n"
        "assert peak() < 1.4 * before, (before, peak())"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "x.mp4")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "4096 x 4096 px are more than 2,000,000 pixels" in done.stdout


def test_reading_needs_no_torch(squares):
    code = (
        "import sys; from pathlib import Path; from drift_detector_pipeline.frames.read import open_video\n"
        "import drift_detector_pipeline.video.boxed\n"
        f"with open_video(Path({str(squares)!r})) as video: print(len(list(video.frames())), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("20 False\n", "")


def test_without_pyav_a_sentence_says_what_to_install(squares):
    code = (
        "import sys; sys.modules['av'] = None\nfrom pathlib import Path\n"
        "from drift_detector_pipeline.frames.read import open_video\n"
        f"open_video(Path({str(squares)!r})).__enter__()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "ConfigError: videos need PyAV, which is not installed here; pip install -e '.[video]'" in done.stderr


@pytest.fixture(scope="module")
def edge(tmp_path_factory):
    """Files that decoders stumble over, gathered from the tests of other readers."""
    if not ARCHIVE.is_file():
        pytest.skip(f"needs {ARCHIVE.name}")
    place = tmp_path_factory.mktemp("edge")
    with tarfile.open(ARCHIVE) as packed:
        packed.extractall(place, filter="data")
    return place / "videos_edge"


@pytest.mark.parametrize(
    ("name", "count", "last_seconds", "shape"),
    [
        ("car-detection.mp4", 377, 30.08, (432, 768)),
        ("discard_first_keyframe.mp4", 25, 0.96, (64, 64)),  # its header says 30
        ("h265_video.mp4", 10, 0.9, (128, 128)),
        ("nasa_13013_rotated.mp4", 17, 16 * 1001 / 30000, (480, 270)),
        ("test_non_zero_start.mp4", 12, 11 / 30, (112, 200)),
        ("testsrc2_odd_height_and_width_vp9.mp4", 25, 0.96, (241, 321)),
        ("testsrc2_vp8.webm", 30, 0.967, (720, 1280)),  # its header says nothing
        ("unordered.mov", 4, 3 / 32, (50, 50)),
        ("variable_frame_rate.mp4", 60, 4.78, (64, 64)),
        ("video_0.mov", 3, 2 / 30, (320, 568)),
        ("video_90.mov", 3, 2 / 30, (568, 320)),
        ("video_180.mov", 3, 2 / 30, (320, 568)),
        ("video_270.mov", 3, 2 / 30, (568, 320)),
    ],
)
def test_files_that_decoders_stumble_over_are_read_right(edge, name, count, last_seconds, shape):
    frames = frames_of(edge / name)
    assert len(frames) == count
    assert frames[-1].seconds == pytest.approx(last_seconds)
    assert {frame.pixels.shape[:2] for frame in frames} == {shape}
    assert all(one.pts < other.pts for one, other in itertools.pairwise(frames))


def test_frames_of_a_variable_rate_are_the_frames_of_their_number(edge):
    """Frame i of this file is grey, of the value 4 i."""
    greys = [frame.pixels.mean() for frame in frames_of(edge / "variable_frame_rate.mp4")]
    assert np.abs(np.array(greys) - 4 * np.arange(60)).max() < 3


def test_frames_that_lie_on_their_side_are_turned_as_a_player_turns_them(edge):
    upright = {angle: frames_of(edge / f"video_{angle}.mov")[0].pixels for angle in (0, 90, 180, 270)}
    with av.open(str(edge / "video_90.mov")) as container:
        lying = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert (upright[90] == np.rot90(lying, -1)).all()
    sky = {
        angle: pixels[: len(pixels) // 4].mean() - pixels[-len(pixels) // 4 :].mean()
        for angle, pixels in upright.items()
    }
    assert len({value > 0 for value in sky.values()}) == 1, sky  # one and the same scene, four ways to hold the phone


@pytest.mark.slow
def test_a_broken_file_gives_all_frames_before_the_break(edge):
    frames = []
    with open_video(edge / "corrupted.mp4") as video, pytest.raises(BrokenVideoError, match="readable up to frame 28"):
        for frame in video.frames():
            frames.append(frame)
    assert len(frames) == 28
