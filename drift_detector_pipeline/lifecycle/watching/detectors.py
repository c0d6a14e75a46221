"""A model of the log -> its streams, judged by the detector that was exported with it; no image, no network.

In: what the log knows of a model, and the folder of artefacts. Out: `Streams`, or None as long as the artefact is not
there. Read by the monitor.
"""

import time
from pathlib import Path
from typing import NoReturn

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.console import log as console
from drift_detector_pipeline.drift.decision import Limits
from drift_detector_pipeline.drift.detecting import Detector
from drift_detector_pipeline.drift.kinds import load_detector
from drift_detector_pipeline.drift.stream.detector import StreamLimits
from drift_detector_pipeline.errors import DataError, ModelError, PipelineError
from drift_detector_pipeline.lifecycle.watching.streams import Streams
from drift_detector_pipeline.release.artefact import read_artefact
from drift_detector_pipeline.release.registry import find_artefact
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.rows import ModelFacts
from drift_detector_pipeline.settings_in_use import Monitor

_OPEN = 4  # detectors, some ten megabytes each
_AGAIN_S = 60.0  # between two looks for an artefact that was not there
_NEVER = float("inf")
_NO_STREAM = (
    "is not watched: clips of one source are alike, so no stream of them keeps a promise; the service judges windows "
    "of many sources: GET /drift"
)


class Models:
    """The models of a log, as far as their artefacts are here."""

    def __init__(self, log: RequestLog, settings: Monitor) -> None:
        self._log, self._settings = log, settings
        self._open = dict[int, Streams]()  # the one that was used last is last
        self._missing = dict[int, float]()  # and when to look again

    @property
    def missing(self) -> int:
        """How many have no artefact here."""
        return sum(when < _NEVER for when in self._missing.values())

    def due(self) -> list[int]:
        """Those without artefact that should be looked for again."""
        return [model for model, when in self._missing.items() if time.monotonic() >= when]

    def streams_of(self, model_id: int) -> Streams | None:
        """The streams of a model. Raises DataError if the log cannot be read."""
        if model_id in self._open:
            self._open[model_id] = self._open.pop(model_id)
            return self._open[model_id]
        if time.monotonic() < self._missing.get(model_id, 0.0):
            return None
        if (found := self._look_for(model_id, self._log.facts_of(model_id))) is None:
            return None
        found.limits = Limits(tolerated_loss=self._settings.tolerated_loss)
        limits = StreamLimits(self._settings.alpha, self._settings.horizon, self._settings.tolerated_loss)
        self._open[model_id] = Streams(model_id, found, limits)
        while len(self._open) > _OPEN:
            del self._open[next(iter(self._open))]
        return self._open[model_id]

    def _look_for(self, model_id: int, facts: ModelFacts) -> Detector | None:
        """Open a detector, or say once why there is none."""
        if not facts.reference_sha256:
            console.info("model %d, %s, was exported without reference: not watched", model_id, facts.name)
            self._missing[model_id] = _NEVER
            return None
        try:
            found = detector_of(facts, self._settings.models_path)
        except PipelineError as error:
            if model_id not in self._missing:
                console.warning("model %d, %s, is not watched: %s", model_id, facts.name, error)
            self._missing[model_id] = time.monotonic() + _AGAIN_S
            return None
        if found.pools_sources:
            console.info("model %d, %s, %s", model_id, facts.name, _NO_STREAM)
            self._missing[model_id] = _NEVER
            return None
        if self._missing.pop(model_id, None) is not None:
            console.info("model %d, %s: its artefact is here now", model_id, facts.name)
        return found


def detector_of(facts: ModelFacts, place: Path) -> Detector:
    """The detector of a logged model. Raises DataError if its artefact is not below `place`, or is damaged."""
    artefact = read_artefact(find_artefact(facts.sha256, facts.reference_sha256, place))
    detector = load_detector(artefact.folder, artefact.task, _Unseeing(artefact.identity))
    if (columns := detector.reference.scores.shape[1]) != len(facts.scores):
        raise DataError(f"{artefact.folder}: knows {columns} scores, and {len(facts.scores)} were logged")
    return detector


class _Unseeing:
    """Stands for the model that answered."""

    def __init__(self, identity: str) -> None:
        self.identity = identity

    def __call__(self, images: Pixels) -> NoReturn:
        raise ModelError(f"{len(images)} images: only stored scores are judged here")
