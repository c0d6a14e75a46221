"""Classes of unequal size: an order that shows all of them equally often, or weights that make up for it.

N images, K classes. Pure functions of labels. Read by modeling/loaders.py and whoever computes a loss.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.errors import ConfigError


class Draw(NamedTuple):
    """Positions in the order they are drawn."""

    positions: npt.NDArray[np.int64]  # (N,)
    repeats: npt.NDArray[np.int64]  # (N,): how often each was drawn before


def balanced_draw(labels: npt.NDArray[np.int64], rng: np.random.Generator) -> Draw:
    """Draw N of N positions in random order, so that the classes that occur in `labels` (N,) are equally frequent.

    A class with more images than its share shows some of them; one with fewer shows all, again and again, none of them
    twice more than another. Shares differ by at most one image.
    """
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    shares = np.full(len(classes), len(labels) // len(classes))
    shares[rng.permutation(len(classes))[: len(labels) % len(classes)]] += 1
    positions, repeats = [], []
    for members, share in zip(classes, shares, strict=True):
        rounds = -(-share // len(members))
        positions.append(np.concatenate([rng.permutation(members) for _ in range(rounds)])[:share])
        repeats.append(np.arange(share) // len(members))
    order = rng.permutation(len(labels))
    return Draw(np.concatenate(positions)[order], np.concatenate(repeats)[order])


def class_weights(labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float32]:
    """Return weights (K,) in inverse proportion to how often each class occurs in `labels` (N,).

    Their mean over the images is 1, so a loss keeps its scale; a class that does not occur has the weight 0.
    """
    counts = np.bincount(labels, minlength=classes)
    occurring = counts > 0
    weights = np.zeros(classes)
    weights[occurring] = len(labels) / (occurring.sum() * counts[occurring])
    return weights.astype(np.float32)


def refuse_balance(balance: str, task: str | None) -> None:
    """Raise ConfigError for a way to balance classes where images have no class of their own."""
    if balance != "none" and task == "boxes":
        raise ConfigError(
            f"data.balance={balance} makes up for classes of unequal numbers of images, but an image with boxes shows "
            "several classes at once; leave data.balance=none, and read the figures of each class"
        )
