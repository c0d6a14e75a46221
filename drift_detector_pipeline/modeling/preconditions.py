"""What would end a training after it has begun, looked for before.

In: settings, processed data, the network. Out: nothing, or a ConfigError of one sentence. Read by session.py.
"""

import torch
from torch import nn

from drift_detector_pipeline.corruptions.corrupt import KINDS
from drift_detector_pipeline.corruptions.faults import FAULTS, levels_of
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.processed.manifest import Processed
from drift_detector_pipeline.runs.machine import Machine
from drift_detector_pipeline.settings import Settings
from drift_detector_pipeline.tasks.task import Task


def check_images(settings: Settings, data: Processed, machine: Machine, items: str) -> None:
    """Raise ConfigError if there are too few images, or other `items`, for a step, or none to validate on."""
    _check_batch_size(settings, data, machine, items)
    _check_validation(settings, data)
    _check_twins(settings)


def check_batch_of_one(settings: Settings, module: nn.Module, task: Task, classes: int) -> None:
    """Raise ConfigError if BatchNorm would have a single value a channel, of which there is no variance."""
    if settings.training.batch_size > 1:
        return
    lonely: list[str] = []

    def look(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if inputs[0].numel() == inputs[0].shape[1]:
            lonely.append(type(layer).__name__)

    norms = nn.modules.batchnorm._BatchNorm
    layers = [layer for layer in module.modules() if isinstance(layer, norms) and not _is_frozen(layer)]
    for side_px in sorted({settings.data.img_size, *(settings.training.sizes_px or [])}):
        hooks = [layer.register_forward_pre_hook(look) for layer in layers]
        task.check(module, settings.model.name, classes, side_px)  # shows the module one image
        for hook in hooks:
            hook.remove()
        if lonely:
            raise ConfigError(
                f"training.batch_size=1: at {side_px} px a {lonely[0]} of {settings.model.name} sees one value a "
                "channel and cannot normalize it; pass training.batch_size=2 or more, or a larger data.img_size"
            )


def _check_twins(settings: Settings) -> None:
    twins, name = settings.data.augmentation.twins, "data.augmentation.twins"
    if twins.kind is None:
        return
    if twins.kind not in (*KINDS, *FAULTS):
        raise ConfigError(f"{name}.kind={twins.kind}: no such change; choose from {', '.join((*KINDS, *FAULTS))}")
    if not twins.levels or not set(twins.levels) <= set(levels_of(twins.kind)):
        levels = ", ".join(map(str, levels_of(twins.kind)))
        raise ConfigError(f"{name}.levels={twins.levels}: {twins.kind} has the levels {levels}; name at least one")


def _check_batch_size(settings: Settings, data: Processed, machine: Machine, items: str) -> None:
    images = len(data.images.indices("train", settings.data.limit))
    training = settings.training
    per_step = training.batch_size * training.accumulate_steps * machine.processes
    if images < per_step:
        most = images // (training.accumulate_steps * machine.processes)
        smaller = 2 ** max(1, (most // 4).bit_length() - 1)  # four steps an epoch, or a few more
        accumulated = f", {training.accumulate_steps} times," if training.accumulate_steps > 1 else ""
        raise ConfigError(
            f"training.batch_size={training.batch_size}{accumulated} on {machine.processes} process(es) needs "
            f"{per_step} {items} per step, {data.folder} has {images} to train on; pass a smaller training.batch_size"
            f"{f', such as {smaller}' * (most >= 2)}"
        )


def _check_validation(settings: Settings, data: Processed) -> None:
    if not len(data.images.indices("val", settings.data.limit)):
        raise ConfigError(
            f"{data.folder}: no image to validate on; a class gives one if it has at least two images, or the source "
            "needs a val/ folder with images. Add some, then: make process_data"
        )


def _is_frozen(layer: nn.Module) -> bool:
    weights = list(layer.parameters())
    return bool(weights) and not any(weight.requires_grad for weight in weights)
