"""What a detector knows: everything learned, and the training world's own scores, as arrays of less than a megabyte.

In: signals of labelled images the model was not trained on (`fit`), their twins, and signals of other such images
(`ref`). Out: a `Reference`; reference.npz and reference.json. Read by the detector and the study.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from drift_detector_pipeline.arrays import Float32s, Labels
from drift_detector_pipeline.drift.accuracy import (
    Accuracy,
    Errors,
    Evidence,
    Known,
    Lookalikes,
    learn_accuracy,
    share_wrong,
)
from drift_detector_pipeline.drift.risk import MistakeSample, Risk, risk
from drift_detector_pipeline.drift.scores.phi import (
    Parameters,
    describe_scores,
    fit_scores,
    from_arrays,
    image_folds,
    missing,
    phi,
    to_arrays,
    unseen_scores,
)
from drift_detector_pipeline.drift.scores.signals import Signals, Twin
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import write_atomically, write_json

FILE, FACTS = "reference.npz", "reference.json"
_LIBRARIES = ThreadpoolController()  # that are loaded by now


class Moves(NamedTuple):
    """Where known changes move the scores when they are weakest."""

    kinds: npt.NDArray[np.str_]  # (A,)
    means: Float32s  # (A, S) of the changed images less that of clean ones


class Learned(NamedTuple):
    """What comes from `fit` and its twins, and nothing else."""

    parameters: Parameters
    accuracy: Accuracy
    moves: Moves | None = None  # None in references made before streams were watched


class Reference(NamedTuple):
    """The training world as the model sees it."""

    learned: Learned
    scores: Float32s  # (n, S) phi of the reference images
    predicted: Labels  # (n,)
    known: Known
    labelled: bool  # the accuracy is measured; if not, it is what is expected


def learn(clean: Signals, labels: Labels, twins: Sequence[Twin], side_px: int) -> Learned:
    """Learn scores and estimates of accuracy. Raises ValueError if shapes do not fit or nothing is wrong."""
    parameters = fit_scores(clean, labels, twins, side_px)
    folds = image_folds(len(labels))
    own, theirs = unseen_scores(clean, labels, twins, parameters.axes, folds)
    samples = [MistakeSample("", np.arange(len(labels)), *_for_accuracy(own, parameters), mistakes(clean, labels))]
    for twin, scores in zip(twins, theirs, strict=True):
        wrong = mistakes(twin.signals, labels[twin.rows])
        samples.append(MistakeSample(twin.kind, twin.rows, *_for_accuracy(scores, parameters), wrong))
    accuracy = learn_accuracy(samples, folds, clean.logits.shape[1])
    return Learned(parameters, accuracy, moves=_moves(own, twins, theirs))


def refer(learned: Learned, signals: Signals, labels: Labels | None) -> Reference:
    """Describe n images of the training world that nothing was learned from."""
    scores = phi(signals, learned.parameters)
    evidence = evidence_of(scores, learned)
    wrong = share_wrong(evidence, learned.accuracy.lookalikes)
    known = Known(1 - wrong, wrong)
    if labels is not None:
        error = float(np.sqrt((evidence.risks * (1 - evidence.risks)).mean() / len(labels)))
        known = Known(1 - float(mistakes(signals, labels).mean()), wrong, error)
    return Reference(learned, scores, predictions(signals), known, labels is not None)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Products as small as those of drift take longer in several threads, which wait for one another."""
    with _LIBRARIES.limit(limits=1, user_api="blas"):
        yield


def evidence_of(scores: Float32s, learned: Learned) -> Evidence:
    """What estimates of accuracy need to know of images with phi (N, S)."""
    signals, looks = _for_accuracy(scores, learned.parameters)
    return Evidence(risk(signals, learned.accuracy.risk), looks)


def predictions(signals: Signals) -> Labels:
    """The predicted class of each image, (N,)."""
    return np.asarray(signals.logits.argmax(axis=1))


def mistakes(signals: Signals, labels: Labels) -> npt.NDArray[np.bool_]:
    """Which predictions are wrong, (N,)."""
    return np.asarray(predictions(signals) != labels)


