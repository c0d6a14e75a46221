"""What logits of clips are worth: over clips as over images, and over the sources that the clips come from.

N clips, K classes, G sources. Pure NumPy and SciPy: no files, no model. Read by task.py and report.py.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Labels
from drift_detector_pipeline.tasks.classification import metrics as of_labels
from drift_detector_pipeline.tasks.classification.metrics import Logits
from drift_detector_pipeline.tasks.clips.sources import SourceScores, by_source, interval


class Metrics(NamedTuple):
    """Everything measured over a split."""

    over_clips: of_labels.Metrics  # as if clips were images; its interval takes them for independent: too narrow
    per_source: list[SourceScores]  # G
    interval_90: tuple[float, float] | None  # of the accuracy over clips, sources drawn anew; None: one source
    interval_95: tuple[float, float] | None

    @property
    def n(self) -> int:
        """Clips."""
        return self.over_clips.n

    @property
    def loss(self) -> float:
        """Mean cross entropy in nats."""
        return self.over_clips.loss

    @property
    def headline(self) -> float:
        """What decides: the accuracy over clips."""
        return self.over_clips.accuracy

    @property
    def source_accuracy(self) -> float:
        """Mean of the sources' accuracies: each source counts the same, however many clips it has."""
        return float(np.mean([one.accuracy for one in self.per_source]))

    def words(self, images: str) -> str:
        """What it comes to, for people; `images` says of which, such as "60 val images"."""
        clips, sources = images.replace("images", "clips"), len(self.per_source)
        named = f"{sources} source{'s' * (sources > 1)}"
        if self.interval_95 is None:
            certain = f"all of {named}, so nothing is known of others"
        else:
            low, high = self.interval_95
            certain = f"95 % interval {100 * low:.2f} to {100 * high:.2f} by drawing the {named} anew"
        return (
            f"{100 * self.headline:.2f} % of {clips} right ({certain}), {100 * self.source_accuracy:.2f} % as the mean "
            f"of sources, loss {self.loss:.4f}"
        )


def measure(logits: Logits, labels: Labels, sources: Sequence[str]) -> Metrics:
    """Measure float32 logits (N, K) against labels (N,) in 0..K-1, clips of `sources` (N,); N is at least 1."""
    scores = by_source(sources, logits.argmax(1) == labels)
    counts, hits = np.array([one.n for one in scores]), np.array([one.right for one in scores])
    return Metrics(
        of_labels.measure(logits, labels), scores, interval(counts, hits, 0.90), interval(counts, hits, 0.95)
    )
