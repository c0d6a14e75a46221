"""Images through a model without learning: the one way for validation, evaluation and prediction.

N images. Every batch is filled up to one size, so that what is said of an image does not depend on its neighbours.
Fed by loaders.py and labels.py. Drift has a way of its own, and its reasons: drift/scores/signals.py.
"""

import itertools
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from drift_detector_pipeline.images.transforms import filled, normalize
from drift_detector_pipeline.modeling.loaders import Batch
from drift_detector_pipeline.networks.models import Network
from drift_detector_pipeline.runs.machine import Machine, from_all
from drift_detector_pipeline.tasks.task import Metrics, Output, Target, Task


def model_input(batch: Batch, network: Network, machine: Machine) -> torch.Tensor:
    """Move uint8 images to the device and normalise them: float32 (B, 3, S, S) in the machine's memory layout.

    Of clips (B, k, 3, S, S), each frame as an image.
    """
    images = batch.images.to(machine.device, non_blocking=True)
    flat = images.flatten(0, -4)
    made = normalize(flat, network.mean, network.std).contiguous(memory_format=machine.memory_format)
    return made if images.dim() == flat.dim() else made.view(*images.shape[:-3], *made.shape[1:])


@torch.inference_mode()
def predict_outputs(
    module: nn.Module, batch: Batch, network: Network, machine: Machine, task: Task
) -> Sequence[Output]:
    """Return the task's outputs for at most `task.batch` images; puts the module in evaluation mode."""
    if module.training:
        module.eval()
    with machine.autocast():
        full = batch._replace(images=filled(batch.images, task.batch))
        outputs = task.infer(module, model_input(full, network, machine), batch.targets)
    return outputs[: len(batch.images)]


def score(module: nn.Module, batches: Iterable[Batch], network: Network, machine: Machine, task: Task) -> Metrics:
    """Measure a model over batches that all processes share; every process returns the same."""
    found = [(predict_outputs(module, batch, network, machine, task), batch.targets or []) for batch in batches]
    in_turn = itertools.zip_longest(*from_all(found, machine), fillvalue=([], []))  # every n-th batch is a process's
    outputs, targets = list[Output](), list[Target]()
    for said, truth in itertools.chain.from_iterable(in_turn):
        outputs.extend(said)
        targets.extend(truth)
    return task.measure(outputs, targets)
