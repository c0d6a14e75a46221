"""How much arithmetic this machine can do: the best of a few large products and convolutions.

In: the machine and a precision. Out: floating-point operations per second, which profile.py sets a training's against.
"""

import time
from collections.abc import Callable

import torch
from torch.nn import functional

from drift_detector_pipeline.runs.machine import Machine

_SECONDS, _AT_LEAST = 1.5, 5  # for each kind: so long, and so often


@torch.inference_mode()
def measure_peak(machine: Machine) -> dict[str, float]:
    """Return operations per second of a matrix product and of a 3 x 3 convolution, in the machine's precision."""
    dtype = torch.bfloat16 if machine.precision == "bf16" else torch.float32
    large = machine.device.type == "cuda"
    side, images, channels = (8192, 256, 256) if large else (2048, 32, 256)
    left, right = (torch.randn(side, side, device=machine.device, dtype=dtype) for _ in range(2))
    image = torch.randn(images, channels, 28, 28, device=machine.device, dtype=dtype)
    kernel = torch.randn(channels, channels, 3, 3, device=machine.device, dtype=dtype)
    image, kernel = (each.contiguous(memory_format=machine.memory_format) for each in (image, kernel))
    return {
        "matmul": 2 * side**3 / _fastest(lambda: left @ right, machine),
        "convolution": 2 * images * 28**2 * kernel.numel()
        / _fastest(lambda: functional.conv2d(image, kernel, padding=1), machine),
    }  # fmt: skip


def _fastest(compute: Callable[[], object], machine: Machine) -> float:
    """Return the seconds of the fastest call."""
    times: list[float] = []
    while len(times) < _AT_LEAST or sum(times) < _SECONDS:
        started = time.perf_counter()
        compute()
        if machine.device.type == "cuda":
            torch.cuda.synchronize(machine.device)
        times.append(time.perf_counter() - started)
    return min(times)
