"""The newest images in memory, and only there: a second look at a window needs its crops.

In: crops as the network saw them, with their source and the SHA-256 of their file. Out: those of a window's rows, as
far as they are still there, and what a second look at them tells. Fed and read by the service.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.drift.decision import Again
from drift_detector_pipeline.drift.detecting import Detector
from drift_detector_pipeline.serving.rows import StoredRow
from drift_detector_pipeline.serving.verdicts import LookAgain

# Of a window's images that must still be there: services that share a log have a part each, as it came to them.
LEAST_SHARE = 0.25


class Found(NamedTuple):
    """The crops of some rows."""

    crops: Pixels  # (n, S, S, 3)
    missing: list[str]  # request ids of rows whose crop is not there any more, or was another process's


class Crops:
    """At most `limit_bytes` of crops; the source that has most of them gives up its oldest. Safe between threads."""

    def __init__(self, limit_bytes: int) -> None:
        self.bytes = 0
        self._limit, self._lock = limit_bytes, threading.Lock()
        self._kept = dict[str, OrderedDict[bytes, Pixels]]()
        self._bytes_of = dict[str, int]()

    def put(self, source: str, image_sha256: bytes, crop: Pixels) -> None:
        """Keep a crop, uint8 (S, S, 3), as the newest of its source. It must not be changed afterwards."""
        with self._lock:
            self._drop(source, image_sha256)
            self._kept.setdefault(source, OrderedDict())[image_sha256] = crop
            self._count(source, crop.nbytes)
            while self.bytes > self._limit:
                largest = max(self._bytes_of, key=self._bytes_of.__getitem__)
                self._drop(largest, next(iter(self._kept[largest])))

    def of(self, rows: Sequence[StoredRow]) -> Found:
        """The crops of rows, in their order; which are missing."""
        with self._lock:
            found = [self._kept[row.source].get(row.image_sha256) if row.source in self._kept else None for row in rows]
        crops = [crop for crop in found if crop is not None]
        missing = [row.request_id for row, crop in zip(rows, found, strict=True) if crop is None]
        return Found(np.stack(crops) if crops else np.zeros((0, 0, 0, 3), np.uint8), missing)

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._kept.values()))

    def _drop(self, source: str, image_sha256: bytes) -> None:
        own = self._kept.get(source, OrderedDict[bytes, Pixels]())
        if (crop := own.pop(image_sha256, None)) is not None:
            self._count(source, -crop.nbytes)
            if not own:
                del self._kept[source], self._bytes_of[source]

    def _count(self, source: str, size: int) -> None:
        self.bytes += size
        self._bytes_of[source] = self._bytes_of.get(source, 0) + size


def look_at_crops(crops: Crops, detector: Detector) -> LookAgain:
    """A second look at windows, by undoing a fault or by an adapted copy, as `verdicts.judge_windows` takes it.

    It gives None, and so leaves the estimate to the scores, if less than LEAST_SHARE of the images is still there, or
    fewer than a verdict needs.
    """
    return partial(_look, crops, detector)


def _look(crops: Crops, detector: Detector, rows: Sequence[StoredRow], looks_changed: bool) -> Again | None:
    found = crops.of(rows).crops
    if len(found) < max(detector.limits.min_images, LEAST_SHARE * len(rows)):
        return None
    return detector.asker(found)(looks_changed)
