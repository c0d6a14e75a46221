"""Classification as a `Task`: one label an image.

N images, K classes, S side of the input in px. A target is an index into the classes, an output a row of logits.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.images.augmentation import augment
from drift_detector_pipeline.images.model_input import inference_crop
from drift_detector_pipeline.images.stored_jpeg import Packed, pixels_of
from drift_detector_pipeline.networks.models import check_input, create
from drift_detector_pipeline.settings import Data, Training
from drift_detector_pipeline.tasks.classification.metrics import Metrics, measure, probabilities
from drift_detector_pipeline.tasks.classification.report import report
from drift_detector_pipeline.tasks.headline import ACCURACY
from drift_detector_pipeline.tasks.task import Answer, Caption, Cell, Task, View


class Mixed(NamedTuple):
    """The label of an image that shows two."""

    own: int
    other: int
    share: float  # of `own`, in 0..1


def check_data(data: Data) -> None:
    """Raise ConfigError if the augmentation asks for what only boxes have."""
    for name in ("flip_down", "scale_jitter", "mosaic"):
        if value := getattr(data.augmentation, name):
            raise ConfigError(f"data.augmentation.{name}={value}: is for boxes; leave it off")


def view(
    stored: Packed, target: int | None, how: View, rng: np.random.Generator | None
) -> tuple[torch.Tensor, int | None]:
    """Cut the training view or the inference crop; the label stays what it is."""
    if how.augmentation is None or rng is None:
        return torch.from_numpy(inference_crop(pixels_of(stored), how.side_px)), target
    return augment(stored, how.side_px, how.augmentation, rng), target


def blend(own: int, other: int, share: float) -> Mixed:
    """The label of an image that shows two."""
    return Mixed(own, other, share)


def loss(
    forward: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, targets: Sequence[int] | Sequence[Mixed],
    training: Training, class_weights: torch.Tensor | None,
) -> torch.Tensor:  # fmt: skip
    """Mean cross entropy in nats over images, with the label smoothing of the settings.

    An image that shows two labels counts for each by its share.
    """
    logits = forward(images).float()
    entropy = partial(functional.cross_entropy, logits, label_smoothing=training.label_smoothing)
    if class_weights is None and not isinstance(targets[0], Mixed):
        return entropy(torch.tensor(targets, dtype=torch.int64, device=logits.device))
    mixed = [one if isinstance(one, Mixed) else Mixed(one, one, 1.0) for one in targets]
    own = torch.tensor([one.own for one in mixed], device=logits.device)
    other = torch.tensor([one.other for one in mixed], device=logits.device)
    share = torch.tensor([one.share for one in mixed], device=logits.device)
    each = partial(entropy, weight=class_weights, reduction="none")
    return (share * each(own) + (1 - share) * each(other)).mean()


def infer(
    module: nn.Module, images: torch.Tensor, targets: Sequence[int] | None = None
) -> Sequence[np.ndarray[Any, np.dtype[np.float32]]]:
    """Logits, float32 (N, K)."""
    del targets  # the loss is a function of logits and truth, and needs no network
    return module(images).float().cpu().numpy()  # type: ignore[no-any-return]


def worth(outputs: Sequence[Any], targets: Sequence[int]) -> Metrics:
    """Measure logits against labels; at least one image."""
    return measure(np.stack(outputs), np.array(targets, dtype=np.int64))


def answer(outputs: Sequence[Any], classes: Sequence[str]) -> list[Answer]:
    """Name the three most probable classes of each row of logits; of equals the first."""
    logits = np.stack(outputs)
    order = np.argsort(-logits, axis=1, kind="stable")[:, :3]
    chances = np.take_along_axis(probabilities(logits), order, axis=1)
    return [
        _answer([{"label": classes[label], "probability": chance} for label, chance in zip(labels, row, strict=True)])
        for labels, row in zip(order.tolist(), chances.tolist(), strict=True)
    ]


def _answer(top3: list[dict[str, Any]]) -> Answer:
    return {**top3[0], "top3": top3}


def on_image(said: Answer, image: tuple[int, int], side_px: int, stored: tuple[int, int] | None = None) -> Answer:
    """Return the answer itself: a label belongs to all of an image."""
    del image, side_px, stored
    return said


def rows(said: Answer) -> list[list[Cell]]:
    """One row an image, the three most probable classes as JSON."""
    return [[said["label"], said["probability"], json.dumps(said["top3"], ensure_ascii=False)]]


def caption(said: Answer, target: int, classes: Sequence[str]) -> Caption:
    """The label given beside the true one."""
    return Caption(said["label"], classes[target], said["label"] == classes[target], said["probability"])


def draw(pixels: Pixels, said: Answer, target: int | None, classes: Sequence[str]) -> Pixels:
    """Return the image itself: a label belongs to all of it."""
    del said, target, classes
    return pixels


CLASSIFICATION = Task(
    name="classification", headline=ACCURACY, columns=("label", "probability", "top3"), truth_column="true_label",
    batch=64, stored_side="shorter", join=None, further_files=None,
    check_data=check_data, view=view, blend=blend, assemble=None, create=create, check=check_input, loss=loss,
    infer=infer, measure=worth, answer=answer, on_image=on_image, rows=rows, caption=caption, draw=draw, report=report,
)  # fmt: skip
