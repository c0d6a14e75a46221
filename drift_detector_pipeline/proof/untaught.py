"""Changes that no reference learns from: styles, filters and faults that are in no dictionary.

In: uint8 (N, S, S, 3). Out: the same shape. Nothing random but the noise, which is seeded. Read by the study.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter, ImageOps
from scipy import ndimage

from drift_detector_pipeline.arrays import Float64s, Pixels


def sketch(images: Pixels) -> Pixels:
    """Dark edges on white, as a pencil draws."""
    gray = images.mean(axis=3)
    edges = np.hypot(ndimage.sobel(gray, 1), ndimage.sobel(gray, 2))
    edges /= edges.max(axis=(1, 2), keepdims=True) + 1e-6
    return _gray(255 * (1 - edges) ** 2)


def cartoon(images: Pixels) -> Pixels:
    """Flat areas of few tones."""
    smooth = np.stack([ndimage.median_filter(image, (3, 3, 1)) for image in images])
    return np.asarray(smooth // 64 * 64 + 32, dtype=np.uint8)


def painting(images: Pixels) -> Pixels:
    """Strokes: the brighter of what lies around each pixel."""
    return np.stack([ndimage.percentile_filter(image, 70, (4, 4, 1)) for image in images])


def halftone(images: Pixels) -> Pixels:
    """Black and white dots, as newspapers print."""
    down, along = np.mgrid[: images.shape[1], : images.shape[2]]
    return _gray(255.0 * (images.mean(axis=3) > 127 + 100 * np.sin(2.1 * down) * np.sin(2.1 * along)))


def thermal(images: Pixels) -> Pixels:
    """False colours for brightness."""
    light = images.mean(axis=3) / 255
    planes = 1.5 * light, 2 * light - 0.6, 0.8 - 2 * np.abs(light - 0.4)
    return to_pixels(255 * np.stack([np.clip(plane, 0, 1) for plane in planes], axis=3))


def solarised(images: Pixels) -> Pixels:
    """What is brighter than half is inverted."""
    return np.where(images > 127, 255 - images, images)


def pale(images: Pixels) -> Pixels:
    """Half the contrast, on a grey of 100."""
    return np.asarray(images // 2 + 100, dtype=np.uint8)


def one_fifth(images: Pixels) -> Pixels:
    """A fifth of the light."""
    return images // 5


def lighter(images: Pixels) -> Pixels:
    """60 of 255 added."""
    return to_pixels(images.astype(np.float64) + 60)


def hue(images: Pixels) -> Pixels:
    """Every colour replaced by its complement, light as it was."""
    return of_each(images, _turned_hue)


def fringes(images: Pixels) -> Pixels:
    """Red and blue apart by a tenth of the image, as a bad lens does."""
    by_px = max(1, images.shape[2] // 10)
    return np.stack([np.roll(images[..., 0], by_px, 2), images[..., 1], np.roll(images[..., 2], -by_px, 2)], axis=3)


def bars(images: Pixels) -> Pixels:
    """A black bar across, a white one down."""
    result, side = images.copy(), images.shape[1]
    result[:, side // 3 : side // 3 + side // 5] = 0
    result[:, :, side // 2 : side // 2 + side // 6] = 255
    return result


def scan_lines(images: Pixels) -> Pixels:
    """Every fourth row dark."""
    light = np.where(np.arange(images.shape[1]) % 4 == 0, 0.3, 1)
    return to_pixels(images.astype(np.float64) * light[None, :, None, None])


def rows_swapped(images: Pixels) -> Pixels:
    """Neighbouring rows in each other's place."""
    return images[:, np.arange(images.shape[1] // 2 * 2) ^ 1] if images.shape[1] % 2 == 0 else images[:, ::-1]


def turned_20(images: Pixels) -> Pixels:
    """Turned by 20 degrees, corners black."""
    return of_each(images, lambda image: image.rotate(20, Image.Resampling.BICUBIC))


def blocks(images: Pixels) -> Pixels:
    """A quarter of the resolution, enlarged without smoothing."""
    return of_each(images, lambda image: image.reduce(4).resize(image.size, Image.Resampling.NEAREST))


def noise(images: Pixels) -> Pixels:
    """Normal noise of 40 of 255."""
    return to_pixels(images + np.random.default_rng(5).normal(0, 40, images.shape))


def equalised(images: Pixels) -> Pixels:
    """All levels equally often."""
    return of_each(images, ImageOps.equalize)


def embossed(images: Pixels) -> Pixels:
    """Light from the side on a grey relief."""
    return of_each(images, lambda image: image.filter(ImageFilter.EMBOSS))


def oversharp(images: Pixels) -> Pixels:
    """A mask of 400 %."""
    return of_each(images, lambda image: image.filter(ImageFilter.UnsharpMask(2, 400, 0)))


def shaken(images: Pixels) -> Pixels:
    """Smeared downwards."""
    return to_pixels(ndimage.uniform_filter1d(images.astype(np.float64), 5, axis=1))


UNTAUGHT: dict[str, Callable[[Pixels], Pixels]] = {
    change.__name__: change
    for change in (
        sketch, cartoon, painting, halftone, thermal, solarised, pale, one_fifth, lighter, hue, fringes, bars,
        scan_lines, rows_swapped, turned_20, blocks, noise, equalised, embossed, oversharp, shaken,
    )
}  # fmt: skip
STYLES = ("sketch", "cartoon", "painting", "halftone")  # what artists do to the same things


def _turned_hue(image: Image.Image) -> Image.Image:
    planes = list(image.convert("HSV").split())
    planes[0] = planes[0].point([(level + 128) % 256 for level in range(256)])
    return Image.merge("HSV", planes).convert("RGB")


def of_each(images: Pixels, change: Callable[[Image.Image], Image.Image]) -> Pixels:
    """Change one image after the other."""
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])


def _gray(values: Float64s) -> Pixels:
    return np.repeat(to_pixels(values)[..., None], 3, axis=3)


def to_pixels(values: Float64s) -> Pixels:
    """Values of any size as bytes, cut to 0..255."""
    return np.asarray(np.clip(values, 0, 255), dtype=np.uint8)
