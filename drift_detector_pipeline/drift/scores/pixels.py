"""What the pixels of an image say without any model: light, colour, detail, noise and blocks as 16 numbers.

In: uint8 (N, H, W, 3) inference crops. Out: float32 (N, P), one column a name of PIXELS. n: images of a chunk. Read by
signals.py.

Of images of LARGE_PX or more every other band of 16 rows is measured, which costs half: bands (n, H / 32, 16, W) in
place of rows (n, H, W), so that no step is taken across what was left out, and blocks of 8 x 8 keep their places.
"""

import math

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.arrays import Float32s, Pixels

LARGE_PX, BAND = 128, 16
STEPS = 16  # luma is kept in sixteenths of a gray level: 16-bit whole numbers are twice as fast as floats

Integers = npt.NDArray[np.int16]

# name -> channel, the word for people
PIXELS: dict[str, str] = {
    "luma": "brightness",  # mean, 0..255
    "black_level": "brightness",  # log of the darkest pixel's largest value: veils and stray light raise it
    "bright": "brightness",  # square root of the share of pixels with luma above 247
    "contrast": "contrast",  # log of the standard deviation of luma
    "saturation": "colour",  # log of the mean distance of the largest and the smallest of R, G, B
    "red_green": "colour",  # mean of R - G
    "yellow_blue": "colour",  # mean of (R + G) / 2 - B
    "colour_detail": "colour",  # log of the mean step of (R + G) / 2 - B from a pixel to the next
    "colour_noise": "colour",  # log of the noise of (R + G) / 2 - B, as below: JPEG lowers it
    "gradient": "sharpness",  # log of the mean squared step of luma
    "laplacian": "sharpness",  # log of the mean squared Laplacian
    "fine_to_coarse": "sharpness",  # gradient less the same at half the size: noise raises it, blur lowers it
    "noise": "sharpness",  # log of the standard deviation of noise (Immerkaer 1996)
    "noise_floor": "sharpness",  # the same from square roots: quiet places count more
    "blockiness": "sharpness",  # log of the step across borders of 8 x 8 blocks over that elsewhere
    "anisotropy": "sharpness",  # log of the mean squared step across over that down
}
SMALLEST_PX = {"fine_to_coarse": 16, "blockiness": 24, "anisotropy": 16}  # below, a score says nothing

_BRIGHT = 247
_NORMAL = np.float32(math.sqrt(math.pi / 2) / 6)  # from the mean step to the deviation of normal noise
_CHUNK_PIXELS = 2**16  # so many at a time: float copies stay in the processor's cache


