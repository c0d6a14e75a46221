"""A way through a module of torch: what it says of images, and what its watched layers hold on the way.

In: a module, and uint8 (N, S, S, 3). Out: `Outputs` as tensors. Read by the detector and by proof.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.drift.scores.adapted import Statistics, adapts, blended_statistics
from drift_detector_pipeline.drift.scores.signals import Layers, Outputs, dtype_name, in_words
from drift_detector_pipeline.images.transforms import normalize

EARLY_LAYERS, COARSEST = 3, 8  # so many, none of them more than 8 times coarser than the image
EARLY = "gives {}, expected float maps (N, C, h, w); leave it out of `early`"
CLASSIFIER = "is given {}, expected float features (N, D) or maps (N, D, h, w); name another: Layers(early, classifier)"

Seen = dict[str, torch.Tensor | str]  # of a layer: float32 (N, C), or in words what there was instead


def through(
    module: nn.Module, mean: Sequence[float], std: Sequence[float], layers: Layers | None = None
) -> "ModuleForward":
    """A way through `module`, which takes float32 (N, 3, S, S), normalised by mean and std of values in 0..1.

    Computes in float32 on the module's device, in evaluation mode, which it is left in. `layers`: as `find_layers`
    finds them unless given; early ones that are found and then give no maps are left out. Raises ValueError if a weight
    has another type or there is no module of a name and, when images come, if a layer that was named or the classifier
    does not fit.
    """
    named, layers = layers is not None, layers or find_layers(module)
    watched = dict(module.named_modules())
    if unknown := [name for name in (*layers.early, layers.classifier) if name not in watched]:
        raise ValueError(f"the model has no modules {unknown}; it has {list(watched)[1:]}")
    weights = [weight for weight in module.parameters() if weight.is_floating_point()]
    if other := {weight.dtype for weight in weights} - {torch.float32}:
        raise ValueError(
            f"the model has weights of {dtype_name(other.pop())}, expected float32; give it as model.float()"
        )
    channels = {info["module"]: info["num_chs"] for info in _stages(module)}
    channels[layers.classifier] = getattr(watched[layers.classifier], "in_features", None)
    device = weights[0].device if weights else torch.device("cpu")
    return ModuleForward(module, (tuple(mean), tuple(std)), layers, named, channels, device)


@dataclass(frozen=True)
class ModuleForward:
    """A way through a module, see `through`."""

    module: nn.Module
    scale: tuple[tuple[float, ...], tuple[float, ...]]  # mean and std
    layers: Layers
    named: bool  # the layers were
    channels: dict[str, int | None]  # of layers that are watched, where known
    device: torch.device
    statistics: Statistics | None = None  # to run with in place of the module's own

    def __call__(self, images: Pixels) -> Outputs:
        """Run uint8 (N, S, S, 3) through the module."""
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            return self.outputs(self.inputs(images))

    def adapted(self, images: Pixels) -> "ModuleForward | None":
        """The same way with statistics of uint8 (n, S, S, 3); None if the module has none to adapt."""
        if not adapts(self.module):
            return None
        with torch.autocast(self.device.type, enabled=False):
            return replace(self, statistics=blended_statistics(self.module, self.inputs(images)))

    def outputs(self, inputs: torch.Tensor) -> Outputs:
        """Run float32 (N, 3, S, S), normalised; what an exported graph computes, so N may be unknown (`len` is not)."""
        layers, watched = self.layers, dict(self.module.named_modules())
        with _watching(watched, layers, self.channels, inputs.shape[0]) as seen:
            logits = (
                functional_call(self.module, self.statistics, (inputs,)) if self.statistics else self.module(inputs)
            )
        early = [name for name in layers.early if self.named or isinstance(seen.get(name), torch.Tensor)]
        means = [_means(seen, name, EARLY) for name in early]
        features = _means(seen, layers.classifier, CLASSIFIER)
        return Outputs(logits, features, torch.cat(means, 1) if means else None)

    def inputs(self, images: Pixels) -> torch.Tensor:
        """What the module is given for uint8 (N, S, S, 3); puts it in evaluation mode."""
        if self.module.training:
            self.module.eval()
        planes = torch.from_numpy(np.ascontiguousarray(images)).to(self.device).permute(0, 3, 1, 2)
        return normalize(planes, *self.scale).contiguous()


def find_layers(module: nn.Module) -> Layers:
    """The layers to watch in a timm model (stem and the first stages, its classifier) or, of another, the last linear.

    Early layers are those that give maps (N, C, h, w) at least an eighth of the image's size; a model without has none.
    Nothing is run: what timm calls a stage may give something else, which `through` leaves out.
    Raises ValueError if there is no linear layer to be the classifier.
    """
    names = {id(child): name for name, child in module.named_modules()}
    head = module.get_classifier() if hasattr(module, "get_classifier") else None  # type: ignore[operator]
    classifier = names.get(id(head[0] if isinstance(head, tuple) else head))
    if classifier is None:
        linear = [name for name, child in module.named_modules() if isinstance(child, nn.Linear)]
        if not linear:
            raise ValueError("no linear layer found; name the classifier: Layers(early=(...), classifier=...)")
        classifier = linear[-1]
    fine = [info["module"] for info in _stages(module) if info["reduction"] <= COARSEST]
    early = [name for name in fine if name in names.values()]
    return Layers(tuple(early[:EARLY_LAYERS]), classifier)


def _stages(module: nn.Module) -> list[dict[str, Any]]:
    """What timm says of a model's stages: name, channels and reduction of each; nothing of another model."""
    found = getattr(module, "feature_info", [])
    return list(getattr(found, "info", found))


@contextmanager
def _watching(
    modules: dict[str, nn.Module], layers: Layers, channels: dict[str, int | None], images: int
) -> Iterator[Seen]:
    """Fill a dictionary while the model runs: means of the early maps, features before the classifier."""
    seen: Seen = {}

    def look_at(name: str) -> Callable[..., None]:
        def hook(watched: nn.Module, given: tuple[Any, ...], maps: Any) -> None:
            seen[name] = _over_space(maps, images, {4}, channels.get(name))  # now: a later layer may overwrite the maps

        return hook

    def keep_features(watched: nn.Module, given: tuple[Any, ...]) -> None:
        name = layers.classifier
        seen[name] = _over_space(given[0] if given else None, images, {2, 3, 4}, channels[name])

    handles = [modules[name].register_forward_hook(look_at(name)) for name in layers.early]
    handles.append(modules[layers.classifier].register_forward_pre_hook(keep_features))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _over_space(values: Any, images: int, dimensions: set[int], channels: int | None) -> torch.Tensor | str:
    """Average floats (N, C, ...) or (N, ..., C) over all but N and C: float32 (N, C). Of anything else: what it is."""
    if not isinstance(values, torch.Tensor) or not values.is_floating_point():
        return in_words(values)
    if values.ndim not in dimensions or values.shape[0] != images:
        return in_words(values)
    last = channels is not None and values.shape[1] != channels == values.shape[-1]
    first = (values.movedim(-1, 1) if last else values).float()
    return first.flatten(2).mean(2) if first.ndim > 2 else first.clone()


def _means(seen: Seen, name: str, expected: str) -> torch.Tensor:
    found = seen.get(name, "nothing (it is never called)")
    if isinstance(found, str):
        raise ValueError(f"layer {name} {expected.format(found)}")
    return found
