"""Whether two models say the same of an image: the same label, or as many boxes of each class.

In: what the log keeps of both answers, which has no places of boxes. Read by trial.py and shadow_answers.py.
"""

from collections import Counter
from typing import NamedTuple

from drift_detector_pipeline.drift.kept_rows import sure_from
from drift_detector_pipeline.serving.engine import Engine

_SURE, _ALMOST = 0.5, 0.4  # a box is said from the first score on; one of 0.51 that becomes 0.49 is the same answer


class Said(NamedTuple):
    """What a model said of an image."""

    by: Engine
    best: int  # place of the likeliest class
    kept: bytes  # as drift/kept_rows.py has it; empty without a drift reference


def agree(one: Said, other: Said) -> bool:
    """Whether the two say the same; of boxes whose scores were not kept, whether the surest is of the same class."""
    if any(not said.by.finds_boxes or not said.kept for said in (one, other)):
        return one.by.artefact.classes[one.best] == other.by.artefact.classes[other.best]
    return not _count(one, _SURE) - _count(other, _ALMOST) and not _count(other, _SURE) - _count(one, _ALMOST)


def _count(said: Said, least: float) -> Counter[str]:
    """How many boxes of each class have at least this score."""
    (sure,) = sure_from([said.kept], len(said.by.scores))
    return Counter(said.by.artefact.classes[label] for label in sure.labels[sure.scores >= least].tolist())
