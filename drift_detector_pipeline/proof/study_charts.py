"""Studies as tables and pictures: `python -m drift_detector_pipeline.proof.study_charts REPORTS` makes them again.

In: reports/drift_study_<data>.json. Out: beside it <name>_power.png, the share of windows found against their size, and
<name>_accuracy.png, estimated against true accuracy with a point for each cell; Markdown tables, one a study and, of
several, one of them all. Read by the study, docs/measured.md and docs/drift/.
"""

import json
import sys
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from drift_detector_pipeline.corruptions.corrupt import FAMILIES
from drift_detector_pipeline.errors import DataError, exit_status
from drift_detector_pipeline.figures import figure_png
from drift_detector_pipeline.files import write_atomically

REGIMES = {"known_kind": "known kind", "held_out_family": "held-out family"}
KNOWN = {
    **REGIMES,
    "faults": "faults of pipelines, known",
    "held_out_faults": "faults of a held-out group",
    "untaught": "changes in no dictionary",
    "styles": "of these, styles of artists",
}
_SIDE = 4.6  # inches: text of 8 points is then as large as on the page


@exit_status
def main() -> int:
    """Draw the reports named on the command line; print their tables."""
    if len(sys.argv) < 2:
        raise DataError("name reports: python -m drift_detector_pipeline.proof.study_charts reports/NAME.json")
    studies = {path: _read(path) for path in map(Path, sys.argv[1:])}
    for path, found in studies.items():
        draw_study(found, path)
        print(f"{study_table(found)}\n")
        if KNOWN.keys() <= found["summary"].keys():
            print(f"{accuracy_table(found)}\n")
    first = {found["data"]: found for found in studies.values() if not found["numbers"]["seed"]}
    for found in studies.values():
        if found["numbers"]["seed"] and found["data"] in first:
            print(f"{repeat_table(first[found['data']], found)}\n")
    if len(first) > 1:
        print(overview_table(list(first.values())))
    return 0


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: no report of a study ({error}); make one: make drift_study RUN=...") from error
    return found


def draw_study(found: dict[str, Any], report: Path) -> list[Path]:
    """Write both pictures beside the report; return their paths."""
    written = list[Path]()
    for name, figure in (("power", power_chart(found)), ("accuracy", accuracy_chart(found))):
        written.append(report.with_name(f"{report.stem}_{name}.png"))
        write_atomically(written[-1], figure_png(figure))
    return written


