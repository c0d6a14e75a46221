"""The proof: `python -m drift_detector_pipeline.proof.study RUN images=4000 windows=500 unseen=FOLDER`.

In: a finished run and its processed data; images of classes the model does not know, if there are any. Out:
reports/drift_study_<data>.json (of another seed than 0 <data>_seed<n>) and its pictures, with every cell: false alarms,
detection and accuracy estimates, once knowing the kinds of change, once with the family of each left out of everything
learned; benign changes, other class mixes, unseen classes; the methods people use today.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from drift_detector_pipeline.arrays import Indices, Pixels
from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.corruptions.corrupt import FAMILIES
from drift_detector_pipeline.corruptions.faults import FAULTS, GROUPS, family_of
from drift_detector_pipeline.drift.reference import Learned, learn, mistakes, one_blas_thread
from drift_detector_pipeline.drift.scores.module_forward import through
from drift_detector_pipeline.drift.scores.phi import missing
from drift_detector_pipeline.drift.scores.signals import Signals, read_signals
from drift_detector_pipeline.drift.twins import CHANGES
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.images.crops import read_crops
from drift_detector_pipeline.images.named_files import image_files
from drift_detector_pipeline.modeling.trained import Trained, open_trained
from drift_detector_pipeline.processed.manifest import Processed
from drift_detector_pipeline.processed.roles import crops_of, roles_of
from drift_detector_pipeline.proof.other_methods import accuracy_estimates, side_by_side
from drift_detector_pipeline.proof.processes import in_processes
from drift_detector_pipeline.proof.study_charts import draw_study, study_table
from drift_detector_pipeline.proof.study_material import SIZES, Cell, Labelled, Material, Parts, gather
from drift_detector_pipeline.proof.study_mixes import class_mixes, unseen_classes
from drift_detector_pipeline.proof.study_windows import Effort, detection, false_alarms
from drift_detector_pipeline.proof.untaught import STYLES
from drift_detector_pipeline.runs.facts import now, package_versions, this_command
from drift_detector_pipeline.runs.machine import instruction_set, prepared
from drift_detector_pipeline.runs.receipts import newest_finished, read_receipt
from drift_detector_pipeline.settings import Run

DRAWN = ("windows", "splits", "windows_per_split", "permutations")  # of Effort
UNSEEN = "unseen="
LOSSES = {"0 to 5": (-1.0, 0.05), "5 to 10": (0.05, 0.1), "10 and more": (0.1, 1.0)}  # of accuracy
DEFAULTS = {"images": 4000, "looks": 20, "twins": 0, **{name: getattr(Effort(), name) for name in DRAWN}, "seed": 0}
LEAST = {
    "images": min(SIZES),
    "looks": 1,
    "twins": 0,
    "windows": 1,
    "splits": 2,
    "windows_per_split": 1,
    "permutations": 99,
    "seed": 0,
}


@exit_status
def main() -> int:
    """Study the run named on the command line, or the newest finished one."""
    command = read_command(sys.argv[1:])
    unseen = [word.removeprefix(UNSEEN) for word in command.overrides if word.startswith(UNSEEN)]
    numbers = DEFAULTS | _numbers([word for word in command.overrides if not word.startswith(UNSEEN)])
    set_up_logging()
    found = study(command.target or newest_finished(), numbers, unseen)
    again = f"_seed{numbers['seed']}" if numbers["seed"] else ""
    report = Path("reports") / f"drift_study_{found['data']}{again}.json"
    report.parent.mkdir(exist_ok=True)
    write_json(report, found)
    print(f"{as_text(found)}\n\n{study_table(found)}")
    log.info("%s", " ".join(map(str, [report, *draw_study(found, report)])))
    return 0


def study(folder: Path, numbers: dict[str, int], unseen: Sequence[str] = ()) -> dict[str, Any]:
    """Do the whole study; `unseen` names files of classes the model does not know.

    Raises a PipelineError if the run has no receipt, no `fit` split or other data, or no unseen image can be read.
    """
    started = time.perf_counter()
    processed = read_receipt(folder).data()
    roles = roles_of(processed)
    with prepared(load_section(Run, ["run.precision=fp32"])) as machine:
        trained = open_trained(folder / "final_model.safetensors", machine)
        forward = through(trained.network.module, trained.network.mean, trained.network.std)
        parts = Parts(*(_labelled(processed, indices, trained.img_size) for indices in roles))
        strangers = read_signals(_decoded(unseen, trained), forward) if unseen else None
        material = gather(
            parts, forward, images=numbers["images"], looks=numbers["looks"], twins=numbers["twins"] or None,
            seed=numbers["seed"],
        )  # fmt: skip
    facts = {
        "data": processed.folder.name, "data_fingerprint": processed.fingerprint, "weights_sha256": trained.sha256,
        "model": trained.architecture, "side_px": trained.img_size, "numbers": numbers,
        "images": {name: len(indices) for name, indices in roles._asdict().items()},
        "unseen_images": 0 if strangers is None else len(strangers.logits),
        "command": this_command(), "when": now(), "instruction_set": instruction_set(torch.device("cpu")),
        "packages": package_versions(),
    }  # fmt: skip
    with one_blas_thread():
        found = facts | examine(material, numbers, strangers)
    return found | {"minutes": round((time.perf_counter() - started) / 60, 1)}


def examine(material: Material, numbers: dict[str, int], strangers: Signals | None = None) -> dict[str, Any]:
    """Everything that is measured, from the signals alone.

    Whoever has not met a family of corruptions has met no faults of pipelines either, for some of these are like some
    of those; whoever has not met a group of faults knows all else.
    """
    seed = numbers["seed"]
    smallest = min(len(cell.labels) for cell in material.cells)
    sizes = tuple(size for size in SIZES if size <= smallest)
    effort = Effort(**{name: numbers[name] for name in DRAWN}, sizes=sizes)
    omitted: dict[str, tuple[str, ...]] = {"": ()}
    omitted |= {family: (*kinds, *FAULTS) for family, kinds in FAMILIES.items()}
    omitted |= {group: tuple(kind for kind in FAULTS if family_of(kind) == group) for group in GROUPS}
    names = list(omitted)
    learned = dict(
        zip(names, in_processes(lambda name: _learned(material, omitted[name]), names, "learning"), strict=True)
    )
    whole = learned[""]
    regimes: dict[str, tuple[list[Cell], Callable[[str], Learned]]] = {
        "known_kind": (material.cells, lambda kind: whole),
        "held_out_family": (material.cells, lambda kind: learned[family_of(kind)]),
        "faults": (material.faults, lambda kind: whole),
        "held_out_faults": (material.faults, lambda kind: learned[family_of(kind)]),
        "untaught": (material.untaught, lambda kind: whole),
        "styles": ([cell for cell in material.untaught if cell.kind in STYLES], lambda kind: whole),
    }
    cells = {name: detection(material, some, rule, effort, seed) for name, (some, rule) in regimes.items()}
    clean = 1 - float(mistakes(material.pool, material.pool_labels).mean())
    return {
        "clean_accuracy": clean,
        "missing": missing(whole.parameters),
        "false_alarms": false_alarms(material, whole, effort, seed),
        "cells": cells,
        "summary": {name: summarise(rows, clean) for name, rows in cells.items()},
        "benign": detection(material, material.benign, lambda kind: whole, effort, seed),
        "class_mixes": class_mixes(material, whole, effort, seed),
        "unseen_classes": {} if strangers is None else unseen_classes(material, strangers, whole, effort, seed),
        "side_by_side": side_by_side(material, effort, seed),
        "accuracy_from_confidence": {
            "corruptions": accuracy_estimates(material.cells, material),
            "faults": accuracy_estimates(material.faults, material),
            "untaught": accuracy_estimates(material.untaught, material),
        },
    }


def summarise(rows: dict[str, dict[str, Any]], clean: float) -> dict[str, Any]:
    """Means over the cells, severity 1 alone, the worst cells by window size; errors of the accuracy estimates.

    `alerted`: windows that raise an alert, of cells that lose so much of the `clean` accuracy, in points; None where no
    cell does.
    """
    sizes = list(next(iter(rows.values()))["windows"])
    lost = {name: clean - row["accuracy"] for name, row in rows.items()}
    off = {name: abs(row["estimated"] - row["accuracy"]) for name, row in rows.items()}

    def mean(measure: str, size: str, some: Sequence[dict[str, Any]] = tuple(rows.values())) -> float | None:
        return _mean(row["windows"][size][measure] for row in some) if some else None

    first = [row for row in rows.values() if row["severity"] == 1]
    families = {family: [row for row in rows.values() if _family(row["kind"]) == family] for family in
                dict.fromkeys(_family(row["kind"]) for row in rows.values())}  # fmt: skip
    return {
        "found": {size: mean("noticed", size) for size in sizes},
        "found_severity_1": {size: mean("noticed", size, first) for size in sizes},
        "worst_cells": {
            size: sorted((round(row["windows"][size]["noticed"], 3), name) for name, row in rows.items())[:10]
            for size in sizes
        },
        "alerted": {
            words: {
                size: mean("alerted", size, [row for name, row in rows.items() if low <= lost[name] < high])
                for size in sizes
            }
            for words, (low, high) in LOSSES.items()
        },
        "accuracy_error_mean": _mean(off.values()),
        "accuracy_error_worst": sorted(((value, name) for name, value in off.items()), reverse=True)[:10],
        "accuracy_error_windows": {size: mean("mean_absolute_error", size) for size in sizes},
        "coverage": {size: mean("coverage", size) for size in sizes},
        "coverage_by_family": {
            family: {size: mean("coverage", size, some) for size in sizes} for family, some in families.items()
        },
        "width": {size: mean("width", size) for size in sizes},
        "unknown": {size: mean("unknown", size) for size in sizes},
        "largest_window": sizes[-1],
    }


def as_text(found: dict[str, Any]) -> str:
    """The main figures as lines to read."""
    lines = [f"{found['data']}, {found['model']}, {found['side_px']} px; {found['minutes']} minutes"]
    for size, rates in found["false_alarms"].items():
        rate = rates["0.01"]
        low, high = rate["interval_95"]
        lines.append(
            f"false alarms at 1 %, windows of {size}: {100 * rate['rate']:.2f} % ({100 * low:.2f} to {100 * high:.2f})"
        )
    for name, values in found["summary"].items():
        worst, where = values["accuracy_error_worst"][0]
        shares, coverage, off = (_points(values[one]) for one in ("found", "coverage", "accuracy_error_windows"))
        lines.append(f"{name}: found (%) {shares}; severity 1: {_points(values['found_severity_1'])}")
        lines.append(
            f"  accuracy off by {100 * values['accuracy_error_mean']:.2f} points on whole cells, worst "
            f"{100 * worst:.1f} ({where}); windows {off}; 90 % interval holds (%) {coverage}"
        )
        lines += [
            f"  alerted where {words} points are lost (%) {_points(by)}" for words, by in values["alerted"].items()
        ]
    for name, by_size in found["side_by_side"].items():
        for size, row in by_size.items():
            lines.append(
                f"{name}, {size}: {100 * row['found_by_default']:.1f} % at {100 * row['false_alarms']:.1f} % false "
                f"alarms, {100 * row['found_at_equal_false_alarms']:.1f} % at equal ones"
            )
    return "\n".join(lines)


def _learned(material: Material, without: tuple[str, ...]) -> Learned:
    twins = [twin for twin in material.twins if twin.kind not in without]
    with one_blas_thread():
        return learn(material.fit, material.fit_labels, twins, material.side_px, material.fit_looks)


def _labelled(processed: Processed, indices: Indices, side_px: int) -> Labelled:
    return Labelled(crops_of(processed, indices, side_px), processed.images.labels[indices])


def _decoded(names: Sequence[str], trained: Trained) -> Pixels:
    with image_files(names) as found:
        unreadable = dict[str, str]()
        crops = [crop for _, crop in read_crops(found, trained.stored_side_px, trained.img_size, unreadable)]
    for name, why in unreadable.items():
        log.warning("%s: %s", name, why)
    if not crops:
        raise DataError(f"{' '.join(names)}: no image can be read there")
    return np.stack(crops)


def _points(shares: dict[str, float | None]) -> str:
    return "  ".join(f"{size}: {100 * share:.1f}" for size, share in shares.items() if share is not None)


def _family(kind: str) -> str:
    return family_of(kind) if kind in CHANGES else kind


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


def _numbers(words: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in DEFAULTS or not value.isdecimal() or int(value) < LEAST[name]:
            known = ", ".join(f"{key}=NUMBER (from {least})" for key, least in LEAST.items())
            raise ConfigError(f"{word}: expected one of {known}, {UNSEEN}FOLDER")
        found[name] = int(value)
    return found


if __name__ == "__main__":
    sys.exit(main())
