"""Windows of unchanged images in which classes are rarer or more frequent, or new: a change, but not one of looks.

In: `Material`, what was learned from it, images of things the model does not know. Out: plain numbers. Read by the
study.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.drift.decision import Limits
from drift_detector_pipeline.drift.reference import Learned
from drift_detector_pipeline.drift.scores.signals import SecondLook, Signals
from drift_detector_pipeline.proof.study_material import MIXED, MIXES, Material, drawn, enough
from drift_detector_pipeline.proof.study_windows import Effort, Scored, asked, noticed, references_for, scored

UNSEEN = (0.05, 0.1, 0.25, 0.5)  # shares of images of classes the model does not know
LARGE = 1024  # a size at which few strangers are looked for, too


def class_mixes(material: Material, learned: Learned, effort: Effort, seed: int = 0) -> dict[str, object]:
    """For each mix and window size, mean over the classes: noticed; of MIXED sizes alerted, estimate and truth.

    Sizes for which a class has too few images to be drawn so often are left out.
    """
    limits, classes = Limits(permutations=effort.permutations), material.pool.logits.shape[1]
    sizes = sorted({*effort.sizes, *MIXED})
    reference, labellings = references_for(material, [learned], limits, sizes)[id(learned)]
    images = scored(material.pool, material.pool_labels, learned)
    found: dict[str, Any] = {name: {} for name in MIXES}
    with progress_bar(total=len(MIXES) * len(effort.sizes), title="class mixes", unit=" mixes") as bar:
        for number, (name, factor_of) in enumerate(MIXES.items()):
            for size in effort.sizes:
                bar.update()
                if not enough(material.pool_labels, classes, factor_of(classes), size):
                    continue
                rng = np.random.default_rng((seed, size, number))
                labels = np.resize(np.arange(classes), max(classes, effort.windows // 2)).tolist()
                windows = [drawn(material.pool_labels, one, factor_of(classes), size, rng) for one in labels]
                looks = [one.look for one in material.mixes if one.mix == name and len(one.look.rows) == size]
                truth = _accuracy(images, looks)
                found[name][str(size)] = {
                    "noticed": noticed(images, windows, labellings[size], limits),
                    **asked(images, material.pool, looks, reference, labellings[size], limits, truth),
                }
    return found


def unseen_classes(
    material: Material, strangers: Signals, learned: Learned, effort: Effort, seed: int = 0
) -> dict[str, object]:
    """For each share of `strangers` in a window, at least one, and each window size: the share noticed."""
    limits, found = Limits(permutations=effort.permutations), {str(share): dict[str, float]() for share in UNSEEN}
    known, new = len(material.pool_labels), len(strangers.logits)
    sizes = [size for size in (*effort.sizes, LARGE) if size <= known]
    _, labellings = references_for(material, [learned], limits, sizes)[id(learned)]
    together = Signals(*(np.concatenate(pair) for pair in zip(material.pool, strangers, strict=True)))
    images = scored(together, np.concatenate([material.pool_labels, np.full(new, -1)]), learned)
    for size in sizes:
        for number, share in enumerate(UNSEEN):
            rng, count = np.random.default_rng((seed, size, number)), max(1, round(share * size))
            windows = []
            for _ in range(effort.windows):
                usual = rng.choice(known, size - count, replace=False)
                windows.append(np.concatenate([usual, known + rng.choice(new, count, replace=count > new)]))
            found[str(share)][str(size)] = noticed(images, windows, labellings[size], limits)
    return dict(found)


def _accuracy(images: Scored, looks: Sequence[SecondLook]) -> float | None:
    """The mean accuracy of windows, for each holds another class."""
    return float(np.mean([1 - images.wrong[look.rows].mean() for look in looks])) if looks else None
