"""Clips lie packed as frames in a row: read back to the bit, with their source, and damage is named."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from drawn_clips import CLASSES, frames_of, pack_clips

from drift_detector_pipeline.arrays import ClipTruth
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.processed.manifest import deciding_settings, find_whole, open_processed
from drift_detector_pipeline.processed.packing import IMAGES, INDEX, PackedImages
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
