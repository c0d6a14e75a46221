"""Pictures of a sweep: accuracy against what was varied. Readable without colour.

In: the search and its rows. Out: matplotlib figures with captions. Two settings with few values make a table of
shades; all others a chart each, and two that are continuous a map as well. Fed by sweep_results.py.
"""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from hydra.core.override_parser.types import Override
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator, PercentFormatter

from drift_detector_pipeline.modeling.sweep.search import Search, is_log

Row = dict[str, Any]  # see sweep_results.result
SEED_KEY = "run.seed"
INK, FAINT = "#1f4e79", "#999999"
SIZE = (5, 3.2)  # inches: readable on a phone, where it is shrunk to half
MANY = 10  # more distinct values than this are no ticks and no cells


class Picture(NamedTuple):
    """A figure and what it shows."""

    caption: str
    figure: Figure


def draw(search: Search, rows: Sequence[Row]) -> list[Picture]:
    """Draw the trials of a sweep; nothing if none has finished.

    Seeds are repetitions, drawn over each other, where other settings vary as well.
    """
    overrides = {key.lstrip("+"): override for key, override in search.swept.items()}
    names = [name for name in overrides if name != SEED_KEY] or [SEED_KEY]
    finished = sorted((row for row in rows if row["val_accuracy"] is not None), key=lambda row: int(row["trial"]))
    if not finished:
        return []
    with matplotlib.rc_context({"font.size": 12, "axes.spines.top": False, "axes.spines.right": False}):
        columns = {name: [row["values"][name] for row in rows] for name in names}
        if len(names) == 2 and all(len(set(column)) <= MANY for column in columns.values()):
            pictures = [_shades(columns, rows)]
        else:
            pictures = [_chart(name, overrides[name], rows) for name in names]
            if len(names) == 2 and all(map(_are_numbers, columns.values())):
                pictures.append(_map(names, overrides, finished))
        if any(override.is_interval_sweep() for override in overrides.values()):
            pictures.append(_history(finished))
    return pictures