def pixel_scores(images: Pixels) -> Float32s:
    """Measure uint8 (N, H, W, 3): float32 (N, P) in the order of `pixel_names`; P is smaller on tiny images.

    Raises ValueError for another shape or type.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or min(images.shape[1:3]) < 8:
        raise ValueError(f"expected uint8 (N, H, W, 3) with sides of 8 px or more, got {images.dtype} {images.shape}")
    names = pixel_names(min(images.shape[1:3]))
    result = np.empty((len(images), len(names)), dtype=np.float32)
    images = _every_other_band(images) if min(images.shape[1:3]) >= LARGE_PX else images
    size = max(1, _CHUNK_PIXELS // (images[0].size // 3))
    for start in range(0, len(images), size):
        found = _measured(images[start : start + size])
        result[start : start + size] = np.stack([found[name] for name in names], axis=1)
    return result


def pixel_names(side_px: int) -> list[str]:
    """The names of the scores that mean something on images whose shorter side is `side_px`."""
    return [name for name in PIXELS if side_px >= SMALLEST_PX.get(name, 0)]


def _every_other_band(images: Pixels) -> Pixels:
    """(N, H, W, 3) -> (N, B, 16, W, 3), the second, fourth... of all bands of 16 rows."""
    number, height, width, _ = images.shape
    bands = images[:, : height // BAND * BAND].reshape(number, -1, BAND, width, 3)
    return bands[:, 1::2]


def _measured(images: Pixels) -> dict[str, Float32s]:
    red, green, blue = np.moveaxis(images, -1, 0).copy()
    luma = red * np.uint16(77) + green * np.uint16(150) + blue * np.uint16(29)
    fine_luma = (luma >> 4).view(np.int16)
    yellow_blue = (red.astype(np.int16) + green) - blue * np.int16(2)
    largest = np.maximum(np.maximum(red, green), blue)
    span = largest - np.minimum(np.minimum(red, green), blue)
    colour_steps = _across(yellow_blue)
    light, colour = _mean(fine_luma) / STEPS, _mean(yellow_blue) / 2
    return {
        "luma": light,
        "black_level": np.log(largest.reshape(len(largest), -1).min(axis=1) + np.float32(4)),
        "bright": np.sqrt(_share(fine_luma > _BRIGHT * STEPS)),
        "contrast": np.log(np.sqrt(np.maximum(_mean_square(fine_luma) / STEPS**2 - light**2, 0)) + 1),
        "saturation": np.log(_mean(span) + 1),
        "red_green": _mean(red) - _mean(green),
        "yellow_blue": colour,
        "colour_detail": np.log(_mean(np.abs(colour_steps)) / 2 + 0.5),
        "colour_noise": np.log(_NORMAL * _mean(_second_steps(_across(colour_steps))) / 2 + 0.05),
        **_detail(fine_luma),
    }


def _detail(luma: Integers) -> dict[str, Float32s]:
    across, down = _across(luma), _down(luma)
    energy_across, energy_down = _mean_square(across) / STEPS**2, _mean_square(down) / STEPS**2
    energy = energy_across + energy_down + 1
    bends = _across(across)
    laplacian = bends[..., 1:-1, :] + _down(down)[..., 1:-1]
    steps = _second_steps(bends).astype(np.float32)
    return {
        "gradient": np.log(energy),
        "laplacian": np.log(_mean_square(laplacian) / STEPS**2 + 1),
        "fine_to_coarse": np.log(energy / _coarse_energy(luma)),
        "noise": np.log(_NORMAL * _mean(steps) / STEPS + 0.05),
        "noise_floor": np.log(_NORMAL * _mean(np.sqrt(steps)) ** 2 / STEPS + 0.05),
        "blockiness": _blockiness(np.abs(across), np.abs(down)),
        "anisotropy": np.log((energy_across + 1) / (energy_down + 1)),
    }


def _second_steps(bends: Integers) -> Integers:
    """The size of [1 -2 1] both ways, given it across: 0 on flat and on sloping areas, large on noise."""
    return np.abs(_down(_down(bends)))


def _coarse_energy(luma: Integers) -> Float32s:
    """The gradient energy of the image at half its size."""
    height, width = luma.shape[-2] // 2 * 2, luma.shape[-1] // 2 * 2
    rows = (luma[..., 0:height:2, :] + luma[..., 1:height:2, :]) >> 1
    half = (rows[..., 0:width:2] + rows[..., 1:width:2]) >> 1
    return np.asarray((_mean_square(_across(half)) + _mean_square(_down(half))) / STEPS**2 + 1)


def _blockiness(across: Integers, down: Integers) -> Float32s:
    """The grid is that of a JPEG file decoded at this size; half a gray level keeps flat images at 0."""
    if min(across.shape[-2:]) < 8:
        return np.zeros(len(across), dtype=np.float32)
    border = _mean(across[..., 7::8]) + _mean(down[..., 7::8, :])
    anywhere = _mean(across) + _mean(down)
    return np.asarray(np.log((border + STEPS / 2) / (anywhere + STEPS / 2)))


def _across(values: Integers) -> Integers:
    return values[..., 1:] - values[..., :-1]


def _down(values: Integers) -> Integers:
    return values[..., 1:, :] - values[..., :-1, :]


def _mean(values: npt.NDArray[np.generic]) -> Float32s:
    return np.asarray(_flat(values).sum(axis=1) / np.float32(values[0].size))


def _share(condition: npt.NDArray[np.bool_]) -> Float32s:
    flat = condition.reshape(len(condition), -1)
    return np.asarray(np.count_nonzero(flat, axis=1) / flat.shape[1], dtype=np.float32)


def _mean_square(values: npt.NDArray[np.generic]) -> Float32s:
    flat = _flat(values)
    return np.asarray(np.vecdot(flat, flat) / np.float32(flat.shape[1]))


def _flat(values: npt.NDArray[np.generic]) -> Float32s:
    return np.asarray(values.reshape(len(values), -1), dtype=np.float32)
