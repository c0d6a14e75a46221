"""A small convolutional network for images of about 32 px that learns fast on a CPU.

In: number of classes, channels. Out: a module that speaks timm's conventions. Read by models.py.
"""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

_LEAST_VARIANCE = 5e-4  # of a principal component of patches: what is only noise is not blown up


class ConvSmall(nn.Module):
    """Groups of two 3 x 3 convolutions, each halving the image once, behind a stem that does not learn.

    Shape and initialisation after Jordan 2024 (arXiv 2404.00498). `drop_rate`: of the features before the classifier.
    `whitening`: the stem's patches are those of photographs in general, or the principal components of the training
    images. `norm_scale`: whether BatchNorm learns a scale beside a shift. `norm_momentum`: share of a batch in its
    running statistics. `head_std`: of the classifier's first weights, without a bias then; None: as PyTorch draws them.
    """

    def __init__(
        self, classes: int, *, channels: tuple[int, ...] = (64, 256, 256), drop_rate: float = 0.0,
        whitening: Literal["cosine", "images"] = "cosine", norm_scale: bool = True, norm_momentum: float = 0.1,
        head_std: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if whitening not in ("cosine", "images"):
            raise ValueError(f"whitening={whitening}: choose from cosine, images")
        self.num_classes, self.drop_rate = classes, drop_rate
        self.looks_first = whitening == "images"
        self.stem = PatchStem()
        widths = (self.stem.channels, *channels)
        norm = partial(nn.BatchNorm2d if norm_scale else ShiftNorm, momentum=norm_momentum)
        self.groups = nn.Sequential(*(_group(before, after, norm) for before, after in itertools.pairwise(widths)))
        self.head = nn.Linear(channels[-1], classes, bias=head_std is None)
        if head_std is not None:
            self.head.weight.data *= head_std / self.head.weight.data.std()
        names = ["stem", *(f"groups.{index}" for index in range(len(channels)))]
        self.feature_info = [
            {"module": name, "num_chs": width, "reduction": 2**index}
            for index, (name, width) in enumerate(zip(names, widths, strict=True))
        ]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """float32 (N, 3, S, S) -> logits (N, K); S at least 2 ** groups + 1."""
        features: torch.Tensor = self.groups(self.stem(images)).amax((2, 3))
        logits: torch.Tensor = self.head(functional.dropout(features, self.drop_rate, self.training))
        return logits

    def look_at(self, images: torch.Tensor) -> None:
        """Take the stem's patches from training images, float32 (N, 3, S, S): their principal components, made white.

        Only a network that `looks_first` is shown some, before anything is learned.
        """
        patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12).double()
        variances, components = torch.linalg.eigh(patches.T @ patches / len(patches))
        scaled = components / torch.sqrt(variances + _LEAST_VARIANCE)
        self.stem.basis.copy_(scaled.T.reshape(12, 3, 2, 2))

    def get_classifier(self) -> nn.Module:
        """The last layer, as timm's models name it."""
        return self.head

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Layer groups for freezing, as timm's models name them; the stem has nothing to freeze."""
        return {"blocks": r"^groups\.(\d+)"}


class PatchStem(nn.Module):
    """The cosine transform of 2 x 2 patches in brightness and two opponent colours, scaled, and its negative.

    The principal components of patches of photographs look like this (Coates & Ng 2012), so with each of the 12 scaled
    to unit variance by a BatchNorm the patches are about white: whitening that need not look at the data first.
    """

    channels = 24

    def __init__(self) -> None:
        super().__init__()
        haar = torch.tensor([[1.0, 1.0], [1.0, -1.0]]) / math.sqrt(2)
        colours = functional.normalize(torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 2.0, -1.0]]))
        basis = torch.einsum("ay,bx,kc->abkcyx", haar, haar, colours).reshape(12, 3, 2, 2)
        self.basis: torch.Tensor
        self.register_buffer("basis", basis.contiguous())
        self.scale = nn.BatchNorm2d(12, affine=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) -> (N, 24, S - 1, S - 1)."""
        patches = self.scale(functional.conv2d(images, self.basis))
        return functional.gelu(torch.cat([patches, -patches], 1))


class ShiftNorm(nn.BatchNorm2d):
    """BatchNorm that learns a shift and no scale."""

    def __init__(self, channels: int, momentum: float = 0.1) -> None:
        super().__init__(channels, momentum=momentum)
        self.register_parameter("weight", None)


def _group(before: int, after: int, norm: Callable[[int], nn.Module]) -> nn.Sequential:
    return nn.Sequential(
        _convolution(before, after), nn.MaxPool2d(2), norm(after), nn.GELU(),
        _convolution(after, after), norm(after), nn.GELU(),
    )  # fmt: skip


def _convolution(before: int, after: int) -> nn.Conv2d:
    """3 x 3, drawn as He et al. 2015; the first `before` filters pass their channel on."""
    found = nn.Conv2d(before, after, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(found.weight, nonlinearity="relu")
    nn.init.dirac_(found.weight.data[:before])
    return found
