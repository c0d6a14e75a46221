"""A smaller network out of a trained one: whole channels taken out, then trained again for a while.

In: a module. Out: a copy whose blocks are narrower inside. Read by beside.py, for one row of a table: what is served is
never pruned. Zeros alone make nothing faster; only channels that are gone do (Li et al. 2017, who rank them as here).
"""

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from drift_detector_pipeline.arrays import Labels, Pixels
from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.images.transforms import normalize

SHARE = 0.5  # of the channels between two convolutions of a block
_BATCH, _LEARNING_RATE = 64, 3e-4

Pair = tuple[nn.Conv2d, nn.BatchNorm2d, nn.Conv2d]


def prune(module: nn.Module) -> nn.Module | None:
    """A copy without SHARE of the channels inside each block; None if it has no such blocks.

    Only between two convolutions that nothing else reads from, so that shapes elsewhere stay. The channels with the
    smallest weights, summed as absolute values and scaled by the BatchNorm that follows, go.
    """
    smaller = copy.deepcopy(module)
    pairs = list(_pairs(smaller))
    for before, normalizer, after in pairs:
        _narrow(before, normalizer, after)
    return smaller if pairs else None


def retrain(module: nn.Module, scale: tuple[Sequence[float], Sequence[float]], crops: Pixels, labels: Labels) -> None:
    """Train for one epoch, without augmentation: AdamW, learning rate falling to 0; left in evaluation mode."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=_LEARNING_RATE)
    batches = np.array_split(np.random.default_rng(0).permutation(len(crops)), max(1, len(crops) // _BATCH))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(batches))
    module.train()
    with progress_bar(total=len(batches), title="pruned, trained again", unit="step") as bar:
        for batch in batches:
            inputs = normalize(torch.from_numpy(crops[batch]).permute(0, 3, 1, 2), *map(tuple, scale))
            loss = functional.cross_entropy(module(inputs), torch.from_numpy(labels[batch]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            bar.update()
    module.eval()


def _pairs(module: nn.Module) -> Iterator[Pair]:
    """Convolution, BatchNorm and next convolution of ResNet's blocks, and in plain sequences of layers."""
    for block in module.modules():
        children = list(block.children())
        if isinstance(block, nn.Sequential):
            found = [child for child in children if isinstance(child, nn.Conv2d | nn.BatchNorm2d)]
        elif all(hasattr(block, name) for name in ("conv1", "bn1", "conv2", "bn2")) and hasattr(block, "downsample"):
            found = [block.conv1, block.bn1, block.conv2]  # type: ignore[list-item]
        else:
            continue
        for one, two, three in zip(found, found[1:], found[2:], strict=False):
            if _is_pair(one, two, three):
                yield one, two, three


def _is_pair(before: nn.Module, normalizer: nn.Module, after: nn.Module) -> bool:
    kinds = isinstance(before, nn.Conv2d) and isinstance(normalizer, nn.BatchNorm2d) and isinstance(after, nn.Conv2d)
    return kinds and before.groups == after.groups == 1 and before.out_channels == after.in_channels


@torch.no_grad()
def _narrow(before: nn.Conv2d, normalizer: nn.BatchNorm2d, after: nn.Conv2d) -> None:
    worth = before.weight.abs().sum((1, 2, 3))
    worth = worth if normalizer.weight is None else worth * normalizer.weight.abs()
    kept = worth.topk(max(1, round((1 - SHARE) * len(worth)))).indices.sort().values
    before.weight, before.out_channels = nn.Parameter(before.weight[kept]), len(kept)
    after.weight, after.in_channels = nn.Parameter(after.weight[:, kept]), len(kept)
    if before.bias is not None:
        before.bias = nn.Parameter(before.bias[kept])
    for name, values in [*normalizer.named_parameters(), *normalizer.named_buffers()]:
        if values.ndim:
            setattr(normalizer, name, nn.Parameter(values[kept]) if name in ("weight", "bias") else values[kept])
    normalizer.num_features = len(kept)
