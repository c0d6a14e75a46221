"""Is the cause named rightly? `python -m drift_detector_pipeline.proof.cause_study RUN images=300 windows=20`.

In: a finished run and its processed data. Out: reports/cause_study_<data>.json and a picture of what is named for what.
Windows of `pool`, which nothing was learned from, changed in every way and strength that is known, with other random
numbers; the same with the cause left out of what is known; strengths between the known ones, two changes at once, other
class mixes. Only windows that raise a notice count, for only they are asked.
"""

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure

from drift_detector_pipeline.arrays import Float64s, Indices, Labels, Pixels
from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, progress_bar, set_up_logging
from drift_detector_pipeline.corruptions.corrupt import FAMILIES, generator
from drift_detector_pipeline.corruptions.faults import FAULTS, change, levels_of
from drift_detector_pipeline.drift.cause import MIX, UNKNOWN, Cause, Seen, find_cause
from drift_detector_pipeline.drift.causes import Causes
from drift_detector_pipeline.drift.decision import Limits, labellings_for
from drift_detector_pipeline.drift.permutation import Labellings, test_window
from drift_detector_pipeline.drift.reference import Reference, learn, one_blas_thread, predictions, refer
from drift_detector_pipeline.drift.scores.module_forward import through
from drift_detector_pipeline.drift.scores.phi import describe_scores, phi
from drift_detector_pipeline.drift.scores.signals import Forward, read_signals
from drift_detector_pipeline.drift.twins import CHANGES, make_twins
from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.figures import figure_png
from drift_detector_pipeline.files import write_atomically, write_json
from drift_detector_pipeline.modeling.trained import open_trained
from drift_detector_pipeline.processed.roles import crops_of, roles_of
from drift_detector_pipeline.proof.study_material import MIXES
from drift_detector_pipeline.runs.facts import now, package_versions, this_command
from drift_detector_pipeline.runs.machine import instruction_set, prepared
from drift_detector_pipeline.runs.receipts import newest_finished, read_receipt
from drift_detector_pipeline.settings import Run

SIZES = (16, 64, 256)
PAIRS = 60  # of two changes at once, of different families or groups
SAID = 0.2  # probability from which on the second likeliest kind is said, too
DEFAULTS = {"images": 300, "windows": 20, "seed": 0}


class World(NamedTuple):
    """What a window is judged by, and what of."""

    reference: Reference
    content: Any  # (S,) bool
    pool: Pixels
    labels: Labels
    clean: Seen
    see: Callable[[Pixels], Seen]


class Told(NamedTuple):
    """A window that raised a notice."""

    kind: str
    level: float
    cause: Cause


@exit_status
def main() -> int:
    """Study the run named on the command line, or the newest finished one."""
    command = read_command(sys.argv[1:])
    numbers = dict(DEFAULTS)
    for word in command.overrides:
        name, _, value = word.partition("=")
        if name not in DEFAULTS or not value.isdecimal():
            raise ConfigError(f"{word}: expected {', '.join(f'{key}=NUMBER' for key in DEFAULTS)}")
        numbers[name] = int(value)
    set_up_logging()
    found = study(command.target or newest_finished(), numbers)
    report = Path("reports") / f"cause_study_{found['data']}.json"
    report.parent.mkdir(exist_ok=True)
    write_json(report, found)
    write_atomically(report.with_suffix(".png"), figure_png(confusion_chart(found)))
    for size, row in found["sizes"].items():
        print(size, {name: value for name, value in row.items() if not isinstance(value, dict)}, row["mixes"])
    log.info("%s %s", report, report.with_suffix(".png"))
    return 0


def study(folder: Path, numbers: dict[str, int]) -> dict[str, Any]:
    """Do the whole study. Raises a PipelineError if the run has no receipt, no `fit` split or other data."""
    started, processed = time.perf_counter(), read_receipt(folder).data()
    roles, labels = roles_of(processed), processed.images.labels
    with prepared(load_section(Run, ["run.precision=fp32"])) as machine, one_blas_thread():
        trained = open_trained(folder / "final_model.safetensors", machine)
        forward = through(trained.network.module, trained.network.mean, trained.network.std)
        fit, ref, pool = (crops_of(processed, indices, trained.img_size) for indices in roles)
        twins = make_twins(fit, forward, kinds=CHANGES, seed=numbers["seed"])
        learned = learn(read_signals(fit, forward), labels[roles.fit], twins, trained.img_size)
        reference = refer(learned, read_signals(ref, forward), labels[roles.ref])
        sizes = examine(_world(reference, forward, pool, labels[roles.pool]), numbers)
    return {
        "data": processed.folder.name, "data_fingerprint": processed.fingerprint, "weights_sha256": trained.sha256,
        "model": trained.architecture, "side_px": trained.img_size, "numbers": numbers, "reference_images": len(ref),
        "images_a_fault": min(len(twin.rows) for twin in twins), "pool_images": len(pool), "sizes": sizes,
        "command": this_command(), "when": now(), "instruction_set": instruction_set(torch.device("cpu")),
        "packages": package_versions(), "minutes": round((time.perf_counter() - started) / 60, 1),
    }  # fmt: skip


