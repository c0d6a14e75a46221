"""From features and logits to six numbers: how strange an image is to its nearest class, and how sure the model is.

In: features (N, D), logits (N, K) and labels of images the model was not trained on. Out: frozen
`OutputParameters`; scores (N, 6). Read by phi.py.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

from drift_detector_pipeline.arrays import Float32s, Float64s, Labels
from drift_detector_pipeline.drift.scores.products import row_products

MOST_DIRECTIONS = 64  # of the features; all of 512 would need a megabyte of covariance and thousands of images
OUTPUT_SCORES: dict[str, str] = {
    "mahalanobis": "novelty",  # log of the distance to the nearest class
    "feature_norm": "novelty",  # log of the length of the features
    "confidence": "error",  # log-odds of the most probable class
    "margin": "error",  # of the most probable class before the second, in logits
    "entropy": "error",  # log, in nats
    "energy": "energy",  # minus the log of the sum of exponentials of the logits
}


class OutputParameters(NamedTuple):
    """What was learned of features and logits."""

    temperature: Float32s  # () logits are divided by it
    centre: Float32s  # (D,)
    directions: Float32s  # (D, Q) in which images of one class have a spread of 1 and no correlation
    class_means: Float32s  # (K', Q) of the classes that were seen


def fit_outputs(features: Float32s, logits: Float32s, labels: Labels) -> OutputParameters:
    """Learn a temperature and, in at most 64 directions, class means and one shrunk covariance (Lee et al. 2018)."""
    from sklearn.covariance import ledoit_wolf  # whoever only judges does without

    seen = np.unique(labels)
    means = np.stack([features[labels == label].mean(axis=0) for label in seen])
    centre = features.mean(axis=0)
    within = features - means[np.searchsorted(seen, labels)]
    count = min(MOST_DIRECTIONS, features.shape[1], len(features) - len(seen))
    axes = np.linalg.svd(within, full_matrices=False)[2][:count].T
    covariance = ledoit_wolf(within @ axes, assume_centered=True)[0]
    values, vectors = np.linalg.eigh(covariance)
    directions = axes @ (vectors / np.sqrt(np.maximum(values, 1e-12 * values.max() + 1e-30)))
    parts = (temperature_of(logits, labels), centre, directions, (means - centre) @ directions)
    return OutputParameters(*(np.asarray(part, dtype=np.float32) for part in parts))


def output_scores(features: Float32s, logits: Float32s, learned: OutputParameters) -> Float32s:
    """The scores of OUTPUT_SCORES, in its order: float32 (N, 6)."""
    scaled = np.sort(logits.astype(np.float64) / learned.temperature, axis=1)
    chances = softmax(scaled, axis=1)
    columns = [
        np.log(np.sqrt(class_places(features, learned)[1]) + 1e-6),
        np.log(np.linalg.norm(features, axis=1) + 1e-6),
        scaled[:, -1] - logsumexp(scaled[:, :-1], axis=1),
        scaled[:, -1] - scaled[:, -2],
        np.log(-(chances * np.log(chances + 1e-30)).sum(axis=1) + 1e-4),
        -logsumexp(logits.astype(np.float64), axis=1),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def temperature_of(logits: Float32s, labels: Labels) -> float:
    """The temperature of least cross entropy (Guo et al. 2017), between 1/20 and 20."""
    values = logits.astype(np.float64)
    picked = values[np.arange(len(labels)), labels]

    def cross_entropy(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float((logsumexp(values * scale, axis=1) - picked * scale).mean())

    return float(np.exp(minimize_scalar(cross_entropy, bounds=(-3, 3), method="bounded").x))


def class_places(features: Float32s, learned: OutputParameters) -> tuple[Float64s, Float64s]:
    """Places around the common centre (N, Q), and the squared distance to the nearest class mean (N,).

    By |x|^2 - 2xy + |y|^2.
    """
    places = row_products(features - learned.centre, learned.directions)
    means = learned.class_means.astype(np.float64)
    distances = (places**2).sum(axis=1)[:, None] - 2 * row_products(places, means.T) + (means**2).sum(axis=1)
    return places, np.asarray(np.maximum(distances.min(axis=1), 0))
