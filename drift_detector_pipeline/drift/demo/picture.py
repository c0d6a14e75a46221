"""The demonstration as one picture: for each scene some images, how loud the verdict is, why, and how accurate.

In: scenes and their verdicts. Out: a matplotlib figure that reads at the width of a page. Read by the demonstration.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.drift.accuracy import Estimate
from drift_detector_pipeline.drift.cause_words import in_words
from drift_detector_pipeline.drift.demo.scenes import Scene
from drift_detector_pipeline.drift.verdict import Verdict

_SIDE = 3  # images in a row and in a column
_COLUMN, _HEIGHT = 2.6, 6.0  # inches
_ROWS = 0.7, 2.7, 1.8, 0.7  # heights of name, images, verdict and accuracy
_LINE = 30  # characters that fit into a column
_TILE_PX = 96  # largest side of an image in the picture
_COLOURS = {"quiet": "#2e7d32", "notice": "#a15c00", "alert": "#b3261e", "too few images": "0.4"}  # white text reads


class Judged(NamedTuple):
    """A scene and what the detector says of it."""

    scene: Scene
    verdict: Verdict
    true: float  # accuracy, 0..1; 0 where no answer can be right
    report: Path


def draw(judged: Sequence[Judged], world: float) -> Figure:
    """Draw a column for each scene; `world` is the accuracy in the training world, 0..1."""
    figure = Figure((_COLUMN * len(judged), _HEIGHT), layout="constrained")
    grid = figure.subplots(4, len(judged), height_ratios=_ROWS, squeeze=False)
    for column, one in enumerate(judged):
        _name_scene(grid[0, column], one.scene)
        _show_images(grid[1, column], one.scene)
        _say_verdict(grid[2, column], one.verdict)
        _show_accuracy(grid[3, column], one, world)
    shown = [axes.get_legend_handles_labels() for axes in grid[3]]
    legend = {label: handle for handles, labels in shown for handle, label in zip(handles, labels, strict=True)}
    figure.legend(
        legend.values(), legend.keys(), loc="outside lower center", ncols=len(legend), fontsize=10.5, frameon=False
    )
    return figure


def why(verdict: Verdict) -> str:
    """The cause in a sentence, or that there is none to look for."""
    if verdict.cause is None:
        return "They look like the training world." if verdict.level == "quiet" else "They look different."
    return in_words(verdict.cause)


def estimate_words(found: Estimate) -> str:
    """The estimate with its 90 % interval in percent."""
    if not found.known:
        return "unknown"
    return f"{100 * found.accuracy:.0f} % ({100 * found.low:.0f} to {100 * found.high:.0f})"


def _name_scene(axes: Axes, scene: Scene) -> None:
    axes.text(0.5, 1, scene.title, ha="center", va="top", fontsize=13, fontweight="bold")
    axes.text(0.5, 0.6, textwrap.fill(scene.about, _LINE), ha="center", va="top", fontsize=10.5)
    axes.axis("off")


def _show_images(axes: Axes, scene: Scene) -> None:
    axes.imshow(_sheet(scene.images), interpolation="nearest")
    axes.set(xticks=[], yticks=[])


def _sheet(images: Pixels) -> Pixels:
    """The first images in rows, with white lines between them; large ones thinned out."""
    step = max(1, images.shape[1] // _TILE_PX)
    tiles = images[: _SIDE**2, ::step, ::step]
    line = max(1, tiles.shape[1] // 24)
    framed = np.pad(tiles, ((0, 0), (0, line), (0, line), (0, 0)), constant_values=255)
    rows = [np.concatenate(list(framed[start : start + _SIDE]), axis=1) for start in range(0, len(tiles), _SIDE)]
    return np.concatenate(rows)[:-line, :-line]


def _say_verdict(axes: Axes, verdict: Verdict) -> None:
    badge = {"boxstyle": "round,pad=0.4", "facecolor": _COLOURS[verdict.level], "edgecolor": "none"}
    loud: dict[str, Any] = {"fontsize": 14, "fontweight": "bold", "color": "white", "bbox": badge}
    axes.text(0.5, 0.94, verdict.level.upper(), ha="center", va="top", **loud)
    axes.text(0.5, 0.63, textwrap.fill(why(verdict), _LINE), ha="center", va="top", fontsize=10.5)
    axes.axis("off")


def _show_accuracy(axes: Axes, one: Judged, world: float) -> None:
    found = one.verdict.accuracy
    axes.axvline(100 * world, color="0.5", linestyle=":", linewidth=2, label="in the training world")
    if found is not None and found.known:
        axes.plot([100 * found.low, 100 * found.high], [0, 0], color="0.7", linewidth=6, solid_capstyle="butt")
        axes.plot([100 * found.accuracy], [0], "ko", markersize=10, label="estimated without labels, 90 % interval")
    axes.plot([100 * one.true], [0], "x", color="#b3261e", markersize=10, markeredgewidth=3, label="true")
    estimated = "unknown" if found is None else estimate_words(found)
    unseen = one.scene.labels is None
    true = f"{100 * one.true:.0f} %{', none can be right' * unseen}"
    axes.set_title(f"Accuracy: {estimated}\nTrue: {true}", fontsize=10.5)
    axes.set_xlabel("(estimates assume known classes)" if unseen else "", fontsize=10)
    axes.set(xlim=(-6, 106), ylim=(-1, 1), yticks=[], xticks=[0, 50, 100], xticklabels=["0 %", "50 %", "100 %"])
    axes.tick_params(labelsize=9.5)
    axes.spines[["left", "right", "top"]].set_visible(False)
