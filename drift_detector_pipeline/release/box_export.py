"""A network that finds boxes -> model.onnx, and the images that every file of it is asked about.

In: a trained network and its processed data. Out: a file whose graph ends at places or regions and their chances, and a
`BoxExam`. Read by export.py. A: places or regions, K: classes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from drift_detector_pipeline.arrays import Boxes, Float32s, Pixels
from drift_detector_pipeline.box_geometry import iou
from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.images.letterbox import into
from drift_detector_pipeline.modeling.trained import Trained
from drift_detector_pipeline.networks.boxes.catalog import overlap_of
from drift_detector_pipeline.networks.boxes.found import Found, found
from drift_detector_pipeline.processed.manifest import Processed
from drift_detector_pipeline.processed.roles import crops_of
from drift_detector_pipeline.release.box_executable import BOX_NAMES, BoxExecutable, SaidOfPlaces
from drift_detector_pipeline.release.executable import Session
from drift_detector_pipeline.release.graph import export_graph, normalized
from drift_detector_pipeline.release.parity import Row, chosen, milliseconds, rows_independent
from drift_detector_pipeline.tasks.boxes.metrics import measure

SHOWN = 0.5  # score from which a box counts as an answer that may change
_SAME = 0.5  # IoU of an answer with itself, computed otherwise
_SAME_PX = 0.5  # how far the boxes of a region may be from those of the same region, computed otherwise
_FEW = 0.05  # share of regions that may be other ones: which come last, or overlap by just so much, is a matter of bits
_BATCH = 8

Scale = tuple[Sequence[float], Sequence[float]]
SaysPlaces = Callable[[Pixels], SaidOfPlaces]  # uint8 (N, S, S, 3) -> places and chances


class BoxExam(NamedTuple):
    """The images that every way through the model is asked about."""

    crops: Pixels  # (N, S, S, 3)
    targets: list[Boxes]  # N, in px of the crops
    expected: SaidOfPlaces  # of the network itself
    overlap: float  # IoU above which two of its boxes are one

    def ask(self, name: str, session: Session, megabytes: float) -> Row:
        """Ask a file in its runtime."""
        return self.measure(name, BoxExecutable(session, "", self.crops.shape[1], self.overlap).say, megabytes)

    def measure(self, name: str, say: SaysPlaces, megabytes: float) -> Row:
        """Compare what is said with the truth and with the network, and time it."""
        side, said = self.crops.shape[1], _asked(say, self.crops, name)
        answers, own = _found(said, side, self.overlap), _found(self.expected, side, self.overlap)
        worth = measure(answers, self.targets)
        low, high = worth.intervals["map50"] or (0.0, 1.0)
        return Row(
            name, len(self.crops), gap(said, self.expected), changed(answers, own),
            worth.map50, low, high, rows_independent(say, self.crops), milliseconds(say, self.crops, 1),
            milliseconds(say, self.crops, 8), megabytes,
        )  # fmt: skip


def export_boxes(module: nn.Module, scale: Scale, side_px: int, path: Path) -> None:
    """Write a network that takes images normalised by mean and std `scale`; errors as `export_graph`."""
    export_graph(_Places(module.cpu().eval(), scale), side_px, BOX_NAMES, path)


def examine(trained: Trained, processed: Processed) -> tuple[BoxExam, Row]:
    """Ask the network itself, in PyTorch, about the images that all others are asked about."""
    places = processed.images.indices("val")
    places = places[chosen(len(places))]
    side, scale = trained.img_size, (trained.network.mean, trained.network.std)
    crops = crops_of(processed, places, side)
    say = _through(_Places(trained.network.module, scale))
    targets = [_in_view(processed, int(place), side) for place in places]
    exam = BoxExam(crops, targets, _asked(say, crops, "the network itself"), overlap_of(trained.network.module))
    return exam, exam.measure("PyTorch fp32", say, trained.file.stat().st_size / 1e6)


def gap(said: SaidOfPlaces, expected: SaidOfPlaces) -> float:
    """Largest difference of a chance; of regions, whose order is a matter of bits, between those with the same boxes.

    1 if more than one in twenty regions has no such partner.
    """
    if said.places.ndim == 3:
        return float(np.abs(said.chances - expected.chances).max())
    pairs = [_gaps(*one) for one in zip(*said[:2], *expected[:2], strict=True)]
    gaps = np.concatenate(pairs)
    same = gaps[np.isfinite(gaps)]
    return 1.0 if len(same) < (1 - _FEW) * len(gaps) else float(same.max(initial=0))


def _gaps(boxes: Float32s, chances: Float32s, others: Float32s, wanted: Float32s) -> Float32s:
    """Largest difference of the chances of each region (R, K, 4) of one image from its partner's; inf: it has none."""
    real, true = chances.any(1), wanted.any(1)
    if not real.any() or not true.any():
        return np.full(int(real.sum() + true.sum()), np.inf, np.float32)
    away = np.abs(boxes[real][:, None] - others[true][None]).max(axis=(2, 3))
    apart: Float32s = np.abs(chances[real] - wanted[true][away.argmin(1)]).max(1)
    return np.where(away.min(1) < _SAME_PX, apart, np.float32(np.inf))


def changed(answers: Sequence[Found], own: Sequence[Found]) -> float:
    """Share of the boxes that either says with a score of 0.5 or more and the other does not say."""
    lonely = total = 0
    for one, other in zip(answers, own, strict=True):
        for first, second in ((one, other), (other, one)):
            sure = first.scores >= SHOWN
            same = iou(first.boxes[sure], second.boxes) > _SAME
            same &= first.labels[sure][:, None] == second.labels[None]
            same &= second.scores[None] >= SHOWN - 0.1  # a score of 0.501 that becomes 0.499 is no other answer
            lonely += int((~same.any(1)).sum())
            total += int(sure.sum())
    return lonely / max(1, total)


class _Places(nn.Module):
    """uint8 (N, S, S, 3) -> boxes in px and chances (N, A, K) of all places or regions, and what drift reads."""

    def __init__(self, network: Any, scale: Scale) -> None:
        super().__init__()
        self.network, self._scale = network, scale

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        maps = self.network.backbone(normalized(images, self._scale))
        means = (one.float().mean(dim=(2, 3)) for one in (maps[0], maps[-1]))  # as drift/boxes/module_forward.py
        return *self.network.raw_from(maps), *means


def _through(graph: nn.Module) -> SaysPlaces:
    def say(images: Pixels) -> SaidOfPlaces:
        with torch.inference_mode():
            return SaidOfPlaces(*(one.numpy() for one in graph(torch.from_numpy(images))))

    return say


def _asked(say: SaysPlaces, crops: Pixels, title: str) -> SaidOfPlaces:
    parts = list[SaidOfPlaces]()
    with progress_bar(total=len(crops), title=title, unit="image") as bar:
        for start in range(0, len(crops), _BATCH):
            parts.append(say(np.ascontiguousarray(crops[start : start + _BATCH])))
            bar.update(len(parts[-1].places))
    return SaidOfPlaces(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _found(said: SaidOfPlaces, side_px: int, overlap: float) -> list[Found]:
    return [found(*one, side_px, overlap) for one in zip(said.places, said.chances, strict=True)]


def _in_view(processed: Processed, place: int, side_px: int) -> Boxes:
    truth: Boxes = processed.images.target(place)
    height, width = processed.images[place].shape[:2]
    return truth._replace(boxes=into(truth.boxes, height, width, side_px))
