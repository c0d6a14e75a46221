"""Windows of unchanged images in which classes are rarer or more frequent, or new: a change, but not one of looks.

In: `Material`, what was learned from it, images of things the model does not know. Out: plain numbers. Read by the
study.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from drift_detector_pipeline.arrays import Float64s, Indices, Labels
from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.drift.permutation import Labellings, appearance
from drift_detector_pipeline.drift.reference import Learned, Reference, refer
from drift_detector_pipeline.drift.scores.signals import Signals
from drift_detector_pipeline.drift.verdict import Limits, labellings_for
from drift_detector_pipeline.proof.study_material import Material
from drift_detector_pipeline.proof.study_windows import Effort, Scored, judged, scored

# How much more often images of one class are drawn than others, from the number of classes.
MIXES: dict[str, Callable[[int], float]] = {
    "one class missing": lambda classes: 0.0,
    "one class three times as frequent": lambda classes: 3.0,
    "half of one class": lambda classes: classes - 1.0,
}
UNSEEN = (0.05, 0.1, 0.25, 0.5)  # shares of images of classes the model does not know
LOOKS = 100  # windows whose looks are tested apart, which takes longer


def class_mixes(material: Material, learned: Learned, effort: Effort, seed: int = 0) -> dict[str, object]:
    """For each mix and window size, mean over the classes: noticed, alerted, and called different in looks.

    Sizes for which a class has too few images to be drawn so often are left out.
    """
    limits, classes = Limits(permutations=effort.permutations), material.pool.logits.shape[1]
    reference = refer(learned, material.ref, material.ref_labels)
    images = scored(material.pool, material.pool_labels, learned)
    found: dict[str, Any] = {name: {} for name in MIXES}
    with progress_bar(total=len(MIXES) * len(effort.sizes), title="class mixes", unit=" mixes") as bar:
        for size in effort.sizes:
            labellings = labellings_for(reference, classes, size, limits)
            for number, (name, factor_of) in enumerate(MIXES.items()):
                bar.update()
                if not _enough(material.pool_labels, classes, factor_of(classes), size):
                    continue
                rng = np.random.default_rng((seed, size, number))
                rows = list[dict[str, float]]()
                for label in range(classes):
                    weights = _weights(material.pool_labels, label, factor_of(classes))
                    windows = _drawn(weights, size, max(2, effort.windows // classes), rng)
                    row = judged(images, windows, reference, labellings, limits, weights)
                    checked = windows[: max(1, LOOKS // classes)]
                    rows.append(
                        row | {"looks_different": _look_different(images, checked, reference, labellings, limits)}
                    )
                found[name][str(size)] = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    return found


def unseen_classes(
    material: Material, strangers: Signals, learned: Learned, effort: Effort, seed: int = 0
) -> dict[str, object]:
    """For each share of `strangers` in a window, at least one, and each window size: noticed, alerted, estimate."""
    limits, classes = Limits(permutations=effort.permutations), material.pool.logits.shape[1]
    reference = refer(learned, material.ref, material.ref_labels)
    known, new = len(material.pool_labels), len(strangers.logits)
    together = Signals(*(np.concatenate(pair) for pair in zip(material.pool, strangers, strict=True)))
    images = scored(together, np.concatenate([material.pool_labels, np.full(new, -1)]), learned)
    found: dict[str, Any] = {str(share): {} for share in UNSEEN}
    for size in effort.sizes:
        labellings = labellings_for(reference, classes, size, limits)
        for number, share in enumerate(UNSEEN):
            rng, count = np.random.default_rng((seed, size, number)), max(1, round(share * size))
            windows = [
                np.concatenate(
                    [
                        rng.choice(known, size - count, replace=False),
                        known + rng.choice(new, count, replace=count > new),
                    ]
                )
                for _ in range(effort.windows)
            ]
            weights = np.repeat([(size - count) / known, count / new], [known, new])
            found[str(share)][str(size)] = judged(images, windows, reference, labellings, limits, weights)
    return found


def _look_different(
    images: Scored, windows: Sequence[Indices], reference: Reference, labellings: Labellings, limits: Limits
) -> float:
    """The share of windows that look different when their mix of predicted classes is held fixed."""
    found = list[bool]()
    for pick in windows:
        window = images.scores[pick], images.predicted[pick]
        p, _ = appearance((reference.scores, reference.predicted), window, labellings.scale, limits.permutations)
        found.append(p is not None and p <= limits.alpha)
    return float(np.mean(found))


def _enough(labels: Labels, classes: int, factor: float, size: int) -> bool:
    """Whether windows hold classes as weights say: at most half of any class's images are drawn for one."""
    counts = np.bincount(labels, minlength=classes)
    for label, own in enumerate(counts):
        total = len(labels) + (factor - 1) * own
        shares = np.where(np.arange(classes) == label, factor, 1.0) * counts / total
        if (size * shares > counts / 2).any():
            return False
    return True


def _weights(labels: Labels, label: int, factor: float) -> Float64s:
    """The chance of each image to be drawn, when those of one class are drawn `factor` times as often."""
    each = np.where(labels == label, factor, 1.0)
    return np.asarray(each / each.sum())


def _drawn(weights: Float64s, size: int, windows: int, rng: np.random.Generator) -> list[Indices]:
    return [rng.choice(len(weights), size, replace=False, p=weights) for _ in range(windows)]
