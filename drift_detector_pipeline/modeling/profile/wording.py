"""A profile in words: a page of text, a table of its operators, and one sentence: the bottleneck, and what to try.

In: a mean step, what the run computes on, and the report that __main__.py writes. Out: text; the table is CSV. The
limits are where a remedy is worth a try: a tenth of a step for what should cost nothing, a quarter for the optimizer.
"""

import csv
import io
from collections.abc import Iterator
from typing import Any, NamedTuple

from drift_detector_pipeline.modeling.profile.mean_step import REST, MeanStep, Operator

_TOP = 12
_WASTE, _OPTIMIZER, _IDLE, _WELL_USED = 0.10, 0.25, 0.30, 0.50
_STALLED = 0.10  # of the forward convolutions' rate; undisturbed, the backward ones reach more than half of it
_LARGER_BATCH = "try a larger training.batch_size, which spreads it over more images"
_LABELS = {"data_wait": "waiting for images", "copy": "copy, normalise", "rest": "rest of the loop"}


class Circumstances(NamedTuple):
    """What a remedy depends on."""

    device: str  # "cpu", "cuda"
    precision: str  # "fp32", "bf16"
    has_bf16: bool  # the hardware has bf16 units
    workers: int  # data.dataloader_workers
    cores: int  # of the CPU that this process may use
    threads: int  # that compute
    optimizer: str
    peak_flops: float  # per second, measured here


def profile_page(report: dict[str, Any], step: MeanStep) -> str:
    """What a person reads: the parts of a step, the longest operators, the arithmetic, the bottleneck."""
    title = (
        f"{report['model']}, batches of {report['batch_size']} at {report['img_size']} px, {report['precision']} on "
        f"{report['device']}, {report['threads']} threads: the mean of {step.steps} training steps"
    )
    parts = [_parts(report, step), _longest(step), _arithmetic(report)]
    return "\n\n".join([title, *("\n".join(part) for part in parts), report["bottleneck"]])


