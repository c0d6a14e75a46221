"""A weight file ready to compute with, and what it says of images.

In: a safetensors file written by a run; the receipt beside it, if there is one, has to agree. Out: a `Trained` on its
device, in its precision. Read by whatever looks at a finished model: evaluation.py, labels.py, drift.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from drift_detector_pipeline.clip_cut import ClipCut
from drift_detector_pipeline.errors import ModelError
from drift_detector_pipeline.files import file_hash
from drift_detector_pipeline.modeling.inference import predict_outputs
from drift_detector_pipeline.modeling.loaders import Batch
from drift_detector_pipeline.networks.header import clip_cut, read_description
from drift_detector_pipeline.networks.models import Network
from drift_detector_pipeline.networks.weights import load_model
from drift_detector_pipeline.runs.machine import Machine, instruction_set
from drift_detector_pipeline.runs.receipts import check_beside
from drift_detector_pipeline.tasks.catalog import task_named
from drift_detector_pipeline.tasks.task import Output, Task, View


class Trained(NamedTuple):
    """A trained network and what it needs to know of an image."""

    task: Task
    network: Network  # in evaluation mode, on the device, in the machine's memory layout
    architecture: str
    classes: list[str]
    stored_side_px: int
    img_size: int
    file: Path
    sha256: str  # of the file
    clip: ClipCut | None = None  # of clips, how they are cut; None: it is about images

    @property
    def look(self) -> View:
        """How an item is looked at."""
        return View(self.img_size, None, self.clip and self.clip.k_frames)


def open_trained(file: Path, machine: Machine) -> Trained:
    """Load a weight file onto `machine`.

    Raises ModelError if it is missing, damaged, foreign, or not the one that a receipt beside it names.
    """
    task = task_named(read_description(file).get("task"))
    module, header = load_model(file, task.create)
    try:
        shape = header["preprocessing"]
        network = Network(module, tuple(shape["mean"]), tuple(shape["std"]), None)
        network.module.to(machine.device).to(memory_format=machine.memory_format)
        sizes = int(shape["stored_side_px"]), int(shape["img_size"])
        cut = clip_cut(header)
        if (cut is not None) != task.over_time:
            raise ModelError(f"{file}: is for {task.name} and {'says' if cut else 'does not say'} how clips are cut")
        sha256 = file_hash(file)
        check_beside(file, sha256)
        return Trained(task, network, header["architecture"], list(header["classes"]), *sizes, file, sha256, cut)
    except (KeyError, TypeError) as error:
        raise ModelError(f"{file}: its header lacks {error}; it was not written by this pipeline") from error


def outputs_of(trained: Trained, batch: Batch, machine: Machine) -> Sequence[Output]:
    """Return what the model says of at most `task.batch` images or clips.

    Raises ModelError if there is something that is no finite number.
    """
    outputs = predict_outputs(trained.network.module, batch, trained.network, machine, trained.task)
    if not all(np.isfinite(part).all() for one in outputs for part in (one if isinstance(one, tuple) else (one,))):
        raise ModelError(f"{trained.file}: gives outputs that are not finite; train again, more slowly")
    return outputs


def precision_of(recorded: str | None) -> str:
    """The `run.precision` that gives a run's own digits where the hardware can: bf16 without units for it is slow."""
    return "fp32" if recorded == "fp32" else "auto"


def facts_of(trained: Trained, machine: Machine) -> dict[str, Any]:
    """Which weights answer, and on what: what decides an answer beside what was asked. Stands in all predictions."""
    return {
        "weights": str(trained.file),
        "weights_sha256": trained.sha256,
        "model": trained.architecture,
        "classes": trained.classes,
        "device": machine.device.type,
        "instruction_set": instruction_set(machine.device),
        "precision": machine.precision,
        "threads": machine.threads,
    }
