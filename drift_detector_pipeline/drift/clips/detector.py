"""Drift detection for clips: the detector of labels on rows of sources.

In: signals of clips and the sources they were taken from. Out: a `ClipDetector`. Everything is learned of clips; what a
window is compared with, and the window itself, are sources. Read by the build and the window.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from drift_detector_pipeline.arrays import Labels, Pixels
from drift_detector_pipeline.drift.accuracy import Known, share_wrong
from drift_detector_pipeline.drift.clips.groups import EXACT, LEAST, of_sources
from drift_detector_pipeline.drift.clips.words import CLIP_WORDS
from drift_detector_pipeline.drift.decision import AskAgain, Limits, checked_limits
from drift_detector_pipeline.drift.detecting import Rows, Words
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.drift.reference import Learned, Reference, evidence_of, mistakes, predictions
from drift_detector_pipeline.drift.scores.phi import phi
from drift_detector_pipeline.drift.scores.signals import Signals

TASK = "clips"


class ClipDetector(DriftDetector):
    """Knows one network's training world as sources of clips. Its `rows_of` are those of single frames."""

    task: ClassVar[str | None] = TASK
    words: ClassVar[Words] = CLIP_WORDS
    pools_sources: ClassVar[bool] = True

    @property
    def limits(self) -> Limits:
        """What is asked of verdicts: LEAST sources whatever was set, and only what so many in the reference allow."""
        exact = len(self.reference.scores) >= EXACT
        return self._limits._replace(min_images=LEAST, promise=self._limits.promise if exact else "average")

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = checked_limits(limits)

    def counted(self, rows: Rows, names: Sequence[str], sources: Sequence[str]) -> tuple[Sequence[str], Rows]:
        """Each source once, by its name."""
        return of_sources(rows, sources)

    def asker(self, crops: Pixels) -> AskAgain:
        """No second look: frames of a clip are too much alike for a copy to adapt to."""
        return lambda looks_changed: None


def refer_sources(learned: Learned, signals: Signals, labels: Labels, sources: Sequence[str]) -> Reference:
    """Describe the sources of n labelled clips that nothing was learned from; accuracy is the mean of theirs."""
    rows = Rows(phi(signals, learned.parameters), predictions(signals))
    names, own = of_sources(rows, sources)
    wrong, told = mistakes(signals, labels), np.array(sources)
    each = np.array([wrong[told == name].mean() for name in names])
    expected = share_wrong(evidence_of(own.scores, learned), learned.accuracy.lookalikes)
    error = float(each.std(ddof=1) / len(names) ** 0.5)
    return Reference(learned, own.scores, own.predicted, Known(1 - float(each.mean()), expected, error), labelled=True)
