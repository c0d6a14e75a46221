"""Muon for filter banks of fixed norm: they turn, and everything else follows SGD.

O: filters of a bank, I: weights of one. In: a module. Out: an optimizer whose state is one momentum a weight. Read by
optimization.py.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from drift_detector_pipeline.runs.machine import has_bf16_units

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic that raises small singular values fastest (Jordan 2024)


class FilterMuon(Optimizer):
    """Orthogonalised momentum for banks of filters (O, ...), each scaled to norm sqrt(O) before its step.

    After Jordan's "airbench94_muon" (2024). Since a bank's norm does not change, `lr` is the share of it that a step
    replaces, and decay would have nothing to do. Biases, norms and the classifier follow SGD with Nesterov momentum
    `rest_momentum` at `lr` times `bias_lr_scale` or `head_lr_scale`; `weight_decay` is the share of them that goes into
    a step's gradient at the highest rate.
    """

    def __init__(
        self, module: nn.Module, *, lr: float, weight_decay: float, momentum: float = 0.6, ns_steps: int = 3,
        rest_momentum: float = 0.85, bias_lr_scale: float = 1.0, head_lr_scale: float = 1.0,
    ) -> None:  # fmt: skip
        classifier = getattr(module, "get_classifier", nn.Module)()
        head = {id(weight) for weight in classifier.parameters()} if isinstance(classifier, nn.Module) else set[int]()
        kinds: dict[str, list[nn.Parameter]] = {"bank": [], "bias": [], "head": []}
        for weight in module.parameters():
            if weight.requires_grad:
                kinds["head" if id(weight) in head else "bank" if weight.ndim > 1 else "bias"].append(weight)
        scale = {"bank": 1.0, "bias": bias_lr_scale, "head": head_lr_scale}
        groups = [
            {
                "params": weights, "lr": lr * scale[kind], "turns": kind == "bank", "ns_steps": ns_steps,
                "momentum": momentum if kind == "bank" else rest_momentum,
                "weight_decay": 0.0 if kind == "bank" else weight_decay / (lr * scale[kind]),
            }
            for kind, weights in kinds.items() if weights
        ]  # fmt: skip
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Change all weights that have a gradient."""
        assert closure is None
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                change = self._momentum(weight, weight.grad.add(weight, alpha=group["weight_decay"]), group["momentum"])
                if group["turns"]:
                    weight.mul_(len(weight) ** 0.5 / weight.norm())
                    change = orthogonalised(change.reshape(len(change), -1), group["ns_steps"]).view_as(weight)
                weight.add_(change, alpha=-group["lr"])

    def _momentum(self, weight: torch.Tensor, gradient: torch.Tensor, momentum: float) -> torch.Tensor:
        """Nesterov's: the gradient as it will be once the momentum has taken it in."""
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
        state["momentum"].mul_(momentum).add_(gradient)
        return gradient.add(state["momentum"], alpha=momentum)


def orthogonalised(bank: torch.Tensor, steps: int) -> torch.Tensor:
    """Bring the singular values of float32 (O, I) near 1 by Newton-Schulz steps; in bf16 where that is fast."""
    dtype = torch.bfloat16 if has_bf16_units(bank.device) else torch.float32
    found: torch.Tensor = (bank / (bank.norm() + 1e-7)).to(dtype)
    tall = len(found) > found.shape[1]
    found = found.T if tall else found
    first, third, fifth = _COEFFICIENTS
    for _ in range(steps):
        square = found @ found.T
        found = first * found + (third * square + fifth * square @ square) @ found
    return (found.T if tall else found).to(bank.dtype)
