"""What boxes a data set holds, in pictures that are readable without colour.

In: what box_facts.py has measured. Out: matplotlib figures, about as wide as a phone. Read by box_report.py.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from drift_detector_pipeline.arrays import Float64s, Indices
from drift_detector_pipeline.figures import drawable
from drift_detector_pipeline.processed.box_facts import LARGE_PX, SMALL_PX, TINY_PX, Measured

MOST_LINES, MOST_CLASSES = 6, 40  # classes that a chart has lines or bars for, the most frequent ones
_WIDTH = 4.6  # inches: text of 8 points is then as large as on the page
_STYLES = ("-", "--", "-.", ":")
_FILLS = (("0.7", None), ("0.35", None), ("white", "////"))  # of train, fit, val
_MOST_BARS, _LONGEST, _LONGEST_NAME = 30, 14, 30


def class_chart(counts: Mapping[str, Mapping[str, int]], classes: Sequence[str]) -> Figure:
    """Bars: how many boxes of each class there are to find, one upon another by split, the most frequent first."""
    table = np.array([[of_split[name] for name in classes] for of_split in counts.values()])
    order = np.argsort(-table.sum(axis=0), kind="stable")[:MOST_CLASSES]
    figure = Figure((5.4, 0.9 + 0.24 * len(order)), layout="constrained")
    axes = figure.add_subplot()
    places, left = np.arange(len(order)), np.zeros(len(order))
    for split, of_split, (colour, hatch) in zip(counts, table, _FILLS, strict=False):
        axes.barh(places, of_split[order], left=left, color=colour, hatch=hatch, edgecolor="0.2", label=split, lw=0.6)
        left += of_split[order]
    for place, total in zip(places, left, strict=True):
        axes.annotate(f" {int(total):,}", (total, place), va="center", fontsize=8)
    axes.set_yticks(places, drawable([classes[label] for label in order], _LONGEST_NAME), fontsize=9)
    axes.set(xlim=(0, max(1, 1.1 * left.max(initial=0))), ylim=(len(order) - 0.4, -0.6), xlabel="boxes to find")
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    figure.legend(loc="outside upper right", ncols=3, fontsize=8, frameon=False)
    return figure


def per_image_chart(counts: Indices) -> Figure:
    """Bars: how many images have how many boxes."""
    figure, axes = _chart(0.5)
    step = max(1, -(-(int(counts.max()) + 1) // _MOST_BARS))
    edges = np.arange(0, int(counts.max()) + 2 * step, step) - 0.5
    axes.hist(counts, edges.tolist(), color="0.75", edgecolor="0.2", linewidth=0.6)
    axes.set(xlabel="boxes to find in an image", ylabel="images")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def size_chart(found: Measured, classes: Sequence[str]) -> Figure:
    """Lines: the share of a class's boxes by size, on a logarithmic axis, and where small and large begin."""
    figure, axes = _chart(0.62)
    logs = np.log2(np.maximum(found.side_px, 0.5))
    edges = np.arange(np.floor(logs.min(initial=2)), np.ceil(logs.max(initial=8)) + 0.26, 0.25)
    _lines(axes, logs, edges, found.labels, classes)
    for px, name in ((TINY_PX, f"{TINY_PX} px"), (SMALL_PX, "small"), (LARGE_PX, "large")):
        axes.axvline(np.log2(px), color="0.5", linewidth=0.8, linestyle=(0, (2, 2)))
        axes.annotate(name, (np.log2(px), 1), (2, -9), ("data", "axes fraction"), "offset points", fontsize=7)
    axes.set(xlabel="size in px of the model's input (root of the area)", ylabel="share of the class's boxes")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{2**value:g}"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def aspect_chart(found: Measured, classes: Sequence[str]) -> Figure:
    """Lines: the share of a class's boxes by width over height, on a logarithmic axis."""
    figure, axes = _chart(0.55)
    logs = np.log2(found.aspect).clip(-4, 4)
    _lines(axes, logs, np.arange(-4, 4.01, 0.25), found.labels, classes)
    axes.axvline(0, color="0.5", linewidth=0.8, linestyle=(0, (2, 2)))
    axes.set(xlabel="width over height", ylabel="share of the class's boxes", xlim=(-4.1, 4.1))
    axes.set_xticks(range(-4, 5), ["1/16", "1/8", "1/4", "1/2", "1", "2", "4", "8", "16"])
    return figure


def position_chart(positions: Float64s) -> Figure:
    """A map of the picture: the share of all boxes that cover each place."""
    figure, axes = _chart(0.62)
    shown = axes.imshow(positions, cmap="Greys", vmin=0, extent=(0, 1, 1, 0), aspect="auto", interpolation="nearest")
    bar = figure.colorbar(shown, ax=axes, format=PercentFormatter(1, decimals=None))
    bar.ax.tick_params(labelsize=8)
    bar.set_label("boxes that cover the place", fontsize=8)
    axes.set(xlabel="from left to right", ylabel="from top to bottom")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    return figure


def overlap_chart(found: Measured) -> Figure:
    """Bars: the largest overlap of each box with another one of its image, of its class and of others."""
    figure, axes = _chart(0.55)
    edges = np.linspace(0, 1, 21)
    pairs = (
        ("with its own class", found.overlaps.own, "0.7", None),
        ("with another class", found.overlaps.other, "white", "////"),
    )
    for number, (name, values, colour, hatch) in enumerate(pairs):
        counts = np.histogram(values, edges)[0]
        places = edges[:-1] + 0.0125 + 0.025 * number
        axes.bar(places, counts, 0.025, color=colour, hatch=hatch, edgecolor="0.1", linewidth=0.6, label=name)
    if len(found.overlaps.own):
        axes.set_yscale("log")
    axes.set(xlim=(0, 1), xlabel="largest IoU with another box of the image", ylabel="boxes")
    figure.legend(loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    return figure


def _chart(height: float) -> tuple[Figure, Axes]:
    figure = Figure((_WIDTH, height * _WIDTH), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)
    return figure, axes


def _lines(axes: Axes, values: Float64s, edges: Float64s, labels: Indices, classes: Sequence[str]) -> None:
    """A line of shares a class, of the most frequent ones; what is left as one."""
    counts = np.bincount(labels, minlength=len(classes))
    order = [label for label in np.argsort(-counts, kind="stable").tolist() if counts[label]]
    shown, rest = (order, []) if len(order) <= MOST_LINES else (order[: MOST_LINES - 1], order[MOST_LINES - 1 :])
    names = dict(zip(shown, drawable([classes[label] for label in shown], _LONGEST), strict=True))
    groups: Iterable[tuple[str, Sequence[int]]] = [(names[label], [label]) for label in shown]
    for number, (name, members) in enumerate([*groups, *[(f"{len(rest)} others", rest)] * bool(rest)]):
        own = values[np.isin(labels, members)]
        shares = np.histogram(own, edges)[0] / max(1, len(own))
        shade, width = str(0.55 * (number // len(_STYLES))), 2.2 if number == 0 else 1.3
        axes.stairs(shares, edges, color=shade, linestyle=_STYLES[number % len(_STYLES)], label=name, linewidth=width)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    if order:
        axes.legend(fontsize=8, frameon=False)
