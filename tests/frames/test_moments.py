"""The frames of a clip that are stored are those on the screen at even moments, whatever the file says of itself."""

import io
import random
import zipfile
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.frames.array_file import read_array
from drift_detector_pipeline.frames.moments import clips_of
from drift_detector_pipeline.frames.pieces import cut
from drift_detector_pipeline.frames.read import Limits
from drift_detector_pipeline.raw.listing import Footage, Listing, RawImage

write_frames = pytest.importorskip("drawn_video", reason="needs the extra: pip install -e '.[video]'").write_frames


def grey(value: int, shape: tuple[int, int] = (32, 48)) -> Pixels:
    return np.full((*shape, 3), value, np.uint8)


def pieces(root: Path, footage: Footage, clip_seconds: float = 2.0) -> dict[str, Footage]:
    path = footage.file if footage.start is None else f"{footage.file}#{footage.start:09.3f}"
    listing = Listing(
        root, [RawImage(path, "x", None, path)], [], [], task="clips", clips={path: footage}, sources={path: "s"}
    )
    found = cut(listing, clip_seconds)
    assert set(found.sources.values()) == {"s"} and [image.path for image in found.images] == sorted(found.clips)
    return dict(found.clips)


def greys(found: Pixels | DataError) -> list[int]:
    """Which frames they are, of videos whose frame i is grey, of the value 8 i."""
    assert not isinstance(found, DataError), found
    return [round(float(frame.mean()) / 8) for frame in found]


