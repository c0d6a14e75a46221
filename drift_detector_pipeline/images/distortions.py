"""Other colours and other shapes for training: colour jitter and RandAugment.

What an operation does is torchvision's; how much of which is drawn here from a given generator, as torchvision's own
transforms draw from PyTorch's global one. A view is uint8 (1, 3, S, S) in RGB, before and after. Read by
augmentation.py.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from drift_detector_pipeline.images.model_input import IMAGENET_MEAN

if TYPE_CHECKING:
    from drift_detector_pipeline.settings import ColourJitter, RandAugment

OPERATIONS = (
    "identity", "autocontrast", "equalize", "brightness", "contrast", "saturation", "sharpness", "posterize",
    "solarize", "rotate", "shear_x", "shear_y", "translate_x", "translate_y",
)  # fmt: skip
STRONGEST = 30  # magnitude of RandAugment

_ADJUST = {
    "brightness": functional.adjust_brightness,
    "contrast": functional.adjust_contrast,
    "saturation": functional.adjust_saturation,
    "sharpness": functional.adjust_sharpness,
    "hue": functional.adjust_hue,
}


def jitter_colours(view: torch.Tensor, how: ColourJitter, rng: np.random.Generator) -> torch.Tensor:
    """Change brightness, contrast, saturation and hue in random order, each by an even draw from its range.

    Whatever has the strength 0 stays as it is and draws no random number.
    """
    strengths = [(name, strength) for name, strength in how if strength]
    if not strengths:
        return view
    view = view.contiguous()  # hue takes a third of the time that it takes on channels-last views
    for place in rng.permutation(len(strengths)):
        name, strength = strengths[place]
        middle = 0 if name == "hue" else 1  # hue is added, the others are factors
        view = _ADJUST[name](view, float(rng.uniform(middle - strength, middle + strength)))
    return view


def rand_augment(view: torch.Tensor, how: RandAugment, rng: np.random.Generator) -> torch.Tensor:
    """Apply some of the 14 `OPERATIONS`, each equally likely and of one strength (Cubuk et al. 2019, arXiv 1909.13719).

    Those that have two directions take the other one half of the time.
    """
    for _ in range(how.operations):
        name, sign = OPERATIONS[rng.integers(len(OPERATIONS))], 1 if rng.random() < 0.5 else -1
        view = distorted(view.contiguous(), name, how.magnitude / STRONGEST, sign)
    return view


def distorted(view: torch.Tensor, name: str, strength: float, sign: int) -> torch.Tensor:
    """Apply one of `OPERATIONS` with a strength in 0..1; the ranges are torchvision's."""
    match name:
        case "identity":
            pass
        case "autocontrast":
            view = functional.autocontrast(view)
        case "equalize":
            view = functional.equalize(view)
        case "posterize":
            view = functional.posterize(view, bits=round(8 - 4 * strength))
        case "solarize":
            view = functional.solarize(view, threshold=255 * (1 - strength))
        case "rotate":
            view = _moved(view, angle=30 * sign * strength)
        case "shear_x" | "shear_y":
            degrees = math.degrees(math.atan(0.3 * sign * strength))
            view = _moved(view, shear=(degrees, 0.0) if name == "shear_x" else (0.0, degrees))
        case "translate_x" | "translate_y":
            pixels = int(150 / 331 * view.shape[-1] * strength) * sign  # published for sides of 331 px
            view = _moved(view, translate=(pixels, 0) if name == "translate_x" else (0, pixels))
        case _:
            view = _ADJUST[name](view, 1 + 0.9 * sign * strength)
    return view


def _moved(
    view: torch.Tensor, angle: float = 0.0, translate: tuple[int, int] = (0, 0), shear: tuple[float, float] = (0.0, 0.0)
) -> torch.Tensor:
    """Turn, shift or shear around the centre; what comes into sight is of the mean colour."""
    moved: torch.Tensor = functional.affine(
        view, angle=angle, translate=list(translate), scale=1.0, shear=list(shear),
        interpolation=InterpolationMode.BILINEAR, fill=[round(255 * value) for value in IMAGENET_MEAN],
    )  # fmt: skip
    return moved
