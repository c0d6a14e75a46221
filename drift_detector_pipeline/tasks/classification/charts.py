"""Pictures of what a classifier is worth, readable without colour: confusions, calibration, single predictions.

In: numbers of metrics.py, or images with their predictions. Out: matplotlib figures, about as wide as a phone. Read
by report.py.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.figures import drawable
from drift_detector_pipeline.tasks.classification.metrics import Bin

_WIDTH = 4.6  # inches: text of 8 points is then as large as on the page
_NUMBERED = 20  # classes up to which a cell of the confusion matrix has room for its count
_SHORT = 14  # characters of a class name


class Tile(NamedTuple):
    """One image and what the model says about it."""

    pixels: Pixels  # (S, S, 3)
    label: str  # what the model says
    probability: float
    true_label: str
    path: str

    @property
    def right(self) -> bool:
        """Whether the model is right."""
        return self.label == self.true_label


def confusion_chart(matrix: npt.NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """Draw counts by true class (rows) and predicted class (columns); the darker, the larger the share of its row."""
    count = len(classes)
    side = max(_WIDTH, 0.25 * min(count, 60))
    figure = Figure((side, side), layout="constrained")
    axes = figure.add_subplot()
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    shades = np.sqrt(shares)  # so that a few percent can be seen
    axes.imshow(shades, cmap="Greys", vmin=0, vmax=1)
    if count <= _NUMBERED:
        _name_ticks(axes, drawable(classes, _SHORT))
        _write_counts(axes, matrix, shades)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    return figure


def reliability_chart(bins: Sequence[Bin]) -> Figure:
    """Draw accuracy against confidence, with the number of predictions of each bin below."""
    figure = Figure((_WIDTH, _WIDTH), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    filled = [b for b in bins if b.confidence is not None and b.accuracy is not None]
    left, width = [b.low for b in filled], 1 / len(bins)
    upper.plot([0, 1], [0, 1], "--", color="0.4", label="perfectly calibrated")
    bar: dict[str, Any] = {"width": width, "align": "edge", "edgecolor": "black"}
    upper.bar(left, [b.accuracy or 0 for b in filled], color="0.85", label="accuracy", **bar)
    confidence = [b.confidence or 0 for b in filled]
    upper.plot(confidence, [b.accuracy or 0 for b in filled], "ko", markersize=4, label="mean of a bin")
    upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy")
    upper.yaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    lower.bar(left, [b.n for b in filled], color="white", hatch="///", **bar)
    lower.set(xlabel="confidence: probability of the predicted class", ylabel="images")
    lower.xaxis.set_major_formatter(PercentFormatter(1))
    return figure


def contact_sheet(tiles: Sequence[Tile], classes: Sequence[str], columns: int = 4) -> Figure:
    """Draw images with what the model says; a wrong one has a cross, the true class and a thick dashed frame."""
    rows = max(1, -(-len(tiles) // columns))
    names = dict(zip(classes, drawable(classes, _SHORT), strict=True))
    figure = Figure((1.5 * columns, 1.95 * rows), layout="constrained")
    for place, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.set_axis_off()
        if place < len(tiles):
            _draw_tile(axes, tiles[place], names)
    return figure


def _draw_tile(axes: Axes, tile: Tile, names: Mapping[str, str]) -> None:
    axes.imshow(tile.pixels, interpolation="nearest")
    says = f"{'✓' if tile.right else '✗'} {names[tile.label]} ({tile.probability:.0%})"
    truth = "" if tile.right else f"\nis {names[tile.true_label]}"
    axes.set_title(says + truth, fontsize=9, parse_math=False, loc="left", pad=4 if tile.right else 8)
    if not tile.right:
        side = tile.pixels.shape[0]
        gap = 0.02 * side  # outside the image, or a dark one would hide it
        dashed: dict[str, Any] = {"linestyle": (0, (2, 1)), "linewidth": 3, "edgecolor": "black", "clip_on": False}
        axes.add_patch(Rectangle((-0.5 - gap, -0.5 - gap), side + 2 * gap, side + 2 * gap, fill=False, **dashed))


def _name_ticks(axes: Axes, names: Sequence[str]) -> None:
    size = 8 if len(names) <= 12 else 6
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=size, rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names, fontsize=size)
    for text in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        text.set_parse_math(False)


def _write_counts(axes: Axes, matrix: npt.NDArray[np.int64], shades: npt.NDArray[np.float64]) -> None:
    size = 8 if len(matrix) <= 12 else 5
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            colour = "white" if shades[row, column] > 0.6 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=size)
