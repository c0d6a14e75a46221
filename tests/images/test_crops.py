"""crops.py: the crops of files in their order, and every other file under its name with the reason."""

import numpy as np
from conftest import write_image

from drift_detector_pipeline.images.crops import read_crops
from drift_detector_pipeline.images.decoder import decode
from drift_detector_pipeline.images.model_input import inference_crop


def test_each_file_is_a_crop_or_a_reason_in_the_order_given(tmp_path):
    for seed, name in enumerate("ba"):
        write_image(tmp_path / f"{name}.png", seed)
    (tmp_path / "text.png").write_text("no image")
    files = [(name, tmp_path / f"{name}.png") for name in ("b", "text", "a", "gone", "b")]
    unreadable = {}
    crops = list(read_crops(files, 32, 16, unreadable))
    assert [name for name, _ in crops] == ["b", "a", "b"]
    for name, crop in crops:
        content = (tmp_path / f"{name}.png").read_bytes()
        assert np.array_equal(crop, inference_crop(decode(content, 32), 16))
    assert list(unreadable) == ["text", "gone"]
    assert unreadable["text"].startswith("none of the formats") and unreadable["gone"] == "No such file or directory"


def test_files_are_read_while_their_crops_are_asked_for(tmp_path):
    """So that memory holds a few hundred of any number: what comes after the first image is still to be looked at."""
    write_image(tmp_path / "a.png", 0)
    unreadable = {}
    crops = read_crops([("a", tmp_path / "a.png"), ("gone", tmp_path / "gone.png")], 32, 16, unreadable)
    assert next(crops)[0] == "a" and unreadable == {}
    assert list(crops) == [] and list(unreadable) == ["gone"]
