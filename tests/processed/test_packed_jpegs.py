"""Images that are packed as JPEGs: a smaller file that everything reads through the one reader."""

import json

import numpy as np
import pytest
from conftest import make_folder, write_image
from drawn_boxes import draw_source

from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.processed import stored_form
from drift_detector_pipeline.processed.croissant import croissant
from drift_detector_pipeline.processed.integrity import find_damage
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.processed.packing import PackedImages
from drift_detector_pipeline.processed.stored_form import jpeg_quality
from drift_detector_pipeline.raw.listing import Listing, RawImage


@pytest.fixture
def photographs(tmp_path):
    """Twenty JPEGs of about the stored size, and four PNGs."""
    for number in range(24):
        suffix = "png" if number % 6 == 0 else "jpg"
        write_image(
            tmp_path / "photographs" / ("cat", "dog")[number % 2] / f"{number}.{suffix}", number, (64 + number % 9, 48)
        )
    return tmp_path / "photographs"


def processed(data, path, **changes):
    data = data.model_copy(update={"processed_path": path, "stored_side_px": 48, **changes})
    process(data)
    return open_processed(data)


def test_raw_and_jpeg_show_the_same_images_where_files_are_kept(photographs, data_of, tmp_path):
    raw, jpeg = (
        processed(data_of(photographs), tmp_path / form, stored_as=form, jpeg_quality=95) for form in ("raw", "jpeg")
    )
    assert (raw.manifest.stored_as, jpeg.manifest.stored_as) == ("raw", "jpeg")
    assert jpeg.manifest.jpegs == {"kept": 20, "encoded": 4, "quality": 95}
    assert raw.images.paths == jpeg.images.paths
    assert np.array_equal(raw.images.sides, jpeg.images.sides)
    for index, path in enumerate(raw.images.paths):
        one, other = raw.images[index], jpeg.images[index]
        assert np.abs(one.astype(int) - other).mean() < 3
        assert np.array_equal(one, other) or path.endswith("png")
    sizes = [(tmp_path / form / "images.bin").stat().st_size for form in ("raw", "jpeg")]
    assert sizes[1] < sizes[0] / 3
    assert "bytes" in json.dumps(croissant(jpeg, data_of(photographs)))


def test_every_damaged_jpeg_is_noticed_and_named(photographs, data_of, tmp_path):
    data = processed(data_of(photographs), tmp_path / "jpeg", stored_as="jpeg")
    file, whole = data.folder / "images.bin", (data.folder / "images.bin").read_bytes()
    place = 0
    for index, path in enumerate(data.images.paths):
        length = len(data.images.packed(index).content)
        changed = bytearray(whole)
        changed[place + length // 2] ^= 4
        file.write_bytes(changed)
        found = find_damage(data.folder, data.fingerprint, data.classes)
        assert found == f"images.bin is damaged, first in the image {path}"
        place += length
    assert place == len(whole)
    file.write_bytes(whole[:-9])
    found = find_damage(data.folder, data.fingerprint, data.classes)
    assert found == f"images.bin is cut short, first in the image {data.images.paths[-1]}"


def test_a_jpeg_damaged_after_the_check_is_an_error_that_names_it(photographs, data_of, tmp_path):
    data = processed(data_of(photographs), tmp_path / "jpeg", stored_as="jpeg")
    file = data.folder / "images.bin"
    file.write_bytes(b"\0" * file.stat().st_size)
    with pytest.raises(DataError, match=rf"{data.images.paths[3]}: no complete image .*make process_data"):
        PackedImages(data.folder)[3]


def test_another_form_or_quality_is_made_anew_and_the_reason_told(photographs, data_of, tmp_path, caplog):
    caplog.set_level("INFO")
    folder = tmp_path / "data"
    first = processed(data_of(photographs), folder).fingerprint
    processed(data_of(photographs), folder, stored_as="jpeg")
    assert "data.stored_as=raw, now jpeg, JPEG of quality 90" in caplog.text
    processed(data_of(photographs), folder, stored_as="jpeg", jpeg_quality=70)
    assert "data.stored_as=jpeg, JPEG of quality 90, now jpeg, JPEG of quality 70" in caplog.text
    processed(data_of(photographs), folder, stored_as="jpeg", jpeg_quality=70)
    assert "up to date" in caplog.text
    assert processed(data_of(photographs), folder, jpeg_quality=70).fingerprint == first  # means nothing to raw pixels


def test_auto_stores_jpegs_once_raw_pixels_would_be_large(photographs, data_of):
    side_px = 1024
    most = stored_form.AUTO_BYTES // (side_px**2 * 3)
    data = data_of(photographs, stored_side_px=side_px, stored_as="auto", jpeg_quality=85)
    listing = Listing(photographs, [RawImage("cat/1.jpg", "cat", None, "1")] * most, [], [])
    assert jpeg_quality(data, listing) is None
    assert jpeg_quality(data, listing._replace(images=[*listing.images, listing.images[0]])) == 85


def test_boxes_lie_where_they_lay(data_of, tmp_path):
    source = draw_source(tmp_path / "drawn")
    raw, jpeg = (
        processed(data_of(source, "boxes"), tmp_path / form, stored_side_px=48, stored_as=form)
        for form in ("raw", "jpeg")
    )
    assert jpeg.manifest.stored_as == "jpeg"
    assert np.array_equal(raw.images.boxes.all.boxes, jpeg.images.boxes.all.boxes)
    assert [raw.images[i].shape for i in range(len(raw.images))] == [jpeg.images[i].shape for i in range(12)]


def test_clips_stay_pixels_and_say_so(data_of, tmp_path):
    listing = Listing(tmp_path, [RawImage("a/1.mp4", "a", None, "1")] * 10**6, [], [], task="clips")
    assert jpeg_quality(data_of(tmp_path, "clips", stored_as="auto"), listing) is None
    with pytest.raises(ConfigError, match="clips are stored as raw pixels only"):
        jpeg_quality(data_of(tmp_path, "clips", stored_as="jpeg"), listing)


@pytest.mark.slow  # imports scikit-learn
def test_embedded_digits_can_be_jpegs_too(data_of, tmp_path):
    data = data_of(make_folder(tmp_path / "unused", 1)).model_copy(
        update={"name": "digits", "raw_path": None, "processed_path": tmp_path / "digits", "stored_as": "jpeg"}
    )
    process(data)
    assert open_processed(data).manifest.jpegs["encoded"] == 1797
