"""Optimizer by name, and a learning rate that is a function of the step: nothing to save.

In: `training.*` settings and a module. Out: a torch optimizer; a factor in 0..1 for each step. Read by session.py
and step.py.
"""

import difflib
import math
from functools import partial
from typing import Any

import torch
from timm.optim import create_optimizer_v2, list_optimizers, muon
from torch import nn
from torch.optim import Optimizer

from drift_detector_pipeline.errors import ModelError
from drift_detector_pipeline.modeling.filter_muon import FilterMuon
from drift_detector_pipeline.runs.machine import has_bf16_units
from drift_detector_pipeline.settings import Training

_NEWTON_SCHULZ = muon.zeropower_via_newtonschulz
_OWN = "filtermuon"
_UNFIT = ("adahessian", "kron")  # second derivatives; a state that is not only tensors, so no checkpoints


def build_optimizer(settings: Training, module: nn.Module) -> Optimizer:
    """Create AdamW, SGD (with Nesterov momentum 0.9), any timm optimizer, where biases and norms do not decay, or ours.

    Raises ModelError if the name or an option is unknown, or this machine or this loop cannot run it.
    """
    name = settings.optimizer.lower()
    if name not in (known := [_OWN, *(each for each in list_optimizers() if not each.startswith(_UNFIT))]):
        near = difflib.get_close_matches(name, known, n=5, cutoff=0)
        raise ModelError(
            f"training.optimizer={settings.optimizer}: no such optimizer; the nearest are {', '.join(near)}"
        )
    _orthogonalise_in_what_is_fast(next(module.parameters()).device)
    try:
        if name == _OWN:
            own: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
            return FilterMuon(module, **own, **settings.optimizer_options)
        optimizer: Optimizer = create_optimizer_v2(
            module, name, settings.learning_rate, settings.weight_decay, **settings.optimizer_options
        )
        return optimizer
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"training.optimizer={settings.optimizer} does not take training.optimizer_options="
            f"{settings.optimizer_options}: {error}"
        ) from error
    except (AssertionError, ImportError, RuntimeError) as error:  # bnb*, fused*: need a GPU and another package
        raise ModelError(
            f"training.optimizer={settings.optimizer}: not on this machine ({error}); try AdamW"
        ) from error


def learning_rate_factor(settings: Training, step: int, total_steps: int) -> float:
    """Return the share of `training.learning_rate` at optimizer step `step` (0-based), in 0..1.

    Warm-up is linear, or half a cosine from 1/25 for OneCycleLR (Smith & Topin 2018, arXiv 1708.07120), and takes
    `warmup_fraction` of all steps.
    """
    warmup = settings.warmup_fraction * total_steps
    one_cycle = settings.scheduler == "OneCycleLR"
    if step < warmup:
        share = (step + 1) / (warmup + 1)
        return 1 / 25 + (1 - 1 / 25) * (1 - _half_cosine(share)) if one_cycle else share
    if settings.scheduler == "none":
        return 1.0
    share = (step - warmup) / max(1.0, total_steps - warmup)
    if settings.scheduler == "linear":
        return 1 - share
    if settings.scheduler == "StepLR":
        return float(0.1 ** math.floor(3 * share))
    return _half_cosine(share)


def set_learning_rate(optimizer: Optimizer, factor: float) -> None:
    """Set each group's learning rate to `factor` times the one it was created with."""
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor


def _orthogonalise_in_what_is_fast(device: torch.device) -> None:
    """Let timm's Muon compute in fp32 where bf16 has no units; it knows bf16 only and has no option for this.

    A step of ResNet-18-D took 0.8 instead of 46 s (two cores of an AMD EPYC with AVX2 only, one run).
    """
    dtype = torch.bfloat16 if has_bf16_units(device) else torch.float32
    muon.zeropower_via_newtonschulz = partial(_NEWTON_SCHULZ, dtype=dtype)


def _half_cosine(share: float) -> float:
    """Fall from 1 to 0 as `share` goes from 0 to 1."""
    return (1 + math.cos(math.pi * share)) / 2
