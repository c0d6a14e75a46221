"""Where a training step's time goes, computed from the events of one trace. Pure: no files, no clock.

Times of events are in microseconds, of the mean step in milliseconds. Fed by __main__.py with what modeling/tracing.py
recorded; read by wording.py.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from drift_detector_pipeline.modeling.profile.operators import Call, Event, calls_in, launches_in
from drift_detector_pipeline.modeling.tracing import PHASES, STEP

REST = "rest"  # of a step: what belongs to no phase, the loop's bookkeeping


class Operator(NamedTuple):
    """All calls of one operator in one phase, per step."""

    phase: str
    name: str
    calls: float
    self_ms: float  # on the device that computes, without the operators it calls
    flops: float  # 0 where none are counted


class MeanStep(NamedTuple):
    """A mean training step."""

    steps: int  # it is the mean of
    step_ms: float
    phases_ms: dict[str, float]  # PHASES and REST; they add up to the step
    device_busy_ms: float | None  # None without a GPU
    operators: list[Operator]  # the longest first
    flops: float


class Span(NamedTuple):
    """A stretch of time and the phase it counts for."""

    start: float
    end: float
    phase: str


def mean_step_of(events: Iterable[Event]) -> MeanStep:
    """Compute the mean step of a trace.

    An instant counts for the phase whose work the GPU does and, while it is idle or there is none, for the phase the
    loop is in. What runs between two steps (a checkpoint, validation) is left out. Raises ValueError if the trace
    holds no training step.
    """
    complete = [event for event in events if event.get("ph") == "X"]
    steps = _annotations(complete, (STEP,))
    if not steps:
        raise ValueError(f"no {STEP} in it")
    loop = _with_rest(steps, _annotations(complete, PHASES))
    launches = launches_in(complete)
    busy = _one_at_a_time(Span(each.start, each.end, _phase_at(loop, each.launched) or REST) for each in launches)
    if busy:  # the last step ends when the GPU has done its work
        loop[-1] = loop[-1]._replace(end=max(loop[-1].end, busy[-1].end))
    phases_us = dict.fromkeys((*PHASES, REST), 0.0)
    busy_before, loop_before = _Overlap(busy), _Overlap(loop)
    for span in loop:
        phases_us[span.phase] += span.end - span.start - busy_before.within(span)
    for span in busy:
        phases_us[span.phase] += loop_before.within(span)
    per_step = 1000 * len(steps)
    operators = _operators(calls_in(complete, launches), loop, len(steps), on_device=bool(launches))
    return MeanStep(
        len(steps), sum(phases_us.values()) / per_step, {name: us / per_step for name, us in phases_us.items()},
        sum(map(loop_before.within, busy)) / per_step if busy else None,
        operators, sum(operator.flops for operator in operators),
    )  # fmt: skip


def _annotations(events: Iterable[Event], names: Sequence[str]) -> list[Span]:
    found = (event for event in events if event.get("cat") == "user_annotation" and event["name"] in names)
    return sorted(Span(event["ts"], event["ts"] + event["dur"], event["name"]) for event in found)


def _with_rest(steps: list[Span], phases: list[Span]) -> list[Span]:
    """The steps, cut into their phases and the stretches between those."""
    loop: list[Span] = []
    for step in steps:
        reached = step.start
        for phase in phases:
            if step.start <= phase.start and phase.end <= step.end:
                loop += [Span(reached, phase.start, REST), phase]
                reached = phase.end
        loop.append(Span(reached, step.end, REST))
    return loop


def _one_at_a_time(spans: Iterable[Span]) -> list[Span]:
    """Cut spans that overlap, as those of several streams do, so that each instant counts once."""
    apart: list[Span] = []
    reached = float("-inf")
    for span in sorted(spans):
        if span.end > reached:
            apart.append(span._replace(start=max(span.start, reached)))
            reached = span.end
    return apart


def _phase_at(loop: list[Span], time: float) -> str | None:
    place = bisect_right(loop, time, key=lambda span: span.start) - 1
    inside = place >= 0 and time <= loop[place].end
    return loop[place].phase if inside else None


class _Overlap:
    """How much of a span others cover that are in order and apart."""

    def __init__(self, spans: list[Span]) -> None:
        self._spans = spans
        self._before = [0.0, *accumulate(span.end - span.start for span in spans)]

    def within(self, span: Span) -> float:
        return self._until(span.end) - self._until(span.start)

    def _until(self, time: float) -> float:
        place = bisect_left(self._spans, time, key=lambda span: span.start)
        if place == 0:
            return 0.0
        last = self._spans[place - 1]
        return self._before[place - 1] + min(time, last.end) - last.start


def _operators(calls: Iterable[Call], loop: list[Span], steps: int, *, on_device: bool) -> list[Operator]:
    totals: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0, 0, 0])
    for call in calls:
        if phase := _phase_at(loop, call.start):
            total = totals[phase, call.name]
            total[0] += 1
            total[1] += call.device_us if on_device else call.self_us
            total[2] += call.flops
    operators = [
        Operator(phase, name, count / steps, us / steps / 1000, flops / steps)
        for (phase, name), (count, us, flops) in totals.items()
    ]
    return sorted(operators, key=lambda operator: -operator.self_ms)
