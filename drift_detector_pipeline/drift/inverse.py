"""Did a fault happen that its inverse undoes? Mended images then look like the training world, and tell the accuracy.

In: a window's crops and signals, the network, a `Reference`. Out: what is known of it `Again`, or None. Read by
asking.py and the studies. m: window images, S: scores, K: classes.

Things that are turned, mirrored or inverted look like other things, and a copy that adapts is as sure of its mistakes
as the network. But such a cause can be tried: undoing it brings the scores back to where the training world's lie if it
was there, and leads away if not. How probable the network finds its first answers once it sees the images mended is how
likely these are right.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri, softmax

from drift_detector_pipeline.arrays import Float32s, Float64s, Indices, Labels
from drift_detector_pipeline.corruptions.faults import REVERSIBLE
from drift_detector_pipeline.drift.accuracy import COVERAGE, ODDS, Estimate
from drift_detector_pipeline.drift.cause import SHOWN, Cause
from drift_detector_pipeline.drift.decision import Again, scale_for
from drift_detector_pipeline.drift.permutation import Scale
from drift_detector_pipeline.drift.reference import Reference, predictions
from drift_detector_pipeline.drift.scores.phi import phi
from drift_detector_pipeline.drift.scores.signals import Signals

LOOKED_AT = 64  # images that each is tried on, where nobody asks for more
_NEARER = 2.0  # times as near as before are mended images at least
_USUAL, _DRAWN = 0.99, 200  # share of so many windows of the reference that lie as near as mended images must
_METHOD = 0.01  # standard error of the estimate's own

Mend = Callable[[str, Indices], Signals]  # signals of some of the window's images, with a fault undone


class World(NamedTuple):
    """The reference in whitened units, by predicted class."""

    scale: Scale
    means: Float64s  # (K, S) of each class
    counts: Indices  # (K,) images of each, at least 1

    @property
    def columns(self) -> int:
        """Scores that count."""
        return int(self.means.shape[1] - self.scale.strangers)


def undone(
    reference: Reference, signals: Signals, mend: Mend, seed: int = 0, *, most: int = LOOKED_AT
) -> Again | None:  # fmt: skip
    """Try every fault of REVERSIBLE on `most` of the m images. None unless undoing one brings these to the world."""
    rng, images = np.random.default_rng(seed), len(signals.logits)
    world = _world_of(reference, signals.logits.shape[1])
    some = np.sort(rng.permutation(images)[:most])
    before = _distance(world, *_placed(reference, world, signals.take(some)))
    far = {kind: _distance(world, *_placed(reference, world, mend(kind, some))) for kind in REVERSIBLE}
    usual = _usual(reference, world, len(some), rng)
    near = {kind: own for kind, own in far.items() if own <= min(usual, before / _NEARER)}
    if not near:
        return None
    chances = _chances(near, world.columns)
    kind = next(iter(chances))
    cause = Cause(kind, 1.0, chances[kind], near[kind] / usual, tuple(chances.items())[1 : 1 + SHOWN])
    return Again(_estimate(reference, signals, mend(kind, np.arange(images)), kind), cause)


def _world_of(reference: Reference, classes: int) -> World:
    scale = scale_for(reference.learned)
    places = _whitened(reference.scores, scale)
    own = [reference.predicted == label for label in range(classes)]
    means = np.stack([places[rows if rows.any() else slice(None)].mean(axis=0) for rows in own])
    return World(scale, means, np.array([max(1, rows.sum()) for rows in own]))


def _placed(reference: Reference, world: World, signals: Signals) -> tuple[Float64s, Labels]:
    """Whitened scores (m, S) and predicted classes (m,)."""
    return _whitened(phi(signals, reference.learned.parameters), world.scale), predictions(signals)


def _distance(world: World, places: Float64s, predicted: Labels, sign: int = 1) -> float:
    """How far the images lie from those of the world that are predicted alike; with any mix of classes about as far.

    In units of what chance does to each score; `sign` -1 for images that are among the world's.
    """
    shares = np.bincount(predicted, minlength=len(world.counts)) / len(predicted)
    off = places.mean(axis=0) - shares @ world.means
    return float((off**2).sum() / (1 / len(predicted) + sign * (shares**2 / world.counts).sum()) / world.columns)


def _usual(reference: Reference, world: World, size: int, rng: np.random.Generator) -> float:
    """How far windows of the reference's own images lie."""
    places, size = _whitened(reference.scores, world.scale), min(size, len(reference.scores) // 2)
    drawn = (rng.choice(len(places), size, replace=False) for _ in range(_DRAWN))
    far = [_distance(world, places[rows], reference.predicted[rows], -1) for rows in drawn]
    return float(np.quantile(far, _USUAL))


def _whitened(scores: Float32s, scale: Scale) -> Float64s:
    return np.asarray((scores - scale.centre).astype(np.float64) @ scale.whitener)


def _chances(near: dict[str, float], columns: int) -> dict[str, float]:
    """The posterior of each fault, the likeliest first, as distances are sums of so many squares."""
    logs = -np.array(list(near.values())) * columns / 2
    return dict(sorted(zip(near, softmax(logs).tolist(), strict=True), key=lambda item: -item[1]))


def _estimate(reference: Reference, signals: Signals, mended: Signals, kind: str) -> Estimate:
    """How probable the network finds what it said first of m images, now that it sees them mended."""
    temperature, known = float(reference.learned.parameters.outputs.temperature), reference.known
    chances = softmax(mended.logits.astype(np.float64) / temperature, axis=1)
    right = chances[np.arange(len(chances)), predictions(signals)]
    tosses = max(float((right * (1 - right)).mean()), 1 / (4 * len(right))) / len(right)
    unit = float(np.sqrt(tosses + known.error**2 + _METHOD**2))
    accuracy, reach = float(right.mean()), -float(ndtri((1 - COVERAGE) / 2)) * unit
    loss = known.accuracy - accuracy + float(ndtri(1 / (1 + ODDS))) * unit
    return Estimate(accuracy, max(0.0, accuracy - reach), min(1.0, accuracy + reach), loss, undone=kind)
