"""Does the interval hold for changes nobody taught? `python -m drift_detector_pipeline.proof.untaught_study RUN`.

In: a finished run, its reference and processed data. Out: reports/untaught_<data>_<weights>.json: of each change
in untaught.py, more_untaught.py and later_untaught.py, done to the same images of `pool`, to half and to a quarter of
them, and to a few alone: the true accuracy, the estimate with its interval, the level; how many lie more than 5 points
outside, and how many lose 20 or 10 points in silence. Where few images of `fit` make intervals wider, also how narrow
they would be without that.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from drift_detector_pipeline.arrays import Labels, Pixels
from drift_detector_pipeline.commands import read_command, refuse_others
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, progress_bar, set_up_logging
from drift_detector_pipeline.drift.copy_accuracy import LARGEST
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.drift.reference import Reference
from drift_detector_pipeline.errors import exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.modeling.trained import open_trained
from drift_detector_pipeline.processed.roles import crops_of, roles_of
from drift_detector_pipeline.proof.later_untaught import LATER_UNTAUGHT
from drift_detector_pipeline.proof.more_untaught import MORE_UNTAUGHT
from drift_detector_pipeline.proof.untaught import UNTAUGHT
from drift_detector_pipeline.runs.facts import now, package_versions, this_command
from drift_detector_pipeline.runs.machine import prepared
from drift_detector_pipeline.runs.receipts import newest_finished, read_receipt
from drift_detector_pipeline.settings import Run

IMAGES, FEW = 128, 32  # of a window, and of a small one
OUTSIDE, LOSS, SMALLER_LOSS = 0.05, 0.2, 0.1  # of accuracy: beyond the interval, and lost without an alert
SHARES = (0.5, 0.25)  # of the images of a window of which only some changed
SETS = {"untaught": UNTAUGHT, "more_untaught": MORE_UNTAUGHT, "later_untaught": LATER_UNTAUGHT}


@exit_status
def main() -> int:
    """Study the run named on the command line, or the newest finished one."""
    command = read_command(sys.argv[1:])
    refuse_others(command.overrides, (), "this study")
    set_up_logging()
    folder = command.target or newest_finished()
    processed = read_receipt(folder).data()
    with prepared(load_section(Run, ["run.precision=fp32"])) as machine:
        trained = open_trained(folder / "final_model.safetensors", machine)
        detector = DriftDetector.load(folder, trained.network.module)
        pool = roles_of(processed).pool
        rows = np.sort(np.random.default_rng(0).permutation(pool)[:IMAGES])
        crops, labels = crops_of(processed, rows, trained.img_size), processed.images.labels[rows]
        cells = judged(detector, crops, labels)
        others = {f"{share:g} of the images": judged(detector, crops, labels, share) for share in SHARES}
        few = np.random.default_rng(2).permutation(len(rows))[:FEW]  # rows may lie in the order of their classes
        others[f"windows of {FEW}"] = judged(detector, crops[few], labels[few])
        detector.reference = as_if_many_taught(detector.reference)
        narrow = judged(detector, crops, labels)
    found: dict[str, Any] = {
        "data": processed.folder.name, "weights_sha256": trained.sha256, "model": trained.architecture,
        "command": this_command(), "when": now(), "packages": package_versions(), "images": len(rows),
        "fit_images": detector.facts["fit_images"], "clean": cells[0]["true"],
        "summary": summaries(cells) | {name: summary(some[0]["true"], some[1:]) for name, some in others.items()},
        "without_allowance_for_few_images": summaries(narrow), "cells": cells, "others": others,
    }  # fmt: skip
    report = Path("reports") / f"untaught_{processed.folder.name}_{trained.sha256[:8]}.json"
    report.parent.mkdir(exist_ok=True)
    write_json(report, found)
    print("\n".join([*map(_line, cells), *(f"{name}: {one}" for name, one in found["summary"].items())]))
    log.info("%s", report)
    return 0


def as_if_many_taught(reference: Reference) -> Reference:
    """The same knowledge without the allowance for few images of `fit`: as if windows of any size had taught it."""
    copies = reference.learned.copies
    if copies is None:
        return reference
    sizes = copies.judge.errors.sizes.copy()
    sizes[-1] = LARGEST
    judge = copies.judge._replace(errors=copies.judge.errors._replace(sizes=sizes))
    return reference._replace(learned=reference.learned._replace(copies=copies._replace(judge=judge)))


def judged(detector: DriftDetector, images: Pixels, labels: Labels, share: float = 1) -> list[dict[str, Any]]:
    """The truth of each change of images whose labels are known, beside what is said of it; unchanged ones first.

    `share`: of the images, at random, that are changed; below 1 without the changes that leave every second one alone.
    """
    changes = [
        (group, name, change) for group, own in SETS.items() for name, change in own.items()
        if share == 1 or not name.startswith("half_of_them")
    ]  # fmt: skip
    some = np.random.default_rng(1).permutation(len(images)) < share * len(images)
    unchanged: Callable[[Pixels], Pixels] = np.copy
    changes.insert(0, ("", "clean", unchanged))
    found = list[dict[str, Any]]()
    with progress_bar(total=len(changes), title="untaught", unit=" changes") as bar:
        for group, name, change in changes:
            changed = np.where(some[:, None, None, None], change(images), images)
            right = float((np.asarray(detector.rows_of(changed).predicted) == labels).mean())
            said = detector.check_crops(changed)
            if said.accuracy is None:
                raise ValueError(f"{len(images)} images are too few to be judged")
            accuracy = said.accuracy
            found.append({
                "set": group, "change": name, "true": right, "estimate": accuracy.accuracy, "low": accuracy.low,
                "high": accuracy.high, "known": accuracy.known, "level": said.level,
                "cause": said.cause and said.cause.kind, "apart": said.apart,
            })  # fmt: skip
            bar.update()
    return found


def summaries(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """The summary of all changes, and of each set; the first cell is unchanged."""
    clean, rest = cells[0]["true"], cells[1:]
    own = {name: [cell for cell in rest if cell["set"] == name] for name in SETS}
    return {name: summary(clean, some) for name, some in ({"all": rest} | own).items()}


def summary(clean: float, cells: list[dict[str, Any]]) -> dict[str, Any]:
    """How many changes are beyond what was asked, and how wide intervals are; `clean` is the accuracy without any."""
    known = [cell for cell in cells if cell["known"]]
    lost, less = ([cell for cell in cells if clean - cell["true"] >= loss] for loss in (LOSS, SMALLER_LOSS))
    beyond = {cell["change"]: max(cell["low"] - cell["true"], cell["true"] - cell["high"]) for cell in cells}
    return {
        "changes": len(cells), "accuracy_lost_20_points": len(lost),
        "outside_by_5_points": [name for name, off in beyond.items() if off > OUTSIDE],
        "silent": [cell["change"] for cell in lost if cell["level"] != "alert"],
        "accuracy_lost_10_points": len(less),
        "silent_of_10_points": [cell["change"] for cell in less if cell["level"] != "alert"],
        "unknown": len(cells) - len(known), "off_by": _mean([abs(cell["true"] - cell["estimate"]) for cell in known]),
        "held": _mean([off <= 0 for off in beyond.values()]),
        "held_where_known": _mean([beyond[cell["change"]] <= 0 for cell in known]),
        "width": _mean([cell["high"] - cell["low"] for cell in known]),
    }  # fmt: skip


def _mean(values: list[Any]) -> float | None:
    return float(np.mean(values)) if values else None


def _line(cell: dict[str, Any]) -> str:
    numbers = " ".join(f"{100 * cell[name]:5.1f}" for name in ("true", "estimate", "low", "high"))
    return f"{cell['change']:16s} {numbers}  {cell['level']:7s} {'' if cell['known'] else 'unknown'}"


if __name__ == "__main__":
    sys.exit(main())
