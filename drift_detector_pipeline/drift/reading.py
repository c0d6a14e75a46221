"""A window of any size through the network: what is kept of its images once their pixels are gone.

In: crops, a chunk at a time. Out: a `Reading`, some 200 bytes an image; later, of some of the images, a second look.
Read by the detector. m: window images, S: scores.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Labels, Pixels
from drift_detector_pipeline.drift.preparation import CHUNK
from drift_detector_pipeline.drift.reference import one_blas_thread, predictions
from drift_detector_pipeline.drift.scores.phi import Parameters, phi
from drift_detector_pipeline.drift.scores.signals import Forward, Signals, read_signals
from drift_detector_pipeline.errors import DataError

LOOKED_AT_AGAIN = 1024  # images at most; what is said of more is hardly more certain


class Reading(NamedTuple):
    """What is known of m images."""

    images: int  # m
    scores: Float32s  # (m, S)
    predicted: Labels  # (m,)
    copies: int  # images that are equal to an earlier one
    signals: Signals | None  # of a window that was one chunk


def read_chunks(chunks: Iterable[Pixels], forward: Forward, parameters: Parameters, min_images: int) -> Reading:
    """Read chunks of uint8 (n, S, S, 3), all but the last one of CHUNK images.

    Fewer than `min_images` in all are counted only. Raises DataError where `read_signals` finds a fault.
    """
    hashes, count = set[int](), 0
    scores, predicted = list[Float32s](), list[Labels]()
    signals: Signals | None = None
    for crops in chunks:
        count += len(crops)
        if count < min(min_images, CHUNK):
            break
        with judging():
            signals = read_signals(crops, forward)
        with one_blas_thread():
            scores.append(phi(signals, parameters))
        predicted.append(predictions(signals))
        hashes |= {hash(crop.tobytes()) for crop in crops}  # of 64 bits, a third of SHA-256's time
    if not scores:
        return Reading(count, np.zeros((0, 0), np.float32), np.zeros(0, np.int64), 0, None)
    only = signals if len(scores) == 1 else None
    return Reading(count, np.concatenate(scores), np.concatenate(predicted), count - len(hashes), only)


def some_of(
    reading: Reading, crops_of: Callable[[Sequence[int]], Pixels], forward: Forward, seed: int = 0
) -> tuple[Pixels, Signals]:
    """The crops and signals of all images of a window, or of a random LOOKED_AT_AGAIN of one of several chunks.

    `crops_of` gives images by their places. Raises DataError if the network gives something that does not fit.
    """
    places, signals = np.arange(reading.images), reading.signals
    if len(places) > LOOKED_AT_AGAIN:
        places = np.sort(np.random.default_rng(seed).choice(len(places), LOOKED_AT_AGAIN, replace=False))
        signals = None if signals is None else signals.take(places)
    crops = crops_of(places.tolist())
    with judging():
        return crops, read_signals(crops, forward) if signals is None else signals


@contextmanager
def judging() -> Iterator[None]:
    """Raise DataError for images, or for what is said of them, that do not fit."""
    try:
        yield
    except ValueError as error:
        raise DataError(f"these images cannot be judged: {error}") from error
