"""A copy of a network that has adapted to some images: no labels, no gradients, only the statistics it normalises by.

In: a module and a batch as its input. Out: statistics by buffer name; `functional_call` runs the module with them, so a
second pass is a function of inputs and statistics, as an exported graph is. Read by signals.py.

A network that is led astray by a change of looks is often sure of its mistakes. With statistics of the changed images
its features lie again where they lay, and its confidence means again what it meant (Schneider et al. 2020, Nado et al.
2020, who adapt a network to heal it; here the adapted one judges the original).
"""

import copy
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from drift_detector_pipeline.drift.scores.signals import PRIOR

_BUFFERS = ("running_mean", "running_var")

Statistics = dict[str, torch.Tensor]  # of buffers, by their names in the module


def adapts(module: nn.Module) -> bool:
    """Whether the module has anything to adapt: BatchNorm with running statistics."""
    return any(True for _ in normalizers(module))


@torch.no_grad()
def blended_statistics(module: nn.Module, inputs: torch.Tensor, prior: int = PRIOR) -> Statistics:
    """Means and variances (C,) of every BatchNorm, its own blended with those of n `inputs` (n, ...).

    Weights are `prior` and n; variances are those of the n images alone (biased). Each layer normalises with its new
    values before the next one looks. The module is left as it is.
    """
    twin = copy.deepcopy(module).eval()
    own = prior / (prior + len(inputs))
    for _, layer in normalizers(twin):
        layer.register_forward_pre_hook(lambda one, given: _blend(one, given[0].float(), own))
    twin(inputs)
    found = Statistics()
    for name, layer in normalizers(twin):
        found |= {f"{name}.{buffer}": value for buffer, value in zip(_BUFFERS, statistics_of(layer), strict=True)}
    return found


def normalizers(module: nn.Module) -> Iterator[tuple[str, _BatchNorm]]:
    """Every BatchNorm with running statistics, by name."""
    for name, layer in module.named_modules():
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None and layer.running_var is not None:
            yield name, layer


def _blend(layer: _BatchNorm, maps: torch.Tensor, own: float) -> None:
    places = [axis for axis in range(maps.ndim) if axis != 1]
    variance, mean = torch.var_mean(maps, dim=places, correction=0)
    for before, now in zip(statistics_of(layer), (mean, variance), strict=True):
        before.mul_(own).add_(now, alpha=1 - own)


def statistics_of(layer: _BatchNorm) -> list[torch.Tensor]:
    """Running mean and variance, (C,) each."""
    return [layer.get_buffer(name) for name in _BUFFERS]
