"""A profile as a page of text and as a table of its operators.

In: the report and the mean step of profile.py. Out: text; the table is CSV.
"""

import csv
import io
from collections.abc import Iterator
from typing import Any

from drift_detector_pipeline.modeling.profile.summary import ProfileSummary

_TOP = 12
_LABELS = {"data_wait": "waiting for images", "copy": "copy, normalise", "rest": "rest of the loop"}


def page(report: dict[str, Any], summary: ProfileSummary) -> str:
    """What a person reads: the parts of a step, the longest operators, the arithmetic, the bottleneck."""
    title = (
        f"{report['model']}, {report['batch_size']} images of {report['img_size']} px, {report['precision']} on "
        f"{report['device']}, {report['threads']} threads: the mean of {summary.steps} training steps"
    )
    parts = [_step(report, summary), _operators(summary), _arithmetic(report)]
    return "\n\n".join([title, *("\n".join(part) for part in parts), report["bottleneck"]])


def table(summary: ProfileSummary) -> str:
    """All operators as CSV, the longest first; times, calls and operations are per step."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["phase", "operator", "calls", "self_ms", "percent_of_step", "gflop"])
    for each in summary.operators:
        percent = 100 * each.self_ms / summary.step_ms
        rows.writerow([each.phase, each.name, each.calls, f"{each.self_ms:.4f}", f"{percent:.3f}", each.flops / 1e9])
    return text.getvalue()


def _step(report: dict[str, Any], summary: ProfileSummary) -> Iterator[str]:
    yield _row("a step", summary.step_ms)
    for phase, ms in summary.phases_ms.items():
        share = ms / summary.step_ms
        yield _row(f"  {_LABELS.get(phase, phase)}", ms) + f" {share:7.1%}  {'#' * round(30 * share)}".rstrip()
    if summary.device_busy_ms is not None:
        yield _row("the GPU works", summary.device_busy_ms) + f" {summary.device_busy_ms / summary.step_ms:7.1%}"
    if report["unrecorded_step_ms"] is not None:
        yield _row("without recording", report["unrecorded_step_ms"])


def _row(label: str, ms: float) -> str:
    return f"  {label:<24}{ms:9.1f} ms"


def _operators(summary: ProfileSummary) -> Iterator[str]:
    yield f"  {'phase':<10}{'longest operators':<38}{'calls':>6}{'self ms':>10}{'share':>8}{'GFLOP':>9}{'GFLOP/s':>10}"
    for each in summary.operators[:_TOP]:
        share = each.self_ms / summary.step_ms
        arithmetic = f"{each.flops / 1e9:9.2f}{each.flops / each.self_ms / 1e6:10.1f}" if each.flops else ""
        name = each.name.removeprefix("aten::")[:37]
        yield f"  {each.phase:<10}{name:<38}{each.calls:6.0f}{each.self_ms:10.1f}{share:8.1%}{arithmetic}"


def _arithmetic(report: dict[str, Any]) -> Iterator[str]:
    peak: dict[str, float] = report["peak_flops_per_second"]
    best, rate = max(peak, key=lambda kind: peak[kind]), report["flops_per_second"]
    yield (
        f"  {report['flops_per_step'] / 1e9:.1f} GFLOP a step, {rate / 1e9:.1f} GFLOP/s: {rate / peak[best]:.0%} of "
        f"the {peak[best] / 1e9:.1f} GFLOP/s that a large {best} reaches here in {report['precision']}"
    )
