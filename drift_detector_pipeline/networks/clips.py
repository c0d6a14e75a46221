"""A network for images over time: any classifier becomes one of clips.

B clips of k frames, K classes, D features, S side in px. The mean of the frames' logits is what a linear layer says of
their mean features (TemporalAvg; Wang et al. 2016, Temporal Segment Networks, arXiv 1608.00859). Read by
tasks/clips/task.py.
"""

from typing import Any, Literal, get_args

import torch
from torch import nn

from drift_detector_pipeline.arrays import Float32s
from drift_detector_pipeline.clip_cut import LEAST_VARIANCE
from drift_detector_pipeline.errors import ModelError
from drift_detector_pipeline.networks.models import check_input, create

Pooling = Literal["mean", "mean_and_deviation"]


class OverTime(nn.Module):
    """Frames through one network, all at once; what it says of them is averaged, padding left out.

    `frame` is the network for a single image: of the pooling "mean" the mean of its logits is what is said of a clip.
    With "mean_and_deviation" the deviation of its features over time counts too, which is where things move.
    """

    def __init__(self, frame: nn.Module, classes: int, pooling: Pooling = "mean") -> None:
        super().__init__()
        self.frame, self.pooling = frame, pooling
        if pooling == "mean_and_deviation":
            self.deviation = nn.Linear(_last(frame).in_features, classes, bias=False)
            nn.init.zeros_(self.deviation.weight)  # begins as the mean

    def forward(self, clips: torch.Tensor, frames: torch.Tensor | None = None) -> torch.Tensor:
        """float32 (B, k, 3, S, S), int64 (B,) -> logits (B, K); the first `frames` of each clip weigh, None: all."""
        weighs = _weighing(clips, frames)
        logits, features = self._each(clips, weighs)
        shares = weighs / weighs.sum(1, keepdim=True)
        said: torch.Tensor = (logits.float() * shares[..., None]).sum(1)
        if self.pooling == "mean":
            return said
        moves: torch.Tensor = self.deviation(_deviation(features.float(), shares))
        return said + moves

    @property
    def looks_first(self) -> bool:
        """Whether the network of frames is shown some before anything is learned."""
        return bool(getattr(self.frame, "looks_first", False))

    def look_at(self, frames: torch.Tensor) -> None:
        """Show it those of training clips, float32 (N, 3, S, S)."""
        self.frame.look_at(frames)  # type: ignore[operator]

    def of_frames(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (B, k, K) and features (B, k, D) of each frame; of the mean the logits again."""
        logits, features = self._through(clips.flatten(0, 1))
        return logits.view(*clips.shape[:2], -1), features.reshape(*clips.shape[:2], -1)

    def _each(self, clips: torch.Tensor, weighs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (B, k, K) and, where they count, features (B, k, D) of each frame; those of padding are 0.

        In training padding is not even shown: BatchNorm would take it for images.
        """
        shown = weighs.flatten() > 0
        images = clips.flatten(0, 1)
        everything = not self.training or bool(shown.all())
        parts = self._through(images if everything else images[shown])
        logits, features = parts if everything else (_spread(part, shown) for part in parts)
        return logits.reshape(*weighs.shape, -1), features.reshape(*weighs.shape, -1)

    def _through(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of images and what their last layer is given; of the mean the logits again."""
        if self.pooling == "mean":
            logits = self.frame(images)
            return logits, logits
        seen: list[torch.Tensor] = []
        handle = _last(self.frame).register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            return self.frame(images), seen[0]
        finally:
            handle.remove()


def create_over_time(
    name: str, classes: int, side_px: int, options: dict[str, Any], *, pretrained: bool = False
) -> OverTime:
    """Create a network of clips from any classifier by name; `options` may name the `pooling`, all else is its own.

    Raises ModelError for a name or an option that does not exist.
    """
    own = dict(options)
    pooling = own.pop("pooling", "mean")
    if pooling not in get_args(Pooling):
        raise ModelError(f"model.options.pooling={pooling}: choose from {', '.join(get_args(Pooling))}")
    return OverTime(create(name, classes, side_px, own, pretrained=pretrained), classes, pooling)


def check_over_time(module: nn.Module, name: str, classes: int, side_px: int) -> None:
    """Raise ModelError unless `module` turns clips of images of `side_px` into `classes` logits."""
    assert isinstance(module, OverTime)
    check_input(module.frame, name, classes, side_px)


def frame_of(module: nn.Module) -> nn.Module:
    """The network of single frames."""
    assert isinstance(module, OverTime)
    return module.frame


def deviation_of(module: nn.Module) -> Float32s | None:
    """The weights (K, D) that the deviation of features over time counts with; None of the pooling "mean"."""
    assert isinstance(module, OverTime)
    if module.pooling == "mean":
        return None
    weights: Float32s = module.deviation.weight.detach().float().cpu().numpy()
    return weights


def _last(frame: nn.Module) -> nn.Linear:
    """The last linear layer, which is given the features. Raises ModelError if there is none."""
    if hasattr(frame, "get_classifier"):
        last: Any = frame.get_classifier()  # type: ignore[operator]
    else:
        last = next((layer for layer in reversed(list(frame.modules())) if isinstance(layer, nn.Linear)), frame)
    if not isinstance(last, nn.Linear):
        raise ModelError(
            "model.options.pooling=mean_and_deviation: needs a network that ends in one linear layer, this one ends in "
            f"{type(last).__name__}; take pooling=mean"
        )
    return last


def _weighing(clips: torch.Tensor, frames: torch.Tensor | None) -> torch.Tensor:
    """1 for each frame that weighs, else 0: float32 (B, k)."""
    count = clips.shape[1]
    if frames is None:
        return torch.ones(clips.shape[:2], device=clips.device)
    return (torch.arange(count, device=clips.device) < frames[:, None].to(clips.device)).float()


def _spread(part: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    whole = part.new_zeros(len(shown), *part.shape[1:])
    whole[shown] = part
    return whole


def _deviation(features: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Standard deviation over time, (B, D)."""
    mean = (features * shares[..., None]).sum(1, keepdim=True)
    variance = ((features - mean) ** 2 * shares[..., None]).sum(1)
    return (variance + LEAST_VARIANCE).sqrt()
