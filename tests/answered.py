"""Not a test: rows of a request log as a service would write them, and a model that they are of."""

import hashlib
import time

import numpy as np

from drift_detector_pipeline.serving.rows import ModelFacts, Row

FACTS = ModelFacts("f" * 64, "e" * 64, "onnxruntime", "fp32", "stripes", ["across", "down"], ["a", "b", "c"])


def row(number: int, source: str = "", *, at: float | None = None, phi: bytes = b"\x00" * 12) -> Row:
    """The answer to an image that is another one for another number."""
    image = hashlib.sha256(f"image {number}".encode()).digest()
    return Row(time.time() if at is None else at, f"r{number}", source, image, number % 2, 0.75, 2.5, phi)


def rows_of(images, detector, source: str = "", first: int = 0) -> list[Row]:
    """The answers to uint8 (m, S, S, 3); `first` numbers the first one."""
    from drift_detector_pipeline.drift.scores.phi import phi
    from drift_detector_pipeline.drift.scores.signals import read_signals

    signals = read_signals(images, detector.forward)
    scores = phi(signals, detector.reference.learned.parameters).astype("<f4")
    predicted = np.asarray(signals.logits).argmax(axis=1).tolist()
    return [
        Row(
            1.7e9 + number, f"r{first + number}", source, hashlib.sha256(images[number].tobytes()).digest(),
            predicted[number], 0.75, 2.5, scores[number].tobytes(),
        )
        for number in range(len(images))
    ]  # fmt: skip


def facts_of(detector) -> ModelFacts:
    """The facts of a detector's model."""
    names = [f"score {number}" for number in range(detector.reference.scores.shape[1])]
    return FACTS._replace(classes=detector.classes, scores=names)
