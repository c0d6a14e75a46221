"""Two training views made into one, which shows both labels: mixup and CutMix.

In: two uint8 (S, S, 3) views. Out: one, and the share of the first view's label; the second's is the rest.
Read by modeling/loaders.py.
"""

import math

import numpy as np
import torch


def mixup(own: torch.Tensor, other: torch.Tensor, alpha: float, rng: np.random.Generator) -> tuple[torch.Tensor, float]:
    """Blend two views, the share drawn from Beta(alpha, alpha) (Zhang et al. 2017, arXiv 1710.09412)."""
    share = rng.beta(alpha, alpha)
    return torch.lerp(other.float(), own.float(), share).round_().to(torch.uint8), share


def cutmix(
    own: torch.Tensor, other: torch.Tensor, alpha: float, rng: np.random.Generator
) -> tuple[torch.Tensor, float]:
    """Put a square of one view into the other, at the same place (Yun et al. 2019, arXiv 1905.04899).

    Its area is drawn from Beta(alpha, alpha), its centre is any pixel; the part that lies outside does not count.
    """
    side_px = own.shape[0]
    half = side_px * math.sqrt(1 - rng.beta(alpha, alpha)) / 2
    centres = rng.integers(0, side_px, size=2)
    (top, left), (bottom, right) = (
        np.clip((centres + shift).round(), 0, side_px).astype(int) for shift in (-half, half)
    )
    mixed = own.clone()
    mixed[top:bottom, left:right] = other[top:bottom, left:right]
    return mixed, 1 - float((bottom - top) * (right - left)) / side_px**2
