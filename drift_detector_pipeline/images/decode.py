"""From the bytes of an image file to the uint8 array that is stored: the only decoder of the package.

In: a file's bytes, or an array. Out: uint8 RGB, upright, shorter side as stored, aspect ratio kept.
Fed by decode_many.py.
"""

import io
import struct
import warnings
import zlib

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.errors import DataError

# What is tried on a file, whatever its name ends with; Pillow knows more, and starts Ghostscript for one of them.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")

LARGEST_ASPECT = 16  # longer side over shorter side; beyond that it is a strip, not a picture of something

# What Pillow's decoders raise on damaged or foreign bytes (seen by fuzzing its formats with cut and flipped files).
_DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, RuntimeError,
    struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip


def decode(content: bytes, stored_side_px: int) -> Pixels:
    """Decode an image file: uint8 (H, W, 3), min(H, W) == stored_side_px.

    EXIF orientation is applied, transparency dropped, the first frame of an animation taken, 16-bit gray scaled.

    Raises DataError with the reason if the bytes are no complete image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large or oddly tagged, yet decodable
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                return fit(_rgb(ImageOps.exif_transpose(image)), stored_side_px)
    except UnidentifiedImageError as error:  # its own message holds a memory address
        raise DataError(f"none of the formats {', '.join(FORMATS)}") from error
    except _DECODER_ERRORS as error:
        raise DataError(f"no complete image ({type(error).__name__}: {error})") from error


def fit(image: Image.Image, stored_side_px: int) -> Pixels:
    """Resize an RGB image so that its shorter side is `stored_side_px` (bicubic, antialiased)."""
    width, height = image.size
    if max(width, height) > LARGEST_ASPECT * min(width, height):
        raise DataError(f"{width} x {height} px is longer than {LARGEST_ASPECT}:1")
    scale = stored_side_px / min(width, height)
    size = (max(stored_side_px, round(width * scale)), max(stored_side_px, round(height * scale)))
    return np.array(image if image.size == size else image.resize(size, Image.Resampling.BICUBIC))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating point pixels have no known range")
    if image.mode.startswith("I"):  # Pillow's own conversion clips 16 bits instead of scaling them
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")
