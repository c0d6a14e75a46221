"""colours.py: values that would come out black, torn apart or as nothing are refused with the reason."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from test_decoder import encoded, far, picture

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images.decoder import decode, upright_png

SIDE = 24


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF"])
@pytest.mark.parametrize("colour", ["black", "white"])
def test_a_drawing_that_is_all_in_its_transparency_is_no_black_picture(kind: str, colour: str) -> None:
    drawing = Image.new("RGB", (48, 32), colour)
    drawing.putalpha(picture().convert("1").convert("L"))
    with pytest.raises(DataError, match="without its transparency all pixels have one colour; put it on a background"):
        decode(encoded(drawing, kind, lossless=True, exact=True), SIDE)
    plain = drawing.convert("RGB")
    drawing.putalpha(255)  # one colour, and meant so
    assert far(decode(encoded(drawing, kind), SIDE), np.array(plain)[0, 0]) < 1


@pytest.mark.parametrize("colours", [0, 1, 10])
def test_pixels_whose_colours_a_palette_lacks_are_damaged_and_not_black(colours: int) -> None:
    content = encoded(picture().convert("L").quantize(64))
    start = content.index(b"PLTE") - 4
    (length,) = struct.unpack_from(">I", content, start)
    data = b"PLTE" + bytes(3 * colours)
    shorter = struct.pack(">I", 3 * colours) + data + struct.pack(">I", zlib.crc32(data)) if colours else b""
    damaged = content[:start] + shorter + content[start + length + 12 :]
    for read in (lambda: decode(damaged, SIDE), lambda: upright_png(damaged)):
        with pytest.raises(DataError, match=rf"damaged: pixels have colour \d+ of a palette that has {colours}"):
            read()


def test_sixteen_bits_with_a_plane_for_each_colour_are_not_torn_into_stripes() -> None:
    """Pillow reads every second byte of each plane, and says nothing."""
    planes = np.array(picture()).astype("<u2").transpose(2, 0, 1) * 257
    length = planes[0].nbytes
    tags = {256: 48, 257: 32, 258: (16, 16, 16), 259: 1, 262: 2, 273: None, 277: 3, 278: 32, 279: (length,) * 3, 284: 2}
    first = 8 + 2 + 12 * len(tags) + 4
    pixels = first + 6 + 12 + 12
    tags[273] = tuple(pixels + length * plane for plane in range(3))
    entries, behind = b"", b""
    for number, value in tags.items():
        kind, letter = (3, "H") if number == 258 else (4, "I")
        many = value if isinstance(value, tuple) else (value,)
        written = struct.pack(f"<{len(many)}{letter}", *many)
        if len(many) > 1:
            place, behind = first + len(behind), behind + written
            written = struct.pack("<I", place)
        entries += struct.pack("<HHI", number, kind, len(many)) + written
    content = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + behind + planes.tobytes()
    with pytest.raises(DataError, match="16 bits and a plane for each colour is not read; save it as PNG"):
        decode(content, SIDE)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "it is HEIC, as phones write it; save it as JPEG or PNG"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "it is JPEG XL; save it as JPEG or PNG"),
        (b"8BPS\0\1" + bytes(99), "it is a Photoshop file; save it as JPEG or PNG"),
        (bytes(128) + b"DICM" + bytes(99), "it is DICOM; save it as JPEG or PNG"),
        (b"<?xml version='1.0'?>\n<svg xmlns='x'/>", "it is SVG; save it as JPEG or PNG"),
        (b"<!DOCTYPE html><p>sign in", "it is a web page or XML, perhaps a page for signing in or of an error"),
        (encoded(picture()).replace(b"\r\n", b"\n"), "it was copied as text, which changed a PNG's line ends"),
    ],
)
def test_an_image_of_another_format_is_named(content: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        decode(content, SIDE)
