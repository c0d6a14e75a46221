"""Pictures of clips and of what a model of them is worth, readable without colour.

In: views of clips, or numbers of metrics.py and curve.py. Out: strips as pixels, matplotlib figures about as wide as a
phone. Read by report.py and task.py.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.figures import drawable
from drift_detector_pipeline.tasks.clips.curve import Curve, Point
from drift_detector_pipeline.tasks.clips.sources import SourceScores

_WIDTH = 4.6  # inches: text of 8 points is then as large as on the page
_SHOWN = 6  # frames of a strip
_GAP_PX = 2
_MOST_SOURCES = 40  # bars that can still be told apart
_SHORT = 22  # characters of a source's name


def strip(frames: Pixels, shown: int = _SHOWN) -> Pixels:
    """Frames (k, S, S, 3) side by side, white between them: at most `shown` of them, evenly spread in time."""
    places = np.unique(np.linspace(0, len(frames) - 1, min(shown, len(frames))).round().astype(np.int64))
    gap = np.full((frames.shape[1], _GAP_PX, 3), 255, np.uint8)
    parts = [part for place in places for part in (gap, frames[place])][1:]
    return np.concatenate(parts, axis=1)


def precision_recall_chart(curve: Curve) -> Figure:
    """Draw precision over recall; a dot where the likelier class is said, a star where F1 is highest."""
    figure, axes = _square()
    points = [point for point in curve.points if point.precision is not None and point.recall is not None]
    across, up = [point.recall or 0 for point in points], [point.precision or 0 for point in points]
    axes.plot(across, up, color="black", drawstyle="steps-pre")
    _mark(axes, [("o", curve.at_half, curve.at_half.recall, curve.at_half.precision),
                 ("*", curve.best, curve.best.recall, curve.best.precision),
                 *([("s", one, one.recall, one.precision)] if (one := curve.asked) else [])])  # fmt: skip
    axes.set(xlabel=f"recall of {_name(curve)}", ylabel="precision")
    return figure


def roc_chart(curve: Curve) -> Figure:
    """Draw recall over false alarms; marks as in the other chart, dashes where guessing lies."""
    figure, axes = _square()
    axes.plot([0, 1], [0, 1], "--", color="0.5")
    across = [0.0, *(point.false_alarms or 0 for point in curve.points)]
    axes.plot(across, [0.0, *(point.recall or 0 for point in curve.points)], color="black", drawstyle="steps-post")
    _mark(axes, [("o", curve.at_half, curve.at_half.false_alarms, curve.at_half.recall),
                 ("*", curve.best, curve.best.false_alarms, curve.best.recall),
                 *([("s", one, one.false_alarms, one.recall)] if (one := curve.asked) else [])])  # fmt: skip
    axes.set(xlabel=f"false alarms: share of all else said to be {_name(curve)}", ylabel="recall")
    return figure


def sources_chart(scores: Sequence[SourceScores]) -> Figure:
    """Draw each source's clips, right and wrong, those with the most wrong ones on top."""
    worst = sorted(scores, key=lambda one: (one.right - one.n, one.accuracy))[:_MOST_SOURCES][::-1]
    figure = Figure((_WIDTH, 1 + 0.17 * len(worst)), layout="constrained")
    axes = figure.add_subplot()
    places = range(len(worst))
    axes.barh(places, [one.right for one in worst], color="0.85", edgecolor="black", label="right")
    axes.barh(places, [one.n - one.right for one in worst], left=[one.right for one in worst], color="white",
              edgecolor="black", hatch="////", label="wrong")  # fmt: skip
    axes.set_yticks(places, drawable([one.source for one in worst], _SHORT), fontsize=6)
    axes.set_xlabel("clips")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    return figure


def _square() -> tuple[Figure, Axes]:
    figure = Figure((_WIDTH, _WIDTH), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return figure, axes


def _mark(axes: Axes, marks: Sequence[tuple[str, Point, float | None, float | None]]) -> None:
    for shape, point, x, y in marks:
        if x is not None and y is not None:
            axes.plot([x], [y], shape, color="black", markersize=11 if shape == "*" else 7,
                      label=f"threshold {point.threshold:.3f}")  # fmt: skip
    axes.legend(loc="lower left", fontsize=8, frameon=False)


def _name(curve: Curve) -> str:
    return drawable([curve.positive], _SHORT)[0]
