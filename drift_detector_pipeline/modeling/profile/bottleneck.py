"""One sentence: what a training step spends its time on, and what to try.

In: a mean step and what the run computes on. Fed and read by profile.py. The limits are where a remedy is worth a try:
a tenth of a step for what should cost nothing, a quarter for the optimizer.
"""

from typing import NamedTuple

from drift_detector_pipeline.modeling.profile.summary import REST, Operator, ProfileSummary

_WASTE, _OPTIMIZER, _IDLE, _WELL_USED = 0.10, 0.25, 0.30, 0.50


class Circumstances(NamedTuple):
    """What a remedy depends on."""

    device: str  # "cpu", "cuda"
    precision: str  # "fp32", "bf16"
    has_bf16: bool  # the hardware has bf16 units
    workers: int  # data.dataloader_workers
    cores: int  # of the CPU that this process may use
    optimizer: str
    peak_flops: float  # per second, measured here


def name_bottleneck(summary: ProfileSummary, here: Circumstances) -> str:
    """Return the sentence; what is cheapest to cure is named first."""
    share = {phase: ms / summary.step_ms for phase, ms in summary.phases_ms.items()}
    if share["data_wait"] > _WASTE:
        return f"Waiting for images takes {share['data_wait']:.0%} of a step: {_more_images(here)}."
    if share["copy"] > _WASTE:
        return f"Moving and normalising images takes {share['copy']:.0%} of a step: try a smaller data.img_size."
    if share[REST] > _WASTE:
        return f"What the loop does beside learning takes {share[REST]:.0%} of a step: {_LARGER_BATCH}."
    if summary.device_busy_ms is not None and summary.device_busy_ms < (1 - _IDLE) * summary.step_ms:
        idle = 1 - summary.device_busy_ms / summary.step_ms
        return f"The GPU stands still for {idle:.0%} of a step, until Python has asked for more work: {_LARGER_BATCH}."
    if share["optimizer"] > _OPTIMIZER:
        return (
            f"The optimizer ({here.optimizer}) takes {share['optimizer']:.0%} of a step, whatever the batch: try a "
            "larger training.batch_size, or training.optimizer=SGD."
        )
    return _computing(summary, here)


_LARGER_BATCH = "try a larger training.batch_size, which spreads it over more images"


def _more_images(here: Circumstances) -> str:
    if here.workers < here.cores:
        return f"try data.dataloader_workers={min(here.cores, 2 * here.workers or 1)} (now {here.workers})"
    return (
        f"{here.workers} workers keep all {here.cores} cores busy, so make an image cheaper: try a smaller "
        "data.stored_side_px"
    )


def _computing(summary: ProfileSummary, here: Circumstances) -> str:
    """Tell arithmetic from moving memory, by the operators of the two ways through the network."""
    network = [operator for operator in summary.operators if operator.phase in ("forward", "backward")]
    arithmetic = [operator for operator in network if operator.flops]
    others = [operator for operator in network if not operator.flops]
    if _ms(others) > _ms(arithmetic):
        takes = f"take {_ms(others) / summary.step_ms:.0%} of a step, above all {_short(others)}"
        return f"Operators bound by memory {takes}: try {_lighter(here, 'a smaller data.img_size')}."
    rate = sum(operator.flops for operator in arithmetic) / _ms(arithmetic) * 1000
    used = rate / here.peak_flops
    takes = f"Arithmetic, above all {_short(arithmetic)}, takes {_ms(arithmetic) / summary.step_ms:.0%} of a step"
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
