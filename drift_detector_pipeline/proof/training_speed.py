"""How fast this machine trains: `make bench`, ratios measured within one run, written to reports/training_speed.json.

(a) the whole training loop against the bare step on a batch that is in memory already, at 128 and 224 px
(b) the chosen precision against fp32 in plain NCHW, in the same loop
(c) this input pipeline against torchvision's ImageFolder with the same augmentation
(d) the bare step with freed memory kept for the next step against the allocator's own ways, at 128 and 224 px
(e) the loop after the profiler has recorded a step against the loop without a profiler
(f) evaluation, its images through the pipeline, against bare forward passes on a batch in memory

Blocks of the things compared alternate, so that a machine whose speed drifts treats both alike. Images are drawn:
speed depends on their size, not on what they show.
"""

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision import transforms as tv

from drift_detector_pipeline.config import Composed, load
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.images.model_input import IMAGENET_MEAN, IMAGENET_STD
from drift_detector_pipeline.images.transforms import normalize
from drift_detector_pipeline.modeling import inference
from drift_detector_pipeline.modeling.loaders import load_batches
from drift_detector_pipeline.modeling.order import evaluation_requests, training_requests
from drift_detector_pipeline.networks.models import Network, build
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.proof.rates import (
    BATCH,
    PAIRS,
    SOURCE_PX,
    STEPS,
    WARM_UP,
    Effort,
    alternate,
    bare_rate,
    draw_images,
    loop_rate,
    steady_rate,
)
from drift_detector_pipeline.runs.facts import now, package_versions
from drift_detector_pipeline.runs.machine import Machine, instruction_set, keep_freed_memory, prepared
from drift_detector_pipeline.tasks.classification.task import CLASSIFICATION

REPORT = Path("reports/training_speed.json")
PASSES = 16  # over the drawn images when nothing but input is measured
PROFILED = [
    f"training.profiler.{setting}" for setting in ("enabled=true", "wait=0", "warmup=1", "active=1", "repeat=1")
]


@exit_status
def main() -> int:
    """Measure and write the report; overrides choose another model or number of workers."""
    set_up_logging()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        draw_images(folder / "raw", BATCH * (STEPS + WARM_UP))
        given = ["data=folder", f"data.raw_path={folder}/raw", f"data.processed_path={folder}/data", *sys.argv[1:]]
        given += [f"data.stored_side_px={SOURCE_PX}", "data.fit_fraction=0", "data.val_fraction=0.01"]
        given += ["wandb.mode=disabled"]
        given += [f"training.batch_size={BATCH}", "training.epochs=1"]
        composed = load(given)
        set_up_logging()
        process(composed.settings.data)
        report = _measure(given, folder)
    REPORT.parent.mkdir(exist_ok=True)
    write_json(REPORT, report)
    _print(report)
    return 0


def _measure(given: list[str], folder: Path) -> dict[str, Any]:
    with prepared(load(given).settings.run) as machine:
        measured = {
            f"loop_vs_bare_step_{side}px": _loop_against_bare([*given, f"data.img_size={side}"], machine, folder)
            for side in (128, 224)
        }
        small = [*given, "data.img_size=128"]
        measured["precision_vs_fp32_nchw_128px"] = alternate(
            lambda: loop_rate(small, folder), lambda: loop_rate([*small, "run.precision=fp32"], folder)
        )
        measured["input_vs_imagefolder_128px"] = alternate(
            lambda: _input_rate(load(small), machine), lambda: _imagefolder_rate(load(small), folder / "raw")
        )
        measured["loop_after_profiling_vs_without_128px"] = alternate(
            lambda: loop_rate([*small, *PROFILED], folder), lambda: loop_rate(small, folder)
        )
        measured["evaluation_vs_bare_forward_128px"] = alternate(
            lambda: _evaluation_rate(load(small), machine), lambda: _bare_forward_rate(load(small), machine)
        )
        for side in (128, 224):
            measured[f"memory_kept_vs_returned_{side}px"] = _kept_against_returned(
                [*given, f"data.img_size={side}"], machine
            )
        return {
            "when": now(),
            "command": 'make bench ARGS="' + " ".join(sys.argv[1:]) + '"',
            "model": load(given).settings.model.name,
            "device": machine.device.type,
            "instruction_set": instruction_set(machine.device),
            "precision": machine.precision,
            "threads": machine.threads,
            "batch_size": BATCH,
            "workers": load(given).settings.data.dataloader_workers,
            "pairs": PAIRS,
            "steps_per_block": STEPS,
            "packages": package_versions(),
            "ratios": measured,
        }


