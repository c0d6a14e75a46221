"""What the fast precision costs in accuracy: `make bench_accuracy`, written to reports/precision_accuracy.json.

Trains the same recipe in the precision this machine would choose and in fp32, three seeds each, and compares the
final weights image by image. Finished runs are kept in outputs/bench_accuracy/, so it goes on after a kill.
"""

import csv
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from drift_detector_pipeline.config import load
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.modeling.evaluation import evaluate
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.runs.facts import RECEIPT
from drift_detector_pipeline.runs.receipts import read_receipt

REPORT = Path("reports/precision_accuracy.json")
RUNS = Path("outputs/bench_accuracy")
SEEDS = (1, 2, 3)
RECIPE = (
    "+experiment=imagenette_fast",
    "training.epochs=3",
    "training.sizes_px=null",
    "data.img_size=96",
    "wandb.mode=disabled",
)
_SAME = ("instruction_set", "device", "threads", "packages", "data_fingerprint")

Right = npt.NDArray[np.bool_]  # (S, N): whether the model of a seed was right about a validation image


class _StoppedError(Exception):
    """A training was asked to stop, and has left a checkpoint."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@exit_status
def main() -> int:
    """Train what is missing, compare, write the report; overrides name the data."""
    set_up_logging()
    try:
        chosen, plain = (_of_all_seeds(precision, sys.argv[1:]) for precision in ("auto", "fp32"))
    except _StoppedError as stopped:
        log.info("stopped; the same command resumes")
        return stopped.status
    receipt, other = (read_receipt(_folder(precision, SEEDS[0])) for precision in ("auto", "fp32"))
    if receipt.precision == other.precision:
        raise ConfigError("this machine's own precision is fp32: there is nothing to compare")
    report = compare_precisions(chosen, plain) | {
        "precision": receipt.precision,
        "compared_with": other.precision,
        "seeds": list(SEEDS),
        "command": f'make bench_accuracy ARGS="{" ".join(sys.argv[1:])}"',
        "recipe": list(RECIPE),
        **{key: getattr(receipt, key) for key in _SAME},
    }
    REPORT.parent.mkdir(exist_ok=True)
    write_json(REPORT, report)
    _print(report)
    return 0


def compare_precisions(chosen: Right, plain: Right) -> dict[str, object]:
    """Accuracies of both, and the mean difference with two 95 % intervals, in points.

    Over images: the normal interval of the paired differences of each image, averaged over seeds; it treats the
    trained models as given. Over seeds: Student's interval of the seeds' differences; it treats the images as given.
    """
    by_seed = 100 * (chosen.mean(axis=1) - plain.mean(axis=1))
    by_image = 100 * (chosen.astype(float) - plain.astype(float)).mean(axis=0)
    half_images = 1.96 * float(by_image.std(ddof=1)) / len(by_image) ** 0.5
    half_seeds = float(stats.t.ppf(0.975, len(by_seed) - 1) * by_seed.std(ddof=1)) / len(by_seed) ** 0.5
    difference = float(by_image.mean())
    return {
        "n_seeds": len(by_seed),
        "n_images": len(by_image),
        "val_accuracy": [round(float(value), 5) for value in chosen.mean(axis=1)],
        "val_accuracy_compared": [round(float(value), 5) for value in plain.mean(axis=1)],
        "difference_points": round(difference, 3),
        "interval_over_images_points": _interval(difference, half_images),
        "interval_over_seeds_points": _interval(difference, half_seeds),
    }


def _interval(middle: float, half: float) -> list[float]:
    return [round(middle - half, 3), round(middle + half, 3)]


def _of_all_seeds(precision: str, overrides: Sequence[str]) -> Right:
    return np.stack([_right(precision, seed, overrides) for seed in SEEDS])


def _right(precision: str, seed: int, overrides: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Train, or go on, or find the run done; return which validation images its final weights label right.

    Raises _StoppedError if a signal ended the training.
    """
    folder = _folder(precision, seed)
    if not (folder / RECEIPT).exists():
        resume = [f"run.resume={folder}"] if (folder / "checkpoints").exists() else []
        own = [f"run.seed={seed}", f"run.precision={precision}", f"hydra.run.dir={folder}"]
        outcome = train(load([*RECIPE, *overrides, *own, *resume]))
        if outcome.exit_status:
            raise _StoppedError(outcome.exit_status)
    page = evaluate(folder)
    with (page / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return np.array([row["label"] == row["true_label"] for row in csv.DictReader(file)])


def _folder(precision: str, seed: int) -> Path:
    return RUNS / f"{precision}-seed{seed}"


def _print(report: dict[str, Any]) -> None:
    for name, key in ((report["precision"], "val_accuracy"), (report["compared_with"], "val_accuracy_compared")):
        values = report[key]
        log.info("%s: %.2f %% (%s)", name, 100 * statistics.mean(values), ", ".join(f"{100 * v:.2f}" for v in values))
    log.info(
        "difference %+.2f points; 95 %% interval over images %s, over seeds %s",
        report["difference_points"], report["interval_over_images_points"], report["interval_over_seeds_points"],
    )  # fmt: skip
    log.info("written: %s", REPORT)


if __name__ == "__main__":
    sys.exit(main())
