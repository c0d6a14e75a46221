"""What people use today to watch a stream, on the same images: an EWMA chart, and alibi-detect where it is installed.

In: channels or features of a reference, then of a stream. Out: the image that raised an alarm. Read by the study of
streams. alibi-detect is no dependency: its licence is not free, and it is only measured.
"""

import importlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.stats import norm

from drift_detector_pipeline.arrays import Float32s

SMOOTHING = 0.1  # the weight of the newest image in an EWMA chart (Roberts 1959)
WINDOW, RUN_LENGTH = 16, 1000  # of alibi-detect's detectors: images together, and images to a false alarm asked for
BOOTSTRAPS, REFERENCE = 1000, 500  # with 2,000 of each alibi-detect may take 20 GB
CHARTED = 200_000  # clean images from which the limit of the calibrated chart is read

FirstAlarm = Callable[[Float32s], int | None]  # stream (m, K) -> images until an alarm


def ewma(reference: Float32s, limit: float) -> FirstAlarm:
    """The first image at which a channel's moving average is `limit` of its own standard deviations off."""
    centre, spread = reference.mean(axis=0, dtype=np.float64), np.maximum(reference.std(axis=0), 1e-9)
    unit = np.sqrt(SMOOTHING / (2 - SMOOTHING))

    def first(stream: Float32s) -> int | None:
        average = np.zeros(stream.shape[1])
        for number, row in enumerate((stream - centre) / spread, 1):
            average += SMOOTHING * (row - average)
            if np.abs(average).max() > limit * unit:
                return number
        return None

    return first


def nominal_limit(channels: int, horizon: int, alpha: float) -> float:
    """The limit that a normal law and Bonferroni give for P(any false alarm within `horizon`) <= alpha."""
    return float(norm.isf(alpha / (2 * channels * horizon)))


def calibrated_limit(reference: Float32s, clean: Float32s, seed: int = 0) -> float:
    """The limit that a chart of clean images reaches once in RUN_LENGTH images on average."""
    centre, spread = reference.mean(axis=0, dtype=np.float64), np.maximum(reference.std(axis=0), 1e-9)
    rng, unit = np.random.default_rng(seed), np.sqrt(SMOOTHING / (2 - SMOOTHING))
    charts = 200
    average, highest = np.zeros((charts, clean.shape[1])), []
    for _ in range(CHARTED // charts):
        average += SMOOTHING * ((clean[rng.integers(0, len(clean), charts)] - centre) / spread - average)
        highest.append(np.abs(average).max(axis=1) / unit)
    heights = np.array(highest[50:])
    low, high = 2.0, 20.0
    for _ in range(40):
        middle = (low + high) / 2
        crossed = ((heights[1:] > middle) & (heights[:-1] <= middle)).mean()
        low, high = (middle, high) if crossed > 1 / RUN_LENGTH else (low, middle)
    return high


def alibi_detectors(reference: Float32s) -> Iterator[tuple[str, FirstAlarm]]:
    """MMD and LSDD online, asked for a false alarm in RUN_LENGTH images; none where alibi-detect is missing."""
    try:
        detectors = importlib.import_module("alibi_detect.cd")
    except ImportError:
        return
    for name in ("MMDDriftOnline", "LSDDDriftOnline"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = getattr(detectors, name)(
                reference[:REFERENCE],
                ert=RUN_LENGTH,
                window_size=WINDOW,
                backend="pytorch",
                n_bootstraps=BOOTSTRAPS,
                verbose=False,
            )
        yield f"alibi-detect {name}", _first_of(made)


def _first_of(made: Any) -> FirstAlarm:
    def first(stream: Float32s) -> int | None:
        made.reset_state()
        for number, row in enumerate(stream, 1):
            if made.predict(row)["data"]["is_drift"]:
                return number
        return None

    return first
