"""What an image costs to train on here, and in the loops people use: `make bench_peers`, to reports/peers.json.

ours       `make train` with its defaults, from images that are packed already (what packing costs is said beside)
timm       its own training script, if it is named: ARGS="timm=SCRIPT", of a clone of its repository
course     the loop of a course: torchvision's ImageFolder, a loader, autocast only in the row that says so

The same network, side, batch and drawn JPEG files for all, one thread, no loader processes. Every loop is a process
that is run for FEW and for MANY steps: what the second one costs more, in seconds of the processor, is the price of
its steps, without start, validation and saving, and whoever else wants the processor. Loops alternate.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import datasets, models
from torchvision import transforms as tv

from drift_detector_pipeline.config import load
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.images.model_input import IMAGENET_MEAN, IMAGENET_STD
from drift_detector_pipeline.proof.rates import BATCH, SOURCE_PX, draw_images
from drift_detector_pipeline.runs.facts import now, package_versions
from drift_detector_pipeline.runs.machine import instruction_set

REPORT = Path("reports/peers.json")
FEW, MANY, REPEATS = 4, 14, 5
SIDE_PX = 128
_CLONE = "git clone --depth 1 --branch v1.0.31 https://github.com/huggingface/pytorch-image-models"
Command = Callable[[Path, Path], list[str]]  # of a folder of images and a folder to write into


@exit_status
def main() -> int:
    """Measure every loop in turn, write the report, log a row each."""
    set_up_logging()
    if sys.argv[1:2] == ["course"]:  # the peer itself, started by _loops
        course(Path(sys.argv[2]), fast=sys.argv[3:] == ["bf16"])
        return 0
    loops = _loops(_timm(sys.argv[1:]))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        packing_ms = _material(folder)
        rounds = [{name: _step_ms(command, folder) for name, command in loops.items()} for _ in range(REPEATS)]
    report = _facts() | {"packing_cpu_ms_per_image_once": packing_ms, "cpu_ms_per_image": _summary(rounds)}
    REPORT.parent.mkdir(exist_ok=True)
    write_json(REPORT, report)
    for name, row in report["cpu_ms_per_image"].items():
        log.info("%-28s %6.1f ms an image, %.2f times ours (%.2f to %.2f)", name, row["median"], *row["times_ours"])
    return 0


def course(images: Path, *, fast: bool) -> None:
    """One epoch as courses teach it, fp32; `fast`: bf16 by autocast and channels last."""
    torch.set_num_threads(1)
    layout = torch.channels_last if fast else torch.contiguous_format
    network = models.resnet18(num_classes=2).to(memory_format=layout).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    steps = [tv.RandomResizedCrop(SIDE_PX, (0.35, 1)), tv.RandomHorizontalFlip(), tv.ToTensor()]
    source = datasets.ImageFolder(
        str(images / "train"), tv.Compose([*steps, tv.Normalize(IMAGENET_MEAN, IMAGENET_STD)])
    )
    for batch, labels in DataLoader(source, BATCH, shuffle=True, drop_last=True):
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            loss = functional.cross_entropy(network(batch.to(memory_format=layout)), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _timm(words: list[str]) -> Path | None:
    """The script that was named."""
    if not words:
        log.info("without timm's loop; with it: %s, then ARGS=timm=SCRIPT, its training script", _CLONE)
        return None
    script = Path(words[0].removeprefix("timm=")).expanduser()
    if len(words) > 1 or not words[0].startswith("timm=") or not script.is_file():
        raise ConfigError(f"{' '.join(words)}: expected timm=SCRIPT, timm's training script, a file of: {_CLONE}")
    return script


def _loops(timm: Path | None) -> dict[str, Command]:
    ours = [sys.executable, "-m", "drift_detector_pipeline.modeling.train"]
    plain = [sys.executable, "-m", "drift_detector_pipeline.proof.peers", "course"]
    loops: dict[str, Command] = {
        "ours": lambda images, out: [*ours, *_given(images), f"hydra.run.dir={out}"],
        "course fp32": lambda images, _: [*plain, str(images)],
        "course bf16 channels last": lambda images, _: [*plain, str(images), "bf16"],
    }
    if timm:
        loops["timm fp32"] = lambda images, out: _timm_command(timm, images, out)
        fast = ["--amp", "--amp-dtype", "bfloat16", "--channels-last"]
        loops["timm bf16 channels last"] = lambda images, out: [*_timm_command(timm, images, out), *fast]
    return loops


def _timm_command(script: Path, images: Path, out: Path) -> list[str]:
    words = f"--data-dir {images} --val-split val --model resnet18 --num-classes 2 --img-size {SIDE_PX} -b {BATCH}"
    words += f" --epochs 1 --warmup-epochs 0 --cooldown-epochs 0 --workers 0 --device cpu --output {out}"
    return [sys.executable, str(script), *words.split()]


def _given(images: Path) -> list[str]:
    given = ["data=folder", f"data.raw_path={images}", f"data.processed_path={images}-packed", "data.fit_fraction=0"]
    given += [f"data.stored_side_px={SOURCE_PX}", f"data.img_size={SIDE_PX}", "data.dataloader_workers=0"]
    given += ["model=resnet18", f"training.batch_size={BATCH}", "training.epochs=1", "run.threads=1"]
    return [*given, "wandb.mode=disabled"]


def _material(folder: Path) -> float:
    """Draw both folders and pack them; CPU ms an image of packing."""
    for steps in (FEW, MANY):
        draw_images(folder / str(steps) / "train", steps * BATCH)
        draw_images(folder / str(steps) / "val", BATCH)
    started = time.process_time()
    for steps in (FEW, MANY):
        process(load(_given(folder / str(steps))).settings.data)
    return round(1000 * (time.process_time() - started) / ((FEW + MANY + 2) * BATCH), 2)


def _step_ms(command: Command, folder: Path) -> float:
    """CPU ms an image of the steps by which MANY are more than FEW."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        few, many = (_cpu_seconds(command(folder / str(steps), Path(out) / str(steps))) for steps in (FEW, MANY))
    return 1000 * (many - few) / ((MANY - FEW) * BATCH)


def _cpu_seconds(command: list[str]) -> float:
    """Of a process and all it waited for."""
    process = Popen(command, stdout=DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"status {process.returncode}: {' '.join(command)}")
    return used.ru_utime + used.ru_stime


def _summary(rounds: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Of each loop: the median, every figure, and (median, least, most) of its cost over ours in the same round."""
    rows = dict[str, dict[str, Any]]()
    for name in rounds[0]:
        ratios = [one[name] / one["ours"] for one in rounds]
        rows[name] = {
            "median": round(statistics.median(one[name] for one in rounds), 2),
            "each": [round(one[name], 2) for one in rounds],
            "times_ours": [round(ratio, 3) for ratio in (statistics.median(ratios), min(ratios), max(ratios))],
        }
    return rows


def _facts() -> dict[str, Any]:
    return {
        "when": now(),
        "command": 'make bench_peers ARGS="timm=SCRIPT"',
        "unit": "CPU milliseconds an image of training, one thread",
        "network": "resnet18",
        "side_px": SIDE_PX,
        "batch_size": BATCH,
        "steps": [FEW, MANY],
        "repeats": REPEATS,
        "instruction_set": instruction_set(torch.device("cpu")),
        "packages": package_versions(),
    }


if __name__ == "__main__":
    sys.exit(main())
