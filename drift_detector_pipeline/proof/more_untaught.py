"""Further changes that no reference learns from, as a first visitor may try them: light, framing, things in the way.

In: uint8 (N, S, S, 3). Out: the same shape. Random numbers are seeded. Read by the study of changes nobody taught. None
of these was looked at while the estimate of the accuracy was made.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from drift_detector_pipeline.arrays import Float64s, Pixels
from drift_detector_pipeline.proof.untaught import of_each, to_pixels


def noisy_night(images: Pixels) -> Pixels:
    """An eighth of the light, and a sensor's noise."""
    dark = np.abs(np.random.default_rng(1).normal(0, 9, images.shape))
    return to_pixels(0.12 * images.astype(np.float64) + dark)


def glare(images: Pixels) -> Pixels:
    """A lamp in the picture."""
    return to_pixels(images + 255 * _spot(images, 0.3, 0.65, 0.22)[..., None])


def stripes(images: Pixels) -> Pixels:
    """Brightness that swings from column to column."""
    swing = 60 * np.sin(np.arange(images.shape[2]) * 2 * np.pi / 6)
    return to_pixels(images + swing[None, None, :, None])


def gray_bars(images: Pixels) -> Pixels:
    """Two upright bars."""
    return _painted(images, (slice(None), _part(images, 0.25, 0.375)), (slice(None), _part(images, 0.625, 0.75)))


def dirty_lens(images: Pixels) -> Pixels:
    """Seven blurred grey spots."""
    rng = np.random.default_rng(2)
    spots = [_spot(images, rng.random(), rng.random(), rng.uniform(0.05, 0.12)) for _ in range(7)]
    cover = np.max(spots, axis=0)[..., None]
    return to_pixels(images * (1 - cover) + 90 * cover)


def thick(images: Pixels) -> Pixels:
    """What is bright grows."""
    return np.stack([ndimage.grey_dilation(image, (4, 4, 1)) for image in images])


def thin(images: Pixels) -> Pixels:
    """What is bright shrinks."""
    return np.stack([ndimage.grey_erosion(image, (4, 4, 1)) for image in images])


def half_inverted(images: Pixels) -> Pixels:
    """A negative on the left."""
    result, middle = images.copy(), images.shape[2] // 2
    result[:, :, :middle] = 255 - result[:, :, :middle]
    return result


def corner(images: Pixels) -> Pixels:
    """Three quarters of each side, from the top left corner, enlarged."""
    return of_each(images, lambda image: image.resize(image.size, box=(0, 0, 0.75 * image.width, 0.75 * image.height)))


