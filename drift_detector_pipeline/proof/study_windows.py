"""How often clean windows alarm, how often changed ones are found, and how far accuracy estimates are off.

In: `Material` and what was learned from it. Out: plain numbers. Read by the study.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.arrays import Float32s, Float64s, Indices, Labels
from drift_detector_pipeline.drift.accuracy import Evidence, estimate
from drift_detector_pipeline.drift.decision import Again, Limits, decide, labellings_for, scale_for
from drift_detector_pipeline.drift.inverse import undone
from drift_detector_pipeline.drift.permutation import Labellings, labellings_of, test_window
from drift_detector_pipeline.drift.reference import (
    Learned,
    Reference,
    estimate_by_look,
    evidence_of,
    mistakes,
    one_blas_thread,
    predictions,
    refer,
)
from drift_detector_pipeline.drift.scores.phi import phi
from drift_detector_pipeline.drift.scores.signals import SecondLook, Signals
from drift_detector_pipeline.proof.processes import in_processes
from drift_detector_pipeline.proof.study_material import SIZES, Cell, Material

ALPHAS = (0.01, 0.05)
RULES = ("0.01", *(f"{alpha} on average" for alpha in ALPHAS))  # the first kept by each reference, as is the default


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

    def rates(split: int) -> dict[str, Float64s]:
        rng = np.random.default_rng((seed, split))
        order = rng.permutation(len(scores))
        ref, rest = order[:reference], order[reference:]
        found = dict[str, Float64s]()
        for size in effort.sizes:
            labellings = labellings_of(
                scores[ref],
                predicted[ref],
                classes,
                size,
                scale,
                effort.permutations,
                seed + split,
                kept_alpha=ALPHAS[0],
            )
            picks = [rng.choice(rest, size, replace=False) for _ in range(effort.windows_per_split)]
            tests = [test_window(labellings, scores[pick], predicted[pick]) for pick in picks]
            kept, exact = (np.array(values) for values in zip(*((one.p, one.p_average) for one in tests), strict=True))
            found[str(size)] = np.array([(kept <= ALPHAS[0]).mean(), *((exact <= alpha).mean() for alpha in ALPHAS)])
        return found

    with one_blas_thread():
        splits = list(in_processes(rates, range(effort.splits), "false alarms"))
    return {size: _rates(np.array([split[size] for split in splits])) for size in splits[0]}


def references_for(
    material: Material, rules: Sequence[Learned], limits: Limits, sizes: Sequence[int]
) -> dict[int, tuple[Reference, dict[int, Labellings]]]:
    """A reference and what windows of each size are compared with, by the identity of what was learned."""
    classes, found = material.pool.logits.shape[1], {}
    for learned in rules:
        if id(learned) not in found:
            reference = refer(learned, material.ref, material.ref_labels, material.ref_looks)
            found[id(learned)] = reference, {size: labellings_for(reference, classes, size, limits) for size in sizes}
    return found


def detection(
    material: Material, cells: Sequence[Cell], learned_for: Callable[[str], Learned], effort: Effort, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """For each cell: true accuracy, its estimate, and by window size the shares that raise a notice and an alert.

    `learned_for` gives what may be known about a kind of change. Windows of which a copy was asked are fewer.
    """
    limits = Limits(permutations=effort.permutations)
    known = references_for(material, [learned_for(cell.kind) for cell in cells], limits, effort.sizes)

    def examined(number: int) -> dict[str, Any]:
        cell = cells[number]
        learned = learned_for(cell.kind)
        reference, labellings_by_size = known[id(learned)]
        images = scored(cell.signals, cell.labels, learned)
        rng = np.random.default_rng((seed, number))
        row: dict[str, Any] = {
            "kind": cell.kind, "severity": cell.severity, "accuracy": 1 - float(images.wrong.mean()),
            "estimated": _whole(cell, images, reference),
        }  # fmt: skip
        row["windows"] = {
            str(size): {
                "noticed": noticed(images, uniform(len(images.wrong), size, effort.windows, rng), labellings, limits),
                **asked(images, cell.signals, [look for look in cell.looks if len(look.rows) == size], reference,
                        labellings, limits, mended=cell.mended),
            }
            for size, labellings in labellings_by_size.items() if size <= len(images.wrong)
        }  # fmt: skip
        return row

    with one_blas_thread():
        rows = list(in_processes(examined, range(len(cells)), "detection"))
    return {cell.name: row for cell, row in zip(cells, rows, strict=True)}


def _whole(cell: Cell, images: Scored, reference: Reference) -> float | None:
    """The estimate for as many images of a cell as were asked about at once."""
    if not cell.looks:
        return None
    look = cell.looks[-1]
    if found := again_of(reference, look, cell.signals, cell.mended, looks_changed=True):
        return found.accuracy.accuracy
    return estimate(images.evidence.take(look.rows), reference.known, reference.learned.accuracy).accuracy


def uniform(images: int, size: int, windows: int, rng: np.random.Generator) -> list[Indices]:
    """Windows of some of the images, each as likely as any other."""
    return [rng.choice(images, size, replace=False) for _ in range(windows)]


def noticed(images: Scored, windows: Sequence[Indices], labellings: Labellings, limits: Limits) -> float:
    """The share of windows that raise a notice."""
    p = [test_window(labellings, images.scores[pick], images.predicted[pick]).p for pick in windows]
    return float(np.mean([value <= limits.alpha for value in p]))


def asked(
    images: Scored, signals: Signals, looks: Sequence[SecondLook], reference: Reference, labellings: Labellings,
    limits: Limits, truth: float | None = None, *, mended: Mapping[str, Signals] | None = None,
) -> dict[str, float]:  # fmt: skip
    """Of windows of one size with a second look: shares alerted, unknown, held; the estimate's error against `truth`.

    `truth`: the accuracy on all `images`, unless given; what an interval holds is the window's own.
    """
    if not looks:
        return {}
    truth = 1 - float(images.wrong.mean()) if truth is None else truth
    classes = [str(label) for label in range(signals.logits.shape[1])]
    found = [
        decide(
            reference, labellings, images.scores[look.rows], images.predicted[look.rows], classes, limits,
            partial(again_of, reference, look, signals, mended or {}),
        )
        for look in looks
    ]  # fmt: skip
    estimates = [one.accuracy for one in found]
    own = [1 - float(images.wrong[look.rows].mean()) for look in looks]
    return {
        "alerted": float(np.mean([one.level == "alert" for one in found])),
        "unknown": float(np.mean([not one.known for one in estimates])),
        "mean_absolute_error": float(np.mean([abs(one.accuracy - truth) for one in estimates])),
        "bias": float(np.mean([one.accuracy for one in estimates])) - truth,
        "coverage": float(np.mean([one.low <= right <= one.high for one, right in zip(estimates, own, strict=True)])),
        "width": float(np.mean([one.high - one.low for one in estimates])),
    }


def again_of(
    reference: Reference, look: SecondLook, signals: Signals, mended: Mapping[str, Signals], looks_changed: bool
) -> Again | None:
    """What a detector would know of a window once it has looked again; see `drift.inverse.asker`."""
    own = signals.take(look.rows)
    if mended and (found := undone(reference, own, lambda kind, rows: mended[kind].take(look.rows[rows]))):
        return found
    by_copy = estimate_by_look(reference, look, signals) if looks_changed else None
    return by_copy and Again(by_copy)


def _rates(rates: Float64s) -> dict[str, Any]:
    """Mean rate and 95 % interval for RULES, from rates (splits, RULES)."""
    error = rates.std(axis=0, ddof=1) / np.sqrt(len(rates)) if len(rates) > 1 else np.full(len(RULES), np.nan)
    return {
        rule: {
            "rate": float(rates[:, column].mean()),
            "interval_95": [float(rates[:, column].mean() + sign * 1.96 * error[column]) for sign in (-1, 1)],
            "worst_split": float(rates[:, column].max()),
            "splits": len(rates),
        }
        for column, rule in enumerate(RULES)
    }
