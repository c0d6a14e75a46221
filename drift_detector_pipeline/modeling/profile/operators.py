"""The operator calls of a trace: what each took itself, on the CPU and on the GPU, and its arithmetic.

In: complete events in Chrome's trace format, as PyTorch's profiler writes them; times in microseconds. Read by
mean_step.py. Floating-point operations, a multiplication and an addition being two, are counted by PyTorch's own
formulas, fed with the recorded shapes; the profiler's `with_flops` leaves out the backward convolutions.
"""

import json
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import flop_registry

Event = dict[str, Any]  # one of `traceEvents` in Chrome's trace format
Shapes = Sequence[Sequence[int]]  # of each argument; empty for one that is no tensor
Values = Sequence[str]  # of each argument that is no tensor, as PyTorch prints it
_ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")
_LAUNCH = ("cuda_runtime", "cuda_driver")
_FORWARD_CONVOLUTIONS = ("convolution", "_convolution", "cudnn_convolution")
_ARITHMETIC = re.compile("conv|mm|linear|attention")


class Launch(NamedTuple):
    """Work of the GPU, and when and where it was asked for."""

    start: float
    end: float
    launched: float
    thread: int


@dataclass
class Call:
    """One call of an operator."""

    name: str
    start: float
    end: float
    caller: "Call | None"
    self_us: float  # on the CPU, without the operators it calls
    device_us: float = 0.0  # of the GPU work that it asks for itself
    flops: int = 0  # of the counted call it belongs to, where it does that call's work


def launches_in(events: list[Event]) -> list[Launch]:
    """Find the work done by a GPU and the call that asked for each piece; empty without a GPU."""
    asked = {event["args"].get("correlation"): event for event in events if event.get("cat") in _LAUNCH}
    done = [event for event in events if event.get("cat") in _ON_DEVICE]
    found = ((event, asked.get(event["args"].get("correlation"))) for event in done)
    return [
        Launch(event["ts"], event["ts"] + event["dur"], launch["ts"], launch["tid"])
        for event, launch in found
        if launch is not None  # the others belong to what ran before the recording
    ]


def calls_in(events: list[Event], launches: list[Launch]) -> list[Call]:
    """Find all operator calls. The operations of a product or convolution go to the call below that does the work."""
    by_thread: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "cpu_op":
            by_thread[event["tid"]].append(event)
    calls: list[Call] = []
    for thread, found in by_thread.items():
        nested = list(_nest(found))
        _add_device_time([call for call, _ in nested], [each for each in launches if each.thread == thread])
        _add_flops(nested)
        calls += [call for call, _ in nested]
    return calls


def _nest(events: list[Event]) -> Iterator[tuple[Call, Event]]:
    """Yield the calls of one thread in order of their start, callers first."""
    caller: Call | None = None
    for event in sorted(events, key=lambda event: (event["ts"], -event["dur"])):
        while caller is not None and caller.end <= event["ts"]:
            caller = caller.caller
        call = Call(event["name"], event["ts"], event["ts"] + event["dur"], caller, event["dur"])
        if caller is not None:
            caller.self_us -= event["dur"]
        caller = call
        yield call, event


def _add_device_time(calls: list[Call], launches: Iterable[Launch]) -> None:
    for launch in launches:
        place = bisect_right(calls, launch.launched, key=lambda call: call.start) - 1
        call = calls[place] if place >= 0 else None
        while call is not None and call.end < launch.launched:
            call = call.caller
        if call is not None:
            call.device_us += launch.end - launch.start


def _add_flops(nested: list[tuple[Call, Event]]) -> None:
    """Count each product and convolution once, for the innermost call below it that is named like one."""
    counted_in: dict[int, Call | None] = {}  # by id of a call: the counted call that it is, or is part of
    worker: dict[int, Call] = {}  # by id of a counted call
    counts: dict[int, int] = {}
    for call, event in nested:
        whole = counted_in[id(call.caller)] if call.caller else None
        if whole is None and (count := _recorded_flops(event)) is not None:
            whole, counts[id(call)] = call, count
        counted_in[id(call)] = whole
        if whole is not None and (call is whole or _ARITHMETIC.search(call.name)):
            worker[id(whole)] = call
    for key, count in counts.items():
        worker[key].flops = count


def _recorded_flops(event: Event) -> int | None:
    arguments = event.get("args", {})
    if "Input Dims" not in arguments:
        return None
    return count_flops(event["name"], arguments["Input Dims"], arguments.get("Concrete Inputs", ()))


def count_flops(operator: str, shapes: Shapes, values: Values) -> int | None:
    """Return the operations of a call, such as `aten::mm` with shapes [[2, 3], [3, 4]]: 48; None if not counted."""
    name = operator.removeprefix("aten::").replace("attention_for_cpu", "attention")  # CPUs' name has no formula
    formula = flop_registry.get(getattr(torch.ops.aten, name, None)) if operator.startswith("aten::") else None
    if formula is None:
        return None
    if name in _FORWARD_CONVOLUTIONS:
        return _convolution_flops(name, shapes, values)
    if name == "convolution_backward":
        return _convolution_backward_flops(formula, shapes, values)
    return int(formula(*shapes))


def _convolution_flops(name: str, shapes: Shapes, values: Values) -> int:
    """The profiler records no shape of a result; tensors without memory tell it."""
    image, kernel = (torch.empty(shape, device="meta") for shape in shapes[:2])
    if name == "cudnn_convolution":  # takes less, and in another order
        padding, stride, dilation, groups = _parsed(values[2:6])
        options = [stride, padding, dilation, False, [0] * len(padding), groups]
    else:
        options = _parsed(values[3:9])  # stride, padding, dilation, transposed, ...
    result = torch.convolution(image, kernel, None, *options)
    return int(flop_registry[torch.ops.aten.convolution](image, kernel, None, *options, out_val=result))


def _parsed(values: Values) -> list[Any]:
    return [json.loads(value.lower()) for value in values]


def _convolution_backward_flops(formula: Callable[..., int], shapes: Shapes, values: Values) -> int:
    """A channel of a grouped convolution meets those of its group only, which PyTorch's formula does not know."""
    gradient, image, kernel = shapes[:3]
    transposed, groups, wanted = (json.loads(values[place].lower()) for place in (7, 9, 10))
    met = [image[0], image[1] // groups, *image[2:]]
    return int(formula(gradient, met, kernel, *[None] * 4, transposed, None, groups, wanted, out_val=(image, kernel)))
