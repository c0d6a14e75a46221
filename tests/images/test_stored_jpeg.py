"""An image stored as a JPEG shows what raw pixels show: the same where its file is kept, nearly the same elsewhere."""

import io

import numpy as np
import pytest
from PIL import Image

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images.augmentation import augment
from drift_detector_pipeline.images.decoder import decode_picture
from drift_detector_pipeline.images.model_input import Box
from drift_detector_pipeline.images.stored_jpeg import as_jpeg, kept_or_encoded, large_enough, pixels_of
from drift_detector_pipeline.settings import Augmentation

SOFT = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8))


def photograph(width, height):
    return SOFT.resize((width, height), Image.Resampling.BICUBIC)


def written(image, form="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize(
    "content",
    [
        written(photograph(64, 48)),
        written(photograph(75, 57)),  # made smaller each time, as when it is packed as pixels
        written(photograph(40, 30)),  # and larger
        written(photograph(64, 48).convert("L")),
        written(photograph(64, 48), progressive=True),
        written(photograph(64, 48).convert("CMYK")),
    ],
    ids=["as large", "larger", "smaller", "gray", "progressive", "four colours"],
)
def test_a_file_that_serves_is_kept_and_shows_the_pixels_of_raw_storage(content):
    picture = decode_picture(content, 48)
    stored = kept_or_encoded(content, picture, quality=90)
    assert stored.kept
    assert stored.content == content
    assert np.array_equal(pixels_of(stored), picture.pixels)


@pytest.mark.parametrize(
    "content",
    [
        written(photograph(64, 48), "PNG"),
        written(photograph(128, 96)),
        written(photograph(64, 48), exif=turned()),
        written(photograph(64, 48), comment=b"a" * 6_000),
    ],
    ids=["no JPEG", "too large", "turned", "mostly something else"],
)
def test_any_other_file_is_encoded_upright_in_the_stored_size(content):
    picture = decode_picture(content, 48)
    stored = kept_or_encoded(content, picture, quality=90)
    assert not stored.kept
    assert stored.shape == picture.pixels.shape
    with Image.open(io.BytesIO(stored.content)) as image:
        assert image.size == (stored.width, stored.height)
    assert len(stored.content) < len(content)
    assert np.abs(pixels_of(stored).astype(int) - picture.pixels).mean() < 5  # of 255; colours have half the resolution


def test_a_higher_quality_is_nearer_to_the_pixels_and_longer():
    pixels = np.asarray(photograph(64, 48))
    low, high = (as_jpeg(pixels, quality) for quality in (60, 95))
    off = [np.abs(pixels_of(stored).astype(int) - pixels).mean() for stored in (low, high)]
    assert len(low.content) < len(high.content)
    assert off[0] > off[1]


@pytest.mark.parametrize(("side_px", "shrunk"), [(70, 1), (48, 2), (24, 4), (10, 8)])
def test_what_is_looked_at_much_smaller_is_decoded_smaller_and_shows_the_same_place(side_px, shrunk):
    stored = as_jpeg(np.asarray(photograph(161, 121)), 95)
    box = Box(20, 41, 100, 120)
    pixels, part = large_enough(stored, box, side_px)
    assert pixels.shape == (-(-121 // shrunk), -(-161 // shrunk), 3)
    assert min(part.height, part.width) >= side_px
    assert part.top + part.height <= pixels.shape[0]
    assert part.left + part.width <= pixels.shape[1]
    cut = [
        Image.fromarray(np.ascontiguousarray(source[at.top : at.top + at.height, at.left : at.left + at.width])).resize(
            (10, 10), Image.Resampling.BOX
        )
        for source, at in ((pixels_of(stored), box), (pixels, part))
    ]
    assert (
        np.abs(np.asarray(cut[0]).astype(int) - np.asarray(cut[1])).mean() < 25
    )  # half a pixel of 12 off; another place: 70


def test_the_views_of_training_are_those_of_raw_pixels_unless_they_are_half_as_large():
    stored = as_jpeg(np.asarray(photograph(320, 240)), 90)
    pixels = pixels_of(stored)
    how = Augmentation(min_area=0.35, shift_px=2, flip=True, cutout_px=4)
    for key in range(20):
        views = [augment(one, 128, how, np.random.default_rng(key)).numpy() for one in (pixels, stored)]
        assert np.array_equal(*views)  # no crop has twice 128 px
        small = [augment(one, 64, how, np.random.default_rng(key)).numpy().astype(int) for one in (pixels, stored)]
        assert np.abs(small[0] - small[1]).mean() < 8


@pytest.mark.parametrize("damage", [lambda content: content[:200], lambda content: b"\0" * len(content)])
def test_damaged_bytes_are_an_error_that_says_what_to_do(damage):
    stored = as_jpeg(np.asarray(photograph(64, 48)), 90)
    with pytest.raises(DataError, match=r"images.bin: cat.jpg: no complete image .*make process_data"):
        pixels_of(stored._replace(content=damage(stored.content), where="images.bin: cat.jpg"))
