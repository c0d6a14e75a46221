"""An image that is stored as a JPEG: how it becomes one, and its pixels whenever somebody looks.

In: a file's bytes and its pixels as they are to be stored. Out: a `Jpeg`, and pixels of it. H, W: sides as stored. The
decoder is that of all files, Pillow's libjpeg-turbo. Read by decode_many.py, processed/packing.py, augmentation.py and
tasks.
"""

import io
from typing import NamedTuple

from PIL import Image

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images.decoder import Picture, decode_stored
from drift_detector_pipeline.images.model_input import Box

MOST_LARGER = 1.25  # times the stored sides: a file that is no larger is kept, and made smaller when it is looked at
_HEADER_BYTES = 2_048  # and a byte a pixel is what a kept file may have: raw pixels have 3, photographs about a third
_START = b"\xff\xd8\xff"


class Jpeg(NamedTuple):
    """A stored image as the bytes of a JPEG."""

    content: bytes
    height: int  # px, upright and as stored, whatever the file has
    width: int
    kept: bool = False  # the bytes are those of the source's file
    where: str = ""  # it lies, and how it is made anew: for the error if it is damaged

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of its pixels."""
        return self.height, self.width, 3


Packed = Pixels | Jpeg  # an image as it lies in a processed folder


def as_jpeg(pixels: Pixels, quality: int) -> Jpeg:
    """Encode pixels (H, W, 3) at this quality, 1 to 100 in libjpeg's sense, colours at half the resolution."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, optimize=True)
    return Jpeg(buffer.getvalue(), *pixels.shape[:2])


def kept_or_encoded(content: bytes, picture: Picture, quality: int) -> Jpeg:
    """The file itself if it is a JPEG, upright, of about the stored size; else `as_jpeg` of its pixels.

    A kept file has the very pixels that would be stored without JPEG: nothing is encoded twice.
    """
    height, width, _ = picture.pixels.shape
    serves = (
        content.startswith(_START)
        and picture.orientation == 1
        and max(picture.size) <= MOST_LARGER * max(height, width)
        and len(content) <= height * width + _HEADER_BYTES
    )
    return Jpeg(content, height, width, kept=True) if serves else as_jpeg(picture.pixels, quality)


def pixels_of(packed: Packed) -> Pixels:
    """The pixels (H, W, 3) of a stored image. Raises DataError, naming what makes it anew, if its bytes are damaged."""
    return _decoded(packed) if isinstance(packed, Jpeg) else packed


def large_enough(packed: Packed, box: Box, side_px: int) -> tuple[Pixels, Box]:
    """Pixels of a stored image in which `box` has sides of at least `side_px`, if it had, and where it lies in them.

    A JPEG of at least twice that is decoded at a half, a quarter or an eighth, by fewer terms of its cosine transform.
    Other fractions are left alone: libjpeg-turbo has no fast code for them, and they take longer than all of it.
    """
    if not isinstance(packed, Jpeg):
        return packed, box
    height, width, _ = packed.shape
    if min(box.height, box.width) < 2 * side_px:
        return _decoded(packed), box
    pixels = _decoded(packed, (-(-height * side_px // box.height), -(-width * side_px // box.width)))
    down, across = pixels.shape[0] / height, pixels.shape[1] / width
    part = Box(
        round(box.top * down), round(box.left * across),
        max(1, int(box.height * down)), max(1, int(box.width * across)),
    )  # fmt: skip
    return pixels, part._replace(
        top=min(part.top, pixels.shape[0] - part.height), left=min(part.left, pixels.shape[1] - part.width)
    )


def _decoded(packed: Jpeg, at_least: tuple[int, int] | None = None) -> Pixels:
    try:
        return decode_stored(packed.content, (packed.height, packed.width), at_least)
    except DataError as error:
        raise DataError(f"{packed.where or 'a stored JPEG'}: {error}; run: make process_data") from error
