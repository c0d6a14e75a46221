"""From the bytes of an image file to the uint8 array that is stored: the only decoder of the package.

In: a file's bytes, or an array. Out: uint8 RGB, upright, shorter (for boxes: longer) side as stored, aspect ratio kept.
Fed by decode_many.py.
"""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.first_bytes import in_brackets, is_video, what_picture
from drift_detector_pipeline.images.colours import as_rgb, make_white_highest, refuse_lost_colours, refuse_torn_colours
from drift_detector_pipeline.images.png_remarks import without_remarks

# What is tried on a file, whatever its name ends with; Pillow knows more, and starts Ghostscript for one of them.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")

LARGEST_ASPECT = 16  # longer side over shorter side; beyond that it is a strip, not a picture of something
MOST_PIXELS = 120_000_000  # above the largest cameras' 108 million, below where a small file takes a gigabyte

_HUNGRY = ("WEBP", "AVIF", "JPEG2000")  # whose decoders hold frames of their own beside the image

# What files of FORMATS begin with, as patterns, and how their names end.
_BEGINNINGS = (
    (rb"\xff\xd8\xff", ".jpg"), (rb"\x89PNG\r\n", ".png"), (rb"GIF8", ".gif"), (rb"BM", ".bmp"),
    (rb"II[*+]\x00|MM\x00[*+]", ".tif"), (rb"RIFF....WEBP", ".webp"), (rb"....ftypavi[fs]", ".avif"),
    (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", ".jp2"), (rb"P[1-7fF]", ".ppm"),
)  # fmt: skip

# What Pillow's decoders raise on damaged or foreign bytes (seen by fuzzing its formats with cut and flipped files).
_DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, RuntimeError,
    struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip

_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap the sides
_ORIENTATION = 0x0112  # EXIF's tag: 1 upright, 2 to 4 mirrored or upside down, 5 to 8 with the sides swapped
Side = Literal["shorter", "longer"]  # of an image, brought to its stored length: the longer one where boxes are sought


class Picture(NamedTuple):
    """A decoded file, and how it lies there: truth about places in it may be meant for either."""

    pixels: Pixels  # (H, W, 3), upright
    size: tuple[int, int]  # width and height in px, as in the file
    orientation: int  # 1 to 8, as EXIF counts; 1: as in the file

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width in px of the image as people see it."""
        return upright_sides(self.size, self.orientation)


def upright_sides(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Height and width of an image as people see it, from its width and height in the file and EXIF's orientation."""
    width, height = size
    return (width, height) if orientation in _TURNED else (height, width)


def decode(content: bytes, stored_side_px: int, side: Side = "shorter") -> Pixels:
    """Decode an image file: uint8 (H, W, 3), min(H, W) == stored_side_px; longer: max(H, W) <= stored_side_px.

    EXIF orientation is applied, transparency dropped, the first frame of an animation taken, 16-bit values divided by
    256: one scale for all files, whatever values a file reaches.

    Raises DataError with the reason if the bytes are no complete image, if their header promises more than
    `MOST_PIXELS` (half as many where decoding holds twice the memory), or if the values have no scale that is known:
    integers of 32 bits or with sign, floats, 16 bits that would be black; or if nothing is seen without transparency.
    """
    return decode_picture(content, stored_side_px, side).pixels


def decode_picture(content: bytes, stored_side_px: int, side: Side = "shorter") -> Picture:
    """As `decode`, with the size in the file and how EXIF turned it."""
    with _explained(content), _opened(content) as image:
        size, orientation = image.info["in_file"]
        _turn_upright(image)
        return Picture(fit(as_rgb(image), stored_side_px, side), size, orientation)


def decode_stored(content: bytes, sides: tuple[int, int], at_least: tuple[int, int] | None = None) -> Pixels:
    """Decode a JPEG that was stored as an image of these sides, height and width: the pixels that `fit` gave there.

    `at_least`: height and width that are enough; it is then decoded at a half, a quarter or an eighth of its size, if
    that is no less. Raises DataError as `decode` does.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content), formats=("JPEG",))
            size, stored = image.size, (sides[1], sides[0])
            if at_least:
                image.draft(None, (at_least[1], at_least[0]))
            colours = image if image.mode == "RGB" else image.convert("RGB")
            shrunk = image.size != size
            return np.array(colours if shrunk or size == stored else colours.resize(stored, Image.Resampling.BICUBIC))
    except _DECODER_ERRORS as error:  # of which UnidentifiedImageError is one
        raise DataError(f"no complete image ({type(error).__name__})") from error


class Header(NamedTuple):
    """What an image file says of itself before anything is decoded."""

    width: int  # px
    height: int
    copies: int  # of 4 bytes a pixel that decoding holds at once, at most (measured)


def read_header(content: bytes) -> Header | None:
    """Read an image file's header and nothing else; None: none of FORMATS. Raises DataError if it is damaged."""
    with _explained(content):
        try:
            with Image.open(io.BytesIO(without_remarks(content)), formats=FORMATS) as image:
                return Header(*image.size, _copies(image))
        except UnidentifiedImageError:
            return None


def read_lie(content: bytes) -> tuple[tuple[int, int], int]:
    """Width and height in px as in the file, and EXIF's orientation, 1 to 8, without decoding the pixels.

    Raises DataError if the bytes are no image, or a PNG of more than `MOST_PIXELS`: Pillow looks for EXIF behind a
    PNG's pixels, too, and reads them on the way.
    """
    with _explained(content), Image.open(io.BytesIO(without_remarks(content)), formats=FORMATS) as image:
        if image.format == "PNG":
            _refuse_size(image)
        return _size_in_file(image), _orientation(image)


def upright_png(content: bytes) -> bytes:
    """The same pixels, turned as EXIF says, as a PNG that turns nothing. Errors as `decode`, but none for strips."""
    with _explained(content), _opened(content, strips=True) as image:
        _turn_upright(image)
        plain = image if image.mode in ("L", "RGB", "RGBA", "P", "I;16") else image.convert("RGB")
        written = io.BytesIO()
        plain.save(written, "PNG", exif=b"")
        return written.getvalue()


def ending_of(content: bytes) -> str:
    """How the name of an image file ends, by its first bytes: ".jpg"; ".image" if they are none of FORMATS."""
    return next((ending for start, ending in _BEGINNINGS if re.match(start, content, re.DOTALL)), ".image")


@contextmanager
def _explained(content: bytes) -> Iterator[None]:
    """Turn what Pillow raises on these bytes into a DataError, and be silent on what it only warns of."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large or oddly tagged, yet decodable
            yield
    except UnidentifiedImageError as error:  # its own message holds a memory address
        raise _foreign(content) from error
    except _DECODER_ERRORS as error:
        raise DataError(f"no complete image ({type(error).__name__}: {error})") from error


def _copies(image: Image.Image) -> int:
    return 4 if image.format in _HUNGRY or image.mode.startswith("I") else 2


def _foreign(content: bytes) -> DataError:
    if (ending := ending_of(content)) != ".image":
        return DataError(f"begins like a {ending} file, but is damaged or of a kind that is not read; save it as PNG")
    if said := what_picture(content):
        instead = f" ({said})"
    else:
        instead = " (it is a video: VIDEO=PATH)" if is_video(content) else in_brackets(content)
    return DataError(f"none of the formats {', '.join(FORMATS)}{instead}")


def fit(image: Image.Image, stored_side_px: int, side: Side = "shorter") -> Pixels:
    """Resize an RGB image so that its shorter side is `stored_side_px` (bicubic, antialiased).

    longer: so that its longer side is no longer than that; a smaller image stays as it is.
    """
    width, height = image.size
    _refuse_strip(width, height)
    if side == "shorter":
        scale = stored_side_px / min(width, height)
        size = (max(stored_side_px, round(width * scale)), max(stored_side_px, round(height * scale)))
    else:
        scale = min(1.0, stored_side_px / max(width, height))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.array(image if image.size == size else image.resize(size, Image.Resampling.BICUBIC))


def _refuse_strip(width: int, height: int) -> None:
    if max(width, height) > LARGEST_ASPECT * min(width, height):
        raise DataError(f"{width} x {height} px is longer than {LARGEST_ASPECT}:1")


def _refuse_size(image: Image.Image) -> None:
    """Raise DataError for an image whose header promises more than can be used of it."""
    width, height = image.size
    most = MOST_PIXELS * 2 // _copies(image)
    if width * height > most:
        raise DataError(f"{width} x {height} px are more than {most:,} pixels; make it smaller")


def _opened(content: bytes, strips: bool = False) -> Image.Image:
    """The image with its pixels, if it has few enough of them, and is no strip or `strips` are wanted.

    Pillow refuses a PNG with much text, or whose text is damaged: it is read without.
    """
    try:
        return _loaded(content, strips)
    except _DECODER_ERRORS:
        shorter = without_remarks(content)
        if shorter == content:
            raise
        return _loaded(shorter, strips)


def _loaded(content: bytes, strips: bool) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    _refuse_size(image)
    if not strips:
        _refuse_strip(*image.size)
    size, sixteen_bits = _size_in_file(image), ";16" in str(image.tile[:1])  # known until the pixels are read
    turned = _orientation(image) if image.format == "TIFF" else None  # whose pixels are read upright
    refuse_torn_colours(image)
    image.load()
    make_white_highest(image)
    refuse_lost_colours(image)
    image.info["in_file"] = size, turned or _orientation(image)
    image.info["sixteen_bits"] = sixteen_bits
    return image


def _size_in_file(image: Image.Image) -> tuple[int, int]:
    tags = getattr(image, "tag_v2", None)  # Pillow gives the size of a TIFF as it is once it is turned
    return (int(tags[256]), int(tags[257])) if tags else image.size


def _orientation(image: Image.Image) -> int:
    """How EXIF says the image is turned; 1 as well where its EXIF is damaged, as every viewer takes it."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, struct.error):
        return 1
    return found if found in range(1, 9) else 1


def _turn_upright(image: Image.Image) -> None:
    if _orientation(image) > 1:
        ImageOps.exif_transpose(image, in_place=True)
