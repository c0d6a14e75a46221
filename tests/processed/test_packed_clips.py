"""Clips lie packed as frames in a row: read back to the bit, with their source, and damage is named."""

import json
import logging
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, pack_tar
from drawn_clips import CLASSES, draw_videos, frames_of, pack_clips

from drift_detector_pipeline.arrays import ClipTruth
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.frames.read import open_video
from drift_detector_pipeline.processed.manifest import deciding_settings, find_whole, open_processed
from drift_detector_pipeline.processed.packing import IMAGES, INDEX, PackedImages
from drift_detector_pipeline.processed.splits import assign_sources
from drift_detector_pipeline.raw.listing import RawImage
from drift_detector_pipeline.settings import Data


@pytest.fixture
def data(data_of: Callable[..., Data], tmp_path: Path) -> Data:
    """Settings of twelve drawn clips, packed."""
    settings = data_of(tmp_path, "clips", stored_side_px=48)
    pack_clips(settings)
    return settings


def test_a_packed_clip_is_its_frames_with_source_and_label(data: Data) -> None:
    opened = open_processed(data)
    images = opened.images
    assert len(images) == 12 and images.frames is not None and images.sources is not None
    assert images[7].shape == (12, 48, 64, 3) and not images[7].flags.writeable
    assert (images[7] == frames_of("still", 3, 1)).all()
    assert images.paths[7] == "still/s3_c01.mp4" and images.sources[7] == "s3"
    assert images.target(7) == ClipTruth(CLASSES.index("still"), "s3") and images.frames.tolist() == [12] * 12
    assert opened.task == "clips" and opened.classes == list(CLASSES)
    assert opened.manifest.images_by_split == {"train": 8, "fit": 0, "val": 4}
    again: PackedImages = pickle.loads(pickle.dumps(images))
    assert (again[11] == images[11]).all() and again.sources == images.sources


@pytest.mark.parametrize(
    ("name", "place", "said"), [(IMAGES, -1, "images.bin .* still/s5_c01.mp4"), (INDEX, 80, "index.csv .* line 2")]
)
def test_damage_is_named_with_its_clip(data: Data, name: str, place: int, said: str) -> None:
    path = data.processed_path / name
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    found = find_whole(data)
    assert isinstance(found, str)
    assert re.search(said, found), found


