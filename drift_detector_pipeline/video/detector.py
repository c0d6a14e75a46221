"""A weight file -> a function that says of frames what `make predict` says of images.

In: a weight file, settings, words such as run.device=cpu. Out: a `Detector`, and the facts that stand in summary.json.
Read by predicted.py.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.images.crops import Stored
from drift_detector_pipeline.images.decoder import fit
from drift_detector_pipeline.modeling.answers import answers_of, check_for_task, side_of
from drift_detector_pipeline.modeling.trained import Trained, facts_of, open_trained, precision_of
from drift_detector_pipeline.networks.header import read_description
from drift_detector_pipeline.runs.machine import Machine, prepared
from drift_detector_pipeline.settings import Run
from drift_detector_pipeline.settings_in_use import Predict
from drift_detector_pipeline.tasks.task import Answer
from drift_detector_pipeline.video.boxed import Detector


@contextmanager
def open_detector(file: Path, how: Predict, overrides: Sequence[str]) -> Iterator[tuple[Detector, dict[str, Any]]]:
    """Load a weight file onto the machine that `run.*` words name, in the precision of its run.

    Raises ModelError if it is missing, damaged or foreign, ConfigError for a wrong word.
    """
    precision = precision_of(read_description(file).get("precision"))
    with prepared(load_section(Run, [f"run.precision={precision}", *overrides])) as machine:
        trained = open_trained(file, machine)
        check_for_task(how, trained.task, trained.classes)
        yield _detector(trained, machine, how), facts_of(trained, machine)


def _detector(trained: Trained, machine: Machine, how: Predict) -> Detector:
    side_px, side = side_of(trained, how), trained.task.stored_side

    def view(frame: Pixels) -> Stored:
        return Stored(fit(Image.fromarray(frame), side_px, side), *frame.shape[:2])

    def answer(frames: Sequence[Stored]) -> list[Answer]:
        named = ((str(place), frame) for place, frame in enumerate(frames))
        return [said for _, said in answers_of(trained, machine, named, how)]

    return Detector(view, answer, trained.task.batch, trained.classes)
