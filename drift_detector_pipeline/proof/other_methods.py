"""The methods people use today, on the study's windows: at their defaults, and at the same measured false-alarm rate.

In: `Material`: softmax values, features, pixel statistics or confidences of a reference and a window. Out: p-values of
tests, estimates of accuracy, and how good both are as plain numbers. n: reference images, m: window images. Read by the
study.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import kolmogorov, softmax
from scipy.stats import f as f_distribution

from drift_detector_pipeline.arrays import Float32s, Float64s, Labels
from drift_detector_pipeline.drift.scores.output_scores import temperature_of
from drift_detector_pipeline.drift.scores.pixels import pixel_names
from drift_detector_pipeline.drift.scores.signals import Signals
from drift_detector_pipeline.proof.processes import in_processes
from drift_detector_pipeline.proof.study_material import Cell, Material
from drift_detector_pipeline.proof.study_windows import Effort

ALPHA = 0.01
CLEAN_WINDOWS = 1000  # from which the threshold of equal false alarms is read
NINE = (
    "luma", "contrast", "saturation", "red_green", "yellow_blue", "gradient", "laplacian", "noise", "black_level",
)  # fmt: skip
MMD_REFERENCE, MMD_PERMUTATIONS = 500, 100

Test = Callable[[Signals], float]


def side_by_side(material: Material, effort: Effort, seed: int = 0) -> dict[str, Any]:
    """The mean share of windows found over all cells, by method and window size, and how often clean ones alarm."""
    found: dict[str, Any] = {}
    tests = tests_of(material, seed)

    def measured(which: tuple[str, int]) -> dict[str, float]:
        name, size = which
        test, rng = tests[name], np.random.default_rng((seed, size))
        clean = _p_values(material.pool, test, size, min(CLEAN_WINDOWS, 4 * effort.windows), rng)
        equal = float(np.quantile(clean, ALPHA, method="lower"))
        cells = [_p_values(cell.signals, test, size, max(20, effort.windows // 10), rng) for cell in material.cells]
        return {
            "false_alarms": float((clean <= ALPHA).mean()),
            "false_alarms_at_equal": float((clean <= equal).mean()),  # above ALPHA if p-values are coarse
            "found_by_default": float(np.mean([(p <= ALPHA).mean() for p in cells])),
            "found_at_equal_false_alarms": float(np.mean([(p <= equal).mean() for p in cells])),
        }

    each = [(name, size) for name in tests for size in effort.sizes]
    for (name, size), numbers in zip(each, in_processes(measured, each, "other methods"), strict=True):
        found.setdefault(name, {})[str(size)] = numbers
    return found


def accuracy_estimates(cells: Sequence[Cell], material: Material) -> dict[str, Any]:
    """Mean and worst absolute error over the cells of accuracy estimates from confidence."""
    known = calibrate(material.fit.logits, material.fit_labels)
    errors: dict[str, list[float]] = {}
    for cell in cells:
        truth = float((cell.signals.logits.argmax(axis=1) == cell.labels).mean())
        for name, value in estimates(cell.signals.logits, known).items():
            errors.setdefault(name, []).append(abs(value - truth))
    return {name: {"mean": float(np.mean(off)), "worst": float(np.max(off))} for name, off in errors.items()}


def tests_of(material: Material, seed: int = 0) -> dict[str, Test]:
    """Each method as a function from a window's signals to a p-value."""
    nine = [pixel_names(material.side_px).index(name) for name in NINE]
    chances, pixels = probabilities(material.ref), material.ref.pixels[:, nine]
    kernel, rng = kernel_of(material.ref.features), np.random.default_rng(seed)
    return {
        "softmax KS, Bonferroni": lambda window: softmax_ks(chances, probabilities(window)),
        "MMD on features": lambda window: mmd(kernel, window.features, rng),
        "T2 on nine pixel statistics": lambda window: hotelling(pixels, window.pixels[:, nine]),
    }


def softmax_ks(reference: Float32s, window: Float32s) -> float:
    """Kolmogorov-Smirnov on each class probability (n, K), (m, K); the smallest p times K (Rabanser et al. 2019)."""
    n, m = len(reference), len(window)
    smallest = 1.0
    for old, new in zip(np.sort(reference, axis=0).T, np.sort(window, axis=0).T, strict=True):
        both = np.concatenate([old, new])
        gaps = np.searchsorted(old, both, "right") / n - np.searchsorted(new, both, "right") / m
        smallest = min(smallest, float(kolmogorov(np.abs(gaps).max() * np.sqrt(n * m / (n + m)))))
    return float(min(1.0, smallest * reference.shape[1]))


