"""What a finished run's model is worth, measured on its own data.

In: a run's receipt and weights, and the processed data it was trained on. Out: `<run>/evaluation/<split>/`
(evaluation_report.py). The numbers are those that training wrote, to the last digit. `make evaluate` is evaluate.py.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, progress_bar
from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.modeling.answers import check_for_task
from drift_detector_pipeline.modeling.evaluation_report import seen_in, write_evaluation
from drift_detector_pipeline.modeling.loaders import load_batches
from drift_detector_pipeline.modeling.order import evaluation_requests
from drift_detector_pipeline.modeling.trained import Trained, open_trained, precision_of
from drift_detector_pipeline.modeling.views import outputs_of_views
from drift_detector_pipeline.processed.manifest import Processed
from drift_detector_pipeline.runs.facts import now, package_versions, this_command
from drift_detector_pipeline.runs.machine import Machine, instruction_set, prepared
from drift_detector_pipeline.runs.receipts import Receipt, read_receipt
from drift_detector_pipeline.settings import Data, Run
from drift_detector_pipeline.settings_in_use import Predict
from drift_detector_pipeline.takes import EVALUATE
from drift_detector_pipeline.tasks.task import Evaluation, Metrics, Output, Target, Task

_THRESHOLD = "predict.threshold="  # of two classes of clips


class _Outputs(NamedTuple):
    outputs: list[Output]  # N
    targets: list[Target]  # N
    seconds_total: float  # from the first request to the last output
    seconds_forward: float  # of it, in `outputs_of_views`; the rest is waiting for images


def evaluate(
    folder: Path, *, split: str = "val", weights: str = "final", views: str = "1", overrides: Sequence[str] = ()
) -> Path:  # fmt: skip
    """Evaluate a finished run on a split of its own data; return the folder of the report.

    `views`: how often each image is looked at (views.py); all but 1 have a folder of their own.

    Raises a PipelineError if there is no receipt, the weights are not those it names, or the processed data is not
    what the run was trained on.
    """
    receipt = read_receipt(folder)
    data, run = _settings(receipt, overrides)
    processed = receipt.data(data)
    indices = processed.images.indices(split, data.limit)
    if not len(indices):
        raise DataError(f"{processed.folder}: no {receipt.items} in the split {split}; choose another: split=val")
    with prepared(run) as machine:
        trained = open_trained(folder / f"{weights}_model.safetensors", machine)
        receipt.check_weights(trained.file, trained.sha256)
        threshold = _threshold(trained, overrides)
        found = _outputs(trained, machine, processed, data, indices, int(views))
        facts: dict[str, Any] = {"split": split, "weights": weights, "selected_on_val": weights == "best"}
        facts |= ({"views": int(views)} if views != "1" else {}) | threshold
        facts |= _surroundings(folder, processed, trained, machine)
    metrics = trained.task.measure(found.outputs, found.targets)
    facts["training"] = _as_training_said(receipt, split, weights, metrics) if views == "1" else None
    facts |= {f"seconds_{part}": round(getattr(found, f"seconds_{part}"), 3) for part in ("total", "forward")}
    evaluation = Evaluation(
        facts, metrics, trained.classes,
        paths=[processed.images.paths[index] for index in indices],
        targets=found.targets,
        answers=trained.task.answer(found.outputs, trained.classes),
        picture=lambda place: _picture(trained, processed.images[int(indices[place])]),
    )  # fmt: skip
    target = write_evaluation(
        folder / "evaluation" / (split + f"_{views}_views" * (views != "1")), evaluation, trained.task
    )
    _say(facts, metrics, trained.task, target)
    return target


def _settings(receipt: Receipt, overrides: Sequence[str]) -> tuple[Data, Run]:
    """The run's own data and run settings; what it was trained with may be said again."""
    given = receipt.changed_by(overrides, EVALUATE)
    precision = f"run.precision={precision_of(receipt.precision)}"
    return receipt.section(Data, given), receipt.section(Run, [precision, "run.resume=null", *given])


