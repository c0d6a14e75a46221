"""A finished run whose task is boxes -> its detector: images in their roles, as views, beside their true boxes.

In: a `Trained`, its processed data and which image plays which part. Out: a `BoxDetector`. Read by
drift/build_reference.py, which saves it, and drift/__main__.py, which loads it.
"""

from typing import Any

import numpy as np

from drift_detector_pipeline.arrays import Indices
from drift_detector_pipeline.console import log
from drift_detector_pipeline.drift.boxes.detector import BoxDetector, BoxModel, LabelledViews
from drift_detector_pipeline.drift.boxes.module_forward import BoxModuleForward
from drift_detector_pipeline.drift.preparation import Preparation
from drift_detector_pipeline.images.letterbox import into, letterbox
from drift_detector_pipeline.modeling.trained import Trained
from drift_detector_pipeline.networks.tensors_hash import tensors_hash
from drift_detector_pipeline.processed.manifest import Processed
from drift_detector_pipeline.processed.roles import Roles


def box_detector_of(
    model: BoxModel, trained: Trained, processed: Processed, roles: Roles, facts: dict[str, Any]
) -> BoxDetector:  # fmt: skip
    """Learn the training world of `trained` as `model` sees it: its own module, or a file it was exported to.

    Raises DataError if nothing can be learned from these images.
    """
    fit, ref = (views_of(processed, indices, trained.img_size) for indices in (roles.fit, roles.ref))
    log.info("%d fit and %d reference images, %d px", len(fit.views), len(ref.views), trained.img_size)
    return BoxDetector.build(
        model, fit, ref, classes=trained.classes, preparation=preparation_of(trained), facts=facts
    )  # fmt: skip


def box_model_of(trained: Trained) -> BoxModel:
    """The network of a weight file."""
    module, mean, std, _ = trained.network
    forward = BoxModuleForward(module, mean, std, trained.task.infer)
    return BoxModel(forward, tensors_hash(module.state_dict()))


def preparation_of(trained: Trained) -> Preparation:
    """How an image becomes a view."""
    mean, std = tuple(trained.network.mean), tuple(trained.network.std)
    return Preparation(trained.img_size, trained.stored_side_px, mean, std, shape="letterbox")


def views_of(processed: Processed, indices: Indices, side_px: int) -> LabelledViews:
    """Views of some images, and their true boxes in px of these."""
    views, truth = [], []
    for index in indices.tolist():
        pixels, boxes = processed.images[index], processed.images.target(index)
        views.append(letterbox(pixels, side_px))
        truth.append(boxes._replace(boxes=into(boxes.boxes, pixels.shape[0], pixels.shape[1], side_px)))
    return LabelledViews(np.stack(views), truth)
