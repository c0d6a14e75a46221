"""What a task supplies; everything else of the road knows no task by name.

N items, K classes, S side of the input in px. A target (the truth) and an answer are plain JSON: they stand in files
and in what a service replies. An output is what the network says of one item, before it is put into words.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import nn

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.clip_cut import ClipCut
from drift_detector_pipeline.images.decoder import Side
from drift_detector_pipeline.images.stored_jpeg import Packed
from drift_detector_pipeline.images.tiles import Tile
from drift_detector_pipeline.settings import Augmentation, Data, Training
from drift_detector_pipeline.settings_in_use import Predict
from drift_detector_pipeline.tasks.headline import Headline

Target = Any  # plain JSON: of classification an index into the classes
Output = Any  # a float32 array or a tuple of arrays; of classification logits (K,)
Answer = dict[str, Any]  # plain JSON
Cell = str | float | int | None  # of a row of predictions.csv


class View(NamedTuple):
    """How a stored item is looked at."""

    side_px: int
    augmentation: Augmentation | None  # None: as in inference, nothing random
    frames: int | None = None  # k, where an item is a clip; None: it is an image

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a view: (S, S, 3), of a clip (k, S, S, 3)."""
        image = (self.side_px, self.side_px, 3)
        return image if self.frames is None else (self.frames, *image)


class Metrics(Protocol):
    """What a model is worth on a split."""

    @property
    def n(self) -> int:
        """Items."""

    @property
    def loss(self) -> float:
        """Mean of what was learned to make small, without smoothing."""

    @property
    def headline(self) -> float:
        """Value of the task's headline."""

    def words(self, images: str) -> str:
        """What it all comes to, for people; `images` says of which, such as "359 val images"."""


class Caption(NamedTuple):
    """An answer beside the truth, in a few words."""

    says: str
    truth: str
    right: bool
    probability: float | None  # of what is said, in 0..1


class Evaluation(NamedTuple):
    """Everything known about a model on a split; lists have one item per image."""

    facts: Mapping[str, Any]  # which weights, data, command and machine
    metrics: Any  # what the task's `measure` gives
    classes: list[str]
    paths: list[str]
    targets: list[Target]
    answers: list[Answer]
    picture: Callable[[int], Pixels]  # the image, or clip, at a place of these lists, as the model saw it


class Report(NamedTuple):
    """What a task adds to the files of an evaluation."""

    numbers: dict[str, Any]  # of metrics.json, before the facts ...
    details: dict[str, Any]  # ... and after them
    pictures: dict[str, bytes]  # name of a file -> PNG
    template: str  # in templates/, "evaluation.html" or what extends it
    page: dict[str, Any]  # what the template shows beside facts and metrics


class FurtherFiles(Protocol):
    """What a task writes of a prediction beside its lines and its table."""

    def add(self, name: str, pixels: Pixels, image: tuple[int, int], answer: Answer) -> None:
        """Take note of an answer about the image (height, width), of which `pixels` are a smaller version or all."""

    def close(self) -> None:
        """Write what is about all images."""


class Task(NamedTuple):
    """One kind of truth about images. Functions are of module level: loader workers are given them."""

    name: str  # stands in the manifest, the weight file and the receipt
    headline: Headline
    columns: tuple[str, ...]  # of predictions.csv, after the image's path
    truth_column: str  # of an evaluation's predictions.csv

    batch: int
    """Images of every forward pass that learns nothing: with another number some kernels give other last bits."""

    stored_side: Side
    """Which side of an image has the length that images are stored in."""

    # stored item -> batch
    check_data: Callable[[Data], None]
    """Raise ConfigError if settings of the data ask for what this task cannot do."""
    view: Callable[[Packed, Target, View, np.random.Generator | None], tuple[torch.Tensor, Target]]
    """An image (H, W, 3) as it is stored and its truth -> uint8 (S, S, 3) and the truth of that view.

    The target may be None. Of clips (T, H, W, 3) -> (k, S, S, 3).
    """

    blend: Callable[[Target, Target, float], Target] | None
    """The truth of two views mixed, the first with this share in 0..1; None: views of this task cannot be mixed."""

    assemble: Callable[[Sequence[tuple[Packed, Target]], View, np.random.Generator], tuple[torch.Tensor, Target]] | None
    """Four stored items as one training view; None: this task has no such views."""

    # batch -> network -> loss
    create: Callable[..., nn.Module]
    """(name, K, S, options, *, pretrained) -> a module. Raises ModelError."""
    check: Callable[[nn.Module, str, int, int], None]
    """Raise ModelError unless the module takes images of S px and answers as the task's outputs are; K, S last."""
    loss: Callable[[Callable[..., Any], torch.Tensor, Sequence[Target], Training, torch.Tensor | None], torch.Tensor]
    """(forward, float32 (N, 3, S, S), targets, settings, class weights float32 (K,) or None) -> scalar.

    Of clips (N, k, 3, S, S). Forward included: detectors compute their own loss.
    """
    infer: Callable[[nn.Module, torch.Tensor, Sequence[Target] | None], Sequence[Output]]
    """One output an item, on the CPU, whatever its neighbours.

    Of the first items the truth may be known: detectors say the loss there in the same forward pass.
    """

    # what it is worth
    measure: Callable[[Sequence[Output], Sequence[Target]], Metrics]
    answer: Callable[[Sequence[Output], Sequence[str]], list[Answer]]
    """What predict writes and a service says, of the view of `View.side_px`."""
    on_image: Callable[..., Answer]
    """(answer, (height, width) of the image, S, stored=(height, width)) -> the answer in terms of that image.

    `stored`: its sides as it was stored before it became a view; left out: the image's own.
    """
    join: Callable[[Sequence[tuple[Answer, Tile]], tuple[int, int], float | None], Answer] | None
    """(answers about parts of an image, its (height, width), least score or None) -> one answer; None: not possible."""
    rows: Callable[[Answer], list[list[Cell]]]
    """An answer as rows of predictions.csv, under `columns`."""
    further_files: Callable[[Path, Sequence[str], Predict], FurtherFiles] | None
    """(folder, classes, settings) -> what else a prediction writes there."""
    caption: Callable[[Answer, Target, Sequence[str]], Caption]
    draw: Callable[[Pixels, Answer, Target, Sequence[str]], Pixels]
    """The image as people see it, with what can be drawn into it; of a clip a strip."""
    report: Callable[[Evaluation], Report]

    decide: Callable[[Answer, Sequence[str], float], Answer] | None = None
    """(answer, two classes, threshold) -> the answer if the class looked for needs that probability; None: no way."""

    over_time: bool = False
    """Whether an item is a clip, of which a view shows k frames."""

    @property
    def items(self) -> str:
        """What is counted, for people."""
        return "clips" if self.over_time else "images"

    def cut(self, data: Data) -> ClipCut | None:
        """How clips are cut by the settings; None: items are images."""
        return ClipCut(data.clip_seconds, data.stored_frames, data.k_frames) if self.over_time else None

    def look(self, data: Data, side_px: int, augmentation: Augmentation | None = None) -> View:
        """How an item is looked at by the settings; without augmentation as in inference."""
        return View(side_px, augmentation, data.k_frames if self.over_time else None)