def _loop_against_bare(given: list[str], machine: Machine, folder: Path) -> dict[str, Any]:
    return alternate(lambda: loop_rate(given, folder), lambda: bare_rate(load(given), machine))


def _evaluation_rate(composed: Composed, machine: Machine) -> float:
    """Images per second of what `make evaluate` does between images and scores."""
    data = composed.settings.data
    images = open_processed(data).images
    network = build(composed.settings.model, 2, data.img_size)
    module = network.module.to(machine.device).to(memory_format=machine.memory_format)
    indices = np.tile(images.indices("train"), 2)
    requests = evaluation_requests(indices, batch_size=CLASSIFICATION.batch, side_px=data.img_size)
    batches = load_batches(images, requests, CLASSIFICATION, data=data, seed=0, workers=data.dataloader_workers)
    first = next(batches)
    inference.predict_outputs(module, first, network, machine, CLASSIFICATION)
    started = time.perf_counter()
    inference.score(module, batches, network, machine, CLASSIFICATION)
    return (len(indices) - len(first.images)) / (time.perf_counter() - started)


@torch.inference_mode()
def _bare_forward_rate(composed: Composed, machine: Machine) -> float:
    """Images per second of forward passes on one batch in memory, and nothing else."""
    side = composed.settings.data.img_size
    module = build(composed.settings.model, 2, side).module.to(machine.device).eval()
    module.to(memory_format=machine.memory_format)
    images = torch.randn(CLASSIFICATION.batch, 3, side, side, device=machine.device)
    images = images.contiguous(memory_format=machine.memory_format)
    times = list[float]()
    for _ in range(2 * STEPS + WARM_UP):
        with machine.autocast():
            module(images).float().cpu()
        times.append(time.perf_counter())
    return steady_rate(times, Effort(CLASSIFICATION.batch))


def _kept_against_returned(given: list[str], machine: Machine) -> dict[str, Any]:
    """Each in a process of its own: an allocator that was told once cannot be told to forget it."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return alternate(
            lambda: pool.apply(_bare_rate_alone, (given, machine, True)),
            lambda: pool.apply(_bare_rate_alone, (given, machine, False)),
        )


def _bare_rate_alone(given: list[str], machine: Machine, keep: bool) -> float:
    torch.set_num_threads(machine.threads)
    if keep:
        keep_freed_memory()
    return bare_rate(load(given), machine)


def _input_rate(composed: Composed, machine: Machine) -> float:
    """Images per second of packed images to normalised float32 batches."""
    settings = composed.settings
    images = open_processed(settings.data).images
    requests = training_requests(
        images.indices("train"), seed=0, first_step=0, batch_size=BATCH, sizes_px=[settings.data.img_size] * PASSES
    )
    workers = settings.data.dataloader_workers
    batches = load_batches(images, requests, CLASSIFICATION, data=settings.data, seed=0, workers=workers)
    network = Network(nn.Identity(), IMAGENET_MEAN, IMAGENET_STD, None)
    return _rate(normalize(batch.images.to(machine.device), network.mean, network.std) for batch in batches)


def _imagefolder_rate(composed: Composed, raw: Path) -> float:
    """Images per second of the usual way: decode JPEG files, the same augmentation, in as many workers."""
    data = composed.settings.data
    steps = [tv.RandomResizedCrop(data.img_size, (data.augmentation.min_area, 1)), tv.RandomHorizontalFlip()]
    steps += [tv.ToTensor(), tv.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    source = datasets.ImageFolder(str(raw), tv.Compose(steps))
    workers = data.dataloader_workers
    loader = DataLoader(
        source, BATCH, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=workers > 0
    )
    return _rate(images for _ in range(PASSES) for images, _ in loader)


def _rate(batches: Iterator[torch.Tensor]) -> float:
    next(batches)  # starts the workers
    started, count = time.perf_counter(), 0
    ended = started
    for batch in batches:
        count, ended = count + len(batch), time.perf_counter()  # before the workers are stopped
    return count / (ended - started)


def _print(report: dict[str, Any]) -> None:
    log.info(
        "%s, %s, %d threads, %s", report["instruction_set"], report["precision"], report["threads"], report["model"]
    )
    for name, found in report["ratios"].items():
        spread = f"{min(found['ratios']):.2f} to {max(found['ratios']):.2f}"
        log.info("%-32s median %.2f (%s, %d pairs)", name, found["median_ratio"], spread, PAIRS)
    log.info("written: %s", REPORT)


if __name__ == "__main__":
    sys.exit(main())
