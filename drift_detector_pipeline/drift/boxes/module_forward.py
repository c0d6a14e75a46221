"""A way through a network of boxes, a module of torch.

In: a module, and uint8 (N, S, S, 3) views. Out: `BoxOutputs`. Read by the detector.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.drift.boxes.signals import BoxOutputs
from drift_detector_pipeline.images.transforms import normalize
from drift_detector_pipeline.networks.boxes.found import Found

Infer = Callable[[nn.Module, torch.Tensor, None], Sequence[Any]]  # as `Task.infer`


class BoxModuleForward:
    """Computes in float32 on the module's device, in evaluation mode, which it is left in."""

    def __init__(self, module: nn.Module, mean: Sequence[float], std: Sequence[float], infer: Infer) -> None:
        self.module, self._scale, self._infer = module, (tuple(mean), tuple(std)), infer
        self._device = next(module.parameters()).device
        self._backbone = module.get_submodule("backbone")

    def __call__(self, views: Pixels) -> BoxOutputs:
        """Run uint8 (N, S, S, 3) through the module."""
        seen = list[torch.Tensor]()

        def look_at(watched: nn.Module, given: tuple[Any, ...], maps: Sequence[torch.Tensor]) -> None:
            seen.extend(one.float().mean(dim=(2, 3)) for one in (maps[0], maps[-1]))

        handle = self._backbone.register_forward_hook(look_at)
        try:
            found = self._run(views)
        finally:
            handle.remove()
        early, features = (one.cpu().numpy() for one in seen)
        return BoxOutputs(found, early, features)

    @torch.inference_mode()
    def _run(self, views: Pixels) -> list[Found]:
        with torch.autocast(self._device.type, enabled=False):
            return list(self._infer(self.module, self._inputs(views), None))

    def _inputs(self, views: Pixels) -> torch.Tensor:
        if self.module.training:
            self.module.eval()
        planes = torch.from_numpy(np.ascontiguousarray(views)).to(self._device).permute(0, 3, 1, 2)
        return normalize(planes, *self._scale).contiguous()