def three_tones(images: Pixels) -> Pixels:
    """Black, middle and white in each colour."""
    return np.asarray(images // 86 * 127, dtype=np.uint8)


def checkerboard(images: Pixels) -> Pixels:
    """Squares of an eighth of the side laid over."""
    down, along = np.indices(images.shape[1:3]) * 8 // images.shape[1]
    return to_pixels(0.75 * images.astype(np.float64) + 70.0 * ((down + along) % 2)[..., None])


def shadow(images: Pixels) -> Pixels:
    """A third of the light in one corner."""
    down, along = np.indices(images.shape[1:3])
    return to_pixels(images.astype(np.float64) * np.where(down + along < images.shape[1], 0.3, 1)[..., None])


def stamped(images: Pixels) -> Pixels:
    """A word across."""
    return of_each(images, lambda image: _written(image, "DRAFT", 0.3, (255, 60, 60)))


def dated(images: Pixels) -> Pixels:
    """A white strip below, with the time."""
    strip = _painted(images, (_part(images, 0.78, 1), slice(None)), level=255)
    return of_each(strip, lambda image: _written(image, "12:45", 0.68, (0, 0, 0)))


def framed(images: Pixels) -> Pixels:
    """A light frame of an eighth of the side."""
    result, wide = np.full_like(images, 200), images.shape[1] // 8
    result[:, wide:-wide, wide:-wide] = images[:, wide:-wide, wide:-wide]
    return result


def far_away(images: Pixels) -> Pixels:
    """At 60 % in the middle, black around."""
    return of_each(images, lambda image: _placed(image, 0.6))


def twice(images: Pixels) -> Pixels:
    """Two of them beside each other, narrow."""
    narrow = of_each(images, lambda image: image.resize((image.width // 2, image.height)).resize(image.size))[:, :, ::2]
    return np.concatenate([narrow, np.roll(narrow, 1, 0)], axis=2)[:, :, : images.shape[2]]


def dropped_rows(images: Pixels) -> Pixels:
    """Every third row is black."""
    result = images.copy()
    result[:, ::3] = 0
    return result


def tinted(images: Pixels) -> Pixels:
    """A green cast."""
    return to_pixels(images * np.array([0.55, 1, 0.75]) + np.array([0, 25, 10]))


def watermark(images: Pixels) -> Pixels:
    """A light patch that lets through."""
    result = images.astype(np.float64)
    rows, columns = _part(images, 0.7, 0.97), _part(images, 0.44, 0.97)
    result[:, rows, columns] = 0.4 * result[:, rows, columns] + 153
    return to_pixels(result)


def sheared(images: Pixels) -> Pixels:
    """Slanted by a third."""
    return of_each(images, lambda image: _moved(image, (1, 0.35, -0.175 * image.height, 0, 1, 0)))


def wavy(images: Pixels) -> Pixels:
    """Rows moved by a wave."""
    by = np.round(images.shape[1] / 11 * np.sin(np.arange(images.shape[1]) * 10 / images.shape[1])).astype(int)
    return np.stack([np.roll(images[:, row], by[row], axis=1) for row in range(images.shape[1])], axis=1)


def grid(images: Pixels) -> Pixels:
    """White lines at every quarter."""
    result, step = images.copy(), images.shape[1] // 4
    result[:, ::step], result[:, :, ::step] = 255, 255
    return result


def sticker(images: Pixels) -> Pixels:
    """A yellow dot."""
    result = images.copy()
    result[:, _spot(images, 0.3, 0.65, 0.2) > np.exp(-0.6)] = (250, 220, 40)
    return result


def ghost(images: Pixels) -> Pixels:
    """A second, fainter picture beside the first."""
    return to_pixels(0.6 * (images.astype(np.float64) + np.roll(images, images.shape[2] // 5, axis=2)))


def cloudy(images: Pixels) -> Pixels:
    """The dark filled with soft light and shade."""
    side = images.shape[1]
    clouds = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=images.shape[1:3]), side / 11)
    level = 140 * (clouds - clouds.min()) / np.ptp(clouds)
    return np.maximum(images, to_pixels(level)[..., None])


def moved_up(images: Pixels) -> Pixels:
    """A quarter of the side higher, black from below."""
    result, by = np.zeros_like(images), images.shape[1] // 4
    result[:, :-by] = images[:, by:]
    return result


def outlines(images: Pixels) -> Pixels:
    """Where it changes, and black elsewhere."""
    return np.stack([ndimage.morphological_gradient(image, (3, 3, 1)) for image in images])


def struck_out(images: Pixels) -> Pixels:
    """A white line across."""
    return _painted(images, (_part(images, 0.44, 0.54), slice(None)), level=255)


def flipped_pixels(images: Pixels) -> Pixels:
    """A fifth of the pixels as negatives."""
    some = np.random.default_rng(6).random(images.shape[:3]) < 0.2
    return np.where(some[..., None], 255 - images, images)


def clipped(images: Pixels) -> Pixels:
    """Twice the contrast, dark half black."""
    return to_pixels(2.0 * (images.astype(np.float64) - 128))


MORE_UNTAUGHT: dict[str, Callable[[Pixels], Pixels]] = {
    change.__name__: change
    for change in (
        noisy_night, glare, stripes, gray_bars, dirty_lens, thick, thin, half_inverted, corner, three_tones,
        checkerboard, shadow, stamped, dated, framed, far_away, twice, dropped_rows, tinted, watermark, sheared, wavy,
        grid, sticker, ghost, cloudy, moved_up, outlines, struck_out, flipped_pixels, clipped,
    )
}  # fmt: skip


def _part(images: Pixels, start: float, end: float) -> slice:
    side = images.shape[1]
    return slice(round(start * side), round(end * side))


def _painted(images: Pixels, *places: tuple[slice, slice], level: int = 128) -> Pixels:
    result = images.copy()
    for rows, columns in places:
        result[:, rows, columns] = level
    return result


def _spot(images: Pixels, down: float, along: float, wide: float) -> Float64s:
    """1 in the middle of a spot, less around it: (S, S)."""
    places = np.indices(images.shape[1:3]) / images.shape[1]
    return np.asarray(np.exp(-((places[0] - down) ** 2 + (places[1] - along) ** 2) / (2 * wide**2)))


def _written(image: Image.Image, words: str, at: float, colour: tuple[int, int, int]) -> Image.Image:
    ImageDraw.Draw(image).text((1, at * image.height), words, fill=colour, font_size=max(8, image.height // 3))
    return image


def _placed(image: Image.Image, share: float) -> Image.Image:
    small = image.resize((round(share * image.width), round(share * image.height)))
    whole = Image.new("RGB", image.size)
    whole.paste(small, ((image.width - small.width) // 2, (image.height - small.height) // 2))
    return whole


def _moved(image: Image.Image, affine: tuple[float, ...]) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