def stored(root: Path, footage: Footage, most: int = 32, side_px: int = 160) -> list[Pixels | DataError]:
    return list(clips_of(root, list(pieces(root, footage).values()), side_px, most))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short videos whose frame i is grey, of the value 8 i."""
    place = tmp_path_factory.mktemp("greys")
    write_frames(place / "even.mp4", [grey(8 * i) for i in range(24)], rate=8)  # 3 s
    times = [0, 100, 200, 300, 400, 500, 600, 700, 800, 4000]
    write_frames(place / "uneven.mkv", [grey(8 * i) for i in range(10)], pts=times, time_base=Fraction(1, 1000))
    (place / "text.mp4").write_text("no video")
    return place


def test_a_video_is_cut_into_pieces_that_hold_every_frame_once(root: Path) -> None:
    found = pieces(root, Footage("even.mp4"), 1.0)
    assert list(found) == ["even.mp4#00000.000", "even.mp4#00001.000", "even.mp4#00002.000"]
    assert [greys(clip) for clip in clips_of(root, list(found.values()), 160, 32)] == [
        list(range(8)), list(range(8, 16)), list(range(16, 24)),
    ]  # fmt: skip
    assert list(pieces(root, Footage("even.mp4"), 2.1)) == ["even.mp4"]  # the rest, under half a clip, goes with it
    assert list(pieces(root, Footage("even.mp4"), 2.0)) == ["even.mp4#00000.000", "even.mp4#00002.000"]
    assert list(pieces(root, Footage("even.mp4", listed=True), 0.6)) == ["even.mp4"]
    assert len(pieces(root, Footage("even.mp4", listed=True), 0.5)) == 6


def test_of_many_frames_those_in_the_middles_of_equal_parts_are_stored(root: Path) -> None:
    [found] = stored(root, Footage("even.mp4", listed=True), most=4)
    assert greys(found) == [3, 9, 15, 21]


def test_frames_far_apart_are_stored_as_long_as_they_are_on_the_screen(root: Path) -> None:
    [found] = stored(root, Footage("uneven.mkv", listed=True), most=5)
    assert greys(found) == [4, 8, 8, 8, 8]  # moments 0.4, 1.2, 2.0, 2.8, 3.6 s: the ninth frame stays until 4 s


def test_pieces_without_a_frame_of_their_own_are_left_out(root: Path) -> None:
    assert list(pieces(root, Footage("uneven.mkv"), 1.0)) == ["uneven.mkv#00000.000", "uneven.mkv#00003.000"]


def test_a_part_that_is_named_is_what_is_there_from_its_start(root: Path) -> None:
    [found] = stored(root, Footage("even.mp4", start=1.0, end=1.5))
    assert greys(found) == [8, 9, 10, 11]
    [found] = stored(root, Footage("even.mp4", start=2.5))  # as long as clips are, and no longer than the file
    assert greys(found) == [20, 21, 22, 23]
    [problem] = stored(root, Footage("even.mp4", start=7.0))
    assert "ends at 3.000 s, before the clip begins" in str(problem)


def test_frames_are_stored_small_and_never_larger_than_they_are(tmp_path: Path) -> None:
    blocks = np.random.default_rng(0).integers(0, 256, (6, 9), dtype=np.uint8)
    wide = np.asarray(Image.fromarray(blocks).resize((180, 120), Image.Resampling.BICUBIC).convert("RGB"))
    write_frames(tmp_path / "wide.mp4", [wide] * 3)
    [small], [same] = (stored(tmp_path, Footage("wide.mp4"), side_px=side) for side in (60, 200))
    assert small.shape == (3, 60, 90, 3) and same.shape == (3, 120, 180, 3)
    expected = np.asarray(Image.fromarray(wide).resize((90, 60), Image.Resampling.BOX)).astype(int)
    assert np.abs(small[1] - expected).mean() < 3


def test_what_is_no_video_is_a_reason_and_not_the_end(root: Path) -> None:
    [problem] = stored(root, Footage("text.mp4"))
    assert isinstance(problem, DataError) and "text.mp4: no video that can be read" in str(problem)


def test_a_broken_video_gives_its_clips_before_the_break(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    noisy = [chance.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(30)]
    path = write_frames(
        tmp_path / "x.mp4", noisy, rate=5, options={"bf": "0"}, container_options={"movflags": "faststart"}
    )
    found = pieces(tmp_path, Footage("x.mp4"))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    first, broken, last = clips_of(tmp_path, list(found.values()), 64, 32)
    assert len(first) == 10 and "x.mp4: readable up to frame 1" in str(broken) and str(last) == str(broken)


def test_broken_bytes_give_clips_or_a_reason_each(root: Path, tmp_path: Path) -> None:
    whole, chance, outcomes = (root / "even.mp4").read_bytes(), random.Random(0), Counter[bool]()
    for _ in range(60):
        broken = bytearray(whole)
        for _ in range(chance.choice((1, 5, 50))):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        (tmp_path / "x.mp4").write_bytes(broken[: chance.choice((len(broken), chance.randrange(len(broken))))])
        clips = pieces(tmp_path, Footage("x.mp4"), 1.0)
        found = list(clips_of(tmp_path, list(clips.values()), 16, 4))
        assert len(found) == len(clips)
        outcomes.update(isinstance(one, DataError) or not 0 < len(one) <= 4 for one in found)
    assert outcomes[True] > 10 and outcomes[False] > 10


def test_folders_of_frames_and_arrays_give_every_frame_or_even_ones(tmp_path: Path) -> None:
    names = tuple(f"{number}.png" for number in range(10))
    (tmp_path / "clip").mkdir()
    for number, name in enumerate(names):
        Image.fromarray(grey(8 * number)).save(tmp_path / "clip" / name)
    np.savez_compressed(tmp_path / "clip.npz", frames=np.stack([grey(8 * number) for number in range(10)]))
    for footage in (Footage("clip", pictures=names), Footage("clip.npz")):
        [everything], [some] = (stored(tmp_path, footage, most) for most in (32, 2))
        assert greys(everything) == list(range(10)) and greys(some) == [2, 7]
    Image.fromarray(grey(0, (48, 32))).save(tmp_path / "clip" / "5.png")
    [problem] = stored(tmp_path, Footage("clip", pictures=names))
    assert "5.png: 32 x 48 px, another shape than the first frame" in str(problem)
    (tmp_path / "clip" / "4.png").write_bytes(b"cut")
    [problem] = stored(tmp_path, Footage("clip", pictures=names))
    assert "4.png: none of the formats" in str(problem)


def saved(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def lying(shape: tuple[int, ...]) -> bytes:
    """An .npz whose header promises this shape, with nothing behind it."""
    file, member = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": shape})  # type: ignore[arg-type]
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr("frames.npy", member.getvalue())
    return file.getvalue()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: b"text", r"no whole \.npz"),
        (lambda: saved(images=grey(0)), "no array named frames"),
        (lambda: saved(frames=grey(0)), r"uint8 \(32, 48, 3\); expected uint8 \(T, H, W, 3\)"),
        (lambda: saved(frames=np.zeros((2, 4, 4, 3))), "float64"),
        (lambda: saved(frames=np.zeros((0, 4, 4, 3), np.uint8)), r"\(0, 4, 4, 3\)"),
        (lambda: saved(frames=np.array([{}], object)), "object"),
        (lambda: saved(frames=np.zeros((9, 4, 4, 3), np.uint8)), "9 frames, more than 8"),
        (lambda: lying((8, 90_000, 90_000, 3)), "90000 x 90000 px are more than"),
        (lambda: lying((8, 40, 40, 3)), "not as long as its header says"),
    ],
)
def test_an_array_that_is_none_is_refused_by_its_header(make: Callable[[], bytes], said: str) -> None:
    with pytest.raises(DataError, match=f"up.npz: .*{said}"):
        read_array(io.BytesIO(make()), Limits(frames=8), "up.npz")


def test_broken_bytes_of_an_array_are_refused_in_words() -> None:
    chance, refused = np.random.default_rng(0), 0
    whole = saved(frames=chance.integers(0, 256, (4, 8, 8, 3), np.uint8))
    for number in range(300):
        broken = bytearray(whole[: int(chance.integers(1, len(whole)))] if number % 2 else whole)
        for place in chance.integers(0, len(broken), chance.choice((1, 5, 50))):
            broken[place] = int(chance.integers(256))
        try:
            assert read_array(io.BytesIO(bytes(broken)), name="x").shape[3] == 3
        except DataError:
            refused += 1
    assert refused > 200