def _threshold(trained: Trained, overrides: Sequence[str]) -> dict[str, float]:
    """The operating point that was asked for. Raises ConfigError if the model is none of two classes of clips."""
    words = [word for word in overrides if word.startswith(_THRESHOLD)]
    if not words:
        return {}
    if trained.task.decide is None:
        raise ConfigError(f"{words[-1]}: is for models of clips; the report of {trained.task.name} needs none")
    check_for_task(how := load_section(Predict, words), trained.task, trained.classes)
    return {} if how.threshold is None else {"threshold": how.threshold}


def _outputs(
    trained: Trained,
    machine: Machine,
    processed: Processed,
    data: Data,
    indices: npt.NDArray[np.int64],
    views: int,
) -> _Outputs:
    """The split through the model, images made ahead of time by the run's own number of loader workers."""
    requests = evaluation_requests(indices, batch_size=trained.task.batch, side_px=trained.img_size)
    batches = load_batches(
        processed.images, requests, trained.task, data=data, seed=0, workers=data.dataloader_workers,
        pin=machine.device.type == "cuda",
    )  # fmt: skip
    outputs, targets = list[Output](), list[Target]()
    forward, started = 0.0, time.perf_counter()
    with progress_bar(total=len(indices), title="evaluate", unit=" images") as bar:
        for batch in batches:
            began = time.perf_counter()
            outputs.extend(outputs_of_views(trained, batch, machine, views))
            forward += time.perf_counter() - began
            targets.extend(batch.targets or [])
            bar.update(len(batch.images))
    total = time.perf_counter() - started
    return _Outputs(outputs, targets, total, forward)


def _surroundings(folder: Path, processed: Processed, trained: Trained, machine: Machine) -> dict[str, Any]:
    """Which bytes were evaluated, by which command, on what."""
    return {
        "run": str(folder),
        "model": trained.architecture,
        "weights_sha256": trained.sha256,
        "data": str(processed.folder),
        "data_fingerprint": processed.fingerprint,
        "img_size": trained.img_size,
        **_of_clips(trained, processed),
        "command": this_command(),
        "when": now(),
        "device": machine.device.type,
        "instruction_set": instruction_set(machine.device),
        "precision": machine.precision,
        "threads": machine.threads,
        "packages": package_versions(),
    }


def _of_clips(trained: Trained, processed: Processed) -> dict[str, Any]:
    if trained.clip is None:
        return {}
    return {"k_frames": trained.clip.k_frames, "sources_from": processed.manifest.sources_from}


def _picture(trained: Trained, stored: Pixels) -> Pixels:
    view: Pixels = trained.task.view(stored, None, trained.look, None)[0].numpy()
    return view


def _as_training_said(receipt: Receipt, split: str, weights: str, metrics: Metrics) -> dict[str, object] | None:
    """Training's own figures for these weights on `val`, and whether they are equal to the last digit."""
    if split != "val":
        return None
    said = receipt.best if weights == "best" else receipt.final
    value, loss = said.value(receipt.headline), said.val_loss
    return {receipt.headline.name: value, "loss": loss, "equal": (value, loss) == (metrics.headline, metrics.loss)}


def _at_threshold(point: dict[str, float | None]) -> str:
    shares = {name: point[name] for name in ("precision", "recall", "f1", "accuracy", "false_alarms")}
    words = [f"{name} {'-' if share is None else f'{100 * share:.1f} %'}" for name, share in shares.items()]
    return f"at the threshold {point['threshold']:g}: {', '.join(words).replace('f1', 'F1').replace('_', ' ')}"


def _say(facts: dict[str, Any], metrics: Metrics, task: Task, target: Path) -> None:
    words = metrics.words(f"{metrics.n:,} {facts['split']} {task.items}{seen_in(facts)}")
    log.info("%s, %s weights: %s", facts["run"], facts["weights"], words)
    if "threshold" in facts:
        log.info("%s", _at_threshold(json.loads((target / "metrics.json").read_bytes())["at_threshold"]))
    name, before = task.headline.name, facts["training"]
    if before and before["equal"]:
        log.info("%s and loss are those training wrote, to the last digit", name)
    elif before:
        log.info(
            "training wrote %s %s and loss %s, now %s and %s: a different machine, precision or version",
            name, before[name], before["loss"], metrics.headline, metrics.loss,
        )  # fmt: skip
    log.info("%s", target / "report.html")
