"""`make models_check`: every version that is here answers, and the champion may be one.

In: models/. Out: a line a version, and exit status 1 if a file is damaged, a model does not answer as it should, or the
champion or its gate is not what it says. A version whose files were not fetched is named and passed over. What a
workflow runs when a pointer has changed.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.errors import DataError, PipelineError, exit_status
from drift_detector_pipeline.release.admitted import identified, objection
from drift_detector_pipeline.release.artefact import BOXES, MODELS, VERSIONS, Artefact
from drift_detector_pipeline.release.box_executable import open_box_executable
from drift_detector_pipeline.release.executable import open_executable
from drift_detector_pipeline.release.registry import (
    Champion,
    champion,
    champion_folder,
    history,
    open_version,
    versions,
)

_IMAGES = 16


@exit_status
def main() -> int:
    """Check all versions and the champion."""
    set_up_logging()
    problems = list(check(MODELS))
    for problem in problems:
        log.error("%s", problem)
    return 1 if problems else 0


def check(place: Path) -> Iterator[PipelineError]:
    """Everything that is wrong; what is right is logged."""
    here, pointers = versions(place), {path.stem for path in (place / VERSIONS).glob("*.dvc")}
    if not here and not pointers:
        log.info("%s: no version yet", place / VERSIONS)
    for version in sorted(pointers - set(here)):
        log.warning("%s: only its pointer is here, so it is not checked; make models_pull fetches it", version)
    for version in here:
        try:
            log.info("%s: %s", version, _answers(open_version(version, place)))
        except PipelineError as error:
            yield error
    try:
        _check_champion(place, fetched=set(here))
    except PipelineError as error:
        yield error


def _answers(artefact: Artefact) -> str:
    """Ask a model about random images, together and alone. Raises DataError unless it answers as it should."""
    side = artefact.side_px
    images = np.random.default_rng(0).integers(0, 256, (_IMAGES, side, side, 3), dtype=np.uint8)
    boxes = artefact.task == BOXES
    try:
        say = open_box_executable(artefact).say if boxes else open_executable(artefact).say
        together: list[Any] = [*say(images)]
        started = time.perf_counter()
        alone = [[*say(images[place : place + 1])] for place in range(_IMAGES)]
    except Exception as error:  # of a runtime: its errors have no common class
        raise DataError(f"{artefact.folder}: {artefact.file} does not answer: {str(error)[:200]}") from error
    spent_ms = 1000 * (time.perf_counter() - started) / _IMAGES
    chances, classes = together[1 if boxes else 0], len(artefact.classes)
    sound = bool(((chances >= 0) & (chances <= 1)).all()) if boxes else np.allclose(chances.sum(axis=1), 1, atol=1e-3)
    if len(chances) != _IMAGES or chances.shape[-1] != classes or not sound:
        raise DataError(f"{artefact.folder}: {artefact.file} gives no probabilities of {classes} classes; export again")
    said = [(part, values) for part, values in enumerate(together) if values is not None]
    if not all(np.array_equal(one[part][0], values[place]) for part, values in said for place, one in enumerate(alone)):
        raise DataError(f"{artefact.folder}: an image's answer alone has other bits than among others; export again")
    return f"{len(artefact.sha256)} files whole; answers {_IMAGES} images alone as together, {spent_ms:.1f} ms each"


def _check_champion(place: Path, fetched: set[str]) -> None:
    """Raise a PipelineError unless champion.json, its line of the history, its files and its gate belong together."""
    found, past = champion(place), history(place)
    if found is None:
        log.info("no champion yet")
        return
    if found.version in fetched:
        champion_folder(found, place)
    if found.gate is None:
        how = "is the first" if found.number == 1 else "was let in without a gate"
        log.warning("champion %d, %s, %s: %s", found.number, found.version, how, found.why)
    else:
        _check_gate(found, past, place)
        log.info("champion %d, %s: let in by %s", found.number, found.version, found.gate)


def _check_gate(found: Champion, past: list[Champion], place: Path) -> None:
    """Raise DataError unless the gate is there, is about this version and an earlier champion, and passed."""
    path, own = place / str(found.gate), {"version": found.version, "manifest_sha256": found.manifest_sha256}
    if (place / VERSIONS / found.version).is_dir():
        own = identified(place / VERSIONS / found.version)
    said = [objection(path, own, one._asdict(), f"make gate VERSION={found.version}") for one in past]
    if all(said):
        raise DataError(said[0])


if __name__ == "__main__":
    sys.exit(main())
