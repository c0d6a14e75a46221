"""The whole story of a year on one page: accuracy by week, what was the matter, what was done.

In: the report. Out: year.html. Read by people.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from drift_detector_pipeline.figures import figure_png
from drift_detector_pipeline.pages import data_uri, write_page

_DAYS = 7  # of a point of the chart
_SHADES = ("0.93", "0.87")
_WIDTHS = {"the loop": 2.2, "oracle": 1.4}


def write_year(path: Path, report: dict[str, Any]) -> None:
    """Write the page."""
    write_page(path, "year.html", title="A simulated year", year=report, chart=data_uri(chart(report)))


def chart(report: dict[str, Any]) -> bytes:
    """Accuracy of the loop and of those who do otherwise, week by week, as PNG."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots()
    for number, spell in enumerate(report["spells"]):
        axes.axvspan(spell["first"], spell["last"] + 1, color=_SHADES[number % 2], zorder=0)
        words = spell["cause"].replace("_", " ")
        axes.text(
            (spell["first"] + spell["last"] + 1) / 2, 1.005, words, ha="center", va="bottom", fontsize=7, rotation=20
        )
    step = min(_DAYS, max(1, report["days"] // 20))
    ways = {"nothing done": report["by_day"]["first"]}
    ways |= {name: one["by_day"] for name, one in report["others"].items()} | {"the loop": report["by_day"]["loop"]}
    for words, values in ((words, np.array(values)) for words, values in ways.items()):
        style = "-" if words == "the loop" else ":" if words == "oracle" else "--"
        places = np.arange(0, len(values), step)
        axes.plot(
            places + step / 2,
            [values[one : one + step].mean() for one in places],
            style,
            label=words,
            lw=_WIDTHS.get(words, 1),
        )
    versions = report["by_day"]["versions"]
    changes = [day for day in range(1, len(versions)) if versions[day] != versions[day - 1]]
    low, last = 0.02, -_DAYS
    for day, one in zip(changes, report["champions"][1:], strict=False):  # the last one may not have answered any more
        axes.axvline(day, color="tab:green", linewidth=0.8)
        low, last = (low + 0.12 if day - last < _DAYS else 0.02), day  # close together: one above the other
        axes.text(day, low, one["action"], rotation=90, fontsize=7, transform=axes.get_xaxis_transform())
    axes.set(xlabel="day", ylabel="accuracy", ylim=(0, 1), xlim=(0, report["days"]))
    figure.legend(loc="outside lower center", ncols=5)
    return figure_png(figure)
