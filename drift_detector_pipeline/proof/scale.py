"""Do time an image and memory stay flat as data grows? `python -m drift_detector_pipeline.proof.scale [SIZES]`.

In: numbers of images [1000 10000 100000]. Out: reports/scale.json, the same drawn as reports/scale.png, and a table on
stdout.

Folders of so many small images are made on the spot and each goes through every stage, a process a stage: the command
that a person would type. A stage's start is part of it, so time an image falls before it is flat; what each image more
costs is given beside it. Processor seconds of all threads and workers are compared: a shared machine's clock is off by
more. Memory is the largest the main process held, mapped files included.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.drift.decision import EXIT_STATUS
from drift_detector_pipeline.errors import ConfigError, TrainingError, exit_status
from drift_detector_pipeline.figures import figure_png
from drift_detector_pipeline.files import write_atomically, write_json
from drift_detector_pipeline.processed.integrity import find_damage
from drift_detector_pipeline.runs.facts import now, package_versions

REPORT, PICTURE = Path("reports/scale.json"), Path("reports/scale.png")
SIZES = (1_000, 10_000, 100_000)
STAGES = ("process", "train", "evaluate", "predict", "drift")
SLOWER, LARGER = 1.3, 1.5  # aims: time an image and memory, against the size before
KNOWN = 1_000  # images of the run that drift is measured with, whatever the size
_CLASSES, _SIDE_PX, _ASTRAY = 10, 32, 0.1  # a tenth of images look like another class: there must be mistakes
_SMALL = (
    "data=folder", f"data.stored_side_px={_SIDE_PX}", f"data.img_size={_SIDE_PX}", "data.dataloader_workers=0",
    "model=mlp", "training.epochs=1", "run.device=cpu", "wandb.mode=disabled",
)  # fmt: skip


class Spent(NamedTuple):
    """What a stage took."""

    seconds: float
    processor_seconds: float
    peak_mb: int


@exit_status
def main() -> int:
    """Measure the sizes named on the command line and write the report."""
    sizes = _sizes(sys.argv[1:]) or SIZES
    with tempfile.TemporaryDirectory(prefix="scale-") as place:
        found = measure(sizes, Path(place))
    command = "make bench_scale" + (f' ARGS="{" ".join(map(str, sizes))}"' if sizes != SIZES else "")
    report = {
        "when": now(), "command": command, "side_px": _SIDE_PX, "model": "mlp", "cores": os.cpu_count(),
        "packages": package_versions(), "aims": {"time_an_image": SLOWER, "memory": LARGER}, **found,
    }  # fmt: skip
    REPORT.parent.mkdir(exist_ok=True)
    write_json(REPORT, report)
    write_atomically(PICTURE, figure_png(curves(found)))
    print(table(found))
    print(f"{REPORT}, {PICTURE}")
    return 0


def measure(sizes: Sequence[int], place: Path) -> dict[str, Any]:
    """Take every size through every stage below `place`: `stages` by name and size, and `checksums` by size."""
    make_images(place / "known", KNOWN, seed=1)
    known = _trained(place, "known", ("data.val_fraction=0.5", "data.fit_fraction=0.3"))
    _run("drift.build_reference", [known])
    stages: dict[str, dict[int, Spent]] = {stage: {} for stage in STAGES}
    checksums = dict[int, dict[str, float]]()
    with progress_bar(total=len(sizes) * len(STAGES), title="scale", unit=" stages") as bar:
        for size in sizes:
            raw = place / f"raw_{size}"
            make_images(raw, size)
            for stage, (module, words) in _commands(place, raw, known).items():
                stages[stage][size] = _run(module, words)
                bar.update()
            checksums[size] = _checksums(place / f"{raw.name}_processed", stages["train"][size])
    return {"stages": {stage: _rows(spent) for stage, spent in stages.items()}, "checksums": checksums}


def make_images(folder: Path, count: int, seed: int = 0) -> None:
    """Write JPEGs of noise in the colours of ten classes, a subfolder a class."""
    rng = np.random.default_rng(seed)
    colours = np.random.default_rng(0).uniform(60, 200, (_CLASSES, 2, 2, 3))
    for label in range(_CLASSES):
        (folder / f"class {label}").mkdir(parents=True)
    for number in range(count):
        label = number % _CLASSES
        looks = rng.integers(_CLASSES) if rng.random() < _ASTRAY else label
        pixels = colours[looks].repeat(_SIDE_PX // 2, 0).repeat(_SIDE_PX // 2, 1) + rng.normal(0, 30, (_SIDE_PX, 1, 3))
        buffer = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, format="jpeg")
        (folder / f"class {label}" / f"{number}.jpg").write_bytes(buffer.getvalue())


def table(found: dict[str, Any]) -> str:
    """A line a stage and size: processor milliseconds an image, and megabytes, each with its growth."""
    lines = [f"{'':10}{'images':>8}{'ms an image':>13}{'each more':>11}{'growth':>8}{'MB':>7}{'growth':>8}"]
    for stage, rows in found["stages"].items():
        for row in rows:
            numbers = [
                row["ms_an_image"],
                row["ms_each_more"],
                row["time_growth"],
                row["peak_mb"],
                row["memory_growth"],
            ]
            shown = ["" if value is None else f"{value:.4g}" for value in numbers]
            lines.append(f"{stage:10}{row['images']:8}" + "".join(map(str.rjust, shown, (13, 11, 8, 7, 8))))
    for size, row in found["checksums"].items():
        lines.append(f"checksums of {size} images: {100 * row['share_of_training']:.2g} % of an epoch's training")
    return "\n".join(lines)


def curves(found: dict[str, Any]) -> Figure:
    """Time an image and memory of each stage against the number of images."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = {"ms_an_image": "processor ms per image, start-up included", "peak_mb": "memory at most, MB"}
    for axes, (key, title) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for (stage, rows), marker in zip(found["stages"].items(), "osD^v", strict=False):
            axes.plot([row["images"] for row in rows], [row[key] for row in rows], marker=marker, label=stage)
        axes.set(xscale="log", yscale="log" if key == "ms_an_image" else "linear", xlabel="images", title=title)
        axes.grid(alpha=0.3)
    axes.set_ylim(0)
    axes.legend()
    return figure


