"""Images per second of training: of the loop that `make train` runs, and of nothing but its step.

In: overrides, and drawn images. Out: rates, and ratios of two that were measured in turn, so that a machine whose speed
drifts treats both alike. Read by training_speed.py, gpu_rates.py and box_rates.py.
"""

import shutil
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from drift_detector_pipeline.config import Composed, load
from drift_detector_pipeline.console import progress_bar, set_up_logging
from drift_detector_pipeline.images.decode_many import cores
from drift_detector_pipeline.modeling.optimization import build_optimizer
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.networks.models import build
from drift_detector_pipeline.runs.machine import Machine

PAIRS, STEPS, WARM_UP, BATCH, SOURCE_PX = 5, 12, 8, 64, 224
Rates = list[float]  # images per second, one a block


class Effort(NamedTuple):
    """How much is measured: steps of a batch, after some that do not count."""

    batch: int = BATCH
    steps: int = STEPS
    warm_up: int = WARM_UP

    @property
    def images(self) -> int:
        """How many images all steps take."""
        return self.batch * (self.steps + self.warm_up)


SMALL = Effort()


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


def loop_rate(given: list[str], folder: Path, effort: Effort = SMALL) -> float:
    """Images per second of `make train`'s own loop, without its first steps; `given` names the same batch."""
    return steady_rate(step_times(given, folder, effort.steps + effort.warm_up - 1, time.perf_counter), effort)


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
    composed: Composed, machine: Machine, layout: torch.memory_format | None = None,
    *, compiled: bool = False, effort: Effort = SMALL,
) -> float:  # fmt: skip
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
    images = torch.randn(effort.batch, 3, side, side, device=machine.device).contiguous(memory_format=layout)
    labels = torch.randint(0, 2, (effort.batch,), device=machine.device)
    times = [bare_step(module, optimizer, images, labels, machine) for _ in range(effort.steps + effort.warm_up)]
    return steady_rate(times, effort)


def bare_step(
    module: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor, machine: Machine
) -> float:
    """Learn from float32 images (B, 3, S, S) and labels int64 (B,); return when that was done, in s."""
    with machine.autocast():
        loss = functional.cross_entropy(module(images).float(), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    loss.item()
    return time.perf_counter()


def steady_rate(times: list[float], effort: Effort = SMALL) -> float:
    """Images per second from the times in s at which batches ended, without the first ones."""
    first = effort.warm_up - 1
    return effort.batch * (len(times) - 1 - first) / (times[-1] - times[first])


def draw_images(folder: Path, count: int, side_px: int = SOURCE_PX) -> None:
    """Write JPEG files as detailed, and so as slow to decode, as photographs of their size (224 px: about 13 kB)."""
    for number in (0, 1):
        (folder / f"class_{number}").mkdir(parents=True, exist_ok=True)
    with (
        progress_bar(total=count, title="draw images", unit=" images") as bar,
        ThreadPoolExecutor(cores()) as pool,
    ):
        for _ in pool.map(partial(_draw, folder, side_px), range(count)):
            bar.update()


def _draw(folder: Path, side_px: int, index: int) -> None:
    rng = np.random.default_rng((0, index))
    coarse = Image.fromarray(rng.integers(0, 256, (28, 28, 3), dtype=np.uint8))
    image = np.asarray(coarse.resize((side_px, side_px), Image.Resampling.BICUBIC), dtype=np.int16)
    noisy = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(folder / f"class_{index % 2}" / f"{index:05d}.jpg", quality=85)
