"""What one forward pass says of an image, before anything is learned from it: the raw signals of the scores.

In: uint8 (N, S, S, 3) inference crops and a way through a model: a function of them, whatever runs the model.
Out: `Signals`, float32 arrays of N rows. Needs no torch, though it takes tensors. Read by phi.py, and by whoever fits
it.

This is the second way through a model. The first, modeling/inference.py, gives what a run's own network answers, in
whatever precision the machine has. This one computes in float32 always, for a reference made on one machine is compared
with windows on others, watches layers on the way, and takes anybody's model or function. Both fill their batches up.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Indices, Pixels
from drift_detector_pipeline.drift.scores.pixels import pixel_scores

if TYPE_CHECKING:
    import torch

BATCH = 16  # images of every forward pass, see `_part`
PRIOR = 2  # images that a network's own statistics count for where a copy adapts to others


class Layers(NamedTuple):
    """The names of the modules that are watched, as in `named_modules`."""

    early: tuple[str, ...]  # give feature maps (N, C, h, w); may be empty
    classifier: str  # its input is the features (N, D), its output the logits; maps (N, D, h, w) are averaged


class Outputs(NamedTuple):
    """What a model says about a batch of N images, as tensors or as arrays."""

    logits: "torch.Tensor | Float32s"  # (N, K)
    features: "torch.Tensor | Float32s"  # (N, D)
    early: "torch.Tensor | Float32s | None" = None  # early maps (N, C, h, w) or their means (N, C); None: none


class Signals(NamedTuple):
    """Raw signals of N images, float32, in the order of the images."""

    pixels: Float32s  # (N, P), see pixels.py
    early: Float32s  # (N, C) means over space of early feature maps; C may be 0
    features: Float32s  # (N, D)
    logits: Float32s  # (N, K)

    def take(self, chosen: Indices | slice) -> "Signals":
        """The signals of some images."""
        return Signals(*(values[chosen] for values in self))


class SecondLook(NamedTuple):
    """What a copy of the network that adapted to some images of a window says of all of them."""

    rows: Indices  # (m,) the window's places among the images it is of
    some: Indices  # (n,) which of the window's images the copy adapted to
    logits: Float32s | None  # (m, K); None of a network that cannot adapt


class Twin(NamedTuple):
    """Labelled images once more, changed: drift made by hand, to learn from."""

    kind: str
    severity: int
    rows: Indices  # (n,) which of the clean images these are
    signals: Signals  # n rows
    looks: tuple[SecondLook, ...] = ()  # at windows of these


Forward = Callable[[Pixels], Outputs]  # uint8 (N, S, S, 3), at most BATCH images; a plain tuple will do


def read_signals(images: Pixels, forward: Forward) -> Signals:
    """Run uint8 (N, S, S, 3) forward; an image's signals do not depend on the others.

    Raises ValueError if a shape is not as `Outputs` says or a value is not finite.
    """
    images = np.require(images, requirements=["C", "W"])  # as tensors are
    parts = [_part(images[start : start + BATCH], forward) for start in range(0, len(images), BATCH)]
    if not parts:
        raise ValueError("expected at least one image")
    joined = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    finite = np.all([np.isfinite(values).all(axis=1) for values in joined], axis=0)
    if broken := int((~finite).sum()):
        raise ValueError(
            f"the model gives values that are not finite (nan or inf) for {broken} images; look at its weights, its "
            "training may have diverged, and at mean and std"
        )
    return Signals(pixel_scores(images), *joined)


def as_float32(values: "torch.Tensor | Float32s") -> Float32s:
    """What a model gave as an array."""
    own = values if isinstance(values, np.ndarray) else values.detach().float().cpu().numpy()
    return own.astype(np.float32, copy=False)


def in_words(values: Any) -> str:
    """What something is, where it is not what was expected."""
    if _is_array(values):
        return f"{dtype_name(values.dtype)} {tuple(values.shape)}"
    return "nothing" if values is None else f"a {type(values).__name__}"


def dtype_name(dtype: Any) -> str:
    """The name of a dtype of torch or NumPy."""
    return str(dtype).removeprefix("torch.")


def _is_array(values: Any) -> bool:
    return isinstance(values, np.ndarray) or type(values).__module__.partition(".")[0] == "torch"


def _part(images: Pixels, forward: Forward) -> tuple[Float32s, Float32s, Float32s]:
    """Means of early maps, features and logits of at most BATCH images.

    The model sees BATCH images always, black ones last: for another number of images some kernels round otherwise.
    """
    missing = BATCH - len(images)
    given = forward(np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.uint8)]) if missing else images)
    if not isinstance(given, tuple) or not 2 <= len(given) <= 3:
        raise ValueError(f"expected logits, features and perhaps early maps from the function, got {in_words(given)}")
    found = Outputs(*given)
    columns = (_means_over_space(found.early), found.features, found.logits)
    if any(not _is_array(values) or values.ndim != 2 or len(values) != BATCH for values in columns):
        got = ", ".join(map(in_words, columns))
        raise ValueError(f"expected means of early maps, features and logits of {BATCH} rows each, got {got}")
    means, features, logits = (as_float32(values)[: len(images)] for values in columns)
    return means, features, logits


def _means_over_space(early: Any) -> Any:
    """Means (N, C) of early maps (N, C, h, w); of anything else itself."""
    if early is None:
        return np.zeros((BATCH, 0), np.float32)
    if not _is_array(early) or early.ndim != 4:
        return early
    if isinstance(early, np.ndarray):
        return early.astype(np.float32).reshape(*early.shape[:2], -1).mean(axis=2)
    return early.float().flatten(2).mean(2)
