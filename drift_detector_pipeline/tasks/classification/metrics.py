"""What a classifier's logits are worth: accuracy with its interval, per class, confusions, calibration.

N images, K classes, B bins. Pure NumPy: no files, no model. Read by task.py, charts.py and report.py.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.arrays import Float32s, Float64s, Labels

BINS = 15  # of confidence, as in Guo et al. 2017

Logits = Float32s  # (N, K)


class ClassScores(NamedTuple):
    """How one class fares. None: not defined, because there is nothing to divide by."""

    n: int  # images of this class
    predicted: int  # images that were given this class
    precision: float | None  # of the images given this class, the share that are of it
    recall: float | None  # of the images of this class, the share that were given it
    f1: float | None  # harmonic mean of both


class Bin(NamedTuple):
    """Predictions of similar confidence."""

    low: float  # confidences above this ...
    high: float  # ... and up to this
    n: int
    confidence: float | None  # mean probability of the predicted class; None: an empty bin
    accuracy: float | None  # share that are right


class Metrics(NamedTuple):
    """Everything measured over a split."""

    n: int
    accuracy: float  # in 0..1
    accuracy_interval: tuple[float, float]  # 95 %
    loss: float  # mean cross entropy in nats
    confidence: float  # mean probability of the predicted class
    calibration_error: float  # in 0..1
    per_class: list[ClassScores]  # K
    confusion: npt.NDArray[np.int64]  # (K, K): rows are the true class, columns the predicted one
    reliability: list[Bin]  # B

    @property
    def headline(self) -> float:
        """What decides: the accuracy."""
        return self.accuracy

    def words(self, images: str) -> str:
        """What it comes to, for people; `images` says of which, such as "359 val images"."""
        low, high = self.accuracy_interval
        return (
            f"{100 * self.accuracy:.2f} % of {images} right (95 % interval {100 * low:.2f} to {100 * high:.2f}), "
            f"loss {self.loss:.4f}, calibration error {self.calibration_error:.3f}"
        )


def measure(logits: Logits, labels: Labels) -> Metrics:
    """Measure float32 logits (N, K) against labels (N,) in 0..K-1; N is at least 1."""
    chances = probabilities(logits)
    predicted = logits.argmax(1)
    confidences, right = chances[np.arange(len(labels)), predicted], predicted == labels
    bins = reliability(confidences, right)
    matrix = confusion(predicted, labels, logits.shape[1])
    return Metrics(
        n=len(labels),
        accuracy=int(right.sum()) / len(labels),
        accuracy_interval=wilson_interval(int(right.sum()), len(labels)),
        loss=math.fsum(cross_entropies(logits, labels)) / len(labels),
        confidence=math.fsum(confidences) / len(labels),
        calibration_error=calibration_error(bins),
        per_class=per_class(matrix),
        confusion=matrix,
        reliability=bins,
    )


def probabilities(logits: Logits) -> Float64s:
    """Softmax of each row, (N, K) in float64; rows add up to 1."""
    return np.exp(_log_probabilities(logits))


def cross_entropies(logits: Logits, labels: Labels) -> Float64s:
    """Cross entropy of each image in nats, (N,) in float64."""
    return -_log_probabilities(logits)[np.arange(len(labels)), labels]


def wilson_interval(right: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of a proportion that stays within 0..1 (Wilson 1927, JASA 22:209)."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, spread = right / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def confusion(predicted: Labels, labels: Labels, classes: int) -> npt.NDArray[np.int64]:
    """Count images by true class (rows) and predicted class (columns): (K, K)."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def per_class(matrix: npt.NDArray[np.int64]) -> list[ClassScores]:
    """Precision, recall and F1 of each class, from the confusion matrix."""
    rows, columns, right = matrix.sum(1).tolist(), matrix.sum(0).tolist(), matrix.diagonal().tolist()
    return [
        ClassScores(n, given, _share(hits, given), _share(hits, n), _share(2 * hits, n + given))
        for n, given, hits in zip(rows, columns, right, strict=True)
    ]


def reliability(confidences: Float64s, right: npt.NDArray[np.bool_]) -> list[Bin]:
    """Sort predictions into `BINS` intervals of confidence, equally wide, each closed at its upper end."""
    place = np.clip(np.ceil(confidences * BINS).astype(np.int64) - 1, 0, BINS - 1)
    counts = np.bincount(place, minlength=BINS).tolist()
    confidence = np.bincount(place, confidences, BINS).tolist()
    hits = np.bincount(place, right, BINS).tolist()
    return [
        Bin(number / BINS, (number + 1) / BINS, n, _share(confidence[number], n), _share(hits[number], n))
        for number, n in enumerate(counts)
    ]


def calibration_error(bins: list[Bin]) -> float:
    """Mean distance between confidence and accuracy, bins weighted by their images: 0 is perfect.

    The expected calibration error (Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv 1706.04599).
    """
    gaps = ((b.n, abs(b.confidence - b.accuracy)) for b in bins if b.confidence is not None and b.accuracy is not None)
    return math.fsum(n * gap for n, gap in gaps) / sum(b.n for b in bins)


def _log_probabilities(logits: Logits) -> Float64s:
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None
