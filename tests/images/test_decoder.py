"""decoder.py: every kind of image a camera, a browser or a scanner writes, and what is no image."""

import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images import decode_many
from drift_detector_pipeline.images.decoder import (
    FORMATS,
    LARGEST_ASPECT,
    MOST_PIXELS,
    decode,
    ending_of,
    read_lie,
    upright_png,
)

SIDE = 24


def picture(width: int = 48, height: int = 32) -> Image.Image:
    """A soft image whose four corners differ: red, green, blue, white."""
    corners = np.array([[[200, 30, 30], [30, 200, 30]], [[30, 30, 200], [220, 220, 220]]], dtype=np.uint8)
    return Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def far(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference of two images in gray levels."""
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


@pytest.mark.parametrize(
    "size", [(48, 32), (32, 48), (24, 24), (31, 17), (25, 24), (24, 300), (1, 1), (1, 16), (16, 1), (640, 480)]
)
def test_the_shorter_side_is_as_stored_and_the_aspect_is_kept(size: tuple[int, int]) -> None:
    pixels = decode(encoded(picture(*size)), SIDE)
    assert pixels.dtype == np.uint8 and pixels.shape[2] == 3
    assert min(pixels.shape[:2]) == SIDE
    scale = SIDE / min(size)
    assert abs(pixels.shape[1] - size[0] * scale) <= 0.5 and abs(pixels.shape[0] - size[1] * scale) <= 0.5


def test_an_image_of_the_stored_size_keeps_every_bit() -> None:
    image = picture(48, SIDE)
    assert np.array_equal(decode(encoded(image), SIDE), np.array(image))


def test_the_same_bytes_give_the_same_bits() -> None:
    content = encoded(picture(333, 222), "JPEG")
    assert np.array_equal(decode(content, SIDE), decode(content, SIDE))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_come_out_upright(orientation: int, kind: str) -> None:
    names = (
        "",
        "FLIP_LEFT_RIGHT",
        "ROTATE_180",
        "FLIP_TOP_BOTTOM",
        "TRANSPOSE",
        "ROTATE_90",
        "TRANSVERSE",
        "ROTATE_270",
    )
    turned = names[orientation - 1]
    upright = picture()
    stored = upright.transpose(Image.Transpose[turned]) if turned else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(encoded(stored, kind, exif=exif), 32)
    assert pixels.shape == (32, 48, 3)
    assert far(pixels, np.array(upright)) < 4


@pytest.mark.parametrize(
    ("kind", "mode", "tolerance"),
    [("PNG", "RGB", 0), ("PNG", "RGBA", 0), ("PNG", "P", 4), ("GIF", "P", 4), ("BMP", "RGB", 0), ("TIFF", "RGB", 0),
     ("TIFF", "CMYK", 4), ("JPEG", "CMYK", 6), ("JPEG", "RGB", 4), ("WEBP", "RGB", 6), ("WEBP", "RGBA", 6),
     ("PPM", "RGB", 0), ("AVIF", "RGB", 8), ("JPEG2000", "RGB", 2)],
)  # fmt: skip
def test_every_format_and_mode_shows_the_same_picture(kind: str, mode: str, tolerance: float) -> None:
    image = picture().quantize(256) if mode == "P" else picture().convert(mode)
    pixels = decode(encoded(image, kind), 32)
    assert far(pixels, np.array(picture())) <= tolerance


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "L"), ("PNG", "LA"), ("JPEG", "L"), ("PPM", "L"), ("PNG", "1")])
def test_gray_becomes_three_equal_channels(kind: str, mode: str) -> None:
    pixels = decode(encoded(picture().convert("L").convert(mode), kind), 32)
    assert np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 0], pixels[..., 2])
    if mode != "1":
        assert far(pixels[..., 0], np.array(picture().convert("L"))) < 2


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_gray_is_scaled_not_clipped(kind: str) -> None:
    gray = np.linspace(0, 65535, 32 * 48).reshape(32, 48).astype(np.uint16)
    pixels = decode(encoded(Image.fromarray(gray), kind), 32)
    assert np.array_equal(pixels[..., 0], gray >> 8)


def test_big_endian_sixteen_bit_gray_is_scaled_too() -> None:
    gray = np.linspace(0, 65535, 32 * 48).reshape(32, 48).astype(np.uint16)
    header = b"P5\n48 32\n65535\n"
    assert np.array_equal(decode(header + gray.astype(">u2").tobytes(), 32)[..., 1], gray >> 8)


def test_floating_point_pixels_have_no_known_range() -> None:
    with pytest.raises(DataError, match="floating point"):
        decode(encoded(Image.fromarray(np.full((32, 32), 0.5, np.float32)), "TIFF"), SIDE)


def test_transparency_is_dropped_and_the_colour_below_it_kept() -> None:
    image = picture()
    image.putalpha(0)
    assert np.array_equal(decode(encoded(image), 32), np.array(picture()))
    palette = picture().convert("P")
    with_transparency = encoded(palette, transparency=bytes(range(256)))
    assert np.array_equal(decode(with_transparency, 32), np.array(palette.convert("RGB")))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue", "green")]
    pixels = decode(encoded(frames[0], kind, save_all=True, append_images=frames[1:]), SIDE)
    assert far(pixels, np.array([255, 0, 0])) < 3


def test_strips_are_refused_with_their_size() -> None:
    decode(encoded(picture(10 * LARGEST_ASPECT, 10)), SIDE)
    with pytest.raises(DataError, match=f"{10 * LARGEST_ASPECT + 1} x 10 px is longer than {LARGEST_ASPECT}:1"):
        decode(encoded(picture(10 * LARGEST_ASPECT + 1, 10)), SIDE)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM"])
def test_an_image_cut_anywhere_before_its_last_pixels_is_refused(kind: str) -> None:
    content = encoded(picture(), kind)
    for cut in sorted({0, 1, 10, *random.Random(0).sample(range(int(0.9 * len(content))), 30)}):
        with pytest.raises(DataError):
            decode(content[:cut], SIDE)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "AVIF", "JPEG2000", "PPM"])
def test_damaged_bytes_give_pixels_or_the_one_error(kind: str) -> None:
    content, chance = encoded(picture(), kind), random.Random(0)
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 5)):
            damaged[chance.randrange(min(len(damaged), chance.choice([40, 200, 10**6])))] = chance.randrange(256)
        try:
            assert decode(bytes(damaged), SIDE).dtype == np.uint8
        except DataError as error:
            assert str(error)


@pytest.mark.parametrize(
    "content", [b"", b"hello, I am a text", b"<svg xmlns='http://www.w3.org/2000/svg'/>", bytes(1000)]
)
def test_what_is_no_image_is_told_the_formats(content: bytes) -> None:
    with pytest.raises(DataError, match="none of the formats JPEG, PNG"):
        decode(content, SIDE)


def test_a_kind_of_a_format_that_is_not_read_is_not_called_foreign() -> None:
    """Doubles in a TIFF, PAM among PPM: the file is what its name says, so the list of formats would help nobody."""
    doubles = tiff(np.array(picture().convert("L")).astype(np.float64), sign=3)
    for content, ending in ((doubles, ".tif"), (b"P7\nWIDTH 1\n", ".ppm")):
        with pytest.raises(DataError, match=f"begins like a {ending} file, but is damaged or of a kind that is not"):
            decode(content, SIDE)


def test_postscript_is_not_run() -> None:
    """Pillow would start Ghostscript on a file from somewhere, whatever its name ends with."""
    with pytest.raises(DataError, match="none of the formats"):
        decode(encoded(picture(), "EPS"), SIDE)


def test_a_picture_of_more_pixels_than_memory_is_refused() -> None:
    header = b"P6\n60000 60000\n255\n"
    with pytest.raises(DataError, match="DecompressionBomb"):
        decode(header, SIDE)


def png_text(length: int, *, zip: bool, international: bool = False, times: int = 1) -> PngImagePlugin.PngInfo:
    said = PngImagePlugin.PngInfo()
    for number in range(times):
        add = said.add_itxt if international else said.add_text
        add(f"comment {number}", "a" * length, zip=zip)
    return said


@pytest.mark.parametrize("options", [
    {"pnginfo": png_text(2 << 20, zip=True)},
    {"pnginfo": png_text(20 << 20, zip=True, international=True)},
    {"pnginfo": png_text(900_000, zip=True, times=80)},
    {"pnginfo": png_text(70 << 20, zip=False)},
    {"icc_profile": bytes(2 << 20)},
    {"icc_profile": bytes(30 << 20), "pnginfo": png_text(2 << 20, zip=True)},
], ids=["text", "international", "many", "plain", "profile", "both"])  # fmt: skip
def test_a_png_is_whole_however_much_is_said_beside_its_pixels(options: dict) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(picture().transpose(Image.Transpose.ROTATE_90), exif=exif, **options)
    assert np.array_equal(decode(content, 32), np.array(picture()))
    with pytest.raises(DataError, match="no complete image"):
        decode(content[: content.rindex(b"IDAT") + 20], 32)


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iCCP", b"tIME", b"eXIf"])
def test_a_png_is_whole_though_what_is_said_beside_its_pixels_is_damaged(kind: bytes) -> None:
    """As every viewer shows it: a wrong checksum of a comment, EXIF that is none."""
    content, data = encoded(picture()), kind + b"garbage that is no such thing"
    checksum = zlib.crc32(data) ^ (kind != b"eXIf")
    chunk = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", checksum)
    place = content.index(b"IDAT") - 4
    assert np.array_equal(decode(content[:place] + chunk + content[place:], 32), np.array(picture()))


def test_what_turns_a_png_stays_where_other_remarks_are_left_out() -> None:
    said = png_text(70 << 20, zip=False)
    said.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    content = encoded(picture().transpose(Image.Transpose.ROTATE_90), pnginfo=said)
    assert read_lie(content) == ((32, 48), 6)
    assert np.array_equal(decode(content, 32), np.array(picture()))


def gray_png(side_px: int) -> bytes:
    """A black PNG of a thousandth of its pixels in bytes, made without holding them."""
    squeeze = zlib.compressobj(9)
    pixels = b"".join(squeeze.compress(bytes(side_px + 1)) for _ in range(side_px)) + squeeze.flush()
    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    written = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
               for kind, data in chunks)  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP", "PPM"])
def test_more_pixels_than_the_budget_are_refused_by_the_header(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(picture(), kind)
    enough = 48 * 32 * (2 if kind == "WEBP" else 1)  # whose decoder holds frames of its own
    monkeypatch.setattr("drift_detector_pipeline.images.decoder.MOST_PIXELS", enough)
    assert decode(content, 32).shape == (32, 48, 3)
    monkeypatch.setattr("drift_detector_pipeline.images.decoder.MOST_PIXELS", enough - 1)
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)  # not even called
    with pytest.raises(DataError, match="48 x 32 px are more than 1,535 pixels"):
        decode(content, 32)
    if kind != "PNG":  # of which nothing but the header is read, as whoever copies files needs no pixels
        assert read_lie(content) == ((48, 32), 1)
        return
    with pytest.raises(DataError, match="48 x 32 px are more than 1,535 pixels"):
        read_lie(content)


def test_a_strip_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(Image.new("RGB", (400, 2)))
    assert read_lie(content) == ((400, 2), 1) and upright_png(content)  # as a file it may be copied
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    with pytest.raises(DataError, match="400 x 2 px is longer than 16:1"):
        decode(content, SIDE)


def test_a_small_file_of_a_great_image_takes_no_memory() -> None:
    content = gray_png(12_000)
    assert MOST_PIXELS < 12_000**2 and len(content) < 200_000
    with pytest.raises(DataError, match="12000 x 12000 px are more than 120,000,000 pixels"):
        decode(content, SIDE)


@pytest.mark.parametrize("kind", ["uint32", "int32", "int16", "int8", "float32"])
@pytest.mark.parametrize("largest", [1, 255, 65_535, 2**31 - 1])
def test_values_without_a_known_scale_are_refused_never_black(kind: str, largest: int) -> None:
    values = (np.array(picture().convert("L")) / 255 * largest).astype(kind)
    if kind in ("uint32", "int16", "int8"):
        content = tiff(values, sign=1 if kind == "uint32" else 2)
    else:
        content = encoded(Image.fromarray(values), "TIFF")
    with pytest.raises(DataError, match="have no known range; save it with 8 or 16 bits"):
        decode(content, SIDE)


def tiff(values: np.ndarray, sign: int = 1, order: str = "<") -> bytes:
    """A plain TIFF of gray (H, W) or colour (H, W, 3) values, for kinds that Pillow does not write."""
    values = values.astype(values.dtype.newbyteorder(order))
    bands = values.shape[2] if values.ndim == 3 else 1
    tags = {256: values.shape[1], 257: values.shape[0], 258: 8 * values.itemsize, 259: 1, 262: 2 if bands > 1 else 1,
            273: 0, 277: bands, 278: values.shape[0], 279: values.nbytes, 339: sign}  # fmt: skip
    bits_at = 8 + 2 + 12 * len(tags) + 4
    tags[273] = bits_at + 6
    entries = b"".join(
        struct.pack(f"{order}HHII", tag, 3, 3, bits_at) if tag == 258 and bands > 1
        else struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) if tag not in (273, 279)
        else struct.pack(f"{order}HHII", tag, 4, 1, value)
        for tag, value in tags.items()
    )  # fmt: skip
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8) + struct.pack(f"{order}H", len(tags))
    bits = struct.pack(f"{order}3H", *[8 * values.itemsize] * 3)
    return start + entries + bytes(4) + bits + values.tobytes()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("colour", [False, True])
def test_sixteen_bits_have_one_scale_and_are_refused_where_it_would_make_them_black(order: str, colour: bool) -> None:
    image = np.array(picture() if colour else picture().convert("L"))
    seen = decode(tiff(image.astype(np.uint16) << 8 | 77, order=order), 32)
    assert np.array_equal(seen if colour else seen[..., 0], image)
    for bits in (8, 10, 12):
        with pytest.raises(DataError, match="16-bit values below 4096: nearly black"):
            decode(tiff(image.astype(np.uint16) << bits - 8, order=order), 32)


def png(values: np.ndarray) -> bytes:
    """A PNG of 16 bits with 1 to 4 bands, gray, gray and alpha, colour, or colour and alpha."""
    height, width, bands = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, (None, 0, 4, 2, 6)[bands], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    written = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
               for kind, data in chunks)  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_sixteen_bits_of_a_png_have_that_scale_whatever_stands_beside_them(bands: int) -> None:
    """Where Pillow looks for EXIF it reads a PNG's pixels, and how many bits they have is then no longer known."""
    image = np.array(picture().convert({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[bands])).reshape(32, 48, bands)
    decode(png(image.astype(np.uint16) * 257), 32)
    for bits in (8, 12):
        with pytest.raises(DataError, match="16-bit values below 4096: nearly black"):
            decode(png(image.astype(np.uint16) << bits - 8), 32)


def test_dead_pixels_do_not_make_a_dark_image_a_bright_one() -> None:
    values = np.array(picture().convert("L")).astype(np.uint16)
    values[5, 7] = 65_535
    with pytest.raises(DataError, match="16-bit values below 4096 but in 1 of 1,536 pixels: nearly black"):
        decode(png(values[..., None]), 32)


def test_few_stars_in_a_black_sky_are_a_picture() -> None:
    values = np.zeros((200, 200, 1), np.uint16)
    values[10:170:10, 5] = 65_535  # 16 of 40,000
    assert decode(png(values), SIDE).any()


def test_a_tiff_whose_white_is_zero_is_not_read_as_its_negative() -> None:
    image = np.array(picture().convert("L"))
    content = bytearray(tiff(65_535 - image.astype(np.uint16) * 257))
    place = content.index(struct.pack("<HHI", 262, 3, 1)) + 8
    content[place : place + 2] = bytes(2)
    assert np.array_equal(decode(bytes(content), 32)[..., 0], image)
    assert np.array_equal(decode(upright_png(bytes(content)), 32)[..., 0], image)


def test_sixteen_bits_that_are_all_zero_are_black() -> None:
    assert not decode(encoded(Image.fromarray(np.zeros((32, 32), np.uint16))), SIDE).any()


@pytest.mark.parametrize(
    ("written", "ending"),
    [("JPEG", ".jpg"), ("PNG", ".png"), ("GIF", ".gif"), ("BMP", ".bmp"), ("TIFF", ".tif"), ("WEBP", ".webp"),
     ("AVIF", ".avif"), ("JPEG2000", ".jp2"), ("PPM", ".ppm")],
)  # fmt: skip
def test_the_ending_of_a_format_is_told_by_its_first_bytes(written: str, ending: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20)).save(buffer, written)
    assert written in FORMATS and ending_of(buffer.getvalue()) == ending
    assert ending_of(b"something else") == ".image"


@pytest.mark.parametrize("name", ["disk.img", "/dev/zero"])
def test_a_file_larger_than_any_image_is_put_aside_unread(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode_many, "_MOST_BYTES", 1 << 10)  # instead of 1 << 30
    (tmp_path / "disk.img").write_bytes(bytes((1 << 10) + 1))
    [one] = decode_many.decode_files([tmp_path / name], SIDE)
    assert (one.pixels, one.problem) == (None, "more than 0 GB, which no image takes")
