"""Images that many processes or machines look at for drift: the verdict of one process, to the last digit.

In: a run's detector, what a command's words name. Out: a verdict, and its images for the report. Every process opens
the run and its reference once and gives back rows; of the few images that are looked at again it gives crops. Read by
drift/__main__.py.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.drift.detecting import AnyVerdict, Detector, Rows, joined_rows
from drift_detector_pipeline.drift.kinds import detector_of_run
from drift_detector_pipeline.drift.preparation import all_readable
from drift_detector_pipeline.errors import ModelError
from drift_detector_pipeline.images.named_files import ImageFile, Source, opened
from drift_detector_pipeline.modeling.open_elsewhere import AsHere, as_open_here, units
from drift_detector_pipeline.modeling.trained import Trained
from drift_detector_pipeline.runs.machine import Machine

_Unit = Sequence[Source]


class _Read(NamedTuple):
    """What is known of a unit's images."""

    names: list[str]
    unreadable: dict[str, str]
    rows: list[Rows]
    digests: list[bytes]  # of the crops, to find copies by: Python's own hashes differ from process to process


@dataclass(frozen=True)
class _Reader:
    """Looks at images as the process that made this would: what a worker is given."""

    folder: Path  # of the run, at the same place everywhere
    reference_sha256: str
    model: AsHere

    def read(self, unit: _Unit) -> _Read:
        """The rows of a unit. Raises a PipelineError where they would be others."""
        rows, digests = list[Rows](), list[bytes]()
        with self._opened(unit) as (detector, found):
            album = detector.album([one.file for one in found], [one.name for one in found])
            for crops in album.chunks():
                rows.append(detector.rows_of(crops))
                digests += [hashlib.sha256(crop.tobytes()).digest()[:8] for crop in crops]
        return _Read(album.names, album.unreadable, rows, digests)

    def crops(self, wanted: tuple[_Unit, Sequence[str]]) -> Pixels:
        """The crops of some images of a unit, by their names. Raises DataError if one cannot be read any more."""
        unit, names = wanted
        with self._opened(unit) as (detector, found):
            files = {one.name: one.file for one in found}
            return all_readable([files[name] for name in names], detector.preparation)

    @contextmanager
    def _opened(self, unit: _Unit) -> Iterator[tuple[Detector, list[ImageFile]]]:
        with self.model.opened(), opened(unit) as found:
            yield _detector_once(self), found


class _Elsewhere:
    """The images of a window, of which some are opened once more where all were read."""

    def __init__(self, reader: _Reader, side_px: int) -> None:
        self.names, self.unreadable = list[str](), dict[str, str]()
        self._reader, self._none = reader, np.zeros((0, side_px, side_px, 3), np.uint8)
        self._units, self._unit_of = list[_Unit](), list[int]()  # the second by place

    def add(self, unit: _Unit, read: _Read) -> None:
        """The next of the units."""
        self.names += read.names
        self.unreadable.update(read.unreadable)
        self._unit_of += [len(self._units)] * len(read.names)
        self._units.append(unit)

    def crops_of(self, places: Sequence[int]) -> Pixels:
        """Some of the crops, (n, S, S, 3), in this order."""
        names_of = dict[int, list[str]]()
        for place in (chosen := sorted(set(places))):
            names_of.setdefault(self._unit_of[place], []).append(self.names[place])
        wanted = [(self._units[number], names) for number, names in names_of.items()]
        crops = np.concatenate([self._none, *self._reader.model.spread(wanted, self._reader.crops)])
        return crops[np.searchsorted(chosen, places).astype(np.int64)]


def judge_elsewhere(
    folder: Path, detector: Detector, trained: Trained, machine: Machine, sources: Sequence[Source]
) -> tuple[AnyVerdict, _Elsewhere]:
    """Judge what `sources` hold by all machines of the cluster. Raises ConfigError for clips."""
    model = as_open_here(trained, machine)
    reader = _Reader(folder.resolve(), str(detector.facts["sha256"]), model)
    parts, rows, digests = units(sources), list[Rows](), set[bytes]()
    window = _Elsewhere(reader, detector.preparation.side_px)
    for unit, read in zip(parts, model.spread(parts, reader.read), strict=True):
        window.add(unit, read)
        rows += read.rows
        digests.update(read.digests)
    return detector.check_rows(joined_rows(rows), len(window.names) - len(digests), window), window


@lru_cache(maxsize=1)
def _detector_once(reader: _Reader) -> Detector:
    with reader.model.opened() as (trained, _):
        detector = detector_of_run(reader.folder, trained)
    if detector.facts["sha256"] != reader.reference_sha256:
        raise ModelError(
            f"{reader.folder}: has another drift reference on this machine; a folder that all machines share is needed"
        )
    return detector
