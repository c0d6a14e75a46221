"""What the values of an image file mean: one scale for all files, and none where it is not known.

In: an opened image. Out: RGB of 8 bits, or why not. Read by decoder.py.
"""

import numpy as np
from PIL import Image, ImageFile

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.errors import DataError

FEWEST_LEVELS = 16  # of 256: an image of 16-bit values that reaches fewer is a measurement on another scale
FEWEST_BRIGHT, ENOUGH_BRIGHT = 0.001, 16  # of all pixels, or in number: fewer that reach more are a sensor's dead ones

# TIFF's tags: bits a value, white is at zero (0), a plane a colour (2), with a sign (2).
_BITS, _PHOTOMETRIC, _PLANES, _SAMPLE_FORMAT = 258, 262, 284, 339


def as_rgb(image: Image.Image) -> Image.Image:
    """RGB without transparency. Raises DataError if the values have no known scale, or if nothing is left to see."""
    signed = _tiff_tag(image, _SAMPLE_FORMAT) == 2 or (image.mode == "I" and image.format == "TIFF")
    if image.mode == "F":
        raise DataError("floating point pixels have no known range; save it with 8 or 16 bits")
    if signed:  # elsewhere Pillow puts 16 bits into mode I
        raise DataError("32-bit or signed integers have no known range; save it with 8 or 16 bits without sign")
    if image.mode.startswith("I"):  # Pillow's own conversion clips 16 bits instead of scaling them
        levels = (np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)
        if np.asarray(image).any():
            _refuse_black(levels)
        return Image.fromarray(levels).convert("RGB")
    colours = image if image.mode == "RGB" else image.convert("RGB")
    if image.info["sixteen_bits"]:  # of which Pillow keeps the upper eight
        _refuse_black(np.asarray(colours))
    _refuse_unseen(image, colours)
    return colours


def make_white_highest(image: Image.Image) -> None:
    """Make white the highest value, in place, where Pillow leaves that to others: of 16 bits in gray."""
    if image.mode.startswith("I;16") and _tiff_tag(image, _PHOTOMETRIC) == 0:
        values = np.asarray(image)
        image.frombytes((65_535 - values).astype(values.dtype).tobytes())


def refuse_torn_colours(image: ImageFile.ImageFile) -> None:
    """Raise DataError for a TIFF whose pixels Pillow would read in a wrong order: 16 bits, plain, a plane a colour."""
    planes = _tiff_tag(image, _PLANES) == 2 and len(image.getbands()) > 1
    if planes and (_tiff_tag(image, _BITS) or 1) > 8 and image.tile and image.tile[0][0] == "raw":
        raise DataError("a TIFF with 16 bits and a plane for each colour is not read; save it as PNG")


def refuse_lost_colours(image: Image.Image) -> None:
    """Raise DataError for pixels of a palette that name colours it lacks: every one of them would be black."""
    if image.mode != "P":
        return
    colours = len(image.palette.palette) // len(image.palette.mode) if image.palette else 0
    used = {colour for _, colour in image.getcolors() or ()} - {image.info.get("transparency")}
    if lost := sorted(colour for colour in used if isinstance(colour, int) and colour >= colours):
        raise DataError(f"damaged: pixels have colour {lost[0]} of a palette that has {colours}")


def _refuse_unseen(image: Image.Image, colours: Image.Image) -> None:
    """Raise DataError for an image that shows nothing once its transparency is dropped."""
    values = np.asarray(colours)
    if not image.has_transparency_data or (values != values[0, 0]).any():
        return
    if np.asarray(image.convert("RGBA"))[:, :, 3].min() < 255:
        raise DataError("without its transparency all pixels have one colour; put it on a background")


def _tiff_tag(image: Image.Image, number: int) -> int | None:
    """The first value of a TIFF's tag; None if there is none, or it is no TIFF."""
    found = getattr(image, "tag_v2", {}).get(number)
    return found[0] if isinstance(found, tuple) else found


def _refuse_black(levels: Pixels) -> None:
    """Raise DataError if at most a handful of pixels, of (H, W) or (H, W, 3), reach levels that count."""
    bright = (levels >= FEWEST_LEVELS).reshape(*levels.shape[:2], -1).any(axis=2)
    count = np.count_nonzero(bright)
    if count < min(ENOUGH_BRIGHT, FEWEST_BRIGHT * bright.size):
        but = f" but in {count} of {bright.size:,} pixels" if count else ""
        raise DataError(
            f"16-bit values below {256 * FEWEST_LEVELS}{but}: nearly black on the scale of 0 to 65535, so meant on "
            "another; save it with 8 bits, or scaled to 16"
        )
