"""Whose rate of false notices is bounded? `python -m drift_detector_pipeline.proof.promise_study RUN references=60`.

In: a finished run and its processed data. Out: reports/drift_promise_<data>.json and a table. For each number of
reference and window images: the own rate of many references under both promises of `drift.promise`, in three worlds of
unlimited truth, and what the promise for one reference costs in corrupted windows noticed.

The worlds: the scores of all clean images of the run, each drawn as often as chance will (a reference and its windows
taken apart from one pool would share that pool's luck, the other way round); correlated normal scores; heavy-tailed
ones.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Labels
from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, progress_bar, set_up_logging
from drift_detector_pipeline.corruptions.corrupt import KINDS, corrupt
from drift_detector_pipeline.drift.permutation import Labellings, Scale, labellings_of, scale_of, test_window
from drift_detector_pipeline.drift.promise import KEPT
from drift_detector_pipeline.drift.reference import one_blas_thread, predictions
from drift_detector_pipeline.drift.scores.module_forward import through
from drift_detector_pipeline.drift.scores.phi import Parameters, fit_scores, phi
from drift_detector_pipeline.drift.scores.signals import Forward, read_signals
from drift_detector_pipeline.drift.twins import make_twins
from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.modeling.trained import open_trained
from drift_detector_pipeline.processed.roles import crops_of, roles_of
from drift_detector_pipeline.runs.facts import now, package_versions, this_command
from drift_detector_pipeline.runs.machine import prepared
from drift_detector_pipeline.runs.receipts import newest_finished, read_receipt
from drift_detector_pipeline.settings import Run

ALPHA, PERMUTATIONS = 0.01, 999
REFERENCES, SIZES = (400, 2000), (32, 64, 128, 256)
EXTREMES = SIZES[0], SIZES[-1]
SEVERITIES = (1, 3)  # of the corruptions that power is measured on
DEFAULTS = {"references": 60, "windows": 3000, "images": 600, "twins": 200, "power": 40, "seed": 0}
_FIRST, _CLEAR = 100, 0.1  # a window whose p of so many labellings is above this is not asked further

Draw = Callable[[int, np.random.Generator], tuple[Float32s, Labels]]  # so many independent images


class World(NamedTuple):
    """Where references and windows come from."""

    scale: Scale
    classes: int
    draw: Draw


@exit_status
def main() -> int:
    """Study the run named on the command line, or the newest finished one."""
    command = read_command(sys.argv[1:])
    numbers = DEFAULTS | _numbers(command.overrides)
    set_up_logging()
    found = study(command.target or newest_finished(), numbers)
    report = Path("reports") / f"drift_promise_{found['data']}.json"
    report.parent.mkdir(exist_ok=True)
    write_json(report, found)
    print(as_text(found))
    log.info("%s", report)
    return 0


def study(folder: Path, numbers: dict[str, int]) -> dict[str, Any]:
    """Measure everything. Raises a PipelineError if the run has no receipt or its data are others."""
    started, processed = time.perf_counter(), read_receipt(folder).data()
    roles, labels = roles_of(processed), processed.images.labels
    with prepared(load_section(Run, ["run.precision=fp32"])) as machine:
        trained = open_trained(folder / "final_model.safetensors", machine)
        forward, side = through(trained.network.module, trained.network.mean, trained.network.std), trained.img_size
        fit = crops_of(processed, roles.fit, side)
        twins = make_twins(fit, forward, count=numbers["twins"], seed=numbers["seed"])
        clean = crops_of(processed, np.concatenate([roles.ref, roles.pool]), side)
        with one_blas_thread():
            parameters = fit_scores(read_signals(fit, forward), labels[roles.fit], twins, side)
        signals = read_signals(clean, forward)
        scores, predicted, classes = phi(signals, parameters), predictions(signals), signals.logits.shape[1]
        some = np.random.default_rng(numbers["seed"]).choice(len(clean), numbers["images"], replace=False)
        changed = _corrupted(clean[some], forward, parameters, numbers["seed"])
    scale = scale_of(parameters.centre, parameters.covariance, parameters.axes.features.weights.shape[1], 1)
    measured = World(scale, classes, _drawer(scores, predicted))
    worlds = {"measured": measured, "normal": synthetic(None), "heavy tails": synthetic(3.0)}
    with one_blas_thread():
        rates = {
            name: own_rates(world, numbers, SIZES if world is measured else EXTREMES) for name, world in worlds.items()
        }
        power = noticed(measured, changed, numbers)
    return {
        "data": processed.folder.name, "weights_sha256": trained.sha256, "numbers": numbers, "alpha": ALPHA,
        "permutations": PERMUTATIONS, "kept": KEPT, "clean_images": len(scores), "own_rates": rates, "power": power,
        "margins": margins(measured, numbers["seed"]), "command": this_command(), "when": now(),
        "packages": package_versions(), "minutes": round((time.perf_counter() - started) / 60, 1),
    }  # fmt: skip


def synthetic(freedom: float | None, columns: int = 40, features: int = 10, classes: int = 10) -> World:
    """Correlated scores, normal or with Student's tails of some degrees of freedom; the class goes with the scores."""
    mixing = np.random.default_rng(0).normal(size=(columns, columns)) / np.sqrt(columns) + np.eye(columns)

    def draw(images: int, rng: np.random.Generator) -> tuple[Float32s, Labels]:
        raw = rng.normal(size=(images, columns)) if freedom is None else rng.standard_t(freedom, (images, columns))
        scores = raw @ mixing
        return scores.astype(np.float32), scores[:, -classes:].argmax(axis=1)

    many, _ = draw(5000, np.random.default_rng(1))
    scale = scale_of(many.mean(axis=0), np.cov(many.T).astype(np.float32), features)
    return World(scale, classes, draw)


