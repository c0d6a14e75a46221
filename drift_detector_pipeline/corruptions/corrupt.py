"""Fifteen kinds of corruption at five severities, and benign changes, for uint8 images of any side from 8 px on.

In: uint8 (N, H, W, 3) inference crops and a key an image. Out: the same shape. What becomes of an image depends on
(seed, its key, kind, severity) alone, whatever else is in the batch. Read by twins, study and sheet.
Kinds and severities: Hendrycks & Dietterich 2019 (arXiv 1903.12261), written from the description.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Pixels
from drift_detector_pipeline.corruptions import benign, blur, digital, noise, weather
from drift_detector_pipeline.corruptions.strength import strength

SEVERITIES = (1, 2, 3, 4, 5)
SMALLEST_PX = 8

_FAMILIES: dict[str, dict[str, Callable[..., Float32s]]] = {
    "noise": {
        "gaussian_noise": noise.gaussian_noise,
        "shot_noise": noise.shot_noise,
        "impulse_noise": noise.impulse_noise,
    },
    "blur": {
        "defocus_blur": blur.defocus_blur,
        "glass_blur": blur.glass_blur,
        "motion_blur": blur.motion_blur,
        "zoom_blur": blur.zoom_blur,
    },
    "weather": {
        "snow": weather.snow,
        "frost": weather.frost,
        "fog": weather.fog,
        "brightness": weather.brightness,
    },
    "digital": {
        "contrast": digital.contrast,
        "elastic": digital.elastic,
        "pixelate": digital.pixelate,
        "jpeg": digital.jpeg,
    },
}
FAMILIES: dict[str, tuple[str, ...]] = {family: tuple(kinds) for family, kinds in _FAMILIES.items()}
KINDS: tuple[str, ...] = tuple(kind for kinds in FAMILIES.values() for kind in kinds)
_FUNCTIONS = {kind: function for kinds in _FAMILIES.values() for kind, function in kinds.items()}

_BENIGN: dict[str, Callable[[Pixels], Pixels]] = {
    "flip": benign.flip,
    "shift": benign.shift,
    "resample": benign.resample,
    "jpeg95": benign.jpeg95,
    "brighter": benign.brighter,
    "darker": benign.darker,
}
BENIGN: tuple[str, ...] = tuple(_BENIGN)

_CHUNK_PIXELS = 2**18  # so many at a time: float copies stay in the processor's cache


def corrupt(images: Pixels, kind: str, severity: int, *, keys: Sequence[int], seed: int = 0) -> Pixels:
    """Corrupt uint8 (N, H, W, 3) with a kind of KINDS at a severity from 1 to 5.

    `keys`: N whole numbers from 0 on that tell the images apart, such as their index. Raises ValueError for a kind,
    severity, shape or key that does not exist.
    """
    if kind not in KINDS or severity not in SEVERITIES:
        raise ValueError(f"expected a kind of {KINDS} and a severity of {SEVERITIES}, got {kind!r}, {severity!r}")
    check_images(images, keys)
    numbers = strength(kind, severity, min(images.shape[1:3]))
    result = np.empty_like(images)
    for part in chunks(images):
        rngs = [generator(kind, seed, int(key)) for key in keys[part]]
        changed = _FUNCTIONS[kind](images[part].astype(np.float32) / 255, rngs, **numbers)
        result[part] = (np.clip(changed, 0, 1) * 255 + 0.5).astype(np.uint8)
    return result


def change_benignly(images: Pixels, change: str) -> Pixels:
    """Apply a change of BENIGN to uint8 (N, H, W, 3). Raises ValueError for a change or shape that does not exist."""
    if change not in BENIGN:
        raise ValueError(f"expected a change of {BENIGN}, got {change!r}")
    check_images(images, range(len(images)))
    return _BENIGN[change](images) if len(images) else images.copy()


def generator(kind: str, seed: int, key: int) -> np.random.Generator:
    """The random generator of one image and kind, the same at every severity: the same flakes, only thicker."""
    return np.random.default_rng((zlib.crc32(kind.encode()), seed, key))


def check_images(images: Pixels, keys: Sequence[int]) -> None:
    """Raise ValueError unless images are uint8 (N, H, W, 3), large enough, and have a key each."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or min(images.shape[1:3]) < SMALLEST_PX:
        raise ValueError(
            f"expected uint8 (N, H, W, 3) with sides of {SMALLEST_PX} px or more, got {images.dtype} {images.shape}"
        )
    if len(keys) != len(images):
        raise ValueError(f"expected a key for each of {len(images)} images, got {len(keys)}")


def chunks(images: Pixels) -> Iterator[slice]:
    """Slices of the N images, small enough that float copies stay in the processor's cache."""
    size = max(1, _CHUNK_PIXELS // (images.shape[1] * images.shape[2]))
    return (slice(start, start + size) for start in range(0, len(images), size))
