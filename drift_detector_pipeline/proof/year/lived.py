"""What was answered in a year, read back from its log: of a year that ended, or as far as one came that was stopped.

In: the request log below a year's folder, the days as they came. Out: `Asked` of each day that is whole. Read by the
command.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.proof.year.life import Asked
from drift_detector_pipeline.proof.year.world import Day
from drift_detector_pipeline.release.artefact import MODELS
from drift_detector_pipeline.release.registry import find_artefact
from drift_detector_pipeline.serving.request_log import RequestLog


def answers_read(log: RequestLog, days: Sequence[Day], place: Path = MODELS) -> list[Asked]:
    """The answers of each day, in the order of the log. Raises DataError if not one day is whole."""
    rows = sorted(
        (row for model in log.models() for piece in log.pieces(model) for row in piece), key=lambda row: row.id
    )
    facts = {model: log.facts_of(model) for model in log.models()}
    names = {model: find_artefact(one.sha256, one.reference_sha256, place).name for model, one in facts.items()}
    found, start = list[Asked](), 0
    for day in days:
        own = rows[start : start + len(day.labels)]
        if len(own) < len(day.labels):
            break
        said = np.array([row.predicted for row in own])
        found.append(Asked(day.number, said, (said == day.labels).astype(np.int64), names[own[0].model_id]))
        start += len(own)
    if not found:
        raise DataError(f"{place}: not one whole day in its request log")
    return found