class Kernel(NamedTuple):
    """A reference for kernel tests: at most MMD_REFERENCE rows of features, standardised."""

    rows: Float64s
    inside: Float64s  # (n, n) Gaussian kernel of the rows
    width: float


def kernel_of(reference: Float32s) -> Kernel:
    """Prepare features (n, D) with the median distance as width (Gretton et al. 2012)."""
    some = np.random.default_rng(0).permutation(len(reference))[:MMD_REFERENCE]  # rows may be sorted by class
    rows = reference[some].astype(np.float64)
    squared = _squared_distances(rows, rows)
    width = float(np.median(squared[np.triu_indices(len(rows), 1)]))
    return Kernel(rows, np.exp(-squared / width), width)


def mmd(kernel: Kernel, window: Float32s, rng: np.random.Generator) -> float:
    """The permutation p-value of the squared maximum mean discrepancy of a window's features (m, D)."""
    new = window.astype(np.float64)
    n, m = len(kernel.rows), len(new)
    across, within = (np.exp(-_squared_distances(new, rows) / kernel.width) for rows in (kernel.rows, new))
    gram = np.block([[kernel.inside, across.T], [across, within]])
    signs = np.full((MMD_PERMUTATIONS + 1, n + m), -1 / n)
    signs[0, n:] = 1 / m
    for row in signs[1:]:
        row[rng.choice(n + m, m, replace=False)] = 1 / m
    found = ((signs @ gram) * signs).sum(axis=1)
    return float((found >= found[0] - 1e-12).mean())


def hotelling(reference: Float32s, window: Float32s) -> float:
    """Hotelling's T2 for two samples with its F distribution: (n, S), (m, S)."""
    n, m, size = len(reference), len(window), reference.shape[1]
    old, new = reference.astype(np.float64), window.astype(np.float64)
    pooled = ((n - 1) * np.cov(old.T) + (m - 1) * np.cov(new.T)) / (n + m - 2)
    moved = new.mean(axis=0) - old.mean(axis=0)
    t2 = n * m / (n + m) * moved @ np.linalg.solve(pooled + 1e-9 * np.eye(size), moved)
    return float(f_distribution.sf(t2 * (n + m - size - 1) / (size * (n + m - 2)), size, n + m - size - 1))


class Calibration(NamedTuple):
    """What estimates of accuracy from confidence need of labelled images."""

    temperature: float
    accuracy: float
    confidence: float  # mean of the maximum, scaled
    at_confidence: float  # thresholds below which as many labelled images lie as are wrong
    at_entropy: float


def calibrate(logits: Float32s, labels: Labels) -> Calibration:
    """Learn temperature and thresholds on labelled images the model was not trained on."""
    temperature = temperature_of(logits, labels)
    wrong = float((logits.argmax(axis=1) != labels).mean())
    top, negentropy = _confidence(logits, temperature)
    thresholds = [float(np.quantile(values, wrong)) for values in (top, negentropy)]
    return Calibration(temperature, 1 - wrong, float(top.mean()), *thresholds)


def estimates(logits: Float32s, known: Calibration) -> dict[str, float]:
    """Accuracy by average confidence, difference of confidences (Guillory et al. 2021), ATC (Garg et al. 2022)."""
    top, negentropy = _confidence(logits, known.temperature)
    return {
        "average confidence": float(top.mean()),
        "DoC": float(np.clip(known.accuracy + top.mean() - known.confidence, 0, 1)),
        "ATC (confidence)": float((top > known.at_confidence).mean()),
        "ATC (entropy)": float((negentropy > known.at_entropy).mean()),
    }


def probabilities(signals: Signals) -> Float32s:
    """Softmax of the logits, (N, K)."""
    return np.asarray(softmax(signals.logits, axis=1))


def _p_values(signals: Signals, test: Test, size: int, windows: int, rng: np.random.Generator) -> Float64s:
    picks = (rng.choice(len(signals.logits), size, replace=False) for _ in range(windows))
    return np.array([test(signals.take(pick)) for pick in picks])


def _confidence(logits: Float32s, temperature: float) -> tuple[Float64s, Float64s]:
    chances = softmax(logits.astype(np.float64) / temperature, axis=1)
    return chances.max(axis=1), (chances * np.log(chances + 1e-30)).sum(axis=1)


def _squared_distances(one: Float64s, other: Float64s) -> Float64s:
    squared = (one**2).sum(axis=1)[:, None] - 2 * one @ other.T + (other**2).sum(axis=1)
    return np.asarray(np.maximum(squared, 0))