def test_settings_of_clips_decide_what_clips_hold_and_nothing_else(
    data: Data, data_of: Callable[..., Data], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"data.clip_seconds=2.0, now 3.0"):
        open_processed(data.model_copy(update={"clip_seconds": 3.0}))
    open_processed(data.model_copy(update={"k_frames": 3}))
    assert "clip_seconds" not in deciding_settings(data_of(tmp_path, "folder"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of three sources with two short videos each; read only."""
    return draw_videos(tmp_path_factory.mktemp("drawn") / "clips")


def test_videos_become_clips_split_by_source(videos: Path, data_of: Callable[..., Data]) -> None:
    settings = data_of(videos, "clips", stored_side_px=32)
    process(settings)
    opened = open_processed(settings)
    images, manifest = opened.images, opened.manifest
    assert images.sources is not None and images.frames is not None
    assert set(images.frames.tolist()) == {12} and images[0].shape == (12, 32, 43, 3)
    split_of = dict(zip(images.sources, images.splits, strict=True))
    assert [split_of[source] for source in images.sources] == images.splits  # no source in two
    assert manifest.counts == {
        "train": {"moving": 4, "still": 4}, "fit": {"moving": 0, "still": 0}, "val": {"moving": 2, "still": 2},
    }  # fmt: skip
    assert (manifest.sources_from, manifest.sources) == ("named", {"train": 4, "fit": 0, "val": 2})


def test_the_same_videos_give_the_same_bits_and_a_changed_one_is_noticed(
    videos: Path, tmp_path: Path, data_of: Callable[..., Data], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    copied = shutil.copytree(videos, tmp_path / "copied")
    [first, again, packed] = (
        data_of(source, "clips", stored_side_px=32, processed_path=tmp_path / name)
        for name, source in (("a", copied), ("b", videos), ("c", pack_tar(videos, tmp_path / "clips.tgz")))
    )
    for settings in (first, again, packed):
        process(settings)
    assert len({find_whole(settings).fingerprint for settings in (first, again, packed)}) == 1  # type: ignore[union-attr]
    os.utime(copied / "still" / "s3_c00.mp4")
    process(first)
    assert "a: up to date" in caplog.messages[-1]
    (copied / "clips.csv").write_text(
        "path,source\n" + "".join(f"{path.relative_to(copied)},{path.stem[:2]}\n" for path in copied.glob("*/*.mp4"))
    )
    process(first)
    assert find_whole(first).sources_from == "listed"  # type: ignore[union-attr]


def test_unknown_sources_are_said_to_be_so_where_it_is_read(
    tmp_path: Path, data_of: Callable[..., Data], caplog: pytest.LogCaptureFixture
) -> None:
    for name in CLASSES:
        for number in range(4):
            path = tmp_path / "raw" / name / f"take{number}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, frames=frames_of(name, number, 0))
    process(data_of(tmp_path / "raw", "clips"))
    manifest = open_processed(data_of(tmp_path / "raw", "clips")).manifest
    assert (manifest.sources_from, manifest.sources) == ("unknown", {"train": 6, "fit": 0, "val": 2})
    assert any("sources unknown" in message and "looks better than it is" in message for message in caplog.messages)


def test_a_broken_video_is_an_error_until_it_is_allowed(
    videos: Path, tmp_path: Path, data_of: Callable[..., Data]
) -> None:
    copied = shutil.copytree(videos, tmp_path / "copied")
    (copied / "still" / "s4_c01.mp4").write_bytes((videos / "still" / "s4_c01.mp4").read_bytes()[:-500])
    settings = data_of(copied, "clips")
    with pytest.raises(DataError, match=r"1 clips cannot be read .* still/s4_c01\.mp4\), .*data\.max_bad_images=1"):
        process(settings)
    allowed = settings.model_copy(update={"max_bad_images": 1})
    process(allowed)
    [bad] = open_processed(allowed).manifest.bad_images
    assert bad.path == "still/s4_c01.mp4" and bad.reason.startswith("s4_c01.mp4: ")


@pytest.mark.slow
def test_processing_videos_loads_no_torch(videos: Path, tmp_path: Path) -> None:
    words = ["data=clips", f"data.raw_path={videos}", f"data.processed_path={tmp_path / 'out'}"]
    code = (
        f"import sys; sys.argv[1:] = {words}; from drift_detector_pipeline.dataset import main; "
        "print(main(), {'torch', 'timm', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True)
    assert done.stdout.splitlines()[-1:] == ["0 set()"], done.stderr
    assert "12 clips of 2 classes" in done.stdout


def clip(source: str, name: str, number: int, in_val: bool | None = None) -> tuple[RawImage, str]:
    path = f"{name}/{source}_c{number}.mp4"
    return RawImage(path, name, in_val, path), source


def splits_of(
    clips: list[tuple[RawImage, str]], val_fraction: float = 0.2, fit_fraction: float = 0.1
) -> dict[str, set[str]]:
    """Source -> splits."""
    images, found = [image for image, _ in clips], defaultdict[str, set[str]](set)
    sources = {image.path: source for image, source in clips}
    for (_, source), split in zip(clips, assign_sources(images, sources, val_fraction, fit_fraction), strict=True):
        found[source].add(split)
    return found


def test_whole_sources_move_and_fractions_of_clips_are_met() -> None:
    chance = np.random.default_rng(0)
    clips = [
        clip(f"s{source}", name, number)
        for source in range(60)
        for name in ("a", "b")
        for number in range(int(chance.integers(0, 6)))
    ]
    found = splits_of(clips)
    assert all(len(splits) == 1 for splits in found.values())
    share = Counter((image.class_name, next(iter(found[source]))) for image, source in clips)
    for name in ("a", "b"):
        total = sum(share[name, split] for split in ("train", "fit", "val"))
        assert abs(share[name, "val"] / total - 0.2) < 0.04 and abs(share[name, "fit"] / total - 0.08) < 0.04
    without = splits_of([one for one in clips if one[1] != "s7"])
    assert sum(without[source] == splits for source, splits in found.items()) > 50  # one source less moves few others


def test_every_class_has_a_source_to_learn_from_and_one_to_measure_where_that_can_be() -> None:
    few = [clip(source, name, n) for source, name in (("p", "a"), ("q", "a"), ("r", "b"), ("s", "b")) for n in range(9)]
    found = splits_of(few)
    assert [found[one] | found[other] for one, other in ("pq", "rs")] == [{"train", "val"}] * 2
    single = splits_of([*few, clip("t", "c", 0), clip("t", "c", 1)])
    assert single["t"] == {"train"}
    mixed = splits_of([clip("p", "a", 0), clip("p", "b", 0), clip("q", "a", 1), clip("q", "b", 1)])
    assert sorted(map(sorted, mixed.values())) == [["train"], ["val"]]


def test_a_validation_folder_is_kept_as_it_is() -> None:
    clips = [clip(f"s{n}", "a", n, in_val=n > 7) for n in range(12)]
    found = splits_of(clips, fit_fraction=0.25)
    assert {source for source, splits in found.items() if splits == {"val"}} == {"s8", "s9", "s10", "s11"}
    assert sum(splits == {"fit"} for splits in found.values()) == 2


EDGE = {
    "car-detection.mp4": 15, "corrupted.mp4": 1, "discard_first_keyframe.mp4": 1, "h265_video.mp4": 1,
    "nasa_13013_rotated.mp4": 1, "test_non_zero_start.mp4": 1, "testsrc2_odd_height_and_width_vp9.mp4": 1,
    "testsrc2_vp8.webm": 1, "unordered.mov": 1, "variable_frame_rate.mp4": 2, "video_0.mov": 1, "video_90.mov": 1,
    "video_180.mov": 1, "video_270.mov": 1,
}  # fmt: skip


def test_videos_that_decoders_stumble_over_become_clips_or_a_reason(
    shared_data: Callable[[str], Path], tmp_path: Path, data_of: Callable[..., Data]
) -> None:
    place = shared_data("videos_edge")
    for number, name in enumerate(EDGE):
        target = tmp_path / "raw" / ("odd" if number % 2 else "even") / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(place / name, target)
    settings = data_of(tmp_path / "raw", "clips", stored_side_px=64, max_bad_images=2)
    process(settings)
    opened = open_processed(settings)
    assert opened.images.frames is not None
    found = Counter(path.partition("#")[0].partition("/")[2] for path in opened.images.paths)
    assert found == EDGE
    bad = opened.manifest.bad_images  # what lies before the break is kept
    assert [one.path for one in bad] == ["odd/corrupted.mp4#00002.000", "odd/corrupted.mp4#00004.000"]
    assert all(one.reason.startswith("corrupted.mp4: readable up to frame 28 (") for one in bad)
    frames = dict(zip(opened.images.paths, opened.images.frames.tolist(), strict=True))
    assert frames["even/discard_first_keyframe.mp4"] == 25  # of 30, as its header says
    sides = {Path(path).name: opened.images[place].shape[1:3] for place, path in enumerate(opened.images.paths)}
    assert sides["video_0.mov"] == (64, 114) and sides["video_90.mov"] == (114, 64)  # lies on its side, is set upright
    [shown] = [opened.images[place] for place, path in enumerate(opened.images.paths) if "rate.mp4#00002" in path]
    greys = np.array([frame.mean() for frame in shown]) / 4  # frame i is grey, of the value 4 i
    with open_video(place / "variable_frame_rate.mp4") as video:
        times = np.array([frame.seconds for frame in video.frames()])
        end = times[-1] + float(1 / video.rate)
    moments = 2 + (np.arange(len(shown)) + 0.5) * (end - 2) / len(shown)
    assert np.abs(greys - (np.searchsorted(times, moments, side="right") - 1)).max() < 1


def test_what_the_page_says_packing_costs_is_what_was_measured() -> None:
    page, report = (ROOT / "docs/clips.md").read_text(), json.loads((ROOT / "reports/clips_packing.json").read_text())
    folders = report["folders"]
    found = [folders[name]["median_ratio_to_arrays"] for name in ("clips16", "fight300", "street_768")]
    assert all(f"{ratio:.2f}" in page for ratio in found) and max(found) <= 1.2
