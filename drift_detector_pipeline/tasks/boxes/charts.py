"""Pictures of what found boxes are worth, readable without colour: curves, scores, errors, boxes in their images.

In: numbers of matching.py and tide.py, or images with boxes. Out: matplotlib figures, about as wide as a phone, and
pixels. Read by report.py and task.py.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from drift_detector_pipeline.arrays import Boxes, Float64s, Pixels
from drift_detector_pipeline.figures import drawable
from drift_detector_pipeline.images.drawing import Drawn, draw_boxes
from drift_detector_pipeline.tasks.boxes.matching import EVERY_CLASS
from drift_detector_pipeline.tasks.boxes.tide import Split

_WIDTH = 4.6  # inches: text of 8 points is then as large as on the page
_SHORT = 14  # characters of a class name
_STYLES = ("-", "--", "-.", ":")
MOST_CURVES = 8
_DRAWN_PX = 640  # longer side of a drawn image, at least


def precision_recall_chart(curves: Mapping[str, tuple[Float64s, Float64s]], others: int) -> Figure:
    """Draw precision against recall at IoU 0.50, a line a class; `others` classes are not drawn."""
    figure = Figure((_WIDTH, 0.8 * _WIDTH), layout="constrained")
    axes = figure.add_subplot()
    names = drawable(list(curves), _SHORT)
    for number, (name, (recall, precision)) in enumerate(zip(names, curves.values(), strict=True)):
        shade = str(0.55 * (number // len(_STYLES)))
        ends = np.append(recall, recall[-1] if len(recall) else 0.0), np.append(precision, 0.0)
        axes.plot(*ends, _STYLES[number % len(_STYLES)], color=shade, label=name, linewidth=1.6)
    axes.set(xlim=(0, 1.01), ylim=(0, 1.02), xlabel="recall: share of true boxes found", ylabel="precision")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    if curves:
        title = f"and {others} classes more" if others else None
        axes.legend(loc="lower left", fontsize=8, frameon=False, title=title, title_fontsize=8)
    return figure


def score_chart(right: Float64s, wrong: Float64s, threshold: float) -> Figure:
    """Draw how many right and wrong boxes have which score, on a logarithmic axis."""
    figure = Figure((_WIDTH, 0.6 * _WIDTH), layout="constrained")
    axes = figure.add_subplot()
    bar: dict[str, Any] = {"bins": np.linspace(0, 1, 21), "edgecolor": "black", "stacked": True}
    axes.hist([right, wrong], color=["0.8", "white"], hatch=None, label=["right", "wrong"], **bar)
    for patch in axes.containers[1] if len(axes.containers) > 1 else []:
        patch.set_hatch("///")
    if len(right) + len(wrong):
        axes.set_yscale("log")
    axes.axvline(threshold, color="black", linestyle="--", linewidth=1.2, label=f"threshold {threshold:.2f}")
    axes.set(xlim=(0, 1), xlabel="score", ylabel="found boxes")
    figure.legend(loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    return figure


def error_chart(splits: Sequence[Split]) -> Figure:
    """Draw how much mAP50 would rise without each kind of error."""
    figure = Figure((_WIDTH, 0.5 * _WIDTH), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(splits))[::-1]
    axes.barh(places, [split.rise for split in splits], color="0.8", edgecolor="black")
    for place, split in zip(places, splits, strict=True):
        axes.annotate(f" {split.rise:.3f}", (split.rise, place), va="center", fontsize=8)
    axes.set_yticks(places, [split.kind for split in splits])
    axes.set(xlim=(0, max(0.02, 1.2 * max(split.rise for split in splits))), xlabel="mAP50 to be won")
    return figure


def drawn(pixels: Pixels, found: Sequence[Mapping[str, Any]], truth: Boxes | None, classes: Sequence[str]) -> Pixels:
    """Draw found boxes with name and score, and the true ones dashed; small images are enlarged."""
    boxes = [
        Drawn(one["box"], f"{one['label']} {one['score']:.2f}", classes.index(one["label"])) for one in reversed(found)
    ]
    if truth is not None:
        boxes = [*_dashed(truth), *boxes]
    return draw_boxes(pixels, boxes, max(1, round(_DRAWN_PX / max(pixels.shape[:2]))))


def sheet(pictures: Sequence[Pixels], columns: int = 3, gap_px: int = 8) -> Pixels:
    """Pictures beside one another on white, each row as high as its highest."""
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    wide = [
        max(row[place].shape[1] for row in rows if place < len(row)) for place in range(min(columns, len(pictures)))
    ]
    high = [max(picture.shape[0] for picture in row) for row in rows]
    page = np.full((sum(high) + gap_px * (len(high) + 1), sum(wide) + gap_px * (len(wide) + 1), 3), 255, np.uint8)
    top = gap_px
    for row, height in zip(rows, high, strict=True):
        left = gap_px
        for picture, width in zip(row, wide, strict=False):
            page[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
            left += width + gap_px
        top += height + gap_px
    return page


def _dashed(truth: Boxes) -> list[Drawn]:
    rows = zip(truth.boxes.tolist(), truth.labels.tolist(), truth.ignore.tolist(), strict=True)
    return [
        Drawn(box, "ignored" if ignore else "", max(label, EVERY_CLASS), dashed=True) for box, label, ignore in rows
    ]
