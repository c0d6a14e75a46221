"""Windows of unchanged images in which some classes are rarer or more frequent: a change, but not one of looks.

In: `Material` and what was learned from it. Out: plain numbers. Read by the study.
"""

from typing import Any

import numpy as np

from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.drift.reference import Learned, refer
from drift_detector_pipeline.drift.study_material import Material
from drift_detector_pipeline.drift.study_windows import Doubles, Effort, Labels, judged, scored
from drift_detector_pipeline.drift.verdict import Limits, null_for
from drift_detector_pipeline.drift.window import appearance

MIXES = {"one class missing": 0.0, "one class three times as frequent": 3.0, "half of one class": None}
LOOKS = 100  # windows whose looks are tested apart, which takes longer


def class_mixes(material: Material, learned: Learned, effort: Effort, seed: int = 0) -> dict[str, Any]:
    """For each mix and window size, mean over the classes: noticed, paged, and called different in looks."""
    limits, classes = Limits(permutations=effort.permutations), material.pool.logits.shape[1]
    reference = refer(learned, material.ref, material.ref_labels)
    images = scored(material.pool, material.pool_labels, learned)
    found: dict[str, Any] = {name: {} for name in MIXES}
    with progress_bar(total=len(MIXES) * len(effort.sizes), title="class mixes", unit=" mixes") as bar:
        for size in effort.sizes:
            null = null_for(reference, classes, size, limits)
            for name, factor in MIXES.items():
                rng = np.random.default_rng((seed, size, len(name)))
                rows, looks = list[dict[str, float]](), list[bool]()
                for label in range(classes):
                    weights = _weights(material.pool_labels, label, classes - 1.0 if factor is None else factor)
                    windows = _drawn(weights, size, max(2, effort.windows // classes), rng)
                    rows.append(judged(images, windows, reference, null, limits, weights))
                    for pick in windows[: max(1, LOOKS // classes)]:
                        p, _ = appearance(
                            (reference.scores, reference.predicted), (images.scores[pick], images.predicted[pick]),
                            null.scale, limits.permutations,
                        )  # fmt: skip
                        looks.append(p is not None and p <= limits.alpha)
                row = {key: float(np.mean([each[key] for each in rows])) for key in rows[0]}
                found[name][str(size)] = row | {"looks_different": float(np.mean(looks))}
                bar.update()
    return found


def _weights(labels: Labels, label: int, factor: float) -> Doubles:
    """The chance of each image to be drawn, when those of one class are drawn `factor` times as often."""
    each = np.where(labels == label, factor, 1.0)
    return np.asarray(each / each.sum())


def _drawn(weights: Doubles, size: int, windows: int, rng: np.random.Generator) -> list[Labels]:
    return [rng.choice(len(weights), size, replace=False, p=weights) for _ in range(windows)]
