"""How often clean windows alarm, how often changed ones are found, and how far accuracy estimates are off.

In: `Material` and what was learned from it. Out: plain numbers. Read by the study.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.arrays import Float32s, Float64s, Indices, Labels
from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.drift.accuracy import Evidence, estimate
from drift_detector_pipeline.drift.permutation import Labellings, labellings_of, test_window
from drift_detector_pipeline.drift.reference import Learned, Reference, evidence_of, mistakes, predictions, refer
from drift_detector_pipeline.drift.scores.phi import phi
from drift_detector_pipeline.drift.scores.signals import Signals
from drift_detector_pipeline.drift.verdict import Limits, labellings_for, level_of, scale_for
from drift_detector_pipeline.proof.study_material import Cell, Material

SIZES = (16, 32, 64, 128, 256)
ALPHAS = (0.01, 0.05)


class Effort(NamedTuple):
    """How much is drawn."""

    splits: int = 200  # random divisions of the clean images into reference and pool
    windows_per_split: int = 50
    windows: int = 500  # of each cell and size
    permutations: int = 999
    sizes: tuple[int, ...] = SIZES


class Scored(NamedTuple):
    """Images as a detector sees them."""

    scores: Float32s  # (N, S)
    predicted: Labels  # (N,)
    evidence: Evidence
    wrong: npt.NDArray[np.bool_]  # (N,)


def scored(signals: Signals, labels: Labels, learned: Learned) -> Scored:
    """Compute scores, predictions, risks and mistakes of some images."""
    scores = phi(signals, learned.parameters)
    return Scored(scores, predictions(signals), evidence_of(scores, learned), mistakes(signals, labels))


def false_alarms(material: Material, learned: Learned, effort: Effort, seed: int = 0) -> dict[str, Any]:
    """The share of clean windows with p <= alpha over random splits of all clean `ref` and `pool` images.

    The interval comes from the spread over splits: windows of one split share its luck.
    """
    parts = [scored(material.ref, material.ref_labels, learned), scored(material.pool, material.pool_labels, learned)]
    scores, predicted = (np.concatenate([part[column] for part in parts]) for column in (0, 1))
    classes, reference = material.pool.logits.shape[1], len(material.ref_labels)
    scale = scale_for(learned)
    rng = np.random.default_rng(seed)
    found: dict[str, list[Float64s]] = {str(size): [] for size in effort.sizes}
    with progress_bar(total=effort.splits, title="false alarms", unit=" splits") as bar:
        for split in range(effort.splits):
            order = rng.permutation(len(scores))
            ref, rest = order[:reference], order[reference:]
            for size in effort.sizes:
                labellings = labellings_of(
                    scores[ref], predicted[ref], classes, size, scale, effort.permutations, seed + split
                )
                picks = [rng.choice(rest, size, replace=False) for _ in range(effort.windows_per_split)]
                p = np.array([test_window(labellings, scores[pick], predicted[pick]).p for pick in picks])
                found[str(size)].append(np.array([(p <= alpha).mean() for alpha in ALPHAS]))
            bar.update()
    return {size: _rates(np.array(rates)) for size, rates in found.items()}


def detection(
    material: Material, cells: Sequence[Cell], learned_for: Callable[[str], Learned], effort: Effort, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """For each cell: true accuracy, its estimate, and by window size the shares that raise a notice and an alert.

    `learned_for` gives what may be known about a kind of change.
    """
    limits, classes = Limits(permutations=effort.permutations), material.pool.logits.shape[1]
    found: dict[str, dict[str, Any]] = {}
    references: dict[int, tuple[Reference, dict[int, Labellings]]] = {}
    with progress_bar(total=len(cells), title="detection", unit=" cells") as bar:
        for cell in cells:
            learned = learned_for(cell.kind)
            if id(learned) not in references:
                reference = refer(learned, material.ref, material.ref_labels)
                labellings_by_size = {size: labellings_for(reference, classes, size, limits) for size in effort.sizes}
                references[id(learned)] = reference, labellings_by_size
            reference, labellings_by_size = references[id(learned)]
            images = scored(cell.signals, cell.labels, learned)
            whole = estimate(images.evidence, reference.known, learned.accuracy)
            row: dict[str, Any] = {
                "kind": cell.kind,
                "severity": cell.severity,
                "accuracy": 1 - float(images.wrong.mean()),
                "estimated": whole.accuracy,
            }
            rng = np.random.default_rng((seed, len(found)))
            row["windows"] = {
                str(size): judged(
                    images, uniform(len(images.wrong), size, effort.windows, rng), reference, labellings, limits
                )
                for size, labellings in labellings_by_size.items()
            }
            found[cell.name] = row
            bar.update()
    return found


def uniform(images: int, size: int, windows: int, rng: np.random.Generator) -> list[Indices]:
    """Windows of some of the images, each as likely as any other."""
    return [rng.choice(images, size, replace=False) for _ in range(windows)]


def judged(
    images: Scored, windows: Sequence[Indices], reference: Reference, labellings: Labellings, limits: Limits,
    weights: Float64s | None = None,
) -> dict[str, float]:  # fmt: skip
    """Shares of windows noticed, alerted and with the truth in the interval; the estimate's error.

    The error is against the accuracy on all `images`, weighted as windows draw them.
    """
    noticed, alerted, off, held = list[bool](), list[bool](), list[float](), list[bool]()
    truth, model = 1 - float(np.average(images.wrong, weights=weights)), reference.learned.accuracy
    for pick in windows:
        p = test_window(labellings, images.scores[pick], images.predicted[pick]).p
        found = estimate(images.evidence.take(pick), reference.known, model)
        level = level_of(p, found.likely_loss, limits)
        noticed.append(level != "quiet")
        alerted.append(level == "alert")
        off.append(abs(found.accuracy - truth))
        held.append(found.low <= 1 - images.wrong[pick].mean() <= found.high)
    return {
        "noticed": float(np.mean(noticed)),
        "alerted": float(np.mean(alerted)),
        "mean_absolute_error": float(np.mean(off)),
        "coverage": float(np.mean(held)),
    }


def _rates(rates: Float64s) -> dict[str, Any]:
    """Mean rate and 95 % interval for each alpha, from rates (splits, alphas)."""
    error = rates.std(axis=0, ddof=1) / np.sqrt(len(rates)) if len(rates) > 1 else np.full(len(ALPHAS), np.nan)
    return {
        str(alpha): {
            "rate": float(rates[:, column].mean()),
            "interval_95": [float(rates[:, column].mean() + sign * 1.96 * error[column]) for sign in (-1, 1)],
            "worst_split": float(rates[:, column].max()),
            "splits": len(rates),
        }
        for column, alpha in enumerate(ALPHAS)
    }
