"""How likely an image is to show something of no known class: one number, made so that few strangers weigh.

In: signals and labels of images the model was not trained on, and what output_scores learned of them. Out: frozen
`Strangeness`; scores (N,) in 0..1. Read by phi.py.

Two numbers, standardised and added: the entropy of the prediction, and how much nearer the features lie to the nearest
class mean than to the middle of all classes (the relative Mahalanobis distance; Ren et al. 2021): the distance alone
mostly says how pronounced an image is. The sum's rank among clean images, cubed: of 256 images of which a tenth are
strangers, 25 lie high and the rest where they should, so the mean of a power of ranks finds them sooner than that of
the sum (Lehmann 1953). Ranks among `fit`, not among reference and window: so the number is one image's own.

Tried and not better, on two networks: the same of early and middle maps beside; two logistic models that learned from
images with their quarters swapped, and from classes left out, which learn what is peculiar to such images.
"""

from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Float64s, Labels
from drift_detector_pipeline.drift.scores.output_scores import (
    OUTPUT_SCORES,
    OutputParameters,
    class_places,
    fit_outputs,
    output_scores,
)
from drift_detector_pipeline.drift.scores.products import row_products
from drift_detector_pipeline.drift.scores.signals import Signals

NAME = "strangeness"
POWER = 3
_KNOTS = 501
_ENTROPY = list(OUTPUT_SCORES).index("entropy")


class Strangeness(NamedTuple):
    """What was learned."""

    units: Float32s  # (2, 2) mean and spread of both numbers on clean images
    at: Float32s  # (V,) quantiles of their sum


def fit_strangeness(clean: Signals, labels: Labels, folds: Labels) -> Strangeness:
    """Learn from N clean images; each is measured by what was learned without its fold."""
    numbers = np.empty((len(labels), 2))
    for fold in np.unique(folds):
        inside = folds == fold
        others = fit_outputs(clean.features[~inside], clean.logits[~inside], labels[~inside])
        numbers[inside] = _numbers(clean.features[inside], clean.logits[inside], others)
    units = np.stack([numbers.mean(axis=0), np.maximum(numbers.std(axis=0), 1e-6)])
    at = np.quantile(((numbers - units[0]) / units[1]).sum(axis=1), np.linspace(0, 1, _KNOTS))
    return Strangeness(units.astype(np.float32), at.astype(np.float32))


def strangeness(features: Float32s, logits: Float32s, outputs: OutputParameters, learned: Strangeness) -> Float32s:
    """The score of N images: float32 (N,) in 0..1, on clean images 0.25 in the mean."""
    numbers = _numbers(features, logits, outputs)
    summed = ((numbers - learned.units[0]) / learned.units[1]).sum(axis=1)
    rank = np.interp(summed, learned.at, np.linspace(0, 1, len(learned.at)))
    return np.asarray(rank**POWER, dtype=np.float32)


def _numbers(features: Float32s, logits: Float32s, outputs: OutputParameters) -> Float64s:
    """Entropy and relative distance: (N, 2).

    The covariance of all classes together is that within them, 1, and that of their means.
    """
    places, nearest = class_places(features, outputs)
    means = outputs.class_means.astype(np.float64)
    overall = np.linalg.inv(np.eye(means.shape[1]) + means.T @ means / len(means))
    relative = nearest - (row_products(places, overall) * places).sum(axis=1)
    return np.stack([output_scores(features, logits, outputs)[:, _ENTROPY], relative], axis=1)
