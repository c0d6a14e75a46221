"""What a finished run's model is worth: `python -m drift_detector_pipeline.modeling.evaluate RUN split=val`.

In: a run's receipt and weights, and the processed data it was trained on. Out: `<run>/evaluation/<split>/`
(evaluation_report.py). The numbers are those that training wrote, to the last digit.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from drift_detector_pipeline.commands import read_command, refuse_others
from drift_detector_pipeline.console import log, progress_bar, set_up_logging
from drift_detector_pipeline.errors import DataError, exit_status
from drift_detector_pipeline.images.transforms import inference_crop
from drift_detector_pipeline.modeling.evaluation_report import Evaluation, write_evaluation
from drift_detector_pipeline.modeling.inference import BATCH
from drift_detector_pipeline.modeling.loaders import evaluation_requests, load_batches
from drift_detector_pipeline.modeling.metrics import Labels, Logits, Metrics, measure
from drift_detector_pipeline.modeling.trained import WEIGHTS, Trained, answers, logits_of, open_trained, precision_of
from drift_detector_pipeline.processed.manifest import Processed
from drift_detector_pipeline.processed.splits import SPLITS
from drift_detector_pipeline.runs.facts import now, package_versions, this_command
from drift_detector_pipeline.runs.machine import Machine, instruction_set, prepared
from drift_detector_pipeline.runs.receipts import Receipt, newest_finished, read_receipt
from drift_detector_pipeline.settings import Data, Run

_ALLOWED = ("run.device", "run.precision", "run.threads", "data.processed_path", "data.dataloader_workers")


class _Outputs(NamedTuple):
    logits: Logits  # (N, K)
    labels: Labels  # (N,)
    seconds_total: float  # from the first request to the last logits
    seconds_forward: float  # of it, in `logits_of`; the rest is waiting for images


@exit_status
def main() -> int:
    """Evaluate the run named on the command line, or the newest finished one."""
    command = read_command(sys.argv[1:], {"split": SPLITS, "weights": WEIGHTS})
    set_up_logging()
    evaluate(command.target or newest_finished(), overrides=command.overrides, **command.own)
    return 0


def evaluate(folder: Path, *, split: str = "val", weights: str = "final", overrides: Sequence[str] = ()) -> Path:
    """Evaluate a finished run on a split of its own data; return the folder of the report.

    Raises a PipelineError if there is no receipt, the weights are not those it names, or the processed data is not
    what the run was trained on.
    """
    receipt = read_receipt(folder)
    data, run = _settings(receipt, overrides)
    processed = receipt.data(data)
    indices = processed.images.indices(split)
    if not len(indices):
        raise DataError(f"{processed.folder}: no images in the split {split}; choose another: split=val")
    with prepared(run) as machine:
        trained = open_trained(folder / f"{weights}_model.safetensors", machine)
        receipt.check_weights(trained.file, trained.sha256)
        outputs = _outputs(trained, machine, processed, data, indices)
        facts: dict[str, Any] = {"split": split, "weights": weights, "selected_on_val": weights == "best"}
        facts |= _surroundings(folder, processed, trained, machine)
    metrics = measure(outputs.logits, outputs.labels)
    facts["training"] = _as_training_said(receipt, split, weights, metrics)
    facts |= {f"seconds_{part}": round(getattr(outputs, f"seconds_{part}"), 3) for part in ("total", "forward")}
    evaluation = Evaluation(
        facts, metrics, trained.classes,
        paths=[processed.images.paths[index] for index in indices],
        true_labels=[trained.classes[label] for label in outputs.labels],
        answers=answers(outputs.logits, trained.classes),
        picture=lambda place: inference_crop(processed.images[int(indices[place])], trained.img_size),
    )  # fmt: skip
    target = write_evaluation(folder / "evaluation" / split, evaluation)
    _say(facts, metrics, target)
    return target


def _settings(receipt: Receipt, overrides: Sequence[str]) -> tuple[Data, Run]:
    """The run's own data and run settings; what it was trained with may be said again."""
    given = [word for word in overrides if word not in receipt.overrides]
    refuse_others(given, _ALLOWED, "what is evaluated stands in the run's receipt")
    precision = f"run.precision={precision_of(receipt.precision)}"
    return receipt.section(Data, given), receipt.section(Run, [precision, "run.resume=null", *given])


def _outputs(trained: Trained, machine: Machine, processed: Processed, data: Data, indices: Labels) -> _Outputs:
    """The split through the model, images made ahead of time by the run's own number of loader workers."""
    batches = load_batches(
        processed.images, evaluation_requests(indices, batch_size=BATCH, side_px=trained.img_size), data=data, seed=0,
        workers=data.dataloader_workers, pin=machine.device.type == "cuda",
    )  # fmt: skip
    logits, labels = list[Logits](), list[Labels]()
    forward, started = 0.0, time.perf_counter()
    with progress_bar(total=len(indices), title="evaluate", unit=" images") as bar:
        for batch in batches:
            began = time.perf_counter()
            logits.append(logits_of(trained, batch, machine))
            forward += time.perf_counter() - began
            labels.append(batch.labels.numpy())
            bar.update(len(batch.labels))
    total = time.perf_counter() - started
    return _Outputs(np.concatenate(logits), np.concatenate(labels), total, forward)


def _surroundings(folder: Path, processed: Processed, trained: Trained, machine: Machine) -> dict[str, Any]:
    """Which bytes were evaluated, by which command, on what."""
    return {
        "run": str(folder),
        "model": trained.architecture,
        "weights_sha256": trained.sha256,
        "data": str(processed.folder),
        "data_fingerprint": processed.fingerprint,
        "img_size": trained.img_size,
        "command": this_command(),
        "when": now(),
        "device": machine.device.type,
        "instruction_set": instruction_set(machine.device),
        "precision": machine.precision,
        "threads": machine.threads,
        "packages": package_versions(),
    }


def _as_training_said(receipt: Receipt, split: str, weights: str, metrics: Metrics) -> dict[str, object] | None:
    """Training's own figures for these weights on `val`, and whether they are equal to the last digit."""
    if split != "val":
        return None
    said = receipt.best if weights == "best" else receipt.final
    accuracy, loss = said.val_accuracy, said.val_loss
    return {"accuracy": accuracy, "loss": loss, "equal": (accuracy, loss) == (metrics.accuracy, metrics.loss)}


def _say(facts: dict[str, Any], metrics: Metrics, target: Path) -> None:
    low, high = metrics.accuracy_interval
    log.info(
        "%s, %s weights: %.2f %% of %s %s images right (95 %% interval %.2f to %.2f), loss %.4f, calibration "
        "error %.3f",
        facts["run"], facts["weights"], 100 * metrics.accuracy, f"{metrics.n:,}", facts["split"], 100 * low,
        100 * high, metrics.loss, metrics.calibration_error,
    )  # fmt: skip
    before = facts["training"]
    if before and before["equal"]:
        log.info("accuracy and loss are those training wrote, to the last digit")
    elif before:
        log.info(
            "training wrote accuracy %s and loss %s, now %s and %s: another machine, precision or version",
            before["accuracy"], before["loss"], metrics.accuracy, metrics.loss,
        )  # fmt: skip
    log.info("%s", target / "report.html")


if __name__ == "__main__":
    sys.exit(main())
