"""A weight file ready to compute with, and what it says of images.

In: a safetensors file written by a run, and nothing else. Out: a `Trained` on its device, in its precision. Read by
evaluate.py and predict.py.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from drift_detector_pipeline.errors import ModelError
from drift_detector_pipeline.files import file_hash
from drift_detector_pipeline.modeling.inference import predict_logits
from drift_detector_pipeline.modeling.loaders import Batch
from drift_detector_pipeline.modeling.metrics import Logits, probabilities
from drift_detector_pipeline.networks.models import Network
from drift_detector_pipeline.networks.weights import load_model
from drift_detector_pipeline.runs.machine import Machine

WEIGHTS = ("final", "best")  # best: of highest accuracy on `val`, so chosen by what it is measured on

ANSWER_COLUMNS = ("label", "probability", "top3")


class Trained(NamedTuple):
    """A trained network and what it needs to know of an image."""

    network: Network  # in evaluation mode, on the device, in the machine's memory layout
    architecture: str
    classes: list[str]
    stored_side_px: int
    img_size: int
    file: Path
    sha256: str  # of the file


class Answer(NamedTuple):
    """What a model says about one image."""

    label: str
    probability: float  # in 0..1
    top3: list[tuple[str, float]]  # the most probable labels, this one first


def open_trained(file: Path, machine: Machine) -> Trained:
    """Load a weight file onto `machine`. Raises ModelError if it is missing, damaged or foreign."""
    module, header = load_model(file)
    try:
        shape = header["preprocessing"]
        network = Network(module, tuple(shape["mean"]), tuple(shape["std"]), None)
        network.module.to(machine.device).to(memory_format=machine.memory_format)
        sizes = int(shape["stored_side_px"]), int(shape["img_size"])
        return Trained(network, header["architecture"], list(header["classes"]), *sizes, file, file_hash(file))
    except (KeyError, TypeError) as error:
        raise ModelError(f"{file}: its header lacks {error}; it was not written by this pipeline") from error


def logits_of(trained: Trained, batch: Batch, machine: Machine) -> Logits:
    """Return float32 logits (N, K) of at most `inference.BATCH` images.

    Raises ModelError if they are no finite numbers.
    """
    logits = predict_logits(trained.network.module, batch, trained.network, machine)
    if not np.isfinite(logits).all():
        raise ModelError(f"{trained.file}: gives outputs that are not finite; train again, more slowly")
    return logits


def answers(logits: Logits, classes: Sequence[str]) -> list[Answer]:
    """Name the most probable classes of each row of float32 logits (N, K); of equals the first."""
    order = np.argsort(-logits, axis=1, kind="stable")[:, :3]
    chances = np.take_along_axis(probabilities(logits), order, axis=1)
    best = [
        [(classes[label], chance) for label, chance in zip(labels, row, strict=True)]
        for labels, row in zip(order.tolist(), chances.tolist(), strict=True)
    ]
    return [Answer(*top[0], top) for top in best]


def answer_json(answer: Answer) -> dict[str, Any]:
    """The answer as it stands in a line of predictions.jsonl."""
    top3 = [{"label": label, "probability": probability} for label, probability in answer.top3]
    return {"label": answer.label, "probability": answer.probability, "top3": top3}


def answer_cells(answer: Answer) -> list[str | float]:
    """The answer as it stands in a row of predictions.csv, under `ANSWER_COLUMNS`."""
    return [answer.label, answer.probability, json.dumps(answer_json(answer)["top3"], ensure_ascii=False)]


def precision_of(recorded: str | None) -> str:
    """The `run.precision` that gives a run's own digits where the hardware can: bf16 without units for it is slow."""
    return "fp32" if recorded == "fp32" else "auto"
