"""The last stage of a small network learned on clips, from maps that the frozen stages gave once.

What `make train ARGS="data=clips model=lite0 model.frozen_stages=7"` learns, with mirror images as its only
augmentation, so that the frozen part is computed once and not in every epoch. N clips of k frames, D features. Read by
clips.py.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from drift_detector_pipeline.arrays import Indices, Labels
from drift_detector_pipeline.networks.clips import OverTime
from drift_detector_pipeline.networks.models import hold_norms, seed_everything, set_training
from drift_detector_pipeline.networks.wheel import create_lite0

FROZEN = 6  # blocks of the network, of seven
EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 6, 16, 1e-3, 0.05

Maps = torch.Tensor  # float32 (N, 2, k, C, h, w): of the clip and of its mirror image


def maps_of(network: nn.Module, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the frozen part gives of frames (k, 3, S, S), (k, C, h, w), and the features after all the rest, (k, D)."""
    net: Any = network
    maps = net.bn1(net.conv_stem(frames))
    for block in net.blocks[:FROZEN]:
        maps = block(maps)
    return maps, _features(net, maps)


def tuned(maps: Maps, labels: Labels) -> Callable[[Indices, Indices, int], Labels]:
    """A way to guess: learn from some clips, say others."""

    def guess(learned: Indices, said: Indices, seed: int) -> Labels:
        module = _learned(maps, torch.from_numpy(labels), learned, seed).eval()
        with torch.inference_mode():
            answer: Labels = module(maps[torch.from_numpy(said), 0]).argmax(1).numpy()
        return answer

    return guess


class _Rest(nn.Module):
    """The network behind the frozen blocks: maps (N, C, h, w) -> logits (N, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = create_lite0(2, {"drop_rate": 0.2}, pretrained=True)
        self.num_classes = 2

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        net: Any = self.net
        logits: torch.Tensor = net.classifier(functional.dropout(_features(net, maps), 0.2, self.training))
        return logits

    def get_classifier(self) -> nn.Module:
        net: Any = self.net
        found: nn.Module = net.classifier
        return found


def _features(net: Any, maps: torch.Tensor) -> torch.Tensor:
    for block in net.blocks[FROZEN:]:
        maps = block(maps)
    features: torch.Tensor = net.global_pool(net.bn2(net.conv_head(maps)))
    return features


def _learned(maps: Maps, labels: torch.Tensor, places: Indices, seed: int) -> nn.Module:
    seed_everything(seed)
    rng, module = np.random.default_rng(seed), OverTime(_Rest(), 2, "mean_and_deviation")
    hold_norms(module.frame)
    steps = EPOCHS * (len(places) // BATCH)
    optimizer = torch.optim.AdamW((w for w in module.parameters() if w.requires_grad), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.2)
    set_training(module)
    for _ in range(EPOCHS):
        order = rng.permutation(places)
        for start in range(0, len(places) // BATCH * BATCH, BATCH):
            batch = order[start : start + BATCH]
            mirrored = torch.from_numpy(rng.integers(0, 2, BATCH))
            logits = module(maps[torch.from_numpy(batch), mirrored])
            loss = functional.cross_entropy(logits, labels[torch.from_numpy(batch)], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return module
