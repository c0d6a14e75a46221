"""What a verdict costs beside the inference it rides on: `python -m drift_detector_pipeline.proof.drift_cost`.

In: nothing; speed depends neither on weights nor on what images show, so both are drawn. Out: reports/drift_cost.json.

Plain inference and a verdict (the same inference with its layers watched, scores, test, estimate) alternate on windows
of 64 images, at 224 and 32 px, several windows at a time where one is over too soon; their difference is the cost.
Processor time of all threads is compared: on a shared machine the clock is off by more than a verdict takes.
"""

import copy
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import nn

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, progress_bar, set_up_logging
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.drift.scores.signals import BATCH
from drift_detector_pipeline.errors import exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.images.model_input import IMAGENET_MEAN, IMAGENET_STD
from drift_detector_pipeline.images.transforms import normalize
from drift_detector_pipeline.runs.facts import now, package_versions
from drift_detector_pipeline.runs.machine import instruction_set, prepared
from drift_detector_pipeline.settings import Run

REPORT = Path("reports/drift_cost.json")
PAIRS, WINDOW, CLASSES, FIT, REFERENCE = 21, 64, 10, 100, 1000
REPEATS = {224: 1, 32: 16}  # windows in each half of a pair, by side in px


@exit_status
def main() -> int:
    """Measure and write the report."""
    set_up_logging()
    with prepared(load_section(Run, ["run.precision=fp32"])) as machine:
        cost = {f"{side}px": measure_cost(side) for side in REPEATS}
        report = {
            "when": now(), "command": "make bench_drift", "model": "resnet18", "window": WINDOW, "pairs": PAIRS,
            "reference": REFERENCE, "threads": machine.threads, "instruction_set": instruction_set(machine.device),
            "packages": package_versions(), "cost": cost,
        }  # fmt: skip
    REPORT.parent.mkdir(exist_ok=True)
    write_json(REPORT, report)
    for side, found in cost.items():
        log.info(
            "%s: %.2f ms of %.2f ms fp32 inference an image: %.1f %% (%.1f to %.1f); %.1f %% of bf16",
            side, found["verdict_ms"], found["inference_fp32_ms"], 100 * found["share_of_fp32"],
            *(100 * bound for bound in found["quartiles"]), 100 * found["share_of_bf16"],
        )  # fmt: skip
    log.info("%s", REPORT)
    return 0


def measure_cost(side_px: int) -> dict[str, Any]:
    """Processor milliseconds an image of inference and of what a verdict adds; medians of PAIRS pairs."""
    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=CLASSES).eval()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (FIT + REFERENCE, side_px, side_px, 3), dtype=np.uint8)
    labels = rng.integers(0, CLASSES, FIT)
    names = [str(label) for label in range(CLASSES)]
    detector = DriftDetector.build(
        model, images[:FIT], labels, images[FIT:], kinds=("gaussian_noise", "fog"), twins=50, classes=names
    )
    window = images[FIT : FIT + WINDOW]
    detector.check_crops(window)  # prepares the test of windows of this size
    reduced_model = copy.deepcopy(model).to(memory_format=torch.channels_last)
    plain, whole, fast = list[float](), list[float](), list[float]()
    with progress_bar(total=PAIRS, title=f"{side_px} px", unit=" pairs") as bar:
        for pair in range(1 + PAIRS):
            measured = [
                _seconds(lambda: _infer(model, window, torch.float32), REPEATS[side_px]),
                _seconds(lambda: detector.check_crops(window), REPEATS[side_px]),
                _seconds(lambda: _infer(reduced_model, window, torch.bfloat16), REPEATS[side_px]),
            ]
            if pair:  # the first one warms up
                for found, seconds in zip((plain, whole, fast), measured, strict=True):
                    found.append(seconds)
                bar.update()
    added = [1000 * (more - less) / WINDOW for more, less in zip(whole, plain, strict=True)]
    shares = [(more - less) / less for more, less in zip(whole, plain, strict=True)]
    inference, reduced = (1000 * statistics.median(times) / WINDOW for times in (plain, fast))
    return {
        "inference_fp32_ms": inference,
        "inference_bf16_ms": reduced,
        "verdict_ms": statistics.median(added),
        "share_of_fp32": statistics.median(shares),
        "quartiles": np.quantile(shares, (0.25, 0.75)).tolist(),
        "share_of_bf16": statistics.median(added) / reduced,
    }


@torch.inference_mode()
def _infer(model: nn.Module, images: Pixels, precision: torch.dtype) -> None:
    reduced = precision is torch.bfloat16
    layout = torch.channels_last if reduced else torch.contiguous_format
    for start in range(0, len(images), BATCH):
        planes = torch.from_numpy(images[start : start + BATCH]).permute(0, 3, 1, 2)
        inputs = normalize(planes, IMAGENET_MEAN, IMAGENET_STD)
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            model(inputs.contiguous(memory_format=layout))


def _seconds(what: Callable[[], object], repeats: int) -> float:
    """Processor seconds of all threads, a repetition."""
    started = time.process_time()
    for _ in range(repeats):
        what()
    return (time.process_time() - started) / repeats


if __name__ == "__main__":
    sys.exit(main())
