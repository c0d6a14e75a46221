"""A second look at a window: what a copy of the network that has adapted to these images says of them.

In: crops of a window, what the network said of them, and the network. Out: a `SecondLook`; `Answers` of both. Read by
the detector, and by copy_accuracy.py, which learns from them. m: window images, K: classes, D: features.

Copies adapt to images balanced by predicted class (Gong et al. 2022): statistics of one frequent class alone would make
a window whose mix has changed look like one whose looks have. A network without BatchNorm has nothing to adapt; its
features, moved back to the centre and spread they had on clean images, go through its last layer once more.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Indices, Labels, Pixels
from drift_detector_pipeline.drift.scores.signals import PRIOR, Forward, SecondLook, Signals, as_float32

MOST, SHARE = 128, 0.75  # images that a copy adapts to: so many, or this share of a smaller window
_BATCH = 64


class Answers(NamedTuple):
    """What is said of m images."""

    own: Float32s  # (m, K) logits of the network itself
    copy: Float32s  # (m, K) of its copy


class Recentring(NamedTuple):
    """The last layer and where its input lies on clean images: a copy for networks that cannot adapt."""

    centre: Float32s  # (D,)
    spread: Float32s  # (D,)
    head: Float32s  # (D + 1, K) features and a 1, times this, are about the logits


def look_again(crops: Pixels, signals: Signals, forward: Forward, rows: Indices, seed: int = 0) -> SecondLook:
    """Let a copy of the network, adapted to some of the window `rows` of uint8 (N, S, S, 3), look at all of it.

    `signals`: what the network said of the N images. A `forward` with a method `adapted`, from uint8 (n, S, S, 3) to
    another forward or None, supplies its own copy. Raises ValueError if that gives anything but finite logits (m, K).
    """
    window = crops[rows]
    some = balanced(signals.logits[rows].argmax(axis=1), np.random.default_rng(seed))
    adapted = getattr(forward, "adapted", None)
    copy = None if adapted is None else adapted(window[some])
    if copy is None:
        return SecondLook(rows, some, None)
    parts = [copy(window[start : start + _BATCH])[0] for start in range(0, len(window), _BATCH)]
    logits = np.concatenate([as_float32(part) for part in parts])
    if logits.shape != (len(rows), signals.logits.shape[1]) or not np.isfinite(logits).all():
        raise ValueError(f"expected finite logits of {len(rows)} images from an adapted copy, got {logits.shape}")
    return SecondLook(rows, some, logits)


def look_at_windows(
    crops: Pixels, signals: Signals, forward: Forward, counts: Mapping[int, int], seed: int = 0
) -> list[SecondLook]:
    """Second looks at random windows of N images: `counts` says how many of each size; none is larger than N."""
    rng = np.random.default_rng(seed)
    sizes = [size for size, count in counts.items() for _ in range(count)]
    windows = [rng.choice(len(crops), min(size, len(crops)), replace=False) for size in sizes]
    return [look_again(crops, signals, forward, rows, seed) for rows in windows]


def answers_of(look: SecondLook, signals: Signals, recentring: Recentring) -> Answers:
    """What the network, of whose N images these are the signals, and its copy say of a window."""
    own, features = signals.logits[look.rows], signals.features[look.rows]
    return Answers(own, _recentred(features, look.some, recentring) if look.logits is None else look.logits)


def balanced(predicted: Labels, rng: np.random.Generator, most: int = MOST, share: float = SHARE) -> Indices:
    """Places of the images a copy adapts to: by turns through the predicted classes, at random inside a class."""
    count = min(most, ceil(share * len(predicted)))
    order = rng.permutation(len(predicted))
    turns = np.empty(len(predicted))
    for label in np.unique(predicted):
        own = order[predicted[order] == label]
        turns[own] = np.arange(len(own))
    return np.argsort(turns + rng.random(len(predicted)) / 2)[:count]


def fit_recentring(clean: Signals, others: Sequence[Signals]) -> Recentring:
    """Learn from clean images where features lie, and from all images how logits come from them (least squares)."""
    features = np.concatenate([clean.features, *(other.features for other in others)]).astype(np.float64)
    logits = np.concatenate([clean.logits, *(other.logits for other in others)])
    with_one = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    head = np.linalg.lstsq(with_one, logits, rcond=None)[0]
    parts = clean.features.mean(axis=0), np.maximum(clean.features.std(axis=0), 1e-6), head
    return Recentring(*(np.asarray(part, dtype=np.float32) for part in parts))


def _recentred(features: Float32s, some: Indices, recentring: Recentring) -> Float32s:
    own = PRIOR / (PRIOR + len(some))
    centre = own * recentring.centre + (1 - own) * features[some].mean(axis=0)
    variance = own * recentring.spread**2 + (1 - own) * features[some].var(axis=0)
    moved = (features - centre) / np.sqrt(variance + 1e-12) * recentring.spread + recentring.centre
    return np.asarray(moved @ recentring.head[:-1] + recentring.head[-1], dtype=np.float32)
