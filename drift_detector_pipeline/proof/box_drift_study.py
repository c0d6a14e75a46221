"""The proof for boxes: `python -m drift_detector_pipeline.proof.box_drift_study RUN others=FOLDER name=bccd`.

In: a finished run whose task is boxes, and a processed folder of the same kind of images whose `val` no reference
holds. Out: reports/drift_boxes_<name>.json: false notices, how often changes are noticed, and how far off mAP50 is for
changes of a family that was left out, beside the mean confidence and a KS test of box scores.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import ks_2samp, norm

from drift_detector_pipeline.arrays import Float32s, Float64s, Indices, Labels
from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.corruptions.corrupt import FAMILIES
from drift_detector_pipeline.drift.boxes.phi import (
    BoxParameters,
    box_phi,
    box_scale,
    describe_box_scores,
    fit_box_scores,
    predicted_classes,
)
from drift_detector_pipeline.drift.boxes.signals import BoxSignals
from drift_detector_pipeline.drift.boxes.worth import estimate_worth, learn_worth, map50_of, usual_of
from drift_detector_pipeline.drift.permutation import labellings_of, scale_of, test_window
from drift_detector_pipeline.drift.reference import one_blas_thread
from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.modeling.trained import open_trained
from drift_detector_pipeline.proof.box_material import BoxMaterial, box_material
from drift_detector_pipeline.runs.facts import now, package_versions, this_command
from drift_detector_pipeline.runs.machine import prepared
from drift_detector_pipeline.runs.receipts import read_receipt
from drift_detector_pipeline.settings import Run

SIZES, ALPHA = (16, 32, 64), 0.01
SPLITS, TRIES, IMAGES = 200, 20, 40
ESTIMATED = 32  # images of a window whose mAP50 is estimated

Test = Callable[[Indices], float]  # rows of a window -> p


@exit_status
def main() -> int:
    """Study the run named on the command line."""
    command = read_command(sys.argv[1:])
    words = dict(word.partition("=")[::2] for word in command.overrides)
    if command.target is None or words.keys() != {"others", "name"}:
        raise ConfigError("expected a run, others=PROCESSED_FOLDER with images that no reference holds, and name=NAME")
    set_up_logging()
    started, folder = time.perf_counter(), command.target
    with prepared(load_section(Run, ["run.precision=fp32"])) as machine:
        trained = open_trained(folder / "final_model.safetensors", machine)
        material = box_material(trained, read_receipt(folder).data(), Path(words["others"]), IMAGES)
    facts = {
        "data": words["name"], "weights_sha256": trained.sha256, "model": trained.architecture,
        "command": this_command(), "when": now(), "packages": package_versions(),
    }  # fmt: skip
    with one_blas_thread():
        found = facts | examine(material, trained.classes)
    found["minutes"] = round((time.perf_counter() - started) / 60, 1)
    report = Path("reports") / f"drift_boxes_{words['name']}.json"
    report.parent.mkdir(exist_ok=True)
    write_json(report, found)
    log.info("%s", report)
    return 0


def examine(material: BoxMaterial, classes: Sequence[str]) -> dict[str, Any]:
    """Everything that is measured, from the signals alone."""
    parameters = fit_box_scores(material.fit.signals, material.fit.truth, material.twins, classes)
    return {
        "images": {name: len(getattr(material, name).truth) for name in ("fit", "ref", "pool")},
        "map50": {
            name: map50_of(one.signals.found, one.truth, len(classes))
            for name, one in (("fit", material.fit), ("ref", material.ref), ("pool", material.pool))
        },
        "scores": len(parameters.centre), "threshold": parameters.threshold,
        "false_notices": _false_notices(material, parameters, len(classes)),
        "windows_of_a_change": TRIES, "noticed": _noticed(material, classes),
        "noticed_family_left_out": _noticed(material, classes, left_out=True),
        "other_contents": _other_contents(material, parameters, classes),
        "estimates": _estimates(material, parameters, len(classes)),
    }  # fmt: skip


class Rows:
    """Images as tests see them."""

    def __init__(self, parts: Sequence[BoxSignals], parameters: BoxParameters, classes: int) -> None:
        self.scores = np.concatenate([box_phi(one, parameters) for one in parts])
        self.predicted = np.concatenate([predicted_classes(one.found, parameters, classes) for one in parts])
        self.boxes = [found.scores for one in parts for found in one.found]
        self._parameters, self._classes = parameters, classes

    def tests(self, reference: Indices, size: int, seed: int = 0) -> dict[str, Test]:
        """Tests of windows of `size` against some of these, by name: ours, without boxes, and two of today."""
        names = [one.name for one in describe_box_scores(self._parameters)]
        groups = np.array([one.group for one in describe_box_scores(self._parameters)])
        looks = np.isin(groups, ("pixels", "directions"))
        sure = self.scores[:, names.index("sureness")].astype(np.float64)
        return {
            "ours": self._permuted(reference, size, np.ones(len(groups), np.bool_), seed),
            "looks alone": self._permuted(reference, size, looks, seed),
            "boxes alone": self._permuted(reference, size, groups == "outputs", seed),
            "mean confidence": lambda rows: float(_welch(sure[rows], sure[reference])),
            "KS of box scores": lambda rows: float(
                ks_2samp(self._of_boxes(rows), self._of_boxes(reference), method="asymp").pvalue
            ),
        }

    def _of_boxes(self, rows: Indices) -> Float32s:
        return np.concatenate([self.boxes[row] for row in rows.tolist()])

    def _permuted(self, reference: Indices, size: int, columns: Any, seed: int) -> Test:
        known, some = self._parameters, np.flatnonzero(columns)
        part = scale_of(known.centre[some], known.covariance[np.ix_(some, some)])
        scale = box_scale(known) if columns.all() else part
        one_class: Labels = self.predicted if columns.all() else np.zeros(len(self.predicted), np.int64)
        ways = labellings_of(
            self.scores[reference][:, columns], one_class[reference], self._classes + 1, size, scale, seed=seed
        )
        return lambda rows: test_window(ways, self.scores[rows][:, columns], one_class[rows]).p


def _welch(one: Float64s, other: Float64s) -> float:
    """The p of equal means, of large samples."""
    error = np.sqrt(one.var() / len(one) + other.var() / len(other)) + 1e-12
    return float(2 * norm.sf(abs(one.mean() - other.mean()) / error))


def _false_notices(material: BoxMaterial, parameters: BoxParameters, classes: int, seed: int = 0) -> dict[str, Any]:
    """The share of windows without change that each test notices: references and windows are random splits."""
    rows = Rows([material.ref.signals, material.pool.signals], parameters, classes)
    rng, known = np.random.default_rng(seed), len(material.ref.truth)
    found = dict[str, Any]()
    for size in SIZES:
        noticed = dict[str, int]()
        for split in range(SPLITS):
            order = rng.permutation(len(rows.predicted))
            for name, test in rows.tests(order[:known], size, split).items():
                noticed[name] = noticed.get(name, 0) + (test(order[known : known + size]) <= ALPHA)
        found[str(size)] = {name: count / SPLITS for name, count in noticed.items()}
    return {"splits": SPLITS, "alpha": ALPHA, "by_size": found}


def _noticed(material: BoxMaterial, classes: Sequence[str], left_out: bool = False) -> dict[str, Any]:
    """The share of changed windows that each test notices, by level and size, over all kinds.

    `left_out`: nothing is learned from changes of a kind's own family.
    """
    found = dict[str, dict[str, list[float]]]()
    for kinds in FAMILIES.values():
        learned = [twin for twin in material.twins if not left_out or twin.kind not in kinds]
        parameters = fit_box_scores(material.fit.signals, material.fit.truth, learned, classes)
        cells = [cell for cell in material.cells if cell.kind in kinds]
        parts = [(f"level {cell.severity}", cell.signals) for cell in cells]
        for name, test, share in _shares(material, parameters, len(classes), parts):
            found.setdefault(name, {}).setdefault(test, []).append(share)
    return {name: {test: float(np.mean(values)) for test, values in own.items()} for name, own in found.items()}


def _other_contents(material: BoxMaterial, parameters: BoxParameters, classes: Sequence[str]) -> dict[str, Any]:
    """The same of clean pool images that were chosen by their true boxes: their looks are as they were."""
    counts = np.array([np.bincount(one.labels, minlength=len(classes)) for one in material.pool.truth])
    half = len(counts) // 2
    order = np.argsort(counts.sum(axis=1), kind="stable")
    chosen = {"half with the fewest boxes": order[:half], "half with the most boxes": order[-half:]}
    chosen |= {f"without {name}": np.flatnonzero(counts[:, one] == 0) for one, name in enumerate(classes)}
    parts = [(name, material.pool.signals.take(rows)) for name, rows in chosen.items() if len(rows) >= SIZES[0]]
    found = dict[str, dict[str, float]]()
    for name, test, share in _shares(material, parameters, len(classes), parts):
        found.setdefault(name, {})[test] = share
    return found


def _shares(
    material: BoxMaterial, parameters: BoxParameters, classes: int, parts: Sequence[tuple[str, BoxSignals]]
) -> Iterator[tuple[str, str, float]]:
    """Of windows drawn from each of `parts`: what and how many images, which test, the share that it notices."""
    rng, known = np.random.default_rng(0), len(material.ref.truth)
    rows = Rows([material.ref.signals, *(signals for _, signals in parts)], parameters, classes)
    starts = np.cumsum([known, *(len(signals.found) for _, signals in parts)])
    for size in SIZES:
        tests = rows.tests(np.arange(known), size)
        for start, (name, signals) in zip(starts, parts, strict=False):
            if size > len(signals.found):
                continue
            drawn = [start + rng.choice(len(signals.found), size, replace=False) for _ in range(TRIES)]
            for test, one in tests.items():
                yield f"{name}, {size} images", test, float(np.mean([one(window) <= ALPHA for window in drawn]))


def _estimates(material: BoxMaterial, parameters: BoxParameters, classes: int, seed: int = 0) -> dict[str, Any]:
    """How far mAP50 is off for pool images of each family when that was left out of what was learned."""
    rng, rows = np.random.default_rng(seed), list[dict[str, Any]]()
    for family, worth, confident in _left_out(material, parameters, classes):
        usual = usual_of(material.ref.signals.found, material.ref.truth, worth, classes)
        for cell in (cell for cell in material.cells if cell.kind in FAMILIES[family]):
            true = [material.pool.truth[row] for row in cell.rows.tolist()]
            whole = estimate_worth(cell.signals.found, usual, worth)
            some = rng.choice(len(true), ESTIMATED, replace=False).tolist()
            part = estimate_worth([cell.signals.found[one] for one in some], usual, worth)
            inside = map50_of([cell.signals.found[one] for one in some], [true[one] for one in some], classes)
            truth = map50_of(cell.signals.found, true, classes)
            rows.append(
                {
                    "kind": cell.kind, "level": cell.severity, "family": family, "map50": truth,
                    "estimate": whole.accuracy, "low": whole.low, "high": whole.high, "known": whole.known,
                    "by_confidence": usual.map50 + confident(cell.signals, material.ref.signals),
                    "unchanged": usual.map50, "window_map50": inside, "window_estimate": part.accuracy,
                    "window_low": part.low, "window_high": part.high,
                }
            )  # fmt: skip
    return {"windows": rows, "summary": _summary(rows)}


def _left_out(
    material: BoxMaterial, parameters: BoxParameters, classes: int
) -> Iterator[tuple[str, Any, Callable[[BoxSignals, BoxSignals], float]]]:
    """For each family what is learned without it, and a line through mean confidence alone."""
    threshold = parameters.threshold
    for family, kinds in FAMILIES.items():
        rest = [twin for twin in material.twins if twin.kind not in kinds]
        worth = learn_worth(material.fit.signals, material.fit.truth, rest, classes)
        usual = _confidence(material.fit.signals, threshold)
        before = map50_of(material.fit.signals.found, material.fit.truth, classes)
        moved = np.array([_confidence(twin.signals, threshold) - usual for twin in rest])
        fallen = [
            map50_of(twin.signals.found, [material.fit.truth[row] for row in twin.rows.tolist()], classes) - before
            for twin in rest
        ]
        slope = float(moved @ np.array(fallen) / (moved @ moved))

        def by_confidence(now: BoxSignals, then: BoxSignals, slope: float = slope) -> float:
            return slope * (_confidence(now, threshold) - _confidence(then, threshold))

        yield family, worth, by_confidence


def _confidence(signals: BoxSignals, threshold: float) -> float:
    """Mean score of the boxes that are shown."""
    shown = np.concatenate([one.scores[one.scores >= threshold] for one in signals.found])
    return float(shown.mean()) if len(shown) else threshold


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    known = [row for row in rows if row["known"]]

    def off(name: str, truth: str = "map50") -> dict[str, float]:
        errors = np.abs([row[name] - row[truth] for row in known])
        return {
            "mean": float(errors.mean()),
            "median": float(np.median(errors)),
            "nine_of_ten": float(np.quantile(errors, 0.9)),
        }

    def covered(prefix: str, truth: str) -> float:
        return float(np.mean([row[f"{prefix}low"] <= row[truth] <= row[f"{prefix}high"] for row in known]))

    by_family = {
        family: float(
            np.mean([abs(row["estimate"] - row["map50"]) for row in known if row["family"] == family] or [np.nan])
        )
        for family in FAMILIES
    }
    return {
        "changes": len(rows), "unknown": len(rows) - len(known), "ours": off("estimate"),
        "mean confidence": off("by_confidence"), "as if unchanged": off("unchanged"), "ours_by_family": by_family,
        f"ours, windows of {ESTIMATED}": off("window_estimate", "window_map50"),
        "inside": covered("", "map50"), f"inside, windows of {ESTIMATED}": covered("window_", "window_map50"),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
