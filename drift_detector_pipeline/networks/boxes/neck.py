"""A feature pyramid: what is coarse and knows much tells what is fine and sees much.

In: the features of a backbone. Out: as many maps of one width. Lin et al., Feature Pyramid Networks for Object
Detection, CVPR 2017, with BatchNorm, which random weights need. Read by faster_rcnn.py and yolox.py.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

WIDTH = 96  # enough for sets of some hundred images, at a third of the usual cost


class Neck(nn.Module):
    """Features (N, C_i, H_i, W_i), finest first -> features (N, 96, H_i, W_i)."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.narrow = nn.ModuleList(conv_norm(given, WIDTH, 1) for given in channels)
        self.smooth = nn.ModuleList(conv_norm(WIDTH, WIDTH, 3) for _ in channels)

    def forward(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Add each coarser map to the next finer one, then smooth all."""
        maps = [narrow(one) for narrow, one in zip(self.narrow, features, strict=True)]
        for fine in range(len(maps) - 2, -1, -1):
            maps[fine] = maps[fine] + functional.interpolate(maps[fine + 1], size=maps[fine].shape[-2:])
        return [smooth(one) for smooth, one in zip(self.smooth, maps, strict=True)]


def conv_norm(given: int, wanted: int, side: int) -> nn.Sequential:
    """A convolution that keeps the map's size, BatchNorm, SiLU."""
    convolution = nn.Conv2d(given, wanted, side, padding=side // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(wanted), nn.SiLU())
