"""Eight directions in which corrupted images part from clean ones, and ten in which what they show differs.

In: raw material (N, R) of clean images, pixel scores and early feature maps together, and of their corrupted twins;
penultimate features (N, D). Out: frozen `Directions`; scores (N, T). Read by phi.py. For corruptions the directions
of largest variance are not taken: what drift moves is small beside what differs from one image to the next, and each
direction more makes every test of all of them weaker. For content nobody can make twins of what was never seen, and
features were learned to differ where content does.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Float64s, Indices
from drift_detector_pipeline.drift.scores.products import row_products

DIRECTIONS = 8
FEATURES = 10  # two unseen classes of CIFAR-10 are found soonest with 10 to 16, late with 4 and 64
_CONSTANT = 1e-4  # a column that varies less says nothing


class Directions(NamedTuple):
    """What was learned; the first direction is shared by most kinds of corruption, the last by fewest."""

    centre: Float32s  # (R,) mean of the clean images
    weights: Float32s  # (R, T) one direction a column; its score has a spread of about 1 on clean images


def fit_directions(clean: Float32s, twins: Sequence[tuple[Indices, Float32s]]) -> Directions:
    """Learn from clean rows (N, R) and, for each kind and severity, which rows were corrupted and what became of them.

    Each kind and severity moves the mean, in units of the spread of clean images (one shrunk covariance), along some
    direction. With equal weight, so that the faint ones count, these movements span a space; its T first principal
    axes are kept. Without twins there are none.
    """
    from sklearn.covariance import ledoit_wolf  # whoever only judges does without

    centre, spread = clean.mean(axis=0), clean.std(axis=0)
    usable = spread > _CONSTANT
    weights = np.zeros((clean.shape[1], 0))
    if twins and usable.any():
        standard = (clean[:, usable] - centre[usable]) / spread[usable]
        whitener = _inverse_root(ledoit_wolf(standard, assume_centered=True)[0])
        moved = np.array([(corrupted - clean[rows]).mean(axis=0) for rows, corrupted in twins])
        steps = moved[:, usable] / spread[usable] @ whitener
        steps /= np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-12)
        axes = np.linalg.svd(steps, full_matrices=False)[2][:DIRECTIONS].T
        axes *= np.sign((steps @ axes).sum(axis=0))  # corruption raises the scores rather than lowers them
        weights = np.zeros((clean.shape[1], axes.shape[1]))
        weights[usable] = whitener @ axes / spread[usable, None]
    return Directions(centre.astype(np.float32), weights.astype(np.float32))


def fit_features(features: Float32s) -> Directions:
    """Learn the first principal axes of features (N, D), scaled to a spread of 1."""
    centre = features.mean(axis=0)
    _, sizes, axes = np.linalg.svd(features - centre, full_matrices=False)
    spreads = sizes / np.sqrt(len(features))
    kept = np.flatnonzero(spreads > _CONSTANT * max(spreads[0], _CONSTANT))[:FEATURES]
    weights = axes[kept].T / spreads[kept]
    return Directions(centre.astype(np.float32), weights.astype(np.float32))


def direction_scores(rows: Float32s, directions: Directions) -> Float32s:
    """Project raw material (N, R): float32 (N, T)."""
    return row_products(rows - directions.centre, directions.weights).astype(np.float32)


def _inverse_root(covariance: Float64s) -> Float64s:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors / np.sqrt(values)) @ vectors.T)
