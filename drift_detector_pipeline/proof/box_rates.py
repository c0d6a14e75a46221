"""What training and evaluation of boxes cost beside the bare network: images per CPU second, measured in turn.

In: settings, and weights of a finished run. Out: ratios as rates.py has them; 1 is as fast as the bare network. Read by
box_networks.py.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from drift_detector_pipeline.config import load
from drift_detector_pipeline.modeling import inference
from drift_detector_pipeline.modeling.loaders import Batch, load_batches
from drift_detector_pipeline.modeling.order import evaluation_requests
from drift_detector_pipeline.modeling.trained import Trained, open_trained
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.proof.rates import alternate, step_times
from drift_detector_pipeline.runs.machine import Machine
from drift_detector_pipeline.tasks.boxes.task import BOXES

PAIRS, STEPS, WARM_UP = 3, 8, 2


def loop_ratio(given: Sequence[str], batch: int, bare: Callable[[], float]) -> dict[str, Any]:
    """`make train`'s own loop beside `bare`, which gives the CPU seconds of a step on `batch` images in memory."""
    words = [*given, f"training.batch_size={batch}"]
    with tempfile.TemporaryDirectory() as folder:
        return alternate(lambda: batch / _loop_seconds(words, Path(folder)), lambda: batch / bare(), PAIRS)


def evaluation_ratio(given: Sequence[str], weights: Path, machine: Machine) -> dict[str, Any]:
    """Evaluation of `val`, from stored images to figures, beside bare forward passes of the same batches."""
    data, trained = load([*given]).settings.data, open_trained(weights, machine)
    images = open_processed(data).images
    indices = images.indices("val")

    def batches() -> Any:
        requests = evaluation_requests(indices, batch_size=BOXES.batch, side_px=trained.img_size)
        return load_batches(images, requests, BOXES, data=data, seed=0, workers=0)

    def evaluated() -> None:
        inference.score(trained.network.module, batches(), trained.network, machine, BOXES)

    in_memory = list(batches())
    _forward(trained, in_memory[:1], machine)
    return alternate(
        lambda: len(indices) / _spent(evaluated),
        lambda: len(indices) / _spent(lambda: _forward(trained, in_memory, machine)),
        PAIRS,
    )


def _loop_seconds(given: list[str], folder: Path) -> float:
    times = step_times(given, folder, STEPS, time.process_time)
    return (times[-1] - times[WARM_UP - 1]) / (STEPS - WARM_UP)


def _forward(trained: Trained, batches: Sequence[Batch], machine: Machine) -> None:
    """All that the network says of batches, before any of it is chosen."""
    module = trained.network.module.eval()
    for batch in batches:
        with machine.autocast(), torch.inference_mode():
            module(inference.model_input(batch, trained.network, machine))


def _spent(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
