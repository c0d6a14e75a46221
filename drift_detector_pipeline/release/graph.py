"""A trained network -> ONNX files: everything that is asked of it in one pass, and the second look.

In: a module and its preprocessing. Out: model.onnx, and second_look.onnx for a network with BatchNorm. Read by
export.py. Images, uint8 (N, S, S, 3), are normalised inside: whoever has the file needs no mean and no std.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from drift_detector_pipeline.arrays import Float32s
from drift_detector_pipeline.drift.scores.adapted import adapts, normalizers, statistics_of
from drift_detector_pipeline.drift.scores.module_forward import ModuleForward, through
from drift_detector_pipeline.drift.scores.signals import Outputs
from drift_detector_pipeline.errors import ConfigError, ModelError
from drift_detector_pipeline.release.executable import NAMES

LARGEST_BATCH = 4096
_TALKATIVE = ("torch.onnx", "torch.utils.cpp_extension", "onnxscript", "onnx_ir", "root")
_EXAMPLES = 2  # with one image the exporter takes the number of images for a constant
_BATCH = {0: torch.export.Dim("batch", min=1, max=LARGEST_BATCH)}


def export_model(module: nn.Module, scale: tuple[Sequence[float], Sequence[float]], side_px: int, path: Path) -> None:
    """Write `module`, which takes images normalised by mean and std `scale`, with all outputs of `executable.Said`.

    Raises ModelError if the exporter cannot, ConfigError if it is not installed.
    """
    graph = _Everything(through(module.cpu().eval(), *scale))
    images = _examples(side_px)
    early = graph(images)[len(NAMES) - 1 :]
    names = NAMES if early else NAMES[:-1]
    _export(graph, {"images": images}, {"images": _BATCH}, names, path)


def export_second_look(
    module: nn.Module, scale: tuple[Sequence[float], Sequence[float]], side_px: int, path: Path
) -> bool:
    """Write the network with the statistics of its BatchNorms as an input; False if it has none.

    `own` is the share that `statistics` have beside those of `images` when the two are blended: PRIOR / (PRIOR + n)
    finds a window's, 1 looks with statistics that were found. Left out, `statistics` are the network's own. Errors as
    `export_model`.
    """
    if not adapts(module):
        return False
    graph = _SecondLook(through(module.cpu().eval(), *scale))
    given = {"images": _examples(side_px), "statistics": graph.own_statistics(), "own": torch.tensor(0.5)}
    names = ("logits", "features", "blended")
    _export(graph, given, {"images": _BATCH, "statistics": None, "own": None}, names, path)
    _give_default(path, "statistics", given["statistics"].numpy())
    return True


def export_graph(graph: nn.Module, side_px: int, names: Sequence[str], path: Path) -> None:
    """Write a graph from uint8 images (N, S, S, 3), N free, to outputs of these names; errors as `export_model`."""
    _export(graph, {"images": _examples(side_px)}, {"images": _BATCH}, names, path)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Exporters tell their developers much, and nothing to whoever exports."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    before = [one.level for one in loggers]
    said = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        warnings.simplefilter("ignore")
        try:
            for one in loggers:
                one.setLevel(logging.ERROR)
            yield
        finally:
            for one, level in zip(loggers, before, strict=True):
                one.setLevel(level)


class _Everything(nn.Module):
    """uint8 images -> probabilities, logits, features and, where there are some, early means."""

    def __init__(self, forward: ModuleForward) -> None:
        super().__init__()
        self.network, self.way = forward.module, forward

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logits, *others = _tensors(self.way.outputs(normalized(images, self.way.scale)))
        return logits.softmax(1), logits, *others


class _SecondLook(nn.Module):
    """uint8 images and statistics -> what the network says of them with both blended, and the blend."""

    def __init__(self, forward: ModuleForward) -> None:
        super().__init__()
        self.network, self.way = forward.module, forward
        self.layers = dict(normalizers(forward.module))

    def own_statistics(self) -> torch.Tensor:
        """Means and variances of every BatchNorm, one after another, as the graph takes and gives them."""
        return torch.cat([part for layer in self.layers.values() for part in statistics_of(layer)])

    def forward(self, images: torch.Tensor, statistics: torch.Tensor, own: torch.Tensor) -> tuple[torch.Tensor, ...]:
        sizes = [len(part) for layer in self.layers.values() for part in statistics_of(layer)]
        parts = list(torch.split(statistics, sizes))
        found = dict[str, torch.Tensor]()
        handles = [
            layer.register_forward_pre_hook(_normalizing(name, parts[2 * place : 2 * place + 2], own, found))
            for place, (name, layer) in enumerate(self.layers.items())
        ]
        try:
            logits, features, *_ = _tensors(self.way.outputs(normalized(images, self.way.scale)))
        finally:
            for handle in handles:
                handle.remove()
        return logits, features, torch.cat([found[name] for name in self.layers])


def _normalizing(
    name: str, given: Sequence[torch.Tensor], own: torch.Tensor, found: dict[str, torch.Tensor]
) -> Callable[..., tuple[torch.Tensor, ...]]:
    """A hook that shifts and stretches what a BatchNorm is given so that it ends where blended statistics take it.

    So the layer itself stays as it is, whatever it does after normalising.
    """

    def hook(layer: _BatchNorm, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        maps = inputs[0]
        axes = [axis for axis in range(maps.ndim) if axis != 1]
        shape = [1, -1, *[1] * (maps.ndim - 2)]
        centre = maps.mean(axes, keepdim=True)
        variance = (maps - centre).square().mean(axes)
        mean = given[0] * own + centre.flatten() * (1 - own)
        variance = given[1] * own + variance * (1 - own)
        found[name] = torch.cat([mean, variance])
        own_mean, own_variance = statistics_of(layer)
        stretch = ((own_variance + layer.eps) / (variance + layer.eps)).sqrt()
        return ((maps - mean.view(shape)) * stretch.view(shape) + own_mean.view(shape),)

    return hook


def _tensors(said: Outputs) -> list[torch.Tensor]:
    return [part for part in said if isinstance(part, torch.Tensor)]


def normalized(images: torch.Tensor, scale: tuple[Sequence[float], Sequence[float]]) -> torch.Tensor:
    """As `images.transforms.normalize`, of uint8 (N, S, S, 3)."""
    centre, spread = (torch.tensor(values).mul(255)[:, None, None] for values in scale)
    return (images.permute(0, 3, 1, 2).float() - centre) / spread


def _examples(side_px: int) -> torch.Tensor:
    return torch.zeros(_EXAMPLES, side_px, side_px, 3, dtype=torch.uint8)


def _export(
    graph: nn.Module, inputs: dict[str, torch.Tensor], shapes: dict[str, Any], names: Sequence[str], path: Path
) -> None:
    try:
        import onnxscript  # noqa: F401  # without it PyTorch fails late and in other words
    except ImportError as error:
        raise ConfigError("make export needs packages that are not installed here; pip install -e .[export]") from error
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                graph.eval(), tuple(inputs.values()), dynamo=True, external_data=False, input_names=list(inputs),
                output_names=list(names), dynamic_shapes=shapes, verbose=False,
            )  # fmt: skip
            assert program is not None
            program.save(path)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError, TypeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"this network cannot be written as ONNX ({type(error).__name__}: {reason:.300}); PyTorch's exporter does "
            "not know something it does: try another model.name"
        ) from error


def _give_default(path: Path, name: str, values: Float32s) -> None:
    """Let an input of the file be left out: then it has these values."""
    import onnx

    model = onnx.load(str(path))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(values), name))
    onnx.save(model, str(path))
