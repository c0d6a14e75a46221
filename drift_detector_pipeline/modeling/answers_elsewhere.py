"""The answers of answers.py from many processes or machines: the same ones, in the same order.

In: an open model, what a command's words name. Out: each image with its answer. Every process answers a part of the
images by answers.py. Read by labels.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.images.crops import Stored
from drift_detector_pipeline.images.named_files import Source, opened
from drift_detector_pipeline.modeling.answers import Image, answers_of_files
from drift_detector_pipeline.modeling.open_elsewhere import AsHere, as_open_here, units
from drift_detector_pipeline.modeling.trained import Trained
from drift_detector_pipeline.runs.machine import Machine
from drift_detector_pipeline.settings_in_use import Predict
from drift_detector_pipeline.tasks.task import Answer

_NO_PIXELS = np.zeros((0, 0, 3), np.uint8)


class _Answered(NamedTuple):
    """What became of a unit."""

    images: list[tuple[str, int, int, Answer]]  # name; height and width in px as people see it
    unreadable: dict[str, str]


@dataclass(frozen=True)
class _Answering:
    """Answers a unit as the process that made this would: what a worker is given."""

    model: AsHere
    how: Predict

    def __call__(self, unit: Sequence[Source]) -> _Answered:
        """The answers for all files of a unit. Raises ConfigError or ModelError where they would be others."""
        unreadable = dict[str, str]()
        with self.model.opened() as (trained, machine), opened(unit) as found:
            rows = answers_of_files(trained, machine, found, self.how, unreadable)
            said = [(image.name, image.stored.height, image.stored.width, answer) for image, answer in rows]
        return _Answered(said, unreadable)


def answers_from_cluster(
    trained: Trained, machine: Machine, sources: Sequence[Source], how: Predict, unreadable: dict[str, str]
) -> Iterator[tuple[Image, Answer]]:
    """As `answers_of_files`, by all machines of the cluster; the pixels of the images stay where they were read.

    Raises ConfigError for clips, and where pictures are asked for, which need pixels here.
    """
    model = as_open_here(trained, machine)
    if trained.task.further_files is not None and how.pictures:
        raise ConfigError("engine=ray: draws no pictures, as only answers come back; add predict.pictures=0")
    return _answers(model, sources, how, unreadable)


def _answers(
    model: AsHere, sources: Sequence[Source], how: Predict, unreadable: dict[str, str]
) -> Iterator[tuple[Image, Answer]]:
    for answered in model.spread(units(sources), _Answering(model, how)):
        unreadable.update(answered.unreadable)
        for name, height, width, answer in answered.images:
            yield Image(name, Stored(_NO_PIXELS, height, width), [], []), answer
