"""What a file says of itself, before a pixel is decoded."""

import io

import numpy as np
import pytest
from PIL import Image

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images.decoder import read_header


def encoded(kind, pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "bmp", "tiff", "webp", "avif", "jpeg2000", "ppm"])
def test_sizes_are_read_from_the_first_bytes_of_every_format(kind) -> None:
    content = encoded(kind, np.zeros((40, 70, 3), np.uint8))
    header = read_header(content)
    assert header[:2] == (70, 40) and header.copies == (4 if kind in ("webp", "avif", "jpeg2000") else 2)


def test_sixteen_bits_take_more_memory_and_say_so() -> None:
    assert read_header(encoded("png", np.zeros((40, 70), np.uint16))).copies == 4


def test_pixels_are_not_looked_at() -> None:
    content = encoded("png", np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8))
    assert read_header(content[:100])[:2] == (70, 40)


def test_other_bytes_are_none_and_a_damaged_header_is_said() -> None:
    assert read_header(b"no image") is None and read_header(b"") is None
    with pytest.raises(DataError, match="no complete image"):
        read_header(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR")