def value_text(value: object) -> str:
    """A value for people: numbers with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _chart(name: str, override: Override, rows: Sequence[Row]) -> Picture:
    """Accuracy against one setting: a circle a trial, a line through the means, a cross for a failed trial."""
    figure, axes = _canvas(name)
    column = [row["values"][name] for row in rows]
    scale = _scale(axes, column, override)
    accuracies: dict[float, list[float]] = {}
    for row, value in zip(rows, column, strict=True):
        if row["val_accuracy"] is None:
            axes.plot(scale[value], 0.03, "x", color=FAINT, transform=axes.get_xaxis_transform(), markersize=8)
        else:
            accuracies.setdefault(scale[value], []).append(row["val_accuracy"])
    xs = sorted(accuracies)
    if not override.is_interval_sweep() and _are_numbers(column):
        axes.plot(xs, [statistics.mean(accuracies[x]) for x in xs], color=FAINT, linewidth=1)
    for x in xs:
        axes.plot([x] * len(accuracies[x]), accuracies[x], "o", color=INK, markerfacecolor="none")
    x, best = max(((x, accuracy) for x in xs for accuracy in accuracies[x]), key=lambda point: point[1])
    _annotate(axes, x, best, f"{best:.1%}")
    axes.margins(y=0.15)
    crosses = " Crosses at the bottom are failed trials." if any(row["val_accuracy"] is None for row in rows) else ""
    return Picture(f"Accuracy against {name}, a circle a trial.{crosses}", figure)


def _shades(columns: dict[str, list[Any]], rows: Sequence[Row]) -> Picture:
    """Accuracy of each combination of two settings, as number and shade; the mean where there are several."""
    (down, down_values), (across, across_values) = columns.items()
    ys, xs = _in_order(down_values), _in_order(across_values)
    means = np.full((len(ys), len(xs)), np.nan)
    texts = np.full(means.shape, "-", dtype=object)
    for y, x in dict.fromkeys(zip(down_values, across_values, strict=True)):
        cell = [row["val_accuracy"] for row in rows if (row["values"][down], row["values"][across]) == (y, x)]
        place, known = (ys.index(y), xs.index(x)), [accuracy for accuracy in cell if accuracy is not None]
        means[place] = statistics.mean(known) if known else np.nan
        texts[place] = f"{means[place]:.1%}" if known else "failed"
    figure = Figure(figsize=(max(4.5, 1.6 + 1.0 * len(xs)), max(2.4, 1.2 + 0.6 * len(ys))))
    axes = figure.subplots()
    low, high = np.nanmin(means), np.nanmax(means)
    axes.imshow(means, cmap="Greys", vmin=low - 0.1 * (high - low), vmax=high + 0.9 * (high - low), aspect="auto")
    for (row, column), text in np.ndenumerate(texts):
        weight = "bold" if means[row, column] == high else "normal"
        axes.text(column, row, text, ha="center", va="center", weight=weight, color="black")
    _name_ticks(axes, range(len(xs)), [value_text(value) for value in xs])
    axes.set_yticks(range(len(ys)), [value_text(value) for value in ys])
    axes.set_xlabel(across)
    axes.set_ylabel(down)
    return Picture(f"Accuracy by {down} and {across}: darker is better, the best is bold.", figure)


def _map(names: list[str], overrides: dict[str, Override], finished: Sequence[Row]) -> Picture:
    """Where in the plane of two continuous settings the trials were; the larger the circle, the better."""
    across, up = names
    xs, ys = ([row["values"][name] for row in finished] for name in names)
    figure = Figure(figsize=SIZE)
    axes = figure.subplots()
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    for axis, name, column in (("x", across, xs), ("y", up, ys)):
        if _wants_log(overrides[name], column):
            getattr(axes, f"set_{axis}scale")("log")
    accuracies = [row["val_accuracy"] for row in finished]
    order = np.argsort(np.argsort(accuracies)) / max(1, len(accuracies) - 1)
    axes.scatter(xs, ys, s=15 + 250 * order**2, facecolors="none", edgecolors=INK)
    best = int(np.argmax(accuracies))
    _annotate(axes, xs[best], ys[best], f"{accuracies[best]:.1%}", above=12)
    axes.margins(0.15)
    return Picture(f"Trials by {across} and {up}: the larger the circle, the better.", figure)


def _history(finished: Sequence[Row]) -> Picture:
    """Accuracy by trial, with the best so far: a flat end means that nothing better is found."""
    figure, axes = _canvas("trial")
    numbers = [row["trial"] for row in finished]
    accuracies = [row["val_accuracy"] for row in finished]
    axes.plot(numbers, accuracies, "o", color=INK, markerfacecolor="none")
    axes.step(numbers, np.maximum.accumulate(accuracies), where="post", color=FAINT)
    return Picture("Accuracy by trial; the line is the best so far.", figure)


def _canvas(label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE)
    axes = figure.subplots()
    axes.set_xlabel(label)
    axes.set_ylabel("accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y", color="#dddddd")
    return figure, axes


def _scale(axes: Axes, column: Sequence[Any], override: Override) -> dict[Any, float]:
    """Place the values on the axis: numbers where they belong, words side by side."""
    values = _in_order(column)
    if not _are_numbers(values):
        _name_ticks(axes, range(len(values)), [value_text(value) for value in values])
        axes.set_xlim(-0.5, len(values) - 0.5)
        return {value: float(number) for number, value in enumerate(values)}
    if _wants_log(override, values):
        axes.set_xscale("log")
    if not override.is_interval_sweep() and len(values) <= MANY:
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        _name_ticks(axes, values, [value_text(value) for value in values])
    return {value: float(value) for value in values}


def _name_ticks(axes: Axes, places: Sequence[Any], names: Sequence[str]) -> None:
    crowded = sum(map(len, names)) > 40
    axes.set_xticks(places, names, rotation=30 if crowded else 0, ha="right" if crowded else "center")


def _annotate(axes: Axes, x: float, y: float, text: str, above: int = 7) -> None:
    axes.annotate(text, (x, y), xytext=(0, above), textcoords="offset points", ha="center", weight="bold")


def _in_order(column: Sequence[Any]) -> list[Any]:
    """The distinct values: numbers by size, others as they came."""
    values = list(dict.fromkeys(column))
    return sorted(values) if _are_numbers(values) else values


def _are_numbers(column: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) for value in column)


def _wants_log(override: Override, column: Sequence[float]) -> bool:
    """As tagged; values that were listed also where they span a factor of ten."""
    wide = not override.is_interval_sweep() and max(column) >= 10 * min(column)
    return min(column) > 0 and (is_log(override) or wide)
