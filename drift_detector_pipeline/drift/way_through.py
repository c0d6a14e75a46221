"""Anybody's model -> a function that drift is measured through, and a text that changes with the model.

In: a module of torch, or a callable with an `identity`. Out: a `Forward` and the identity. Read by the detector.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.drift.preparation import Preparation
from drift_detector_pipeline.drift.scores.signals import Forward, Layers, Outputs
from drift_detector_pipeline.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

Model: TypeAlias = "nn.Module | Callable[[Pixels], Outputs]"


def way_through(model: Model, preparation: Preparation) -> tuple[Forward, str]:
    """The way through a model. Raises ModelError if it is a callable without identity, or a module without layers."""
    if (torch := sys.modules.get("torch")) and isinstance(model, torch.nn.Module):
        return _way_through_module(model, preparation)
    if not isinstance(identity := getattr(model, "identity", None), str):
        raise ModelError("model: a callable must have an attribute `identity`, a text that changes with the model")
    return model, identity


def _way_through_module(module: "nn.Module", preparation: Preparation) -> tuple[Forward, str]:
    from drift_detector_pipeline.drift.scores.module_forward import through  # nothing else here needs torch
    from drift_detector_pipeline.networks.tensors_hash import tensors_hash

    given = preparation.classifier
    layers = None if given is None else Layers(preparation.early or (), given)
    try:
        return through(module, preparation.mean, preparation.std, layers), tensors_hash(module.state_dict())
    except ValueError as error:
        raise ModelError(str(error)) from error
