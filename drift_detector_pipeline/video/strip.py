"""What is said of a video second by second, as one picture: frames above, probabilities below.

In: `Second`s. Out: PNG. Read by timeline.py.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.figures import drawable, figure_png
from drift_detector_pipeline.tasks.clips.curve import HALF, positive_class

_SIZE = (9.0, 3.4)  # inches
_SHORT = 18  # characters of a class's name
_STYLES = ("-", "--", ":", "-.")


class Second(NamedTuple):
    """What is said of the clip that begins at a second."""

    start: float
    end: float
    answer: dict[str, Any]  # label, probability, top3
    picture: Pixels | None  # of it, where one is shown


def strip_png(said: Sequence[Second], classes: Sequence[str], threshold: float | None) -> bytes:
    """Draw the strip; of two classes the one that is looked for, grey where it is said, and the threshold."""
    figure = Figure(_SIZE, layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=[1, 1.5])
    _draw_pictures(above, [one for one in said if one.picture is not None])
    names = dict(zip(classes, drawable(classes, _SHORT), strict=True))
    if len(classes) == 2:
        _draw_one(below, said, classes[positive_class(classes)], names, HALF if threshold is None else threshold)
    else:
        _draw_several(below, said, names)
    below.set(xlim=(0, _edges(said)[-1]), ylim=(0, 1.02), xlabel="second at which a clip begins")
    below.yaxis.set_major_formatter(PercentFormatter(1))
    return figure_png(figure)


def _draw_pictures(axes: Axes, shown: Sequence[Second]) -> None:
    """Side by side, each of the width of one, with the second it is from."""
    axes.set_axis_off()
    height = max((one.picture.shape[0] for one in shown if one.picture is not None), default=1)
    parts = [np.full((height, 1, 3), 255, np.uint8)]
    for one in shown:
        assert one.picture is not None
        room = np.full((height, one.picture.shape[1] + 4, 3), 255, np.uint8)
        room[: one.picture.shape[0], 2:-2] = one.picture
        axes.text(sum(part.shape[1] for part in parts) + 4, -4, f"{one.start:g} s", fontsize=7)
        parts.append(room)
    axes.imshow(np.concatenate(parts, axis=1))


def _draw_one(
    axes: Axes, said: Sequence[Second], looked_for: str, names: dict[str, str], threshold: float
) -> None:  # fmt: skip
    chances = [_chance(one, looked_for) or 0.0 for one in said]
    axes.stairs(chances, _edges(said), color="black", baseline=None)
    for one, left, right in zip(said, _edges(said), _edges(said)[1:], strict=False):
        if one.answer["label"] == looked_for:
            axes.axvspan(left, right, color="0.85", linewidth=0, zorder=0)
    axes.axhline(threshold, color="black", linestyle="--", linewidth=0.8)
    axes.set_ylabel(names[looked_for])


def _draw_several(axes: Axes, said: Sequence[Second], names: dict[str, str]) -> None:
    labels = sorted({one.answer["label"] for one in said})
    for number, label in enumerate(labels):
        chances = [np.nan if (chance := _chance(one, label)) is None else chance for one in said]
        axes.stairs(chances, _edges(said), label=names[label], baseline=None, linestyle=_STYLES[number % len(_STYLES)])
    axes.legend(loc="upper right", fontsize=7)
    axes.set_ylabel("probability")


def _edges(said: Sequence[Second]) -> list[float]:
    return [*(one.start for one in said), max(said[-1].end, said[-1].start + 1e-3)]


def _chance(one: Second, label: str) -> float | None:
    """Of a class that is none of the likeliest three nothing is known."""
    return next((float(said["probability"]) for said in one.answer["top3"] if said["label"] == label), None)
