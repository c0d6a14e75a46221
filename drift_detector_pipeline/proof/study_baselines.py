"""Today's methods on the study's windows: at their defaults, and at the same measured false-alarm rate.

In: `Material`. Out: plain numbers. Read by the study.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from drift_detector_pipeline.arrays import Float64s
from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.drift.scores.pixels import pixel_names
from drift_detector_pipeline.drift.scores.signals import Signals
from drift_detector_pipeline.proof.other_methods import (
    NINE,
    calibrate,
    estimates,
    hotelling,
    kernel_of,
    mmd,
    probabilities,
    softmax_ks,
)
from drift_detector_pipeline.proof.study_material import Material
from drift_detector_pipeline.proof.study_windows import Effort

ALPHA = 0.01
CLEAN_WINDOWS = 1000  # from which the threshold of equal false alarms is read

Test = Callable[[Signals], float]


def tests_of(material: Material, seed: int = 0) -> dict[str, Test]:
    """Each method as a function from a window's signals to a p-value."""
    nine = [pixel_names(material.side_px).index(name) for name in NINE]
    softmax, pixels = probabilities(material.ref), material.ref.pixels[:, nine]
    kernel, rng = kernel_of(material.ref.features), np.random.default_rng(seed)
    return {
        "softmax KS, Bonferroni": lambda window: softmax_ks(softmax, probabilities(window)),
        "MMD on features": lambda window: mmd(kernel, window.features, rng),
        "T2 on nine pixel statistics": lambda window: hotelling(pixels, window.pixels[:, nine]),
    }


def side_by_side(material: Material, effort: Effort, seed: int = 0) -> dict[str, Any]:
    """The mean share of windows found over all cells, by method and window size, and how often clean ones alarm."""
    found: dict[str, Any] = {}
    tests = tests_of(material, seed)
    with progress_bar(total=len(tests) * len(effort.sizes), title="baselines", unit=" tests") as bar:
        for name, test in tests.items():
            found[name] = {}
            for size in effort.sizes:
                rng = np.random.default_rng((seed, size))
                clean = _p_values(material.pool, test, size, min(CLEAN_WINDOWS, 4 * effort.windows), rng)
                equal = float(np.quantile(clean, ALPHA, method="lower"))
                cells = [
                    _p_values(cell.signals, test, size, max(20, effort.windows // 10), rng) for cell in material.cells
                ]
                found[name][str(size)] = {
                    "false_alarms": float((clean <= ALPHA).mean()),
                    "false_alarms_at_equal": float((clean <= equal).mean()),  # above ALPHA if p-values are coarse
                    "found_by_default": float(np.mean([(p <= ALPHA).mean() for p in cells])),
                    "found_at_equal_false_alarms": float(np.mean([(p <= equal).mean() for p in cells])),
                }
                bar.update()
    return found


def accuracy_estimates(material: Material) -> dict[str, Any]:
    """Mean and worst absolute error over the cells of accuracy estimates from confidence."""
    known = calibrate(material.fit.logits, material.fit_labels)
    errors: dict[str, list[float]] = {}
    for cell in material.cells:
        truth = float((cell.signals.logits.argmax(axis=1) == cell.labels).mean())
        for name, value in estimates(cell.signals.logits, known).items():
            errors.setdefault(name, []).append(abs(value - truth))
    return {name: {"mean": float(np.mean(off)), "worst": float(np.max(off))} for name, off in errors.items()}


def _p_values(signals: Signals, test: Test, size: int, windows: int, rng: np.random.Generator) -> Float64s:
    picks = (rng.choice(len(signals.logits), size, replace=False) for _ in range(windows))
    return np.array([test(signals.take(pick)) for pick in picks])
