"""Do images show something else than before? They seem stranger than a change of looks that small can explain.

In: scores (N, S) and predicted classes (N,) of clean images and their twins, later of a reference and a window. Out: a
bound; the share of a window that shows something else; whether only its strange images moved. Read by the reference and
decision.py. S: scores.

A corruption that makes the network unsure is seen in the pixels long before. What it was never taught to tell apart,
things of other classes or known ones upside down, makes it as unsure while the pixels hardly move. Of such a window no
network, and no copy of it, can say how accurate it is.

Strangers that come to usual images may look different as well. But a change of looks moves all images, and strangers
leave the others where they were.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.arrays import Float32s, Float64s, Indices, Labels
from drift_detector_pipeline.drift.accuracy import Estimate
from drift_detector_pipeline.drift.permutation import Scale
from drift_detector_pipeline.drift.scores.phi import Parameters, describe_scores

_FAINT = 0.1  # standard deviations of looks that count as none
_MARGIN = 2.0  # times as steep as the steepest change that was taught
_ERRORS = 3.0  # standard errors that the rise must exceed
_USUAL = 0.7  # of the reference's images look no stranger than those that should stay where they were
_LESS = 0.6  # times as far as the strange ones may these move
_LEAST = 8  # images of which a movement is measured


def steepest(parameters: Parameters, clean: Float32s, twins: Sequence[tuple[Indices, Float32s]]) -> Float32s:
    """The largest rise of strangeness for a standard deviation of looks: (1,). Twins: (n,) of which images, (n, S)."""
    found = [0.0]
    for chosen, scores in twins:
        moved = (scores - clean[chosen]).mean(axis=0, dtype=np.float64)
        found.append(float(moved[-1]) / (_length(parameters, moved, 0) + _FAINT))
    return np.array([max(found)], dtype=np.float32)


def share_of_others(
    parameters: Parameters, bound: Float32s, before: tuple[Float32s, Labels], now: tuple[Float32s, Labels]
) -> float:
    """About which share (0..1) of a window shows something else; 0 unless strangeness rose too much for its looks.

    Each image is compared with the reference's of the class it is taken for. The share is what the rise would need if
    all others were as strange as can be. They are less so: it is rather too small.
    """
    chance, expected = 1 / len(now[1]) + 1 / len(before[1]), _expected(before, now[1]).mean(axis=0)
    moved = now[0].mean(axis=0, dtype=np.float64) - expected
    rise, error = float(moved[-1]), float(before[0][:, -1].std()) * chance**0.5
    limit = _MARGIN * float(bound[0]) * (_length(parameters, moved, chance) + _FAINT)
    return share_of_rise(before, now) if rise - _ERRORS * error > limit else 0.0


def share_of_rise(before: tuple[Float32s, Labels], now: tuple[Float32s, Labels]) -> float:
    """The share (0..1) that would explain a window's strangeness if looks had no part in it."""
    usual = float(_expected(before, now[1])[:, -1].mean())
    return float(np.clip((now[0][:, -1].mean(dtype=np.float64) - usual) / (1 - usual), 0, 1))


def only_strange_moved(before: tuple[Float32s, Labels], now: tuple[Float32s, Labels], scale: Scale) -> bool:
    """Whether images that look no stranger than most moved far less than the strange ones: others came to the usual.

    Either part is compared with the reference's images that look as strange. Where all images change, both move.
    Measured with 1,000 reference images of one network: with other networks, or far fewer images, it may differ.
    """
    limit = np.quantile(before[0][:, -1], _USUAL)
    calm = [_where(one, one[0][:, -1] <= limit) for one in (before, now)]
    strange = [_where(one, one[0][:, -1] > limit) for one in (before, now)]
    if min(len(labels) for _, labels in (*calm, *strange)) < _LEAST:
        return False
    moved = _squared(strange[0], strange[1], scale)
    return moved > 0 and _squared(calm[0], calm[1], scale) < _LESS**2 * moved


def doubted(found: Estimate, others: float, usual: float) -> Estimate:
    """What is left of an estimate if such a share of the images is of no class that the model knows."""
    high = max(found.high, usual)
    return found._replace(accuracy=found.accuracy * (1 - others), low=0.0, high=high, likely_loss=1.0, known=False)


def _where(images: tuple[Float32s, Labels], inside: npt.NDArray[np.bool_]) -> tuple[Float32s, Labels]:
    return images[0][inside], images[1][inside]


def _expected(before: tuple[Float32s, Labels], predicted: Labels) -> Float64s:
    """The mean of the reference's images that are predicted alike: (m, S). Another mix of classes is no change."""
    scores, labels = before
    means = {label: scores[labels == label].mean(axis=0, dtype=np.float64) for label in np.unique(labels).tolist()}
    of_all = scores.mean(axis=0, dtype=np.float64)
    return np.array([means.get(label, of_all) for label in predicted.tolist()])


def _squared(before: tuple[Float32s, Labels], now: tuple[Float32s, Labels], scale: Scale) -> float:
    """The squared movement of a window's mean beyond chance, whitened: negative if there is less than by chance."""
    old, new = ((scores - _expected(before, labels)) @ scale.whitener for scores, labels in (before, now))
    moved, chance = new.mean(axis=0), sum(one.var(axis=0).sum() / len(one) for one in (old, new))
    return float(moved @ moved - chance)


def _length(parameters: Parameters, moved: Float64s, chance: float) -> float:
    """How far looks moved, in standard deviations of an image, but for `chance`, the variance of a mean."""
    looks = np.array([one.group in ("pixels", "directions") for one in describe_scores(parameters)])
    covariance = parameters.covariance[np.ix_(looks, looks)].astype(np.float64)
    squared = moved[looks] @ np.linalg.solve(covariance, moved[looks]) / looks.sum()
    return float(np.sqrt(max(0.0, squared - chance)))
