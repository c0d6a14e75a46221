"""Images through a model without learning: the one way for validation, evaluation and prediction.

N images, K classes. Every batch is filled up to one size, so that an image's logits do not depend on its neighbours.
Fed by loaders.py and predict.py. Drift has a way of its own, and its reasons: drift/scores/signals.py.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from drift_detector_pipeline.images.transforms import filled, normalize
from drift_detector_pipeline.modeling.loaders import Batch
from drift_detector_pipeline.modeling.metrics import cross_entropies
from drift_detector_pipeline.networks.models import Network
from drift_detector_pipeline.runs.machine import Machine, from_all

BATCH = 64  # images of every forward pass; with another number some kernels give other last bits


class Scores(NamedTuple):
    """Means over a split."""

    loss: float  # cross entropy in nats, without label smoothing
    accuracy: float  # in 0..1


def model_input(batch: Batch, network: Network, machine: Machine) -> torch.Tensor:
    """Move uint8 images to the device and normalise them: float32 (B, 3, S, S) in the machine's memory layout."""
    images = batch.images.to(machine.device, non_blocking=True)
    return normalize(images, network.mean, network.std).contiguous(memory_format=machine.memory_format)


@torch.inference_mode()
def predict_logits(module: nn.Module, batch: Batch, network: Network, machine: Machine) -> npt.NDArray[np.float32]:
    """Return float32 logits (N, K) of at most `BATCH` images; puts the module in evaluation mode."""
    if module.training:
        module.eval()
    with machine.autocast():
        logits = module(model_input(batch._replace(images=filled(batch.images, BATCH)), network, machine))
    return logits[: len(batch.images)].float().cpu().numpy()  # type: ignore[no-any-return]


def score(module: nn.Module, batches: Iterable[Batch], network: Network, machine: Machine) -> Scores:
    """Measure loss and accuracy over batches that all processes share.

    The sum of the losses is rounded once, so neither order nor number of processes shows in it.
    """
    losses: list[float] = []
    correct = 0
    for batch in batches:
        logits, labels = predict_logits(module, batch, network, machine), batch.labels.numpy()
        losses += cross_entropies(logits, labels).tolist()
        correct += int((logits.argmax(1) == labels).sum())
    shares = from_all((losses, correct), machine)
    total = sum(len(share) for share, _ in shares)
    loss = math.fsum(loss for share, _ in shares for loss in share)
    return Scores(loss / total, sum(right for _, right in shares) / total)
