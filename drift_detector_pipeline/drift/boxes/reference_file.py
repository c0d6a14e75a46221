"""A reference of boxes as two files: arrays, and facts that a person can read.

In: a `BoxReference` and pictures. Out: reference.npz and reference.json, tied together by a SHA-256; the same back.
Read by the detector. The files have the names of those of labels; "task" in the facts tells them apart.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from drift_detector_pipeline.drift.boxes.phi import (
    box_parameters_from,
    box_parameters_to_arrays,
    describe_box_scores,
)
from drift_detector_pipeline.drift.boxes.reference import BoxLearned, BoxReference
from drift_detector_pipeline.drift.boxes.worth import Usual, Worth
from drift_detector_pipeline.drift.causes import Causes
from drift_detector_pipeline.drift.fitting_arrays import check_arrays
from drift_detector_pipeline.drift.preparation import Preparation, preparation_from
from drift_detector_pipeline.drift.reference import Moves
from drift_detector_pipeline.drift.reference_file import DAMAGE, FACTS, FILE, read_facts
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import sealed, write_atomically, write_json
from drift_detector_pipeline.whole_files import read_plain

TASK = "boxes"
_AGAIN = "build it again: make drift_reference RUN=..."


class SavedBoxes(NamedTuple):
    """What a file holds."""

    reference: BoxReference
    identity: str
    classes: list[str]
    preparation: Preparation
    pictures: list[bytes]
    facts: dict[str, Any]


def save_box_reference(
    folder: Path, reference: BoxReference, facts: Mapping[str, Any], pictures: Sequence[bytes]
) -> None:
    """Write FILE, then FACTS with the file's SHA-256, into `folder`."""
    learned = reference.learned
    arrays: dict[str, Any] = {
        f"scores.{name}": value for name, value in box_parameters_to_arrays(learned.parameters).items()
    }
    parts = {"worth": learned.worth, "usual": reference.usual, "cause": learned.causes, "moves": learned.moves}
    for part, values in parts.items():
        if values is not None:
            arrays |= {f"{part}.{name}": np.asarray(value) for name, value in values._asdict().items()}
    arrays |= {"phi": reference.scores, "predicted": reference.predicted.astype(np.int32)}
    arrays |= {} if reference.expected is None else {"expected": reference.expected}
    arrays |= {
        "pictures": np.frombuffer(b"".join(pictures), np.uint8),
        "picture_bytes": np.array([len(one) for one in pictures], np.int64),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    own = {
        "task": TASK, "images": len(reference.scores), "map50": reference.usual.map50,
        "map50_error_left_out": learned.worth.error, "threshold": learned.parameters.threshold,
        "scores": [score._asdict() for score in describe_box_scores(learned.parameters)],
        "bytes": len(buffer.getvalue()), "sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / FILE, buffer.getvalue())
    write_json(folder / FACTS, sealed({**facts, **own}))


def load_box_reference(folder: Path) -> SavedBoxes:
    """Read what `save_box_reference` wrote. Raises DataError if a file is missing or they do not belong together."""
    try:
        facts = read_facts(folder)
        content = read_plain(folder / FILE)
        if facts.get("task") != TASK:
            raise DataError(f"{folder / FACTS}: a reference of labels, not of boxes; {_AGAIN}")
        if hashlib.sha256(content).hexdigest() != facts["sha256"]:
            raise DataError(f"{folder / FILE}: not the file that {FACTS} names; {_AGAIN}")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = dict(file)
        check_arrays(arrays)
        return _from_arrays(arrays, facts)
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no reference there; build it: make drift_reference RUN=...") from error
    except DAMAGE as error:
        raise DataError(f"{folder / FACTS}: damaged ({type(error).__name__}: {error}); {_AGAIN}") from error


def _from_arrays(arrays: dict[str, Any], facts: dict[str, Any]) -> SavedBoxes:
    def below(prefix: str) -> dict[str, Any]:
        return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}

    def plain(values: dict[str, Any]) -> dict[str, Any]:
        return {name: value.item() if value.ndim == 0 else value for name, value in values.items()}

    causes = Causes(**below("cause.")) if "cause.kinds" in arrays else None
    moves = Moves(**below("moves.")) if "moves.kinds" in arrays else None
    learned = BoxLearned(box_parameters_from(below("scores.")), Worth(**plain(below("worth."))), causes, moves)
    usual = Usual(**plain(below("usual.")))
    predicted = arrays["predicted"].astype(np.int64)
    reference = BoxReference(learned, arrays["phi"], predicted, usual, arrays.get("expected"))
    ends = np.cumsum(arrays["picture_bytes"])
    pictures = [part.tobytes() for part in np.split(arrays["pictures"], ends)][:-1]
    return SavedBoxes(
        reference,
        str(facts["identity"]),
        list(facts["classes"]),
        preparation_from(facts["preparation"]),
        pictures,
        facts,
    )
