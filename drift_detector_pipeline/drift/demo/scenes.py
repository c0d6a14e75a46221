"""What the demonstration shows: ordinary images, the same after a fault and in fog, and images of no known class.

In: uint8 (N, S, S, 3) images of `pool` with labels. Out: four scenes. Read by the demonstration.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from drift_detector_pipeline.arrays import Float64s, Indices, Labels, Pixels
from drift_detector_pipeline.corruptions.faults import change

COLOUR_FAULT, GREY_FAULT = "swapped_channels", "inverted"  # without colour there is nothing to swap
FOG_SEVERITY = 3
LETTERS = "AEFHKMNPRTUVWXY"  # none that could pass for a digit
_GREY = 2.0  # mean difference between an image's channels, of 255, below which it has no colour
_DRAWN_PX, _LETTER_PX, _MARGIN_PX = 64, 45, 3
_MOST_TURNED = 15  # degrees
_GRAINS = (8, 12, 16, 24, 32, 48, 64)  # sides at which letters may be drawn before they are enlarged


class Scene(NamedTuple):
    """A folder of images and what they are."""

    name: str  # of the folder
    title: str
    about: str  # what was done, in a sentence
    images: Pixels  # (N, S, S, 3)
    labels: Labels | None  # None: of no class that the model knows, so no answer is right


def scenes_of(images: Pixels, labels: Labels, keys: Indices, classes: list[str]) -> list[Scene]:
    """The four scenes; `keys` tell the images apart, so that the same ones give the same scenes."""
    grey = float(np.ptp(images.astype(np.float64), axis=3).mean()) < _GREY
    fault, numbers = GREY_FAULT if grey else COLOUR_FAULT, keys.tolist()
    wrong = "the same images as a negative" if grey else "the same, red and blue swapped"
    faulty, foggy = change(images, fault, 1, keys=numbers), change(images, "fog", FOG_SEVERITY, keys=numbers)
    return [
        Scene("ordinary", "Ordinary images", "new ones of the same source", images, labels),
        Scene(fault, "A fault of the pipeline", wrong, faulty, labels),
        Scene("fog", "A change of the world", "the same images in fog", foggy, labels),
        _unseen(images, labels, grey and not any(len(name) == 1 and name.isalpha() for name in classes)),
    ]


def _unseen(images: Pixels, labels: Labels, by_letters: bool) -> Scene:
    title, rng = "Unseen content", np.random.default_rng(0)
    if by_letters:
        return Scene("letters", title, "drawn letters, of no class", _letters(images, rng), None)
    about = "mosaics of four images, of no one class"
    return Scene("mosaics", title, about, _mosaics(images, labels, rng), None)


def _letters(like: Pixels, rng: np.random.Generator) -> Pixels:
    """As many letters as there are images, in their tones and about as sharp as they are: content is what differs."""
    masks, side, wanted = [_letter(rng) for _ in like], like.shape[1], _sharpness(like.mean(axis=3))
    drawn = min((_drawn(masks, grain, side) for grain in _GRAINS), key=lambda one: abs(_sharpness(one) - wanted))
    paper = float(np.median(np.concatenate([like[:, [0, -1]], like[:, :, [0, -1]].swapaxes(1, 2)])))
    ink = max((float(np.percentile(like, share)) for share in (1, 99)), key=lambda tone: abs(tone - paper))
    tones = paper + (ink - paper) * drawn
    return np.repeat(tones.round().astype(np.uint8)[..., None], 3, axis=3)


def _letter(rng: np.random.Generator) -> Image.Image:
    sheet = Image.new("L", (_DRAWN_PX, _DRAWN_PX))
    letter, font = LETTERS[rng.integers(len(LETTERS))], ImageFont.load_default(_LETTER_PX)
    middle = (_DRAWN_PX / 2, _DRAWN_PX / 2)
    ImageDraw.Draw(sheet).text(middle, letter, fill=255, font=font, anchor="mm", stroke_width=2)
    turned = sheet.rotate(rng.uniform(-_MOST_TURNED, _MOST_TURNED), Image.Resampling.BICUBIC)
    left, top, right, bottom = turned.getbbox() or (0, 0, _DRAWN_PX, _DRAWN_PX)
    half = max(right - left, bottom - top) // 2 + _MARGIN_PX
    x, y = (left + right) // 2, (top + bottom) // 2
    return turned.crop((x - half, y - half, x + half, y + half)).resize((_DRAWN_PX, _DRAWN_PX))


def _drawn(masks: list[Image.Image], grain: int, side: int) -> Float64s:
    """The letters at a side of `grain` pixels, enlarged: (N, side, side) in 0..1."""
    small = (mask.resize((grain, grain), Image.Resampling.BOX) for mask in masks)
    return np.stack([np.asarray(one.resize((side, side), Image.Resampling.BICUBIC)) for one in small]) / 255


def _sharpness(light: Float64s) -> float:
    """How suddenly tones change along the rows, however often and by however much they do."""
    steps = np.diff(light, axis=2)
    return float(np.abs(np.diff(steps, axis=2)).mean() / np.abs(steps).mean())


def _mosaics(images: Pixels, labels: Labels, rng: np.random.Generator) -> Pixels:
    """As many images, each of the four corners of four others; of different classes where there are enough."""
    half, result = images.shape[1] // 2, images.copy()
    halves = slice(half), slice(half, None)
    for mosaic in result:
        order = rng.permutation(len(images))
        firsts = order[np.sort(np.unique(labels[order], return_index=True)[1])]  # one of each class, in that order
        parts = [*firsts[:4], *order[: max(0, 4 - len(firsts))]]
        for number, part in enumerate(parts):
            rows, columns = halves[number // 2], halves[number % 2]
            mosaic[rows, columns] = images[part, rows, columns]
    return result
