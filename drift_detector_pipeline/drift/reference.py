"""What a detector knows: everything learned, and the training world's own scores.

In: signals of labelled images the model was not trained on (`fit`), their twins, and signals of other such images
(`ref`). Out: a `Reference`. Read by the detector and the study.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from drift_detector_pipeline.arrays import Float32s, Float64s, Labels
from drift_detector_pipeline.corruptions.faults import FAULTS, REVERSIBLE, family_of
from drift_detector_pipeline.drift.accuracy import (
    Accuracy,
    Estimate,
    Evidence,
    Known,
    learn_accuracy,
    share_wrong,
)
from drift_detector_pipeline.drift.causes import Causes, Change, Clean, learn_causes
from drift_detector_pipeline.drift.content import steepest
from drift_detector_pipeline.drift.copy_accuracy import (
    CopyJudge,
    LabelledWindow,
    Usual,
    estimate_by_copy,
    fit_usual,
    learn_copy,
)
from drift_detector_pipeline.drift.risk import MistakeSample, risk
from drift_detector_pipeline.drift.scores.phi import (
    Parameters,
    describe_scores,
    fit_scores,
    image_folds,
    phi,
    unseen_scores,
)
from drift_detector_pipeline.drift.scores.signals import SecondLook, Signals, Twin
from drift_detector_pipeline.drift.second_look import Recentring, answers_of, fit_recentring

FEW = 8  # images
_LIBRARIES = ThreadpoolController()  # that are loaded by now
_GATE, _INSIDE = threading.Lock(), list[Any]()  # the first one inside knows how many threads there were


class Copies(NamedTuple):
    """How a copy that has adapted to a window is asked about the network's predictions."""

    recentring: Recentring
    judge: CopyJudge


class Moves(NamedTuple):
    """Where known changes move the scores when they are weakest."""

    kinds: npt.NDArray[np.str_]  # (A,)
    means: Float32s  # (A, S) of the changed images less that of clean ones


class Learned(NamedTuple):
    """What comes from `fit` and its twins, and nothing else."""

    parameters: Parameters
    accuracy: Accuracy
    causes: Causes | None = None  # of drift; None in references made before there were any
    copies: Copies | None = None  # as judges of accuracy; None where too little was taught
    moves: Moves | None = None  # None in references made before streams were watched
    steepest: Float32s | None = None  # (1,) rise of strangeness for a change of looks; None in older references


class Reference(NamedTuple):
    """The training world as the model sees it."""

    learned: Learned
    scores: Float32s  # (n, S) phi of the reference images
    predicted: Labels  # (n,)
    known: Known
    labelled: bool  # the accuracy is measured; if not, it is what is expected
    usual: Usual | None = None  # what copies say of clean windows


def learn(
    clean: Signals, labels: Labels, twins: Sequence[Twin], side_px: int, looks: Sequence[SecondLook] = ()
) -> Learned:
    """Learn scores, estimates of accuracy and causes, and from `looks` at clean windows how to ask copies.

    Faults of pipelines teach causes and copies alone, unless there are no corruptions; those that an inverse tells do
    not teach copies, which are as sure and as wrong of them as the network. Raises ValueError if shapes do not fit or
    nothing is wrong.
    """
    corrupted = [twin for twin in twins if twin.kind not in FAULTS] or list(twins)
    parameters = fit_scores(clean, labels, corrupted, side_px)
    folds = image_folds(len(labels))
    own, theirs = unseen_scores(clean, labels, twins, parameters.axes, folds, parameters.strangers)
    view = view_of(parameters)
    samples = [MistakeSample("", np.arange(len(labels)), *_for_accuracy(own, view), mistakes(clean, labels))]
    taught = {twin.kind for twin in corrupted}
    for twin, scores in zip(twins, theirs, strict=True):
        if twin.kind in taught:
            wrong = mistakes(twin.signals, labels[twin.rows])
            samples.append(MistakeSample(twin.kind, twin.rows, *_for_accuracy(scores, view), wrong))
    usual = Clean(own, labels, predictions(clean), clean.logits.shape[1])
    changes = [Change(twin.kind, twin.severity, twin.rows, scores) for twin, scores in zip(twins, theirs, strict=True)]
    accuracy = learn_accuracy(samples, folds, clean.logits.shape[1])
    copies = _learn_copies(clean, labels, twins, looks, [looks_of(scores, view) for scores in (own, *theirs)])
    pairs = [(twin.rows, scores) for twin, scores in zip(twins, theirs, strict=True) if twin.kind in taught]
    bound = steepest(parameters, own, pairs)
    moves = weakest_moves(own, [one for one in changes if one.kind in taught])
    return Learned(parameters, accuracy, learn_causes(usual, changes), copies, moves, bound)


