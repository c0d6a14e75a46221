"""Detectors and pictures for tests of networks that find things: small, with random weights."""

import numpy as np
import torch
from torch import nn

from drift_detector_pipeline.arrays import Boxes
from drift_detector_pipeline.networks.boxes.catalog import create

SIDE_PX = 64
BACKBONE = "mobilenetv4_conv_small_035"  # timm's smallest with features of three strides


def detector(name: str, classes: int = 3, seed: int = 0) -> nn.Module:
    """A network by name, its weights drawn from `seed`."""
    torch.manual_seed(seed)
    return create(name, classes, SIDE_PX, {"backbone": BACKBONE})


def boxes_of(seed: int, number: int = 3, classes: int = 3) -> Boxes:
    """Boxes of a picture."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 40, (number, 2))
    boxes = np.concatenate([low, low + rng.uniform(8, 24, (number, 2))], 1).astype(np.float32)
    return Boxes(boxes, rng.integers(0, classes, number), np.zeros(number, dtype=bool))


def pictures(number: int, seed: int = 0) -> torch.Tensor:
    """Noise, float32 (N, 3, 64, 64)."""
    return torch.randn(number, 3, SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(seed))
