"""What one forward pass says of an image, before anything is learned from it: the raw signals of the scores.

In: uint8 (N, S, S, 3) inference crops and a way through a model: a module whose layers are watched, or a function.
Out: `Signals`, float32 arrays of N rows. Read by scores.py, and by whoever fits it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from drift_detector_pipeline.drift.pixels import pixel_scores
from drift_detector_pipeline.images import Pixels
from drift_detector_pipeline.transforms import normalize

Floats = npt.NDArray[np.float32]

BATCH = 16  # images of every forward pass, filled up with black ones: with another number some kernels round otherwise
EARLY_LAYERS, COARSEST = 3, 8  # so many, none of them more than 8 times coarser than the image


class Layers(NamedTuple):
    """The names of the modules that are watched, as in `named_modules`."""

    early: tuple[str, ...]  # give feature maps (N, C, h, w); may be empty
    classifier: str  # its input is the features (N, D), its output the logits; maps (N, D, h, w) are averaged


class Outputs(NamedTuple):
    """What a model says about a batch of N images."""

    logits: torch.Tensor  # (N, K)
    features: torch.Tensor  # (N, D)
    early: torch.Tensor | None = None  # (N, C) means over space of early feature maps; None or C = 0: there are none


class Signals(NamedTuple):
    """Raw signals of N images, float32, in the order of the images."""

    pixels: Floats  # (N, P), see pixels.py
    early: Floats  # (N, C) means over space of early feature maps; C may be 0
    features: Floats  # (N, D)
    logits: Floats  # (N, K)

    def take(self, chosen: npt.NDArray[np.int64] | slice) -> "Signals":
        """The signals of some images."""
        return Signals(*(values[chosen] for values in self))


class Twin(NamedTuple):
    """Labelled images once more, corrupted: drift made by hand, to learn from."""

    kind: str
    severity: int
    rows: npt.NDArray[np.int64]  # (n,) which of the clean images these are
    signals: Signals  # n rows


Forward = Callable[[Pixels], Outputs]  # uint8 (N, S, S, 3), at most BATCH images


def read_signals(images: Pixels, forward: Forward) -> Signals:
    """Run uint8 (N, S, S, 3) forward; an image's signals do not depend on the others.

    Raises ValueError if a shape is not as `Outputs` says.
    """
    parts = [_part(images[start : start + BATCH], forward) for start in range(0, len(images), BATCH)]
    if not parts:
        raise ValueError("expected at least one image")
    joined = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Signals(pixel_scores(images), *joined)


def through(module: nn.Module, mean: Sequence[float], std: Sequence[float], layers: Layers | None = None) -> Forward:
    """A way through `module`, which takes float32 (N, 3, S, S), normalised by mean and std of values in 0..1.

    Computes in float32 on the module's device, in evaluation mode, which it is left in. `layers`: as `find_layers`
    finds them unless given. Raises ValueError if there is no module of a name.
    """
    layers = layers or find_layers(module)
    watched = dict(module.named_modules())
    if unknown := [name for name in (*layers.early, layers.classifier) if name not in watched]:
        raise ValueError(f"the model has no modules {unknown}; it has {list(watched)[1:]}")
    device = next(module.parameters()).device
    channels = {info["module"]: info["num_chs"] for info in _stages(module)}

    @torch.inference_mode()
    def forward(images: Pixels) -> Outputs:
        if module.training:
            module.eval()
        planes = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2)
        with _watching(watched, layers, channels) as seen, torch.autocast(device.type, enabled=False):
            logits = module(normalize(planes, tuple(mean), tuple(std)).contiguous())
        means = [seen[name] for name in layers.early]
        return Outputs(logits, seen[layers.classifier], torch.cat(means, 1) if means else None)

    return forward


def find_layers(module: nn.Module) -> Layers:
    """The layers to watch in a timm model (stem and the first stages, its classifier) or, of another, the last linear.

    Early layers are those that give maps (N, C, h, w) at least an eighth of the image's size; a model without has none.
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
    modules: dict[str, nn.Module], layers: Layers, channels: dict[str, int]
) -> Iterator[dict[str, torch.Tensor]]:
    """Fill a dictionary while the model runs: means of the early maps, features before the classifier."""
    seen: dict[str, torch.Tensor] = {}

    def look_at(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]:
        def hook(watched: nn.Module, given: tuple[torch.Tensor, ...], maps: torch.Tensor) -> None:
            first = _channels_first(maps, channels.get(name), name)
            seen[name] = first.float().flatten(2).mean(2)  # now: a later layer may overwrite the maps

        return hook

    def keep_features(watched: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        features = given[0].float()
        seen[layers.classifier] = features.flatten(2).mean(2) if features.ndim > 2 else features.clone()

    handles = [modules[name].register_forward_hook(look_at(name)) for name in layers.early]
    handles.append(modules[layers.classifier].register_forward_pre_hook(keep_features))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _channels_first(maps: torch.Tensor, channels: int | None, name: str) -> torch.Tensor:
    if maps.ndim != 4:
        raise ValueError(f"layer {name} gives {tuple(maps.shape)}, expected maps (N, C, h, w); leave it out of `early`")
    last = channels is not None and maps.shape[1] != channels == maps.shape[3]
    return maps.permute(0, 3, 1, 2) if last else maps


def _part(images: Pixels, forward: Forward) -> tuple[Floats, Floats, Floats]:
    """Means of early maps, features and logits of at most BATCH images."""
    missing = BATCH - len(images)
    filled = np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.uint8)]) if missing else images
    found = forward(filled)
    early = found.logits[:, :0] if found.early is None else found.early
    columns = (early, found.features, found.logits)
    if any(values.ndim != 2 or len(values) != BATCH for values in columns):
        shapes = [tuple(values.shape) for values in columns]
        raise ValueError(f"expected means of early maps, features and logits of {BATCH} rows each, got {shapes}")
    means, features, logits = (values[: len(images)].float().cpu().numpy() for values in columns)
    return means, features, logits