def operators_csv(step: MeanStep) -> str:
    """All operators as CSV, the longest first; times, calls and operations are per step."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["phase", "operator", "calls", "self_ms", "percent_of_step", "gflop"])
    for each in step.operators:
        percent = 100 * each.self_ms / step.step_ms
        rows.writerow([each.phase, each.name, each.calls, f"{each.self_ms:.4f}", f"{percent:.3f}", each.flops / 1e9])
    return text.getvalue()


def name_bottleneck(step: MeanStep, here: Circumstances) -> str:
    """Return the sentence; what is cheapest to cure is named first."""
    if (stalled := _stalled(step, here)) is not None:
        return stalled
    share = {phase: ms / step.step_ms for phase, ms in step.phases_ms.items()}
    if share["data_wait"] > _WASTE:
        return f"Waiting for images takes {share['data_wait']:.0%} of a step: {_more_images(here)}."
    if share["copy"] > _WASTE:
        return f"Moving and normalising images takes {share['copy']:.0%} of a step: try a smaller data.img_size."
    if share[REST] > _WASTE:
        return f"What the loop does beside learning takes {share[REST]:.0%} of a step: {_LARGER_BATCH}."
    if step.device_busy_ms is not None and step.device_busy_ms < (1 - _IDLE) * step.step_ms:
        idle = 1 - step.device_busy_ms / step.step_ms
        return f"The GPU stands still for {idle:.0%} of a step, until Python has asked for more work: {_LARGER_BATCH}."
    if share["optimizer"] > _OPTIMIZER:
        return (
            f"The optimizer ({here.optimizer}) takes {share['optimizer']:.0%} of a step, whatever the batch: try a "
            "larger training.batch_size, or training.optimizer=SGD."
        )
    return _computing(step, here)


def _parts(report: dict[str, Any], step: MeanStep) -> Iterator[str]:
    yield _row("a step", step.step_ms)
    for phase, ms in step.phases_ms.items():
        share = ms / step.step_ms
        yield _row(f"  {_LABELS.get(phase, phase)}", ms) + f" {share:7.1%}  {'#' * round(30 * share)}".rstrip()
    if step.device_busy_ms is not None:
        yield _row("the GPU works", step.device_busy_ms) + f" {step.device_busy_ms / step.step_ms:7.1%}"
    if report["unrecorded_step_ms"] is not None:
        yield _row("without recording", report["unrecorded_step_ms"])


def _row(label: str, ms: float) -> str:
    return f"  {label:<24}{ms:9.1f} ms"


def _longest(step: MeanStep) -> Iterator[str]:
    yield f"  {'phase':<10}{'longest operators':<38}{'calls':>6}{'self ms':>10}{'share':>8}{'GFLOP':>9}{'GFLOP/s':>10}"
    for each in step.operators[:_TOP]:
        share = each.self_ms / step.step_ms
        arithmetic = f"{each.flops / 1e9:9.2f}{each.flops / each.self_ms / 1e6:10.1f}" if each.flops else ""
        name = each.name.removeprefix("aten::")[:37]
        yield f"  {each.phase:<10}{name:<38}{each.calls:6.0f}{each.self_ms:10.1f}{share:8.1%}{arithmetic}"


def _arithmetic(report: dict[str, Any]) -> Iterator[str]:
    peak: dict[str, float] = report["peak_flops_per_second"]
    best, rate = max(peak, key=lambda kind: peak[kind]), report["flops_per_second"]
    yield (
        f"  {report['flops_per_step'] / 1e9:.1f} GFLOP per step, {rate / 1e9:.1f} GFLOP/s: {rate / peak[best]:.0%} of "
        f"the {peak[best] / 1e9:.1f} GFLOP/s that a large {best} reaches here in {report['precision']}"
    )


def _stalled(step: MeanStep, here: Circumstances) -> str | None:
    """Say that threads wait for each other, where they do.

    oneDNN's weight gradient in bf16 spins until its other threads are there; while something else has their cores, it
    loses far more than its share, and more than one thread alone would take. Forward convolutions do not wait so.
    """
    forward, backward = ([operator for operator in step.operators if operator.phase == phase and operator.flops
                          and "conv" in operator.name] for phase in ("forward", "backward"))  # fmt: skip
    if here.device != "cpu" or here.threads == 1 or not forward or _ms(backward) < _OPTIMIZER * step.step_ms:
        return None
    of_forward = _flops_per_ms(backward) / _flops_per_ms(forward)
    if of_forward > _STALLED:
        return None
    return (
        f"Threads wait for each other: {_short(backward)} takes {_ms(backward) / step.step_ms:.0%} of a step at "
        f"{of_forward:.0%} of the forward convolutions' rate; try run.threads=1, or {here.threads} processes of one "
        "thread (torchrun)."
    )


def _more_images(here: Circumstances) -> str:
    if here.workers < here.cores:
        return f"try data.dataloader_workers={min(here.cores, 2 * here.workers or 1)} (now {here.workers})"
    return (
        f"{here.workers} workers keep all {here.cores} cores busy, so make an image cheaper: try a smaller "
        "data.stored_side_px"
    )


def _computing(step: MeanStep, here: Circumstances) -> str:
    """Tell arithmetic from moving memory, by the operators of the two ways through the network."""
    network = [operator for operator in step.operators if operator.phase in ("forward", "backward")]
    arithmetic = [operator for operator in network if operator.flops]
    others = [operator for operator in network if not operator.flops]
    if _ms(others) > _ms(arithmetic):
        takes = f"take {_ms(others) / step.step_ms:.0%} of a step, above all {_short(others)}"
        return f"Operators bound by memory {takes}: try {_lighter(here, 'a smaller data.img_size')}."
    used = _flops_per_ms(arithmetic) * 1000 / here.peak_flops
    takes = f"Arithmetic, above all {_short(arithmetic)}, takes {_ms(arithmetic) / step.step_ms:.0%} of a step"
    if used >= _WELL_USED:
        lighter = _lighter(here, "a smaller data.img_size or model.name")
        return f"{takes} and runs at {used:.0%} of this machine's peak: only less of it helps, try {lighter}."
    return (
        f"{takes} at only {used:.0%} of this machine's peak: try "
        f"{_lighter(here, 'a larger training.batch_size or a model with fewer, wider layers')}."
    )


def _lighter(here: Circumstances, otherwise: str) -> str:
    return "run.precision=bf16" if here.has_bf16 and here.precision == "fp32" else otherwise


def _short(operators: list[Operator]) -> str:
    return operators[0].name.removeprefix("aten::")


def _ms(operators: list[Operator]) -> float:
    return sum(operator.self_ms for operator in operators)


def _flops_per_ms(operators: list[Operator]) -> float:
    return sum(operator.flops for operator in operators) / _ms(operators)
