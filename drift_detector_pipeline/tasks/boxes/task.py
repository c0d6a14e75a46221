"""Boxes as a `Task`: a target is the true boxes of an image, an output what a network has found in it.

K classes, S side of the input in px. Targets and outputs are in px of the view, answers too until `on_image`.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from drift_detector_pipeline.arrays import Boxes, Pixels
from drift_detector_pipeline.corruptions.faults import FAULTS, MOVING
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.networks.boxes import catalog as networks
from drift_detector_pipeline.settings import Data
from drift_detector_pipeline.tasks.boxes.answers import answer, on_image
from drift_detector_pipeline.tasks.boxes.charts import drawn
from drift_detector_pipeline.tasks.boxes.files import BoxFiles
from drift_detector_pipeline.tasks.boxes.joining import join
from drift_detector_pipeline.tasks.boxes.matching import Said, all_found
from drift_detector_pipeline.tasks.boxes.metrics import measure
from drift_detector_pipeline.tasks.boxes.report import report
from drift_detector_pipeline.tasks.boxes.view import NO_BOXES, mosaic, view
from drift_detector_pipeline.tasks.headline import Headline
from drift_detector_pipeline.tasks.task import Answer, Caption, Cell, Task

MAP50 = Headline("map50", larger_is_better=True, is_share=True)
SHOWN = 0.5  # score from which a box is drawn and counted where there is room for one threshold only
COLUMNS = ("label", "score", "x0", "y0", "x1", "y1")


def check_data(data: Data) -> None:
    """Raise ConfigError if the settings ask for what has no meaning for boxes, or would move pixels and not boxes."""
    how = data.augmentation
    off = {
        "shift_px": (how.shift_px, 0, "scale_jitter moves images together with their boxes"),
        "rand_augment.operations": (how.rand_augment.operations, 0, "it would move pixels without their boxes"),
        "mix": (how.mix, None, "data.augmentation.mosaic shows several images at once"),
    }
    for name, (value, needed, why) in off.items():
        if value != needed:
            word = "null" if needed is None else needed
            raise ConfigError(f"data.augmentation.{name}={value}: not for boxes ({why}); leave it {word}")
    if how.flip == "alternating":
        raise ConfigError("data.augmentation.flip=alternating: not for boxes (they would stay); use true or false")
    kind = how.twins.kind
    if kind in FAULTS and FAULTS[kind].group in MOVING:
        raise ConfigError(f"data.augmentation.twins.kind={kind}: moves pixels without their boxes; take another kind")


def infer(module: nn.Module, images: torch.Tensor, targets: Sequence[Boxes] | None = None) -> Sequence[Any]:
    """What is found in each image, and with targets the loss of the first ones; the others fill the batch up."""
    network: Any = module  # one of the catalog's
    if targets is None:
        return networks.infer(network, images, None)
    return networks.infer(network, images, [*targets, *[NO_BOXES] * (len(images) - len(targets))])


def rows(said: Answer) -> list[list[Cell]]:
    """A row a box; an image without boxes has one row without values."""
    found: list[list[Cell]] = [[one["label"], one["score"], *one["box"]] for one in said["boxes"]]
    return found or [[None] * len(COLUMNS)]


def caption(said: Answer, target: Boxes, classes: Sequence[str]) -> Caption:
    """How many of which class are found with a score of 0.5 or more, beside how many there are."""
    shown = [one for one in said["boxes"] if one["score"] >= SHOWN]
    boxes = np.array([one["box"] for one in shown], np.float32).reshape(-1, 4)
    labels = np.array([classes.index(one["label"]) for one in shown], np.int64)
    found = Said(boxes, np.array([one["score"] for one in shown], np.float32), labels)
    truth = [classes[label] for label in target.labels[~target.ignore].tolist()]
    return Caption(counted(one["label"] for one in shown), counted(truth), all_found(found, target), None)


def counted(names: Any) -> str:
    """Names with how often each occurs, such as "3 RBC, 1 WBC"."""
    counts = Counter(names)
    return ", ".join(f"{counts[name]} {name}" for name in sorted(counts)) or "none"


def draw(pixels: Pixels, said: Answer, target: Boxes | None, classes: Sequence[str]) -> Pixels:
    """Draw what is found with a score of 0.5 or more, and what should be: dashed."""
    return drawn(pixels, [one for one in said["boxes"] if one["score"] >= SHOWN], target, classes)


BOXES = Task(
    name="boxes", headline=MAP50, columns=COLUMNS, truth_column="true_boxes", batch=4, stored_side="longer",
    check_data=check_data, view=view, blend=None, assemble=mosaic, create=networks.create, check=networks.check,
    loss=networks.loss, infer=infer, measure=measure, answer=answer, on_image=on_image, join=join, rows=rows,
    further_files=BoxFiles, caption=caption, draw=draw, report=report,
)  # fmt: skip