def examine(world: World, numbers: dict[str, int]) -> dict[str, Any]:
    """By window size: shares named rightly, unknown and so on, each a mean over kinds of change."""
    cells = {
        "known": list(_cells(world, numbers, _known())),
        "between": list(_cells(world, numbers, _between())),
        "pairs": list(_cells(world, numbers, _pairs(numbers["seed"]))),
    }
    causes, found = world.reference.learned.causes, dict[str, Any]()
    if causes is None:
        raise ConfigError("nothing that is known moves these images' scores")
    with progress_bar(total=len(SIZES), title="windows", unit=" sizes") as bar:
        for size in SIZES:
            rng = np.random.default_rng((numbers["seed"], size))
            labellings = labellings_for(world.reference, len(causes.counts), size, Limits())
            ask = _asker(world, labellings, size, numbers["windows"], rng)
            known = [one for name, level, seen in cells["known"] for one in ask(name, level, seen, causes)]
            out = [one for name, level, seen in cells["known"] for one in ask(name, level, seen, without(causes, name))]
            others = {
                name: [one for cell in cells[name] for one in ask(*cell, causes)] for name in ("between", "pairs")
            }
            mixes = {name: _mixed(world, size, factor, ask, causes) for name, factor in MIXES.items()}
            found[str(size)] = _measured(known, out, others, mixes)
            bar.update()
    return found


def without(causes: Causes, kind: str) -> Causes:
    """The same knowledge but for one kind."""
    kept = causes.kinds != kind
    parts = ("kinds", "levels", "images", "moves", "spreads")
    return causes._replace(**{part: getattr(causes, part)[kept] for part in parts})


def confusion_chart(found: dict[str, Any], size: int = 64) -> Figure:
    """Draw what is named (columns) for what was done (rows), darker the more often, at one window size."""
    table = found["sizes"][str(size)]["named"]
    rows = list(table)
    columns = [*rows, MIX, UNKNOWN]
    shares = np.array([[table[row].get(column, 0) / sum(table[row].values()) for column in columns] for row in rows])
    figure = Figure((10, 9.6), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Greys", vmin=0, vmax=1)
    axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=6)
    axes.set_yticks(range(len(rows)), rows, fontsize=6)
    axes.set(xlabel=f"named, windows of {size} images", ylabel="done")
    return figure


def _world(reference: Reference, forward: Forward, pool: Pixels, labels: Labels) -> World:
    parameters = reference.learned.parameters

    def see(images: Pixels) -> Seen:
        signals = read_signals(images, forward)
        return Seen(phi(signals, parameters), predictions(signals))

    content = np.array([score.group in ("outputs", "features") for score in describe_scores(parameters)])
    return World(reference, content, pool, labels, see(pool), see)


Changer = Callable[[Pixels, Indices, int], Pixels]  # images, keys, seed


def _known() -> Iterator[tuple[str, float, Changer]]:
    for kind in CHANGES:
        for level in levels_of(kind):
            yield kind, level, partial(_changed, ((kind, level),))


def _between() -> Iterator[tuple[str, float, Changer]]:
    """Faults at strengths halfway between two levels, on a scale of ratios."""
    for name, fault in FAULTS.items():
        for level, (one, other) in enumerate(pairwise(fault.strengths), start=1):
            yield name, level + 0.5, partial(_at_strength, name, (one * other) ** 0.5)


def _pairs(seed: int) -> Iterator[tuple[str, float, Changer]]:
    """Two changes, one after the other, of different families or groups."""
    rng, made = np.random.default_rng(seed), 0
    groups = {kind: family for family, kinds in FAMILIES.items() for kind in kinds}
    groups |= {name: fault.group for name, fault in FAULTS.items()}
    while made < PAIRS:
        kinds = rng.choice(CHANGES, 2, replace=False).tolist()
        steps = tuple((kind, int(rng.choice(levels_of(kind)))) for kind in kinds)
        if groups[kinds[0]] != groups[kinds[1]]:
            made += 1
            yield "+".join(kinds), 0.0, partial(_changed, steps)


def _changed(steps: Sequence[tuple[str, int]], images: Pixels, keys: Indices, seed: int) -> Pixels:
    for kind, level in steps:
        images = change(images, kind, level, keys=keys.tolist(), seed=seed)
    return images


