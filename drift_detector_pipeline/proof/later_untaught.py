"""A third set of changes that no reference learns from: harder ones, and windows of which only some images changed.

In: uint8 (N, S, S, 3). Out: the same shape. Random numbers are seeded. Read by the study of changes nobody taught. None
of these was looked at while the estimate of the accuracy was made.
"""

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.proof.untaught import of_each, to_pixels


def quarter_inverted(images: Pixels) -> Pixels:
    """A negative at the top left."""
    result, middle = images.copy(), images.shape[1] // 2
    result[:, :middle, :middle] = 255 - result[:, :middle, :middle]
    return result


def moved_aside(images: Pixels) -> Pixels:
    """A third of the side to the left, black from the right."""
    result, by = np.zeros_like(images), images.shape[2] // 3
    result[:, :, :-by] = images[:, :, by:]
    return result


def rolled(images: Pixels) -> Pixels:
    """Half the side higher; what leaves at the top comes back from below."""
    return np.roll(images, images.shape[1] // 2, axis=1)


def halves_swapped(images: Pixels) -> Pixels:
    """Left and right half in each other's place."""
    return np.roll(images, images.shape[2] // 2, axis=2)


def kaleidoscope(images: Pixels) -> Pixels:
    """The left half, and its mirror image on the right."""
    left = images[:, :, : (images.shape[2] + 1) // 2]
    return np.concatenate([left, left[:, :, ::-1]], axis=2)[:, :, : images.shape[2]]


def tiled(images: Pixels) -> Pixels:
    """The same image four times, at half its side."""
    half = of_each(images, lambda image: image.resize((image.width // 2, image.height // 2)))
    return np.tile(half, (1, 2, 2, 1))


def tiny_on_gray(images: Pixels) -> Pixels:
    """At 35 % in the middle of a grey field."""
    return of_each(images, _tiny)


def zoomed_3(images: Pixels) -> Pixels:
    """The middle third, enlarged."""
    return of_each(images, lambda image: image.resize(image.size, box=_middle_third(image)))


def turned_45(images: Pixels) -> Pixels:
    """Turned by 45 degrees, corners black."""
    return of_each(images, lambda image: image.rotate(45, Image.Resampling.BICUBIC))


def from_aside(images: Pixels) -> Pixels:
    """As on a wall seen from the left: the right side at half its height."""
    return of_each(images, _in_perspective)


def swirled(images: Pixels) -> Pixels:
    """Turned by up to a quarter, less and less towards the rim."""
    side = images.shape[1]
    down, along = np.indices((side, side)) - (side - 1) / 2
    angle = np.pi / 2 * np.clip(1 - np.hypot(down, along) / (side / 2), 0, 1)
    rows = np.cos(angle) * down - np.sin(angle) * along + (side - 1) / 2
    columns = np.sin(angle) * down + np.cos(angle) * along + (side - 1) / 2
    moved = [[ndimage.map_coordinates(one[..., c], (rows, columns), order=1) for c in range(3)] for one in images]
    return np.ascontiguousarray(np.moveaxis(np.array(moved), 1, 3))


def shuffled_squares(images: Pixels) -> Pixels:
    """Sixteen squares in another order, the same in each image."""
    side = images.shape[1] // 4
    order, result = np.random.default_rng(7).permutation(16), images.copy()
    for new, old in enumerate(order):
        (down, along), (from_down, from_along) = divmod(new, 4), divmod(int(old), 4)
        result[:, down * side : (down + 1) * side, along * side : (along + 1) * side] = images[
            :, from_down * side : (from_down + 1) * side, from_along * side : (from_along + 1) * side
        ]
    return result


def black_squares(images: Pixels) -> Pixels:
    """Every other square of a quarter of the side is black."""
    down, along = np.indices(images.shape[1:3]) * 4 // images.shape[1]
    return np.where(((down + along) % 2)[..., None] == 1, 0, images)


def lower_half_gray(images: Pixels) -> Pixels:
    """A file of which the second half is missing."""
    result = images.copy()
    result[:, images.shape[1] // 2 :] = 128
    return result


def white_frame(images: Pixels) -> Pixels:
    """A frame of one pixel."""
    result = images.copy()
    result[:, [0, -1]], result[:, :, [0, -1]] = 255, 255
    return result


def three_lines(images: Pixels) -> Pixels:
    """Three lines of small writing."""
    return of_each(images, _written)


def purple(images: Pixels) -> Pixels:
    """Strong purple light."""
    return to_pixels(images * np.array([0.8, 0.1, 1]) + np.array([40, 0, 60]))


def two_levels(images: Pixels) -> Pixels:
    """Each colour on or off."""
    return np.asarray((images > 100) * np.uint8(255), dtype=np.uint8)


def too_bright(images: Pixels) -> Pixels:
    """Four times the light."""
    return to_pixels(4 * images.astype(np.float64))


def jpeg_1(images: Pixels) -> Pixels:
    """JPEG at its lowest quality."""
    return of_each(images, _jpeg_1)


def one_level(images: Pixels) -> Pixels:
    """Noise of one level of 255."""
    return to_pixels(images.astype(np.float64) + np.random.default_rng(8).integers(-1, 2, images.shape))


def single_pixels(images: Pixels) -> Pixels:
    """Three pixels of each image white."""
    rng, result = np.random.default_rng(9), images.copy()
    for image in result:
        image[rng.integers(0, image.shape[0], 3), rng.integers(0, image.shape[1], 3)] = 255
    return result


def double_exposure(images: Pixels) -> Pixels:
    """Half of it, half of the next one."""
    return to_pixels((images.astype(np.float64) + np.roll(images, 1, axis=0)) / 2)


def white(images: Pixels) -> Pixels:
    """Nothing but white."""
    return np.full_like(images, 255)


def black(images: Pixels) -> Pixels:
    """Nothing but black."""
    return np.zeros_like(images)


def half_of_them_dark(images: Pixels) -> Pixels:
    """Every second image at a quarter of the light, the others as they were."""
    return _every_second(images, images // 4)


def half_of_them_inverted(images: Pixels) -> Pixels:
    """Every second image as a negative."""
    return _every_second(images, 255 - images)


def half_of_them_turned(images: Pixels) -> Pixels:
    """Every second image upside down."""
    return _every_second(images, images[:, ::-1])


def half_of_them_noisy(images: Pixels) -> Pixels:
    """Every second image with strong noise."""
    return _every_second(images, to_pixels(images + np.random.default_rng(10).normal(0, 90, images.shape)))


def half_of_them_black(images: Pixels) -> Pixels:
    """Every second image black."""
    return _every_second(images, np.zeros_like(images))


LATER_UNTAUGHT: dict[str, Callable[[Pixels], Pixels]] = {
    change.__name__: change
    for change in (
        quarter_inverted, moved_aside, rolled, halves_swapped, kaleidoscope, tiled, tiny_on_gray, zoomed_3, turned_45,
        from_aside, swirled, shuffled_squares, black_squares, lower_half_gray, white_frame, three_lines, purple,
        two_levels, too_bright, jpeg_1, one_level, single_pixels, double_exposure, white, black, half_of_them_dark,
        half_of_them_inverted, half_of_them_turned, half_of_them_noisy, half_of_them_black,
    )
}  # fmt: skip


def _every_second(images: Pixels, changed: Pixels) -> Pixels:
    return np.where((np.arange(len(images)) % 2 == 1)[:, None, None, None], changed, images)


def _tiny(image: Image.Image) -> Image.Image:
    small = image.resize((round(0.35 * image.width), round(0.35 * image.height)))
    field = Image.new("RGB", image.size, (128, 128, 128))
    field.paste(small, ((image.width - small.width) // 2, (image.height - small.height) // 2))
    return field


def _middle_third(image: Image.Image) -> tuple[float, float, float, float]:
    return image.width / 3, image.height / 3, 2 * image.width / 3, 2 * image.height / 3


def _in_perspective(image: Image.Image) -> Image.Image:
    wide, high = image.size
    # 0.5 of the height at the right edge: y' = (y - h/2) / (1 - x/2w) + h/2, as a quotient of linear functions
    by = -0.5 / wide
    return image.transform(
        image.size, Image.Transform.PERSPECTIVE, (0.5, 0, 0, by * high / 2, 1, 0, by, 0), Image.Resampling.BICUBIC
    )


def _written(image: Image.Image) -> Image.Image:
    draw, size = ImageDraw.Draw(image), max(7, image.height // 5)
    for line, words in enumerate(("CAMERA 2", "LIVE", "no signal")):
        draw.text((1, (0.02 + 0.33 * line) * image.height), words, fill=(0, 255, 0), font_size=size)
    return image


def _jpeg_1(image: Image.Image) -> Image.Image:
    file = BytesIO()
    image.save(file, "JPEG", quality=1)
    return Image.open(file).convert("RGB")
