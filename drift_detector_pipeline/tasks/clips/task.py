"""Clips as a `Task`: one label a clip, from k of its frames.

B clips, K classes, S side of the input in px. A target is a `ClipTarget`, an output a row of logits.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from drift_detector_pipeline.arrays import Float32s, Pixels
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.networks.clips import OverTime, check_over_time, create_over_time, deviation_of
from drift_detector_pipeline.settings import Data, Training
from drift_detector_pipeline.tasks.classification import task as classification
from drift_detector_pipeline.tasks.classification.task import answer, on_image, rows
from drift_detector_pipeline.tasks.clips.charts import strip
from drift_detector_pipeline.tasks.clips.curve import decide
from drift_detector_pipeline.tasks.clips.frames import said_together
from drift_detector_pipeline.tasks.clips.metrics import Metrics, measure
from drift_detector_pipeline.tasks.clips.report import report
from drift_detector_pipeline.tasks.clips.view import ClipTarget, view
from drift_detector_pipeline.tasks.headline import ACCURACY
from drift_detector_pipeline.tasks.task import Answer, Caption, Task

BATCH = 8  # clips of a forward pass that learns nothing: of 8 frames each, as many images as elsewhere


def check_data(data: Data) -> None:
    """Raise ConfigError if the augmentation asks for what only boxes have, or for what mixes two clips."""
    classification.check_data(data)
    if data.augmentation.mix is not None:
        raise ConfigError(f"data.augmentation.mix={data.augmentation.mix}: clips cannot be mixed; leave it null")


def loss(
    forward: Callable[..., torch.Tensor], images: torch.Tensor, targets: Sequence[ClipTarget], training: Training,
    class_weights: torch.Tensor | None,
) -> torch.Tensor:  # fmt: skip
    """Mean cross entropy in nats over clips, float32 (B, k, 3, S, S), with the label smoothing of the settings."""
    logits = forward(images, _frames(targets, images)).float()
    entropy = partial(functional.cross_entropy, logits, label_smoothing=training.label_smoothing)
    labels = torch.tensor([target.label for target in targets], dtype=torch.int64, device=logits.device)
    if class_weights is None:
        return entropy(labels)
    return entropy(labels, weight=class_weights, reduction="none").mean()  # as labels are weighed


def infer(module: nn.Module, images: torch.Tensor, targets: Sequence[ClipTarget] | None = None) -> Sequence[Float32s]:
    """Logits of each clip, float32 (B, K); of clips whose targets say so the first frames only."""
    assert isinstance(module, OverTime)
    known = [target.frames for target in targets or []]
    frames = known + [images.shape[1]] * (len(images) - len(known))
    logits, features = (part.float().cpu().numpy() for part in module.of_frames(images))
    weights = deviation_of(module)
    return [
        said_together(one, count, features=seen, deviation=weights)
        for one, seen, count in zip(logits, features, frames, strict=True)
    ]


def worth(outputs: Sequence[Any], targets: Sequence[ClipTarget]) -> Metrics:
    """Measure logits against labels, over clips and over their sources; at least one clip."""
    labels = np.array([target.label for target in targets], dtype=np.int64)
    return measure(np.stack(outputs), labels, [target.source or "" for target in targets])


def caption(said: Answer, target: ClipTarget, classes: Sequence[str]) -> Caption:
    """The label given beside the true one."""
    assert target.label is not None
    truth = classes[target.label]
    return Caption(said["label"], truth, said["label"] == truth, said["probability"])


def draw(pixels: Pixels, said: Answer, target: ClipTarget | None, classes: Sequence[str]) -> Pixels:
    """Frames (k, S, S, 3) of the clip side by side, without what only fills the view up."""
    del said, classes
    return strip(pixels[: target.frames] if target else pixels)


def _frames(targets: Sequence[ClipTarget], images: torch.Tensor) -> torch.Tensor:
    return torch.tensor([target.frames for target in targets], dtype=torch.int64, device=images.device)


CLIPS = Task(
    name="clips", headline=ACCURACY, columns=classification.CLASSIFICATION.columns, truth_column="true_label",
    batch=BATCH, stored_side="shorter", join=None, further_files=None, over_time=True, decide=decide,
    check_data=check_data, view=view, blend=None, assemble=None, create=create_over_time, check=check_over_time,
    loss=loss, infer=infer, measure=worth, answer=answer, on_image=on_image, rows=rows, caption=caption, draw=draw,
    report=report,
)  # fmt: skip
