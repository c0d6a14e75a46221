"""A reference as two files: arrays of less than a megabyte, and facts that a person can read.

In: a `Reference`. Out: reference.npz and reference.json, tied together by a SHA-256; the same back. Read by the
detector.
"""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.drift.accuracy import Accuracy, Errors, Known, Lookalikes
from drift_detector_pipeline.drift.causes import Causes
from drift_detector_pipeline.drift.copy_accuracy import CopyErrors, CopyJudge, Usual
from drift_detector_pipeline.drift.correction import Process, older_process
from drift_detector_pipeline.drift.fitting_arrays import check_arrays
from drift_detector_pipeline.drift.reference import Copies, Learned, Moves, Reference
from drift_detector_pipeline.drift.risk import Risk
from drift_detector_pipeline.drift.scores.phi import describe_scores, from_arrays, missing, to_arrays
from drift_detector_pipeline.drift.second_look import Recentring
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import is_as_sealed, sealed, write_atomically, write_json
from drift_detector_pipeline.json_files import read_json
from drift_detector_pipeline.whole_files import read_plain

FILE, FACTS = "reference.npz", "reference.json"
# What reading either file raises if its bytes are not those that were written.
DAMAGE = (
    OSError,
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
    RecursionError,
    AttributeError,
    BadZipFile,
    MemoryError,
)
_Part = TypeVar("_Part", Recentring, CopyErrors, Usual)


def save_reference(
    folder: Path, reference: Reference, facts: Mapping[str, Any], extra: Mapping[str, npt.NDArray[Any]]
) -> None:
    """Write FILE, then FACTS with the file's SHA-256, into `folder`; `extra` arrays go along."""
    arrays: dict[str, Any] = {
        f"scores.{name}": value for name, value in to_arrays(reference.learned.parameters).items()
    }
    for part, values in reference.learned.accuracy._asdict().items():
        arrays |= {f"{part}.{name}": value for name, value in values._asdict().items()}
    if reference.learned.causes is not None:
        arrays |= {f"cause.{name}": value for name, value in reference.learned.causes._asdict().items()}
    if reference.learned.moves is not None:
        arrays |= {f"moves.{name}": value for name, value in reference.learned.moves._asdict().items()}
    if reference.learned.steepest is not None:
        arrays["content.steepest"] = reference.learned.steepest
    arrays |= _copies_to_arrays(reference)
    arrays |= {"phi": reference.scores, "predicted": reference.predicted.astype(np.int32)}
    arrays |= {f"extra.{name}": value for name, value in extra.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    known = reference.known
    own = {
        "images": len(reference.scores),
        "accuracy": known.accuracy,
        "share_wrong_expected": known.share_wrong,
        "standard_error": known.error,
        "labelled": reference.labelled,
        "scores": [score._asdict() for score in describe_scores(reference.learned.parameters)],
        "missing": missing(reference.learned.parameters),
        "bytes": len(buffer.getvalue()),
        "sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / FILE, buffer.getvalue())
    write_json(folder / FACTS, sealed({**facts, **own}))


def read_facts(folder: Path) -> dict[str, Any]:
    """The facts beside a reference. Raises FileNotFoundError, or another of DAMAGE."""
    facts = read_json(folder / FACTS)
    if not isinstance(facts, dict) or not is_as_sealed(facts):
        raise ValueError("changed since it was written")
    return facts


def load_reference(folder: Path) -> tuple[Reference, dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Read what `save_reference` wrote: reference, facts, extra arrays.

    Raises DataError if a file is missing or they do not belong together.
    """
    try:
        facts = read_facts(folder)
        content = read_plain(folder / FILE)
        if facts.get("task") == "boxes":
            raise DataError(
                f"{folder / FACTS}: a reference of boxes, and this model says labels; make drift_reference builds one"
            )
        if hashlib.sha256(content).hexdigest() != facts["sha256"]:
            raise DataError(f"{folder / FILE}: not the file that {FACTS} names; build it again: make drift_reference")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = dict(file)
        check_arrays(arrays)
        parameters = from_arrays(_below(arrays, "scores."))
        known = Known(*(_finite(facts, name) for name in ("accuracy", "share_wrong_expected", "standard_error")))
        copies, usual = _copies_from(arrays)
        moves = Moves(*(arrays[f"moves.{name}"] for name in Moves._fields)) if "moves.kinds" in arrays else None
        learned = Learned(
            parameters, _accuracy_from(arrays), _causes_from(arrays), copies, moves, arrays.get("content.steepest")
        )
        predicted = arrays["predicted"].astype(np.int64)
        reference = Reference(learned, arrays["phi"], predicted, known, facts["labelled"] is True, usual)
        return reference, facts, _below(arrays, "extra.")
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no reference there; build it: make drift_reference RUN=...") from error
    except DAMAGE as error:
        raise DataError(
            f"{folder / FACTS}: damaged ({type(error).__name__}: {error}); build it again: make drift_reference"
        ) from error


def _finite(facts: Mapping[str, Any], name: str) -> float:
    value = facts[name]
    if type(value) not in (int, float) or not np.isfinite(value):
        raise ValueError(f"{name} is {value!r:.40}")
    return float(value)


def _below(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def _accuracy_from(arrays: Mapping[str, npt.NDArray[Any]]) -> Accuracy:
    return Accuracy(
        Risk(*(arrays[f"risk.{name}"] for name in Risk._fields)),
        Lookalikes(*(arrays[f"lookalikes.{name}"] for name in Lookalikes._fields)),
        Errors(*(arrays[f"errors.{name}"] for name in Errors._fields)),
    )


def _causes_from(arrays: Mapping[str, npt.NDArray[Any]]) -> Causes | None:
    if "cause.kinds" not in arrays:
        return None
    return Causes(*(arrays[f"cause.{name}"] for name in Causes._fields))


def _copies_to_arrays(reference: Reference) -> dict[str, npt.NDArray[Any]]:
    copies, usual = reference.learned.copies, reference.usual
    if copies is None or usual is None:
        return {}
    judge = copies.judge
    parts: dict[str, Any] = {
        "recentring": copies.recentring,
        "process": judge.process,
        "errors": judge.errors,
        "usual": usual,
    }
    arrays = {f"copy.{part}.{name}": value for part, own in parts.items() for name, value in own._asdict().items()}
    return {"copy.temperature": judge.temperature, **arrays}


def _copies_from(arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[Copies | None, Usual | None]:
    found = _below(arrays, "copy.")
    if not found:
        return None, None

    def part(kind: type[_Part], name: str) -> _Part:
        return kind(**_below(found, f"{name}."))

    taught = _below(found, "process.")
    process = older_process(**taught) if "amplitude" in taught else Process(**taught)
    judge = CopyJudge(found["temperature"], process, part(CopyErrors, "errors"))
    return Copies(part(Recentring, "recentring"), judge), part(Usual, "usual")
