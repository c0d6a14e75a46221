"""An image looked at more than once: mirrored, and moved by a pixel; what is said of it is the mean.

In: a batch. Out: outputs, as of one look. Read by evaluation.py, where it is asked for and said: a service looks once.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.nn import functional

from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.modeling.loaders import Batch
from drift_detector_pipeline.modeling.trained import Trained, outputs_of
from drift_detector_pipeline.runs.machine import Machine
from drift_detector_pipeline.tasks.task import Output


def outputs_of_views(trained: Trained, batch: Batch, machine: Machine, views: int) -> Sequence[Output]:
    """The mean of the outputs over 1, 2 or 6 views of each image; moved ones count half (Jordan 2024).

    Raises ConfigError if the outputs of this task are nothing a mean can be taken of.
    """
    if views == 1:
        return outputs_of(trained, batch, machine)
    said = [
        (share, outputs_of(trained, batch._replace(images=images), machine))
        for share, images in _views(batch.images, views)
    ]
    if not all(isinstance(output, np.ndarray) for output in said[0][1]):
        raise ConfigError(f"views={views}: for {trained.task.name} there is no mean of several views; use views=1")
    return list(sum(np.float32(share) * np.stack(outputs) for share, outputs in said))  # type: ignore[arg-type]


def _views(images: torch.Tensor, views: int) -> Iterator[tuple[float, torch.Tensor]]:
    """Uint8 (B, 3, S, S) in all views, each with its share."""
    shown = [images]
    if views == 6:
        side = images.shape[-1]
        padded = functional.pad(images.float(), [1] * 4, mode="reflect").to(torch.uint8)
        shown += [padded[..., :side, :side], padded[..., 2:, 2:]]
    for number, one in enumerate(shown):
        share = 0.5 if views == 2 else (0.25, 0.125, 0.125)[number]
        yield share, one
        yield share, one.flip(-1)
