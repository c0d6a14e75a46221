"""Faults of framing and transmission: what part of the scene is shown, which way up, and through which codec.

In: uint8 (N, H, W, 3), one random generator an image, a strength. Out: the same shape. Read by faults.py.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.corruptions.noise import Generators

_BILINEAR, _BICUBIC, _NEAREST = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.NEAREST


def turn_over(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """The first row becomes the last, as in a bitmap stored from below. Its own inverse."""
    del rngs, strength
    return images[:, ::-1].copy()


def mirror(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Left becomes right. Its own inverse."""
    del rngs, strength
    return images[:, :, ::-1].copy()


def turn(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Turn by `strength` quarters to the left; sides that differ are stretched back to their lengths."""
    del rngs
    turned = np.rot90(images, round(strength), axes=(1, 2))
    height, width = images.shape[1:3]
    if turned.shape == images.shape:
        return turned.copy()
    return _each(turned, lambda image: image.resize((width, height), _BILINEAR))


def stretch(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Squeeze the width, as when a wide picture is resized without cropping: `strength` is its aspect."""
    del rngs
    return _each(images, lambda image: _zoomed(image, 1, strength))


def letterbox(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Black bars above and below a picture whose aspect is `strength`."""
    del rngs
    height = images.shape[1]
    bar = max(1, round(height * (1 - 1 / strength) / 2))
    boxed = np.zeros_like(images)
    boxed[:, bar:-bar] = images[:, bar:-bar]
    return boxed


def zoom_in(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Crop too tightly: the middle, `strength` times as large."""
    del rngs
    return _each(images, lambda image: _zoomed(image, strength, strength))


def zoom_out(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Shrink by `strength` inside a black frame."""
    del rngs
    height, width = images.shape[1:3]
    small = (max(1, round(width / strength)), max(1, round(height / strength)))
    top, left = (height - small[1]) // 2, (width - small[0]) // 2
    framed = np.zeros_like(images)
    framed[:, top : top + small[1], left : left + small[0]] = _each(images, lambda image: image.resize(small, _BICUBIC))
    return framed


def shift(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Move down and right by the share `strength` of the sides; black comes in."""
    del rngs
    down, right = (max(1, round(strength * side)) for side in images.shape[1:3])
    moved = np.zeros_like(images)
    moved[:, down:, right:] = images[:, :-down, :-right]
    return moved


def sharpen(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Add `strength` times the difference to a blurred copy."""
    del rngs
    radius = max(1.0, min(images.shape[1:3]) / 112)
    return _each(images, lambda image: image.filter(ImageFilter.UnsharpMask(radius, round(100 * strength), 0)))


def smear(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Blur by a Gaussian whose deviation is `strength` px at 64 px and below, and in proportion above."""
    del rngs
    sigma_px = strength * max(1, min(images.shape[1:3]) / 64)
    return _each(images, lambda image: image.filter(ImageFilter.GaussianBlur(sigma_px)))


def denoise(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Take the median of what lies up to `strength` px around (more above 150 px): noise goes, and fine detail."""
    del rngs
    reach = round(strength * max(1, min(images.shape[1:3]) / 150))
    return _each(images, lambda image: image.filter(ImageFilter.MedianFilter(2 * reach + 1)))


def nearest_filter(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Shrink by `strength` and enlarge again by copying the nearest pixel: jagged edges."""
    del rngs
    return _each(images, lambda image: _through(image, strength, _NEAREST))


def thumbnail(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Shrink by `strength` without smoothing and enlarge smoothly: a preview in place of the picture."""
    del rngs
    return _each(images, lambda image: _through(image, strength, _BILINEAR))


def double_jpeg(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Compress as JPEG twice, the second time with other blocks, the better one at quality 75."""
    del rngs
    return _each(images, lambda image: _jpeg(_rolled(_jpeg(_rolled(image, 4), 75, 0), -4), round(strength), 2))


def low_bitrate(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Half the resolution, strong blocks (JPEG quality `strength`) and a quarter of the colour: cheap video."""
    del rngs
    return _each(images, lambda image: _cheap_video(image, round(strength)))


def interlace(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Every other row from a moment later: moved by the share `strength` of the width."""
    del rngs
    by_px = max(1, round(strength * images.shape[2]))
    combed = images.copy()
    combed[:, 1::2] = np.concatenate([images[:, 1::2, :1].repeat(by_px, 2), images[:, 1::2, :-by_px]], axis=2)
    return combed


def truncate(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """Gray from below, over the share `strength`: a file that did not arrive whole."""
    del rngs
    broken = images.copy()
    broken[:, images.shape[1] - max(1, round(strength * images.shape[1])) :] = 128
    return broken


def banner(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """A dark bar below, over the share `strength` of the height, with bright strokes of an ever other text."""
    covered = images.copy()
    bar = max(3, round(strength * images.shape[1]))
    covered[:, -bar:] //= 4
    for image, rng in zip(covered, rngs, strict=True):
        stroke = max(1, bar // 6)
        letters = rng.random((5, images.shape[2] // stroke + 1)) < 0.45
        text = letters.repeat(stroke, 0).repeat(stroke, 1)[: bar - 2, : images.shape[2]]
        image[-bar + 1 : -bar + 1 + len(text)][text] = 245
    return covered


def cover(images: Pixels, rngs: Generators, strength: float) -> Pixels:
    """A dark thing before the lens, at a random place, that hides the share `strength` of the image."""
    covered = images.copy()
    sides = [max(1, round(side * strength**0.5)) for side in images.shape[1:3]]
    for image, rng in zip(covered, rngs, strict=True):
        top, left = (int(rng.integers(0, side - own + 1)) for side, own in zip(image.shape, sides, strict=False))
        image[top : top + sides[0], left : left + sides[1]] = 25
    return covered


def _each(images: Pixels, change: Callable[[Image.Image], Image.Image]) -> Pixels:
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])


def _zoomed(image: Image.Image, wider: float, taller: float) -> Image.Image:
    width, height = image.width / wider, image.height / taller
    left, top = (image.width - width) / 2, (image.height - height) / 2
    return image.resize(image.size, _BICUBIC, box=(left, top, left + width, top + height))


def _through(image: Image.Image, shrink: float, enlarge: Image.Resampling) -> Image.Image:
    small = (max(2, round(image.width / shrink)), max(2, round(image.height / shrink)))
    return image.resize(small, _NEAREST).resize(image.size, enlarge)


def _rolled(image: Image.Image, by_px: int) -> Image.Image:
    return Image.fromarray(np.roll(np.asarray(image), by_px, axis=(0, 1)))


def _jpeg(image: Image.Image, quality: int, subsampling: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=quality, subsampling=subsampling)
    return Image.open(buffer)


def _cheap_video(image: Image.Image, quality: int) -> Image.Image:
    small = image.resize((max(4, image.width // 2), max(4, image.height // 2)), _BILINEAR)
    return _jpeg(small, quality, 2).convert("RGB").resize(image.size, _BILINEAR)