def study_table(found: dict[str, Any]) -> str:
    """What was found by window size, and false alarms, as a Markdown table."""
    sizes = list(found["false_alarms"])
    rows = [["window of", *sizes], ["---"] * (1 + len(sizes))]
    for regime, words in REGIMES.items():
        summary = found["summary"][regime]
        rows.append([f"{words}: mean of {len(found['cells'][regime])} cells", *_percents(summary["found"])])
        rows.append([f"{words}: severity 1 alone", *_percents(summary["found_severity_1"])])
    rates = {size: alphas["0.01"]["rate"] for size, alphas in found["false_alarms"].items()}
    rows.append(["false alarms at alpha = 1 %", *_percents(rates, 2)])
    for regime, words in REGIMES.items():
        summary = found["summary"][regime]
        rows.append(
            [f"{words}: estimated accuracy off by, points", *_percents(summary["accuracy_error_windows"], sign="")]
        )
        rows.append([f"{words}: truth inside the 90 % interval", *_percents(summary["coverage"])])
        for lost, shares in summary["alerted"].items():
            rows.append([f"{words}: alerts where {lost} points are lost", *_percents(shares)])
    for method, by_size in found["side_by_side"].items():
        equal = {size: row["found_at_equal_false_alarms"] for size, row in by_size.items()}
        rows.append([f"{method}, at equal false alarms: mean of the cells", *_percents(equal)])
        default = [
            f"{100 * row['found_by_default']:.1f}, {100 * row['false_alarms']:.1f} %" for row in by_size.values()
        ]
        rows.append([f"{method}, by default: the same, false alarms", *default])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def accuracy_table(found: dict[str, Any]) -> str:
    """How far estimates of accuracy are off, by what was known of the change, as a Markdown table."""
    sizes = [size for size in ("64", "256") if size in found["false_alarms"]]
    rows = [
        ["", "cells", "off by, points", "worst cell", *(f"windows of {size}" for size in sizes), "interval holds",
         "alerts where 10 points go"],
        ["---"] * (6 + len(sizes)),
    ]  # fmt: skip
    for regime, words in KNOWN.items():
        summary = found["summary"][regime]
        value, name = summary["accuracy_error_worst"][0]
        held = [share for share in summary["coverage"].values() if share is not None]
        alerts = [share for share in summary["alerted"]["10 and more"].values() if share is not None]
        rows.append(
            [words, str(len(found["cells"][regime])), f"{100 * summary['accuracy_error_mean']:.1f}",
             f"{100 * value:.1f} ({name.replace('_', ' ')})",
             *_percents({size: summary["accuracy_error_windows"][size] for size in sizes}, sign=""),
             f"{100 * min(held):.0f} to {100 * max(held):.0f} %",
             f"{100 * min(alerts):.0f} to {100 * max(alerts):.0f} %"]
        )  # fmt: skip
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def overview_table(studies: Sequence[dict[str, Any]]) -> str:
    """What several studies found of changes of a new family, beside today's methods, as a Markdown table."""
    sizes = list(studies[0]["false_alarms"])
    rows = [["windows of", *sizes], ["---"] * (1 + len(sizes))]
    for study in studies:
        name, summary = study["data"], study["summary"]
        rows.append([f"**{name}: found**", *_percents(summary["held_out_family"]["found"])])
        for method, by_size in study["side_by_side"].items():
            shares = {size: row["found_at_equal_false_alarms"] for size, row in by_size.items()}
            rows.append([f"{name}: found by {method}", *_percents(shares)])
        rates = {size: alphas["0.01"]["rate"] for size, alphas in study["false_alarms"].items()}
        rows.append([f"{name}: false alarms", *_percents(rates, 2)])
        off = [_percents(summary[regime]["accuracy_error_windows"], sign="") for regime in REGIMES]
        pairs = (" / ".join(pair) for pair in zip(*off, strict=True))
        rows.append([f"{name}: accuracy off by, known kind / new family, points", *pairs])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def repeat_table(found: dict[str, Any], again: dict[str, Any]) -> str:
    """The means of a study and of the same with another seed, as a Markdown table."""
    sizes = list(found["false_alarms"])
    rows = [["seed 0, another seed; windows of", *sizes], ["---"] * (1 + len(sizes))]
    for regime, words in REGIMES.items():
        for name, title in (("found", "noticed"), ("accuracy_error_windows", "accuracy off by, points")):
            sign = " %" if name == "found" else ""
            both = (_percents(study["summary"][regime][name], sign=sign) for study in (found, again))
            rows.append([f"{words}: {title}", *(", ".join(pair) for pair in zip(*both, strict=True))])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def power_chart(found: dict[str, Any]) -> Figure:
    """Draw the mean share of windows found against their size, beside today's methods at equal false alarms."""
    figure = Figure((_SIDE, 0.8 * _SIDE), layout="constrained")
    axes = figure.add_subplot()
    marks = cycle("os^vD*")
    for regime, words in REGIMES.items():
        _line(axes, found["summary"][regime]["found"], words, next(marks), "-" if regime == "known_kind" else "--")
    for method, by_size in found["side_by_side"].items():
        shares = {size: row["found_at_equal_false_alarms"] for size, row in by_size.items()}
        _line(axes, shares, method, next(marks), ":")
    axes.set_xscale("log", base=2)
    sizes = list(map(int, found["false_alarms"]))
    axes.set_xticks(sizes, list(map(str, sizes)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="images in a window", ylabel="windows found, mean of all cells")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    return figure


def accuracy_chart(found: dict[str, Any]) -> Figure:
    """Draw estimated against true accuracy: a point for each cell, a mark for each family, a field for each regime."""
    figure = Figure((_SIDE, 0.62 * _SIDE), layout="constrained")
    fields = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, (regime, words) in zip(fields, REGIMES.items(), strict=True):
        axes.plot([0, 1], [0, 1], "-", color="0.6", linewidth=1)
        for (family, kinds), mark in zip(FAMILIES.items(), "osv^", strict=True):
            rows = [row for row in found["cells"][regime].values() if row["kind"] in kinds]
            places = [row["accuracy"] for row in rows], [row["estimated"] for row in rows]
            axes.plot(*places, mark, markersize=3.5, fillstyle="none", color="black", label=family)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="true accuracy", title=words)
        axes.title.set_fontsize(9)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.tick_params(labelsize=7)
    fields[0].set_ylabel("estimated accuracy")
    figure.legend(
        *fields[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=8, frameon=False
    )
    return figure


def _line(axes: Axes, shares: dict[str, float], label: str, mark: str, style: str) -> None:
    axes.plot(
        list(map(int, shares)), list(shares.values()), f"{style}{mark}", color="black", markersize=4, linewidth=1,
        fillstyle="none" if style == ":" else "full", label=label,
    )  # fmt: skip


def _percents(shares: dict[str, float | None], digits: int = 1, sign: str = " %") -> list[str]:
    return ["none" if share is None else f"{100 * share:.{digits}f}{sign}" for share in shares.values()]


if __name__ == "__main__":
    sys.exit(main())
