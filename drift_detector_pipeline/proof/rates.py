"""Images per second of training: of the loop that `make train` runs, and of nothing but its step.

In: overrides, and drawn images. Out: rates, and ratios of two that were measured in turn, so that a machine whose speed
drifts treats both alike. Read by training_speed.py, gpu_check.py and box_rates.py.
"""

import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from drift_detector_pipeline.config import Composed, load
from drift_detector_pipeline.console import progress_bar, set_up_logging
from drift_detector_pipeline.modeling.optimization import build_optimizer
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.networks.models import build
from drift_detector_pipeline.runs.machine import Machine

PAIRS, STEPS, WARM_UP, BATCH, SOURCE_PX = 5, 12, 8, 64, 224
Rates = list[float]  # images per second, one a block


class _EnoughError(Exception):
    """Ends a measured training after its last step."""


def alternate(one: Callable[[], float], other: Callable[[], float], pairs: int = PAIRS) -> dict[str, Any]:
    """Measure both in turn; return the ratio one / other of each pair and its median."""
    ones: Rates = []
    others: Rates = []
    for _ in range(pairs):
        ones.append(one())
        others.append(other())
    ratios = [a / b for a, b in zip(ones, others, strict=True)]
    return {
        "median_ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "images_per_second": [round(rate, 1) for rate in ones],
        "compared_with": [round(rate, 1) for rate in others],
    }


def loop_rate(given: list[str], folder: Path) -> float:
    """Images per second of `make train`'s own loop, without its first steps."""
    return steady_rate(step_times(given, folder, STEPS + WARM_UP - 1, time.perf_counter))


def step_times(given: list[str], folder: Path, steps: int, clock: Callable[[], float]) -> list[float]:
    """When each of the first steps of `make train`'s own loop ended, in s of a clock; it is stopped then."""
    times: list[float] = []

    def note(step: int) -> None:
        times.append(clock())
        if step == steps:
            raise _EnoughError

    shutil.rmtree(folder / "run", ignore_errors=True)
    try:
        train(load([*given, f"hydra.run.dir={folder}/run"]), note)
    except _EnoughError:
        set_up_logging()
    return times


def bare_rate(
    composed: Composed, machine: Machine, layout: torch.memory_format | None = None, *, compiled: bool = False
) -> float:
    """Images per second of forward, backward and optimizer on one batch in memory, and nothing else.

    `layout`: of images and weights, the machine's own if left out; compiled: by torch.compile, before it is measured.
    """
    settings, layout = composed.settings, layout or machine.memory_format
    network = build(settings.model, 2, settings.data.img_size)
    module = network.module.to(machine.device).to(memory_format=layout).train()
    optimizer = build_optimizer(settings.training, module)
    if compiled:
        module.compile()
    side = settings.data.img_size
    images = torch.randn(BATCH, 3, side, side, device=machine.device).contiguous(memory_format=layout)
    labels = torch.randint(0, 2, (BATCH,), device=machine.device)
    times = [_bare_step(module, optimizer, images, labels, machine) for _ in range(STEPS + WARM_UP)]
    return steady_rate(times)


def _bare_step(
    module: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor, machine: Machine
) -> float:
    with machine.autocast():
        loss = functional.cross_entropy(module(images).float(), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    loss.item()
    return time.perf_counter()


def steady_rate(times: list[float], batch_size: int = BATCH) -> float:
    """Images per second from the times in s at which batches ended, without the first ones."""
    return batch_size * (len(times) - WARM_UP) / (times[-1] - times[WARM_UP - 1])


def draw_images(folder: Path, count: int) -> None:
    """Write JPEG files as detailed, and so as slow to decode, as photographs of their size (about 13 kB)."""
    rng = np.random.default_rng(0)
    with progress_bar(total=count, title="draw images", unit=" images") as bar:
        for index in range(count):
            coarse = Image.fromarray(rng.integers(0, 256, (28, 28, 3), dtype=np.uint8))
            image = np.asarray(coarse.resize((SOURCE_PX, SOURCE_PX), Image.Resampling.BICUBIC), dtype=np.int16)
            noisy = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
            path = folder / f"class_{index % 2}" / f"{index:04d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noisy).save(path, quality=85)
            bar.update()
