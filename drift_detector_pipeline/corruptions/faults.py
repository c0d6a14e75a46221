"""Faults of pipelines by name: what a service does wrong to images before the model sees them.

In: uint8 (N, H, W, 3) inference crops of any side from 8 px on and a key an image. Out: the same shape. What becomes of
an image depends on (seed, its key, fault, level) alone. Read by twins, the cause of a drift and the study of causes.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.corruptions import framing, tones
from drift_detector_pipeline.corruptions.corrupt import (
    FAMILIES,
    KINDS,
    SEVERITIES,
    check_images,
    chunks,
    corrupt,
    generator,
)
from drift_detector_pipeline.corruptions.noise import Generators


class Fault(NamedTuple):
    """One way in which a pipeline goes wrong."""

    group: str  # of GROUPS
    function: Callable[[Pixels, Generators, float], Pixels]
    strengths: tuple[float, ...] = (0,)  # what the function takes at level 1, 2, ...
    inverse: str | None = None  # the fault that undoes it at the same strength, or brings it nearer
    keeps_meaning: bool = True  # no class becomes another one by it, whatever the classes are

    @property
    def levels(self) -> tuple[int, ...]:
        """1 for a fault that either is or is not; 1 to 3 for one of degrees."""
        return tuple(range(1, len(self.strengths) + 1))


MOVING = ("framing", "orientation")  # groups of faults after which a thing is no longer where it was
FAULTS: dict[str, Fault] = {
    "swapped_channels": Fault("colour", tones.swap_channels, inverse="swapped_channels"),
    "yuv_as_rgb": Fault("colour", tones.to_yuv, inverse="rgb_as_yuv"),
    "rgb_as_yuv": Fault("colour", tones.from_yuv, inverse="yuv_as_rgb"),
    "red_only": Fault("colour", tones.keep_red),
    "gray": Fault("colour", tones.drop_colour),
    "inverted": Fault("colour", tones.invert, inverse="inverted"),
    "warm": Fault("colour", tones.warm_up, (0.12, 0.25, 0.45), "cold"),
    "cold": Fault("colour", tones.cool_down, (0.12, 0.25, 0.45), "warm"),
    "few_tones": Fault("colour", tones.few_tones, (8, 4, 2)),
    "not_divided": Fault("range", tones.multiply, (255,)),
    "divided_twice": Fault("range", tones.divide, (255,), "not_divided"),
    "normalised_twice": Fault("range", tones.normalise),
    "not_normalised": Fault("range", tones.denormalise, inverse="normalised_twice"),
    "dark": Fault("light", tones.divide, (1.4, 2, 3), "over_exposed"),
    "over_exposed": Fault("light", tones.multiply, (1.3, 1.7, 2.5), "dark"),
    "gamma_dark": Fault("light", tones.darken_tones, (1.4, 2, 3), "gamma_bright"),
    "gamma_bright": Fault("light", tones.lighten_tones, (1.4, 2, 3), "gamma_dark"),
    "night": Fault("light", tones.night, (2, 4, 8)),
    "vignette": Fault("light", tones.vignette, (0.5, 0.75, 1)),
    "lens_dirt": Fault("light", tones.lens_dirt, (0.1, 0.2, 0.35)),
    "sharpened": Fault("detail", framing.sharpen, (0.6, 1.5, 3)),
    "denoised": Fault("detail", framing.denoise, (1, 2, 3)),
    "nearest_filter": Fault("detail", framing.nearest_filter, (1.25, 1.6, 2.2)),
    "thumbnail": Fault("detail", framing.thumbnail, (1.25, 1.6, 2.2)),
    "gaussian_blur": Fault("detail", framing.smear, (0.6, 1, 1.8)),
    "gray_noise": Fault("detail", tones.gray_noise, (6, 14, 30)),
    "stretched": Fault("framing", framing.stretch, (1.2, 1.5, 2)),
    "letterbox": Fault("framing", framing.letterbox, (4 / 3, 16 / 9, 2.4)),
    "zoomed_in": Fault("framing", framing.zoom_in, (1.2, 1.5, 2)),
    "zoomed_out": Fault("framing", framing.zoom_out, (1.2, 1.5, 2), "zoomed_in"),
    "shifted": Fault("framing", framing.shift, (0.1, 0.2, 0.35)),
    "upside_down": Fault("orientation", framing.turn_over, inverse="upside_down", keeps_meaning=False),
    "mirrored": Fault("orientation", framing.mirror, inverse="mirrored", keeps_meaning=False),
    "turned_90": Fault("orientation", framing.turn, (1,), "turned_270", keeps_meaning=False),
    "turned_180": Fault("orientation", framing.turn, (2,), "turned_180", keeps_meaning=False),
    "turned_270": Fault("orientation", framing.turn, (3,), "turned_90", keeps_meaning=False),
    "double_jpeg": Fault("transmission", framing.double_jpeg, (50, 25, 12)),
    "low_bitrate": Fault("transmission", framing.low_bitrate, (40, 20, 8)),
    "interlaced": Fault("transmission", framing.interlace, (1 / 32, 1 / 16, 1 / 8)),
    "truncated": Fault("transmission", framing.truncate, (0.2, 0.4, 0.6)),
    "banner": Fault("overlay", framing.banner, (0.15, 0.25, 0.4)),
    "covered": Fault("overlay", framing.cover, (0.06, 0.15, 0.3)),
}
REVERSIBLE: tuple[str, ...] = (  # undone to the last bit, so that undoing them tells whether they were there
    "swapped_channels", "inverted", "upside_down", "mirrored", "turned_90", "turned_180", "turned_270",
)  # fmt: skip
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(fault.group for fault in FAULTS.values()))


def apply_fault(images: Pixels, name: str, level: int, *, keys: Sequence[int], seed: int = 0) -> Pixels:
    """Do to uint8 (N, H, W, 3) what a fault of FAULTS does at one of its levels.

    `keys`: N whole numbers from 0 on that tell the images apart, such as their index. Raises ValueError for a fault,
    level, shape or key that does not exist.
    """
    if name not in FAULTS or level not in FAULTS[name].levels:
        raise ValueError(f"expected a fault of {tuple(FAULTS)} and one of its levels, got {name!r}, {level!r}")
    fault = FAULTS[name]
    return _in_chunks(images, keys, name, seed, fault.function, fault.strengths[level - 1])


def undo_fault(images: Pixels, name: str, level: int) -> Pixels:
    """Apply the inverse of a fault at a level to uint8 (N, H, W, 3). Raises ValueError if it has none."""
    fault = FAULTS.get(name)
    if fault is None or fault.inverse is None or level not in fault.levels:
        raise ValueError(f"expected a fault with an inverse and one of its levels, got {name!r}, {level!r}")
    function, strength = FAULTS[fault.inverse].function, fault.strengths[level - 1]
    if function is framing.turn:
        strength = 4 - strength
    return _in_chunks(images, range(len(images)), name, 0, function, strength)


def levels_of(kind: str) -> tuple[int, ...]:
    """The severities of a kind of corruption, or the levels of a fault. Raises ValueError for neither."""
    if kind in FAULTS:
        return FAULTS[kind].levels
    if kind in KINDS:
        return SEVERITIES
    raise ValueError(f"expected a kind of {(*KINDS, *FAULTS)}, got {kind!r}")


def family_of(kind: str) -> str:
    """The family of a corruption or the group of a fault. Raises ValueError for neither."""
    families = {one: family for family, kinds in FAMILIES.items() for one in kinds}
    if kind in FAULTS:
        return FAULTS[kind].group
    if kind in families:
        return families[kind]
    raise ValueError(f"expected a kind of {(*KINDS, *FAULTS)}, got {kind!r}")


def change(images: Pixels, kind: str, level: int, *, keys: Sequence[int], seed: int = 0) -> Pixels:
    """Apply a corruption of KINDS at a severity, or a fault of FAULTS at a level: see `corrupt`, `apply_fault`."""
    does = apply_fault if kind in FAULTS else corrupt
    return does(images, kind, level, keys=keys, seed=seed)


def _in_chunks(
    images: Pixels,
    keys: Sequence[int],
    name: str,
    seed: int,
    function: Callable[[Pixels, Generators, float], Pixels],
    strength: float,
) -> Pixels:
    check_images(images, keys)
    result = np.empty_like(images)
    for part in chunks(images):
        rngs = [generator(name, seed, int(key)) for key in keys[part]]
        result[part] = function(images[part], rngs, strength)
    return result
