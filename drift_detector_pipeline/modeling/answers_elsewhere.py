"""The answers of answers.py from many processes or machines: the same ones, in the same order.

In: an open model, what a command's words name. Out: each image with its answer. Every process opens the weight file
once, computes as this one would, and answers a part of the images by answers.py. Read by labels.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.cluster import spread
from drift_detector_pipeline.errors import ConfigError, ModelError
from drift_detector_pipeline.images.crops import Stored
from drift_detector_pipeline.images.named_files import Source, opened, units_of
from drift_detector_pipeline.modeling.answers import Image, answers_of_files
from drift_detector_pipeline.modeling.trained import Trained, open_trained
from drift_detector_pipeline.runs.machine import Machine, as_here, same_machine
from drift_detector_pipeline.settings_in_use import Predict
from drift_detector_pipeline.tasks.task import Answer

_FILES = 64  # of a unit: some seconds of a large network, and what is done again when a process dies
_NO_PIXELS = np.zeros((0, 0, 3), np.uint8)


class _Answered(NamedTuple):
    """What became of a unit."""

    images: list[tuple[str, int, int, Answer]]  # name; height and width in px as people see it
    unreadable: dict[str, str]


@dataclass(frozen=True)
class _Answering:
    """Answers a unit as the process that made this would: what a worker is given."""

    file: Path  # of weights, at the same place everywhere
    sha256: str
    machine: Machine
    instruction_set: str
    how: Predict

    def __call__(self, unit: Sequence[Source]) -> _Answered:
        """The answers for all files of a unit. Raises ConfigError or ModelError where they would be others."""
        unreadable = dict[str, str]()
        with same_machine(self.machine, self.instruction_set) as machine, opened(unit) as found:
            trained = _open_once(self.file, self.sha256, machine)
            rows = answers_of_files(trained, machine, found, self.how, unreadable)
            said = [(image.name, image.stored.height, image.stored.width, answer) for image, answer in rows]
        return _Answered(said, unreadable)


def check_for_cluster(trained: Trained, how: Predict) -> None:
    """Raise ConfigError if other processes cannot answer for this one: clips, and pictures, which need pixels here."""
    if trained.clip is not None:
        raise ConfigError("engine=ray: is for images; clips are answered with engine=local")
    if trained.task.further_files is not None and how.pictures:
        raise ConfigError("engine=ray: draws no pictures, as only answers come back; add predict.pictures=0")


def answers_from_cluster(
    trained: Trained, machine: Machine, sources: Sequence[Source], how: Predict, unreadable: dict[str, str]
) -> Iterator[tuple[Image, Answer]]:
    """As `answers_of_files`, by all machines of the cluster; the pixels of the images stay where they were read."""
    work = _Answering(trained.file.resolve(), trained.sha256, *as_here(machine), how)
    gpus = int(machine.device.type == "cuda")
    for answered in spread(units_of(sources, _FILES), work, threads=machine.threads, gpus=gpus):
        unreadable.update(answered.unreadable)
        for name, height, width, answer in answered.images:
            yield Image(name, Stored(_NO_PIXELS, height, width), [], []), answer


@lru_cache(maxsize=1)
def _open_once(file: Path, sha256: str, machine: Machine) -> Trained:
    trained = open_trained(file, machine)
    if trained.sha256 != sha256:
        raise ModelError(f"{file}: holds other weights on this machine; a folder that all machines share is needed")
    return trained