def _at_strength(name: str, strength: float, images: Pixels, keys: Indices, seed: int) -> Pixels:
    return FAULTS[name].function(images, [generator(name, seed, int(key)) for key in keys], strength)


def _cells(
    world: World, numbers: dict[str, int], changes: Iterable[tuple[str, float, Changer]]
) -> Iterator[tuple[str, float, Seen]]:
    rng = np.random.default_rng(numbers["seed"])
    for kind, level, does in changes:
        rows = np.sort(rng.choice(len(world.pool), min(numbers["images"], len(world.pool)), replace=False))
        yield kind, level, world.see(np.ascontiguousarray(does(world.pool[rows], rows, numbers["seed"] + 1)))


Ask = Callable[..., list[Told]]


def _asker(world: World, labellings: Labellings, size: int, windows: int, rng: np.random.Generator) -> Ask:
    usual = Seen(world.reference.scores, world.reference.predicted)
    names = [str(number) for number in range(labellings.classes)]

    def ask(kind: str, level: float, seen: Seen, causes: Causes, weights: Float64s | None = None) -> list[Told]:
        told = list[Told]()
        for _ in range(windows):
            pick = rng.choice(len(seen.predicted), size, replace=size > len(seen.predicted), p=weights)
            window = Seen(seen.scores[pick], seen.predicted[pick])
            if test_window(labellings, *window).p <= Limits().alpha:
                told.append(Told(kind, level, find_cause(causes, usual, window, names, world.content)))
        return told

    return ask


def _mixed(world: World, size: int, factor: Callable[[int], float], ask: Ask, causes: Causes) -> Counter[str]:
    classes, told = len(causes.counts), Counter[str]()
    for label in range(classes):
        each = np.where(world.labels == label, factor(classes), 1.0)
        if size * (each / each.sum()).max() <= 0.5:  # else one image would come again and again
            told.update(one.cause.kind for one in ask(MIX, 0.0, world.clean, causes, each / each.sum()))
    return told


def _measured(
    known: Sequence[Told], out: Sequence[Told], others: dict[str, list[Told]], mixes: dict[str, Counter[str]]
) -> dict[str, Any]:
    named = defaultdict[str, Counter[str]](Counter)
    for one in known:
        named[one.kind][one.cause.kind] += 1
    right = [one for one in known if one.cause.kind == one.kind]
    graded = [one for one in right if max(levels_of(one.kind)) > 1 and one.cause.severity is not None]
    return {
        "right": _mean((one.kind, one.cause.kind == one.kind) for one in known),
        "right_or_said_second": _mean((one.kind, one.kind in _said(one.cause)) for one in known),
        "severity_within_one": _mean((one.kind, abs((one.cause.severity or 0) - one.level) <= 1) for one in graded),
        "unknown_if_known": _mean((one.kind, one.cause.kind == UNKNOWN) for one in known),
        "unknown_if_left_out": _mean((one.kind, one.cause.kind == UNKNOWN) for one in out),
        "between_right": _mean((one.kind, one.cause.kind == one.kind) for one in others["between"]),
        "between_unknown": _mean((one.kind, one.cause.kind == UNKNOWN) for one in others["between"]),
        "pairs_both": _mean((one.kind, _two(one.cause) == set(one.kind.split("+"))) for one in others["pairs"]),
        "pairs_one_of_them": _mean((one.kind, one.cause.kind in one.kind.split("+")) for one in others["pairs"]),
        "pairs_unknown": _mean((one.kind, one.cause.kind == UNKNOWN) for one in others["pairs"]),
        "windows": len(known),
        "mixes": {
            name: {"noticed": sum(told.values()), "mix": told[MIX], "others": dict(told.most_common(4))}
            for name, told in mixes.items()
        },
        "named": {kind: dict(counts.most_common()) for kind, counts in named.items()},
        "left_out": {
            kind: dict(Counter(one.cause.kind for one in out if one.kind == kind).most_common(4))
            for kind in dict.fromkeys(one.kind for one in out)
        },
    }


def _said(cause: Cause) -> set[str]:
    return {cause.kind, *(kind for kind, chance in cause.alternatives[:1] if chance >= SAID)}


def _two(cause: Cause) -> set[str | None]:
    return {cause.kind, cause.second}


def _mean(held: Iterable[tuple[str, bool]]) -> float | None:
    """The mean over kinds of the share of windows for which something holds."""
    by_kind = defaultdict[str, list[bool]](list)
    for kind, holds in held:
        by_kind[kind].append(holds)
    return float(np.mean([np.mean(own) for own in by_kind.values()])) if by_kind else None


if __name__ == "__main__":
    sys.exit(main())