def _learn_copies(
    clean: Signals, labels: Labels, twins: Sequence[Twin], looks: Sequence[SecondLook], seen: Sequence[Float32s]
) -> Copies | None:
    """`seen`: how the clean images look, then those of each twin; see accuracy.Evidence."""
    asked = [
        (twin, own) for twin, own in zip(twins, seen[1:], strict=True) if twin.looks and twin.kind not in REVERSIBLE
    ]
    if not looks or len({family_of(twin.kind) for twin, _ in asked}) < 2:
        return None
    recentring = fit_recentring(clean, [twin.signals for twin in twins])
    usual = [
        LabelledWindow("", "", False, answers_of(look, clean, recentring), labels[look.rows], seen[0][look.rows])
        for look in looks
    ]
    top = {twin.kind: max(other.severity for other, _ in asked if other.kind == twin.kind) for twin, _ in asked}
    changed = [
        LabelledWindow(
            f"{twin.kind} {twin.severity}", family_of(twin.kind), 1 < twin.severity == top[twin.kind],
            answers_of(look, twin.signals, recentring), labels[twin.rows][look.rows], own[look.rows],
        )
        for twin, own in asked for look in twin.looks
    ]  # fmt: skip
    right = 1 - float(mistakes(clean, labels).mean())
    known = Known(right, 1 - right, float(np.sqrt(right * (1 - right) / len(labels))))
    return Copies(recentring, learn_copy(usual, changed, known, len(labels)))


def refer(learned: Learned, signals: Signals, labels: Labels | None, looks: Sequence[SecondLook] = ()) -> Reference:
    """Describe n images of the training world that nothing was learned from, and second looks at windows of them."""
    scores = phi(signals, learned.parameters)
    evidence = evidence_of(scores, learned)
    wrong = share_wrong(evidence, learned.accuracy.lookalikes)
    known = Known(1 - wrong, wrong)
    if labels is not None:
        error = float(np.sqrt((evidence.risks * (1 - evidence.risks)).mean() / len(labels)))
        known = Known(1 - float(mistakes(signals, labels).mean()), wrong, error)
    usual = None
    if learned.copies is not None and looks:
        answers = [answers_of(look, signals, learned.copies.recentring) for look in looks]
        usual = fit_usual(answers, known.accuracy, learned.copies.judge.temperature)
    return Reference(learned, scores, predictions(signals), known, labels is not None, usual)


