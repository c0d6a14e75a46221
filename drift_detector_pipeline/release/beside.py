"""What the exported files are measured beside: the network in PyTorch, compiled, pruned, and what is not here.

In: a trained network. Out: rows of the same table, none of which is ever served. Read by export.py.
"""

import importlib.util
from collections.abc import Sequence

import torch
from torch import nn

from drift_detector_pipeline.arrays import Labels, Pixels
from drift_detector_pipeline.console import log
from drift_detector_pipeline.drift.scores.module_forward import ModuleForward, through
from drift_detector_pipeline.errors import first_line
from drift_detector_pipeline.release.executable import Said
from drift_detector_pipeline.release.graph import quiet
from drift_detector_pipeline.release.parity import Exam, Row, Says, measure
from drift_detector_pipeline.release.pruned import SHARE, prune, retrain

Scale = tuple[Sequence[float], Sequence[float]]


def say_through(way: ModuleForward) -> Says:
    """A module, asked as an executable is."""

    def say(images: Pixels) -> Said:
        logits, features, early = way(images)
        assert isinstance(logits, torch.Tensor) and isinstance(features, torch.Tensor)
        maps = early.numpy() if isinstance(early, torch.Tensor) else None
        return Said(logits.softmax(1).numpy(), logits.numpy(), features.numpy(), maps)

    return say


def rows_beside(module: nn.Module, scale: Scale, exam: Exam, train: tuple[Pixels, Labels]) -> list[Row]:
    """The network compiled, pruned and trained again for one epoch on `train`, and TensorRT."""
    return [_compiled(module, scale, exam), _pruned(module, scale, exam, train), tensorrt()]


def tensorrt() -> Row:
    """What is missing for TensorRT, or the command that builds an engine of the same file."""
    missing = ["an NVIDIA GPU"] * (not torch.cuda.is_available())
    missing += ["the package tensorrt"] * (importlib.util.find_spec("tensorrt") is None)
    command = "not measured; trtexec --onnx=model.onnx --fp16 --saveEngine=model.engine"
    return Row("TensorRT", note=f"missing: {', '.join(missing)}" if missing else command)


def _compiled(module: nn.Module, scale: Scale, exam: Exam) -> Row:
    name, way = "PyTorch, torch.compile", through(module, *scale)
    compiled = torch.compile(module, dynamic=False)

    def say(images: Pixels) -> Said:
        with torch.inference_mode():
            logits = compiled(way.inputs(images))
        return Said(logits.softmax(1).numpy(), logits.numpy(), logits.numpy(), None)

    try:
        log.info("%s: compiles, a few minutes", name)
        with quiet():
            return measure(name, say, exam, alone=False)  # each size of batch is compiled anew
    except Exception as error:  # what a compiler, or the lack of one, raises has no common class
        return Row(name, note=f"not here: {first_line(error):.120}")


def _pruned(module: nn.Module, scale: Scale, exam: Exam, train: tuple[Pixels, Labels]) -> Row:
    name = f"PyTorch, {SHARE:.0%} of the channels inside blocks pruned"
    smaller = prune(module)
    if smaller is None:
        return Row(name, note="not tried: no block of two convolutions with a BatchNorm between them")
    try:
        retrain(smaller, scale, *train)
    except RuntimeError as error:  # something between the two counts channels, too
        return Row(name, note=f"not possible: {first_line(error):.120}")
    megabytes = sum(weight.numel() for weight in smaller.parameters()) * 4 / 1e6
    return measure(name, say_through(through(smaller, *scale)), exam, megabytes, "trained again for one epoch")
