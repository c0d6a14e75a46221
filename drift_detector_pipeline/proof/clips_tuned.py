"""The last layers of a small network learned on clips, from what the frozen ones before them gave once.

Mirror images and dropout are all there is of augmentation, so that the frozen part is computed once and not in every
epoch. N clips of k frames, C = 320 channels, D = 1,280 features. Read by clips.py.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from drift_detector_pipeline.arrays import Indices, Labels
from drift_detector_pipeline.networks.clips import OverTime, Pooling
from drift_detector_pipeline.networks.models import hold_norms, seed_everything, set_training
from drift_detector_pipeline.networks.wheel import create_lite0

BATCH, WEIGHT_DECAY, DROPOUT = 16, 0.05, 0.2


class Recipe(NamedTuple):
    """What learns, and how."""

    layers: Callable[[], nn.Module]  # what one frame gave, (n, ...) -> logits (n, 2)
    epochs: int
    learning_rate: float
    pooling: Pooling = "mean"


def maps_of(network: nn.Module, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of frames (k, 3, S, S) what comes out of the last block, (k, C, h, w), and the features behind it, (k, D)."""
    net: Any = network
    maps = net.blocks(net.bn1(net.conv_stem(frames)))
    return maps, net.global_pool(net.bn2(net.conv_head(maps)))


def only_head() -> nn.Module:
    """Features (n, D) -> logits."""
    net: Any = create_lite0(2, {}, pretrained=True)
    return nn.Sequential(nn.Dropout(DROPOUT), net.classifier)


def only_head_undropped() -> nn.Module:
    """The same without dropout: what it drops would be taken for movement."""
    net: Any = create_lite0(2, {}, pretrained=True)
    return nn.Sequential(net.classifier)


def last_layers() -> nn.Module:
    """Maps (n, C, h, w) -> logits: the last convolution learns, too, and its normalisation stays as it was."""
    net: Any = create_lite0(2, {}, pretrained=True)
    hold_norms(net)
    return nn.Sequential(net.conv_head, net.bn2, net.global_pool, nn.Dropout(DROPOUT), net.classifier)


def tuned(given: torch.Tensor, labels: Labels, recipe: Recipe) -> Callable[[Indices, Indices, int], Labels]:
    """A way to guess: learn from some clips, say others. `given`: (N, 2, k, ...) of each clip and its mirror image."""

    def guess(learned: Indices, said: Indices, seed: int) -> Labels:
        module = _learned(given, torch.from_numpy(labels), learned, recipe, seed).eval()
        with torch.inference_mode():
            answer: Labels = module(given[torch.from_numpy(said), 0]).argmax(1).numpy()
        return answer

    return guess


def _learned(given: torch.Tensor, labels: torch.Tensor, places: Indices, recipe: Recipe, seed: int) -> nn.Module:
    seed_everything(seed)
    rng, module = np.random.default_rng(seed), OverTime(recipe.layers(), 2, recipe.pooling)
    steps = recipe.epochs * (len(places) // BATCH)
    optimizer = torch.optim.AdamW((w for w in module.parameters() if w.requires_grad), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps, pct_start=0.2)
    set_training(module)
    for _ in range(recipe.epochs):
        order = rng.permutation(places)
        for start in range(0, len(places) // BATCH * BATCH, BATCH):
            batch = torch.from_numpy(order[start : start + BATCH])
            mirrored = torch.from_numpy(rng.integers(0, 2, BATCH))
            loss = functional.cross_entropy(module(given[batch, mirrored]), labels[batch], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return module
