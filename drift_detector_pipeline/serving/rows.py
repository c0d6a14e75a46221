"""What is kept of a request, a model, a verdict; no image, but the numbers that a verdict needs.

In: answers of the service. Out: rows of database.py. Read by request_log.py, verdicts.py and log_export.py. m: rows,
S: scores.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from drift_detector_pipeline.arrays import Float32s
from drift_detector_pipeline.drift.detecting import Detector, Rows
from drift_detector_pipeline.drift.kept_rows import scores_from


class Row(NamedTuple):
    """One answered image."""

    at: float  # seconds since 1970
    request_id: str
    source: str  # camera or client; "" unless named
    image_sha256: bytes  # 32
    predicted: int  # place of the class
    probability: float  # 0..1
    milliseconds: float  # from request to answer; in the shadow, of computing alone
    phi: bytes  # as drift/kept_rows.py has it: S float32; of boxes also how sure each is
    shadow: bool = False  # answered beside the answer that was given, by a model on trial


class StoredRow(NamedTuple):
    """The same once it is in the log; rows are ordered by `id`."""

    id: int
    at: float
    model_id: int
    request_id: str
    source: str
    image_sha256: bytes
    predicted: int
    probability: float
    milliseconds: float
    phi: bytes
    shadow: bool = False


AnyRow = TypeVar("AnyRow", Row, StoredRow)


class ModelFacts(NamedTuple):
    """Which executable answered, and what its scores are called."""

    sha256: str  # of the file
    reference_sha256: str  # "" if there is none
    runtime: str
    precision: str
    name: str
    classes: list[str]
    scores: list[str]

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        return hashlib.sha256(json.dumps(self, ensure_ascii=True).encode()).hexdigest()


class StoredVerdict(NamedTuple):
    """What was said of rows `first_request` to `last_request` of one model and source."""

    id: int
    at: float  # seconds since 1970
    model_id: int
    source: str  # "" of clips, whose windows are of all sources
    first_request: int
    last_request: int
    images: int  # different ones, which were judged; of clips these, not their sources
    repeated: int  # further rows of the same images
    counted: bool  # one of the disjoint windows; else a spot check, which keeps no promise about false notices
    level: str
    p: float | None  # None: too few images
    accuracy: float | None  # of boxes mAP50
    low: float | None
    high: float | None
    by_copy: bool  # the accuracy was asked of an adapted copy, which saw the images; else see `undone` of the detail
    detail: dict[str, Any]  # what `drift.report` writes of a verdict, and `copy`: what the adapted copy said


def once(rows: Sequence[AnyRow]) -> list[AnyRow]:
    """The first row of each image and source."""
    found = dict[tuple[str, bytes], AnyRow]()
    for row in rows:
        found.setdefault((row.source, row.image_sha256), row)
    return list(found.values())


def rows_of(rows: Sequence[AnyRow], detector: Detector) -> Rows:
    """What a detector judges. Raises DataError if a row has other scores than those of its reference."""
    return detector.rows_from([row.phi for row in rows], np.array([row.predicted for row in rows], dtype=np.int64))


def scores_of(rows: Sequence[AnyRow], columns: int) -> Float32s:
    """Scores (m, S) alone, of labels or of boxes. Raises DataError if a row has other than S = `columns` scores."""
    return scores_from([row.phi for row in rows], columns, boxes=True)
