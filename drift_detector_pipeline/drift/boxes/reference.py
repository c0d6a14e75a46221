"""What a detector of drift knows of a network of boxes: everything learned, and the training world's own scores.

In: signals of labelled images the network was not trained on (`fit`), their twins, and signals of other such images
(`ref`). Out: a `BoxReference`. Read by the detector, the verdict and the study. n: reference images, S: scores.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Boxes, Float32s, Labels
from drift_detector_pipeline.corruptions.faults import FAULTS
from drift_detector_pipeline.drift.boxes.phi import BoxParameters, box_phi, fit_box_scores, predicted_classes
from drift_detector_pipeline.drift.boxes.signals import BoxSignals, BoxTwin
from drift_detector_pipeline.drift.boxes.worth import Usual, Worth, expected_of_each, learn_worth, usual_of
from drift_detector_pipeline.drift.causes import Causes, Change, Clean, learn_causes
from drift_detector_pipeline.drift.reference import Moves, weakest_moves

NOTHING = "no box"  # in place of a class, of an image in which none is found


class BoxLearned(NamedTuple):
    """What comes from `fit` and its twins, and nothing else."""

    parameters: BoxParameters
    worth: Worth
    causes: Causes | None  # None if no change moves anything
    moves: Moves | None = None  # None in references made before streams were watched


class BoxReference(NamedTuple):
    """The training world as the network sees it."""

    learned: BoxLearned
    scores: Float32s  # (n, S) phi of the reference images
    predicted: Labels  # (n,) the class of most boxes, K where there is none
    usual: Usual  # what the estimate of mAP50 is measured from
    expected: Float32s | None = None  # (n,) of each image alone; None in references made before streams were watched


def learn_boxes(
    clean: BoxSignals, truth: Sequence[Boxes], twins: Sequence[BoxTwin], classes: Sequence[str]
) -> BoxLearned:
    """Learn scores, the estimate of mAP50 and causes. Raises ValueError if there is too little to learn from.

    Faults of pipelines teach causes alone, unless there are no corruptions.
    """
    corrupted = [twin for twin in twins if twin.kind not in FAULTS] or list(twins)
    parameters = fit_box_scores(clean, truth, corrupted, classes)
    worth = learn_worth(clean, truth, corrupted, len(classes))
    causes = _causes(clean, truth, twins, parameters, len(classes))
    return BoxLearned(parameters, worth, causes, _moves(clean, corrupted, parameters))


def refer_boxes(
    learned: BoxLearned, signals: BoxSignals, truth: Sequence[Boxes], classes: Sequence[str]
) -> BoxReference:
    """Describe n labelled images of the training world that nothing was learned from."""
    predicted = predicted_classes(signals.found, learned.parameters, len(classes))
    usual = usual_of(signals.found, truth, learned.worth, len(classes))
    expected = expected_of_each(signals.found, learned.worth.rates)
    return BoxReference(learned, box_phi(signals, learned.parameters), predicted, usual, expected)


def _moves(clean: BoxSignals, twins: Sequence[BoxTwin], parameters: BoxParameters) -> Moves:
    return weakest_moves(box_phi(clean, parameters), [_change(twin, parameters) for twin in twins])


def _causes(
    clean: BoxSignals, truth: Sequence[Boxes], twins: Sequence[BoxTwin], parameters: BoxParameters, classes: int
) -> Causes | None:
    labels = np.array([_most(one, classes) for one in truth])
    usual = Clean(box_phi(clean, parameters), labels, predicted_classes(clean.found, parameters, classes), classes + 1)
    return learn_causes(usual, [_change(one, parameters) for one in twins])


def _change(twin: BoxTwin, parameters: BoxParameters) -> Change:
    return Change(twin.kind, twin.severity, twin.rows, box_phi(twin.signals, parameters))


def _most(truth: Boxes, classes: int) -> int:
    counts = np.bincount(truth.labels[~truth.ignore], minlength=classes)
    return int(counts.argmax()) if counts.any() else classes
