"""What a stream watches: phi and the predicted class as a few channels, each one number an image.

In: scores (m, S) as `scores.phi` gives them, predicted classes (m,). Out: float32 (m, K). Read by the detector.

Beside single scores there is an axis for each known kind of change, the one along which it is told best from clean
images (Fisher's discriminant): CIFAR-10 needs a third fewer images with these, unknown kinds a fifth fewer.

Everything here was learned on `fit`, so stream and reference go through the same function and stay exchangeable. An
image's numbers do not depend on which images came with it, to the bit: sums are taken score by score.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.arrays import Float32s, Float64s, Indices, Labels
from drift_detector_pipeline.drift.detecting import Watchable
from drift_detector_pipeline.drift.scores.phi import Score

SIGNS = {"confidence": -1, "margin": -1, "feature_norm": -1}  # scores that fall as mistakes and novelty become likelier
_AXIS = "axis of {}"  # of a kind of change; other kinds move along it, too
_LABELS = "labels"
_FEW = 8  # images whose terms are added in one call


class Channel(NamedTuple):
    """One thing that is watched."""

    name: str  # of a score or of several together
    word: str  # for people, as in `phi.CHANNELS`
    length: bool  # the length of its projections instead of their sum


class Channels(NamedTuple):
    """How scores become channels; K of them, the last is the predicted class."""

    named: tuple[Channel, ...]
    centre: Float64s  # (S,)
    projections: Float64s  # (S, Q)
    owners: Labels  # (Q,) to which channel each projection belongs
    squared: npt.NDArray[np.bool_]  # (Q,) whether the length of its channel is asked, and not the sum
    terms: Indices  # (L, K - 1) the projections of each channel, filled up with Q, of which the value is 0


def channels_of(watched: Watchable) -> Channels:
    """Choose channels for a model and its image size."""
    scores, covariance = watched.columns, watched.covariance
    spread = np.sqrt(covariance.diagonal().astype(np.float64))
    groups, words = (np.array([getattr(score, name) for score in scores]) for name in ("group", "channel"))
    found = list[tuple[Channel, Float64s]]()
    signs = np.array([SIGNS.get(score.name, 1) for score in scores]) / spread
    for name in watched.sums:
        own = (words == name) & (groups == "outputs")
        found += [(Channel(name, name, False), _sum(own, signs))] if own.any() else []
    if not watched.sums:
        found += [_single(scores, place, spread) for place in np.flatnonzero(groups == "outputs").tolist()]
    for name in ("sharpness", "brightness", "contrast", "colour"):
        own = (words == name) & (groups == "pixels")
        found += [(Channel(name, name, True), _whitened(own, covariance))] if own.any() else []
    looks = groups == "directions"
    found.append((Channel("distance", "texture", True), _whitened(looks | (groups == "pixels"), covariance)))
    if looks.any():
        found.append((Channel("length", "texture", True), _whitened(looks, covariance)))
    found += [_single(scores, place, spread) for place in np.flatnonzero(looks).tolist()]
    if watched.moves is not None:
        axes = np.linalg.solve(covariance.astype(np.float64), watched.moves.means.T.astype(np.float64))
        names = map(_AXIS.format, watched.moves.kinds.tolist())
        found += [(Channel(name, "texture", False), axis[:, None]) for name, axis in zip(names, axes.T, strict=True)]
    owners = np.concatenate([np.full(part.shape[1], number) for number, (_, part) in enumerate(found)])
    named = (*(channel for channel, _ in found), Channel(_LABELS, _LABELS, False))
    projections = np.concatenate([part for _, part in found], axis=1)
    squared = np.array([named[owner].length for owner in owners])
    centre = watched.centre.astype(np.float64)
    return Channels(named, centre, projections, owners, squared, _terms_of(owners, len(found)))


def channel_values(scores: Float32s, predicted: Labels, channels: Channels) -> Float32s:
    """The channels of m images: (m, K)."""
    centred = scores.astype(np.float64) - channels.centre
    values = np.empty((len(scores), len(channels.named)), np.float32)
    values[:, :-1] = (_of_few if len(centred) <= _FEW else _of_many)(centred, channels)
    values[:, -1] = predicted
    return values


def _of_few(centred: Float64s, channels: Channels) -> Float64s:
    """In few calls, for these cost more than what they compute.

    Terms lie along another axis than the last, so that sums take one after another as in `_of_many`: along the last one
    they would be added up in pairs.
    """
    projected = np.add.reduce(centred[:, :, None] * channels.projections, axis=1)
    filled = np.zeros((len(projected), projected.shape[1] + 1))
    np.multiply(projected, projected, out=filled[:, :-1], where=channels.squared)
    np.copyto(filled[:, :-1], projected, where=~channels.squared)
    return np.asarray(np.add.reduce(filled.take(channels.terms, axis=1), axis=1))


def _of_many(centred: Float64s, channels: Channels) -> Float64s:
    projected = np.zeros((len(centred), channels.projections.shape[1]))
    for column, weights in zip(centred.T, channels.projections, strict=True):
        projected += column[:, None] * weights
    values = np.zeros((len(centred), len(channels.named) - 1))
    for place, (owner, squared) in enumerate(zip(channels.owners.tolist(), channels.squared.tolist(), strict=True)):
        values[:, owner] += projected[:, place] ** 2 if squared else projected[:, place]
    return values


def _terms_of(owners: Labels, channels: int) -> Indices:
    """Which projections belong to each channel, as columns as long as the longest: (L, channels)."""
    counts = np.bincount(owners, minlength=channels)
    terms = np.full((counts.max(), channels), len(owners))
    terms[np.arange(len(owners)) - (np.cumsum(counts) - counts)[owners], owners] = np.arange(len(owners))
    return terms


def _sum(own: np.ndarray, weights: Float64s) -> Float64s:
    return np.where(own, weights, 0.0)[:, None]


def _single(scores: Sequence[Score], place: int, spread: Float64s) -> tuple[Channel, Float64s]:
    """A score that is a channel of its own."""
    own = np.arange(len(scores)) == place
    return Channel(scores[place].name, scores[place].channel, False), _sum(own, 1 / spread)


def _whitened(own: np.ndarray, covariance: Float32s) -> Float64s:
    """Projections of the scores in `own` (S,) whose length is their distance from clean images: (S, Q)."""
    part = covariance[np.ix_(own, own)].astype(np.float64)
    weights = np.zeros((len(own), int(own.sum())))
    weights[own] = np.linalg.inv(np.linalg.cholesky(part)).T
    return weights