def _commands(place: Path, raw: Path, known: Path) -> dict[str, tuple[str, list[object]]]:
    words, run = _source(place, raw.name), place / f"{raw.name}_run"
    return {
        "process": ("dataset", words),
        "train": ("modeling.train", [*words, f"hydra.run.dir={run}"]),
        "evaluate": ("modeling.evaluate", [run, "run.device=cpu"]),
        "predict": ("modeling.predict", [run, raw, "run.device=cpu"]),
        "drift": ("drift", [known, raw, "run.device=cpu"]),
    }


def _source(place: Path, name: str) -> list[object]:
    return [*_SMALL, f"data.raw_path={place / name}", f"data.processed_path={place / f'{name}_processed'}"]


def _trained(place: Path, name: str, more: Sequence[str]) -> Path:
    words = [*_source(place, name), *more]
    _run("dataset", words)
    _run("modeling.train", [*words, "training.epochs=3", f"hydra.run.dir={place / f'{name}_run'}"])
    return place / f"{name}_run"


def _run(module: str, words: Sequence[object]) -> Spent:
    """Run one of our modules to its end. Raises TrainingError if that is a failure."""
    command = [sys.executable, "-m", f"drift_detector_pipeline.{module}", *map(str, words)]
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        if process.returncode not in EXIT_STATUS.values():
            said = output.read().decode("utf-8", "backslashreplace").strip()
            raise TrainingError(f"{' '.join(command)} failed: {said[-500:]}")
    scale = 1 if sys.platform == "darwin" else 1024
    return Spent(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * scale // 2**20)


def _rows(spent: dict[int, Spent]) -> list[dict[str, float | None]]:
    """A row a size; growth is against the size before."""
    rows = [
        {
            "images": size, "seconds": round(one.seconds, 2), "processor_seconds": round(one.processor_seconds, 2),
            "ms_an_image": _ms(one.processor_seconds, size), "ms_each_more": None, "time_growth": None,
            "peak_mb": one.peak_mb, "memory_growth": None,
        }
        for size, one in spent.items()
    ]  # fmt: skip
    for (size, one), (larger, other), row in zip(spent.items(), list(spent.items())[1:], rows[1:], strict=False):
        row["ms_each_more"] = _ms(other.processor_seconds - one.processor_seconds, larger - size)
        row["time_growth"] = round(other.processor_seconds / larger / (one.processor_seconds / size), 3)
        row["memory_growth"] = round(other.peak_mb / one.peak_mb, 3)
    return rows


def _ms(seconds: float, images: int) -> float:
    return round(1000 * seconds / images, 4)


def _checksums(processed: Path, training: Spent) -> dict[str, float]:
    """What comparing packed data with its fingerprint takes, beside the training that it comes before."""
    manifest = json.loads((processed / "manifest.json").read_text(errors="surrogateescape"))
    started = time.process_time()
    find_damage(processed, manifest["fingerprint"], manifest["classes"])
    seconds = time.process_time() - started
    return {"processor_seconds": round(seconds, 4), "share_of_training": seconds / training.processor_seconds}


def _sizes(words: Sequence[str]) -> tuple[int, ...]:
    """Raises ConfigError unless they are whole numbers that grow."""
    if not all(word.isdigit() for word in words) or any(int(one) >= int(other) for one, other in pairwise(words)):
        raise ConfigError(
            f"{' '.join(words)}: expected numbers of images that grow: make bench_scale ARGS='1000 10000'"
        )
    return tuple(map(int, words))


if __name__ == "__main__":
    sys.exit(main())
