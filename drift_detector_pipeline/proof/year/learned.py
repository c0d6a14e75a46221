"""What others would have done with the same champion: a few epochs more on labelled images, or statistics of new ones.

In: a network, its train images, labelled images. Out: further networks. Read by others.py. Nothing is exported, watched
or gated, which others do not do: only weights, by the shortest way.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from drift_detector_pipeline.arrays import Labels, Pixels
from drift_detector_pipeline.lifecycle.gating.gate_images import changed_at_random
from drift_detector_pipeline.networks.models import Network

EPOCHS, BATCH, LEARNING_RATE, SMOOTHING, SHIFT_PX = 3, 64, 5e-4, 0.1, 2
_SEED = 5  # of twins that are learned from here


def trained_on(network: Network, crops: Pixels, labels: Labels, *, flip: bool, seed: int = 0) -> Network:
    """A copy after EPOCHS over uint8 (N, S, S, 3), shifted and perhaps mirrored at random, by AdamW."""
    module = copy.deepcopy(network.module).train()
    optimizer = torch.optim.AdamW(module.parameters(), LEARNING_RATE, weight_decay=0.05)
    steps = EPOCHS * max(1, len(crops) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps)
    generator, done = torch.Generator().manual_seed(seed), 0
    images, truth = torch.from_numpy(np.ascontiguousarray(crops)), torch.from_numpy(np.asarray(labels))
    while done < steps:
        for some in _batches(len(images), generator):
            inputs = _shaken(images[some], network, generator, flip=flip)
            with torch.autocast("cpu", torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported()):
                said = module(inputs)
            optimizer.zero_grad()
            cross_entropy(said.float(), truth[some], label_smoothing=SMOOTHING).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            done += 1
    return network._replace(module=module.eval())


def _batches(count: int, generator: torch.Generator) -> list[torch.Tensor]:
    """All images once, at random; the last ones are left out if they are no whole batch."""
    order, most = torch.randperm(count, generator=generator), max(1, count // BATCH)
    return [order[start * BATCH : (start + 1) * BATCH] for start in range(most)]


def trained_for(
    network: Network, crops: Pixels, labels: Labels, cells: Sequence[tuple[str, int]], *, flip: bool
) -> Network:
    """A copy trained on train images of which half are changed by one of `cells`, kind and level."""
    keys = np.arange(len(crops))
    changed = changed_at_random(crops, cells, keys, _SEED)
    half = np.random.default_rng(_SEED).random(len(crops)) < 0.5
    return trained_on(network, np.where(half[:, None, None, None], changed, crops), labels, flip=flip)


def _shaken(images: torch.Tensor, network: Network, generator: torch.Generator, *, flip: bool) -> torch.Tensor:
    """Normalised (n, 3, S, S): the batch shifted together, which is enough over many batches, half of it mirrored."""
    down, right = torch.randint(-SHIFT_PX, SHIFT_PX + 1, (2,), generator=generator).tolist()
    values = images.permute(0, 3, 1, 2).float() / 255
    values = (values - torch.tensor(network.mean)[:, None, None]) / torch.tensor(network.std)[:, None, None]
    side = values.shape[-1]
    padded = torch.nn.functional.pad(values, (SHIFT_PX,) * 4, mode="reflect")
    values = padded[..., SHIFT_PX + down : SHIFT_PX + down + side, SHIFT_PX + right : SHIFT_PX + right + side]
    mirrored = torch.rand(len(values), generator=generator) < 0.5
    if flip:
        values = torch.where(mirrored[:, None, None, None], values.flip(3), values)
    return values.contiguous(memory_format=torch.channels_last)