def own_rates(world: World, numbers: dict[str, int], sizes: tuple[int, ...] = SIZES) -> dict[str, Any]:
    """For each n and m, the rate of false notices of each of some references, under both promises."""
    found: dict[str, Any] = {}
    cells = [(images, size) for images in REFERENCES for size in sizes]
    with progress_bar(total=len(cells) * numbers["references"], title="own rates", unit=" references") as bar:
        for images, size in cells:
            rng = np.random.default_rng((numbers["seed"], images, size))
            rates, used = list[tuple[float, float]](), list[float]()
            for number in range(numbers["references"]):
                labellings = prepare(world, images, size, rng, number)
                rates.append(_own_rate(world, labellings, numbers["windows"], rng))
                used.append(labellings.margin)
                bar.update()
            found[f"{images} {size}"] = _summary(np.array(rates), used)
    return found


def prepare(world: World, images: int, size: int, rng: np.random.Generator, seed: int) -> Labellings:
    """A reference of so many images, ready for windows of `size`."""
    scores, predicted = world.draw(images, rng)
    return labellings_of(
        scores, predicted, world.classes, size, world.scale, PERMUTATIONS, seed, kept_alpha=ALPHA
    )  # fmt: skip


def noticed(world: World, changed: dict[str, tuple[Float32s, Labels]], numbers: dict[str, int]) -> dict[str, Any]:
    """Shares of corrupted windows that are noticed under both promises: means over cells, a reference a window."""
    found: dict[str, Any] = {}
    for images in REFERENCES:
        for size in (16, *SIZES):
            rng = np.random.default_rng((numbers["seed"], images, size))
            hits = dict[str, list[tuple[bool, bool]]]({name: [] for name in changed})
            for number in range(numbers["power"]):
                labellings = prepare(world, images, size, rng, number)
                for name, (scores, predicted) in changed.items():
                    pick = rng.choice(len(scores), size, replace=False)
                    tested = test_window(labellings, scores[pick], predicted[pick])
                    hits[name].append((tested.p_average <= ALPHA, tested.p <= ALPHA))
            shares = {name: np.mean(values, axis=0).tolist() for name, values in hits.items()}
            average, reference = np.mean(list(shares.values()), axis=0).tolist()
            found[f"{images} {size}"] = {"average": average, "reference": reference, "cells": shares}
    return found


def margins(world: World, seed: int) -> dict[str, dict[str, float]]:
    """The margin by reference and window size, to see from where on it is nearly 1."""
    rng = np.random.default_rng(seed)
    return {
        str(images): {str(size): prepare(world, images, size, rng, seed).margin for size in (16, *SIZES)}
        for images in (200, 400, 1000, 2000, 5000, 10000)
    }


def as_text(found: dict[str, Any]) -> str:
    """The main figures as lines to read, in percent."""
    lines = [f"{found['data']}: share of references above {100 * ALPHA:g} %, mean of own rates, worst of 20"]
    for world, cells in found["own_rates"].items():
        for name, cell in cells.items():
            both = "  ".join(
                f"{promise}: {100 * row['above']:.0f}, {100 * row['mean']:.2f}, {100 * row['worst_of_20']:.2f}"
                for promise, row in ((key, cell[key]) for key in ("average", "reference"))
            )
            lines.append(f"{world}, {name}: {both}  margin {cell['margin']:.3f}")
    for name, row in found["power"].items():
        lines.append(f"noticed, {name}: average {100 * row['average']:.1f}, reference {100 * row['reference']:.1f}")
    return "\n".join(lines)


def _own_rate(world: World, labellings: Labellings, windows: int, rng: np.random.Generator) -> tuple[float, float]:
    """Shares of clean windows noticed: (average, reference). Windows that are clearly quiet cost a tenth."""
    first = labellings._replace(chosen=labellings.chosen[:_FIRST], sums=labellings.sums[:_FIRST], margin=1.0)
    average = reference = 0
    for _ in range(windows):
        window = world.draw(labellings.size, rng)
        if test_window(first, *window).p <= _CLEAR:
            tested = test_window(labellings, *window)
            average += tested.p_average <= ALPHA
            reference += tested.p <= ALPHA
    return average / windows, reference / windows


def _summary(rates: Any, margins_used: list[float]) -> dict[str, Any]:
    found: dict[str, Any] = {"margin": float(np.mean(margins_used))}
    for column, name in enumerate(("average", "reference")):
        own = rates[:, column]
        found[name] = {
            "mean": float(own.mean()), "above": float((own > ALPHA).mean()),
            "worst_of_20": float(np.quantile(own, KEPT)), "rates": own.tolist(),
        }  # fmt: skip
    return found


def _drawer(scores: Float32s, predicted: Labels) -> Draw:
    def draw(images: int, rng: np.random.Generator) -> tuple[Float32s, Labels]:
        pick = rng.integers(len(scores), size=images)
        return scores[pick], predicted[pick]

    return draw


def _corrupted(clean: Any, forward: Forward, parameters: Parameters, seed: int) -> dict[str, tuple[Float32s, Labels]]:
    found = dict[str, tuple[Float32s, Labels]]()
    for kind in KINDS:
        for severity in SEVERITIES:
            images = corrupt(clean, kind, severity, keys=list(range(len(clean))), seed=seed + 1)
            signals = read_signals(images, forward)
            found[f"{kind} {severity}"] = phi(signals, parameters), predictions(signals)
    return found


def _numbers(words: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in DEFAULTS or not value.isdecimal():
            raise ConfigError(f"{word}: expected one of {', '.join(f'{key}=NUMBER' for key in DEFAULTS)}")
        found[name] = int(value)
    return found


if __name__ == "__main__":
    sys.exit(main())
