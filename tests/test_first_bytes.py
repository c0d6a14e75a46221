"""What is not what its name says is named by whatever reads it, and what to do about it."""

import tarfile

import numpy as np
import pytest
from torch import nn

from drift_detector_pipeline.errors import PipelineError
from drift_detector_pipeline.first_bytes import first_bytes, what_unpacked
from drift_detector_pipeline.frames.array_file import read_array
from drift_detector_pipeline.frames.read import frame_times
from drift_detector_pipeline.images.decoder import decode
from drift_detector_pipeline.networks.pretrained import load_pretrained
from drift_detector_pipeline.networks.weights import load_model
from drift_detector_pipeline.raw.archives import extract

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
PAGE = b"<!DOCTYPE html><title>Sign in</title>"
READERS = {
    "archive.zip": lambda file: extract(file, file.with_suffix("")),
    "image.jpg": lambda file: decode(file.read_bytes(), 32),
    "clip.mp4": frame_times,
    "clip.npz": read_array,
    "weights.pth": lambda file: load_pretrained(nn.Linear(1, 1), file),
    "weights.safetensors": lambda file: load_pretrained(nn.Linear(1, 1), file),
    "final_model.safetensors": load_model,
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    ("content", "said"),
    [(POINTER, "git lfs pull"), (PAGE, "web page"), (b"", "it is empty")],
    ids=["lfs", "page", "empty"],
)
def test_a_pointer_a_page_and_nothing_are_told_under_every_name(tmp_path, name, content, said):
    if name.endswith(".mp4"):
        pytest.importorskip("av")
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(PipelineError, match=said):
        READERS[name](file)


def test_a_tar_whose_first_folder_is_called_as_images_begin_is_a_tar(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as opened:
        for name in ("GIF89a", "GIF87a/b"):
            opened.addfile(tarfile.TarInfo(name))
    assert what_unpacked(first_bytes(tmp_path / "a.tar")) is None
    assert what_unpacked(b"GIF89a\1\0") == "it is a single image" and what_unpacked(b"GIF8\xff") is None


def test_frames_of_no_height_are_no_clip_however_many_there_are(tmp_path):
    np.savez(tmp_path / "clip.npz", frames=np.zeros((4, 0, 8, 3), np.uint8))
    with pytest.raises(PipelineError, match="expected uint8"):
        read_array(tmp_path / "clip.npz")