def estimate_by_look(reference: Reference, look: SecondLook, signals: Signals) -> Estimate | None:
    """Accuracy of a window by a second look; None if the reference knows nothing of copies."""
    copies, usual = reference.learned.copies, reference.usual
    if copies is None or usual is None:
        return None
    parameters = reference.learned.parameters
    seen = looks_of(phi(signals.take(look.rows), parameters), view_of(parameters))
    return estimate_by_copy(answers_of(look, signals, copies.recentring), seen, usual, reference.known, copies.judge)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Products as small as those of drift take longer in several threads, which wait for one another.

    Those of FEW images are too small to be divided; to say so would take longer than they do.
    """
    with _GATE:
        _INSIDE.append(None if _INSIDE else _LIBRARIES.limit(limits=1, user_api="blas"))
    try:
        yield
    finally:
        with _GATE:
            if limiter := _INSIDE.pop():  # of the last one that leaves: others still rely on it
                limiter.restore_original_limits()


def evidence_of(scores: Float32s, learned: Learned, view: "View | None" = None) -> Evidence:
    """What estimates of accuracy need to know of images with phi (N, S); `view_of` the parameters may be kept."""
    signals, looks = _for_accuracy(scores, view or view_of(learned.parameters))
    return Evidence(risk(signals, learned.accuracy.risk), looks)


def risks_of(scores: Float32s, learned: Learned, view: "View") -> Float64s:
    """The risks alone, (N,), for whoever asks image by image."""
    return risk(_risk_signals(scores, scores.astype(np.float64) - view.centre, view), learned.accuracy.risk)


def predictions(signals: Signals) -> Labels:
    """The predicted class of each image, (N,)."""
    return np.asarray(signals.logits.argmax(axis=1))


def mistakes(signals: Signals, labels: Labels) -> npt.NDArray[np.bool_]:
    """Which predictions are wrong, (N,)."""
    return np.asarray(predictions(signals) != labels)


def weakest_moves(clean: Float32s, changes: Sequence[Change]) -> Moves:
    """Where each kind of change moves scores (N, S) when it is weakest."""
    weakest = {one.kind: min(other.level for other in changes if other.kind == one.kind) for one in changes}
    chosen = [one for one in changes if one.level == weakest[one.kind]]
    means = [one.scores.mean(axis=0) - clean[one.rows].mean(axis=0) for one in chosen]
    return Moves(np.array([one.kind for one in chosen], dtype=np.str_), np.array(means).reshape(-1, clean.shape[1]))


class View(NamedTuple):
    """What of phi estimates of accuracy look at, and in which units."""

    centre: Float32s  # (S,)
    spread: Float32s  # (S,) standard deviations
    outputs: npt.NDArray[np.bool_]  # (S,)
    seen: npt.NDArray[np.bool_]  # (S,) all scores of appearance
    looks: npt.NDArray[np.bool_]  # (S,)
    whitener: Float64s  # of those seen


def view_of(parameters: Parameters) -> View:
    """Inverts a matrix: whoever takes image by image keeps it."""
    groups = np.array([score.group for score in describe_scores(parameters)])
    seen = np.isin(groups, ("pixels", "directions"))
    root = np.linalg.cholesky(parameters.covariance[np.ix_(seen, seen)].astype(np.float64))
    whitener = np.asarray(np.linalg.inv(root), dtype=np.float64)
    spread = np.sqrt(parameters.covariance.diagonal())
    return View(parameters.centre, spread, groups == "outputs", seen, np.isin(groups, ("pixels", "outputs")), whitener)


def _for_accuracy(scores: Float32s, view: View) -> tuple[Float32s, Float32s]:
    """Signals that risks are computed from, and looks by which images are found alike.

    Signals: the output scores, and one distance from clean images in all scores of appearance: with the scores
    themselves a model knows the twins' directions by heart and is lost in others.
    """
    return _risk_signals(scores, scores.astype(np.float64) - view.centre, view), looks_of(scores, view)


def looks_of(scores: Float32s, view: View) -> Float32s:
    """How images with phi (N, S) look: pixel and output scores (N, Q) in standard deviations, large ones compressed."""
    units = (scores.astype(np.float64) - view.centre) / view.spread
    return np.asarray((np.sign(units) * np.log1p(np.abs(units)))[:, view.looks], dtype=np.float32)


def _risk_signals(scores: Float32s, centred: Float64s, view: View) -> Float32s:
    distance = np.log(np.linalg.norm(centred[:, view.seen] @ view.whitener.T, axis=1) + 1e-3)
    return np.concatenate([scores[:, view.outputs], distance[:, None]], axis=1).astype(np.float32)