def save_reference(
    folder: Path, reference: Reference, facts: Mapping[str, Any], extra: Mapping[str, npt.NDArray[Any]]
) -> None:
    """Write FILE, then FACTS with the file's SHA-256, into `folder`; `extra` arrays go along."""
    arrays: dict[str, Any] = {
        f"scores.{name}": value for name, value in to_arrays(reference.learned.parameters).items()
    }
    for part, values in reference.learned.accuracy._asdict().items():
        arrays |= {f"{part}.{name}": value for name, value in values._asdict().items()}
    if reference.learned.moves is not None:
        arrays |= {f"moves.{name}": value for name, value in reference.learned.moves._asdict().items()}
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
    write_json(folder / FACTS, {**facts, **own})


def load_reference(folder: Path) -> tuple[Reference, dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Read what `save_reference` wrote: reference, facts, extra arrays.

    Raises DataError if a file is missing or they do not belong together.
    """
    try:
        facts: dict[str, Any] = json.loads((folder / FACTS).read_bytes())
        content = (folder / FILE).read_bytes()
        if hashlib.sha256(content).hexdigest() != facts["sha256"]:
            raise DataError(f"{folder / FILE}: not the file that {FACTS} names; build it again: make drift_reference")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = dict(file)
        parameters = from_arrays(_below(arrays, "scores."))
        known = Known(*(_finite(facts, name) for name in ("accuracy", "share_wrong_expected", "standard_error")))
        moves = Moves(*(arrays[f"moves.{name}"] for name in Moves._fields)) if "moves.kinds" in arrays else None
        learned = Learned(parameters, _accuracy_from(arrays), moves=moves)
        predicted = arrays["predicted"].astype(np.int64)
        reference = Reference(learned, arrays["phi"], predicted, known, facts["labelled"] is True)
        return reference, facts, _below(arrays, "extra.")
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no reference there; build it: make drift_reference RUN=...") from error
    except (OSError, LookupError, TypeError, ValueError, ArithmeticError, RecursionError, BadZipFile) as error:
        raise DataError(
            f"{folder / FACTS}: damaged ({type(error).__name__}: {error}); build it again: make drift_reference"
        ) from error


def _moves(clean: Float32s, twins: Sequence[Twin], scores: Sequence[Float32s]) -> Moves:
    weakest = {kind: min(twin.severity for twin in twins if twin.kind == kind) for kind in {one.kind for one in twins}}
    pairs = [pair for pair in zip(twins, scores, strict=True) if pair[0].severity == weakest[pair[0].kind]]
    means = [values.mean(axis=0) - clean[twin.rows].mean(axis=0) for twin, values in pairs]
    return Moves(np.array([twin.kind for twin, _ in pairs], dtype=np.str_), np.array(means).reshape(-1, clean.shape[1]))


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


def _for_accuracy(scores: Float32s, parameters: Parameters) -> tuple[Float32s, Float32s]:
    """Signals that risks are computed from, and looks by which images are found alike.

    Signals: the output scores, and one distance from clean images in all scores of appearance: with the scores
    themselves a model knows the twins' directions by heart and is lost in others. Looks: pixel and output scores, in
    standard deviations, whose large values are compressed.
    """
    groups = np.array([score.group for score in describe_scores(parameters)])
    centred = scores.astype(np.float64) - parameters.centre
    outputs, seen = groups == "outputs", np.isin(groups, ("pixels", "directions"))
    whitener = np.linalg.inv(np.linalg.cholesky(parameters.covariance[np.ix_(seen, seen)].astype(np.float64)))
    distance = np.log(np.linalg.norm(centred[:, seen] @ whitener.T, axis=1) + 1e-3)
    units = centred / np.sqrt(parameters.covariance.diagonal())
    looks = (np.sign(units) * np.log1p(np.abs(units)))[:, np.isin(groups, ("pixels", "outputs"))]
    signals = np.concatenate([scores[:, outputs], distance[:, None]], axis=1)
    return signals.astype(np.float32), looks.astype(np.float32)
