"""Ice crystals on a window, drawn: feathers that grow from the borders and from grains, on a thin film of ice.

In: a random generator. Out: a piece of a drawn texture, float32 in 0..1. Read by weather.py.
"""

import functools
import math

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from drift_detector_pipeline.arrays import Float32s, Float64s

TEXTURES, TEXTURE_PX = 4, 640
FEATHERS, FINER = 90, 2  # roots of two feathers each; drawn so much larger, for smooth lines
PIECE_PX = 224  # of a texture, shown on an image of any side of 224 px or less

_ICE = np.array([0.92, 0.98, 1.05], dtype=np.float32)  # bluish


def ice_like(sides: tuple[int, int], rng: np.random.Generator) -> Float32s:
    """A random piece of a random texture, mirrored or not: float32 (H, W, 3) in 0..1."""
    texture = _scaled(int(rng.integers(TEXTURES)), max(sides))
    top, left = (int(rng.integers(0, have - want + 1)) for have, want in zip(texture.shape, sides, strict=False))
    piece = texture[top : top + sides[0], left : left + sides[1]]
    return piece[:, :: int(rng.choice((-1, 1)))]


@functools.lru_cache(maxsize=2 * TEXTURES)
def _scaled(number: int, side_px: int) -> Float32s:
    """A texture in which a piece of `side_px` shows as much as every other image: float32 (P, P, 3)."""
    piece_px = min(PIECE_PX, 4 * side_px)  # on a tiny image crystals are drawn larger than to scale, to be seen
    side = round(TEXTURE_PX * side_px / piece_px)
    gray = np.asarray(Image.fromarray(_drawn(number)).resize((side, side), Image.Resampling.BOX))
    return np.clip(gray[..., None] * _ICE, 0, 1)


@functools.lru_cache(maxsize=TEXTURES)
def _drawn(number: int) -> Float32s:
    """A texture: float32 (640, 640) in 0..1, thin film dark, crystals bright."""
    rng = np.random.default_rng((0x1CE, number))
    canvas = Image.new("L", (FINER * TEXTURE_PX, FINER * TEXTURE_PX))
    pen = ImageDraw.Draw(canvas)
    for _ in range(FEATHERS):
        root, heading = rng.uniform(0, FINER * TEXTURE_PX, 2), rng.uniform(0, 360)
        for turn in rng.choice([0, 60, 120, 180, 240, 300], 2, replace=False):
            _grow(pen, root, heading + turn, FINER * rng.uniform(60, 220), rng)
    lines = np.asarray(canvas.resize((TEXTURE_PX, TEXTURE_PX), Image.Resampling.BOX), dtype=np.float32) / 255
    glow = ndimage.gaussian_filter(lines, 3, mode="wrap")
    film = ndimage.gaussian_filter(rng.standard_normal(lines.shape, dtype=np.float32), 20, mode="wrap")
    grain = ndimage.gaussian_filter(rng.standard_normal(lines.shape, dtype=np.float32), 0.7, mode="wrap")
    ice = 0.75 * lines + 0.6 * glow + (0.15 + 3 * film) * (1 + 0.5 * grain)
    return np.asarray(np.clip(ice, 0, 1))


def _grow(pen: ImageDraw.ImageDraw, place: Float64s, heading: float, length: float, rng: np.random.Generator) -> None:
    """Draw a feather: a bent stem, and on both sides needles at 60 degrees that carry needles themselves."""
    bend, step = rng.normal(0, 0.7), FINER * 2.5
    fullness, light = rng.uniform(0.12, 0.3), int(rng.integers(110, 230))
    for reached in np.arange(0, length, step):
        onward = place + step * _direction(heading)
        pen.line([*place, *onward], fill=light, width=3)
        for side in (-60, 60):
            needle = fullness * (length - reached) * rng.uniform(0.5, 1)
            end = place + needle * _direction(heading + side)
            pen.line([*place, *end], fill=int(light * rng.uniform(0.5, 1)), width=2)
            shares = np.arange(0.3, 1, step / max(needle, step))[:, None]
            starts = place + shares * (end - place)
            twigs = starts + 0.35 * needle * (1 - shares) * _direction(heading)
            for twig in np.concatenate([starts, twigs], axis=1).tolist():
                pen.line(twig, fill=int(light * 0.6), width=1)
        place, heading = onward, heading + bend


def _direction(degrees: float) -> Float64s:
    return np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
