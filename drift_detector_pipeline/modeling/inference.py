"""Batches through a model without learning: the one loop behind validation and, later, evaluation and prediction.

N images, K classes. Fed by loaders.py.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from drift_detector_pipeline.loaders import Batch
from drift_detector_pipeline.modeling.hardware import Machine, sum_over_processes
from drift_detector_pipeline.modeling.models import Network
from drift_detector_pipeline.transforms import normalize


class Scores(NamedTuple):
    """Means over a split."""

    loss: float  # cross entropy in nats, without label smoothing
    accuracy: float  # in 0..1


def model_input(batch: Batch, network: Network, machine: Machine) -> torch.Tensor:
    """Move uint8 images to the device and normalise them: float32 (B, 3, S, S) in the machine's memory layout."""
    images = batch.images.to(machine.device, non_blocking=True)
    return normalize(images, network.mean, network.std).contiguous(memory_format=machine.memory_format)


@torch.inference_mode()
def predict_logits(
    module: nn.Module, batches: Iterable[Batch], network: Network, machine: Machine
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield float32 logits (B, K) and int64 labels (B,) of each batch, on the device; puts the module in eval mode."""
    module.eval()
    for batch in batches:
        with machine.autocast():
            logits = module(model_input(batch, network, machine))
        yield logits.float(), batch.labels.to(machine.device, non_blocking=True)


def score(module: nn.Module, batches: Iterable[Batch], network: Network, machine: Machine) -> Scores:
    """Measure loss and accuracy over batches that all processes share."""
    loss, correct, count = 0.0, 0, 0
    for logits, labels in predict_logits(module, batches, network, machine):
        loss += functional.cross_entropy(logits, labels, reduction="sum").item()
        correct += int((logits.argmax(1) == labels).sum())
        count += len(labels)
    loss, right, total = sum_over_processes([loss, correct, count], machine)
    return Scores(loss / total, right / total)
