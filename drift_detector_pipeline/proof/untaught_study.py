"""Does the interval hold for changes nobody taught? `python -m drift_detector_pipeline.proof.untaught_study RUN`.

In: a finished run, its reference and processed data. Out: reports/untaught_<data>_<weights>.json: of each change
in untaught.py and more_untaught.py, done to the same images of `pool`: the true accuracy, the estimate with its
interval, the level; how many lie more than 5 points outside, and how many lose 20 points in silence.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from drift_detector_pipeline.arrays import Labels, Pixels
from drift_detector_pipeline.commands import read_command, refuse_others
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, progress_bar, set_up_logging
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.errors import exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.modeling.trained import open_trained
from drift_detector_pipeline.processed.roles import crops_of, roles_of
from drift_detector_pipeline.proof.more_untaught import MORE_UNTAUGHT
from drift_detector_pipeline.proof.untaught import UNTAUGHT
from drift_detector_pipeline.runs.facts import now, package_versions, this_command
from drift_detector_pipeline.runs.machine import prepared
from drift_detector_pipeline.runs.receipts import newest_finished, read_receipt
from drift_detector_pipeline.settings import Run

IMAGES = 128  # of a window
OUTSIDE, LOSS = 0.05, 0.2  # of accuracy: beyond the interval, and lost without an alert


@exit_status
def main() -> int:
    """Study the run named on the command line, or the newest finished one."""
    command = read_command(sys.argv[1:])
    refuse_others(command.overrides, (), "nothing can be set here")
    set_up_logging()
    folder = command.target or newest_finished()
    processed = read_receipt(folder).data()
    with prepared(load_section(Run, ["run.precision=fp32"])) as machine:
        trained = open_trained(folder / "final_model.safetensors", machine)
        detector = DriftDetector.load(folder, trained.network.module)
        pool = roles_of(processed).pool
        rows = np.sort(np.random.default_rng(0).permutation(pool)[:IMAGES])
        cells = judged(detector, crops_of(processed, rows, trained.img_size), processed.images.labels[rows])
    found: dict[str, Any] = {
        "data": processed.folder.name, "weights_sha256": trained.sha256, "model": trained.architecture,
        "command": this_command(), "when": now(), "packages": package_versions(), "images": len(rows),
        "summary": summary(cells), "cells": cells,
    }  # fmt: skip
    report = Path("reports") / f"untaught_{processed.folder.name}_{trained.sha256[:8]}.json"
    report.parent.mkdir(exist_ok=True)
    write_json(report, found)
    print("\n".join([*map(_line, cells), str(found["summary"])]))
    log.info("%s", report)
    return 0


def judged(detector: DriftDetector, images: Pixels, labels: Labels) -> list[dict[str, Any]]:
    """The truth of each change of images whose labels are known, beside what is said of it."""
    found = list[dict[str, Any]]()
    changes = {"clean": np.copy} | UNTAUGHT | MORE_UNTAUGHT
    with progress_bar(total=len(changes), title="untaught", unit=" changes") as bar:
        for name, change in changes.items():
            changed = np.ascontiguousarray(change(images))
            right = float((np.asarray(detector.rows_of(changed).predicted) == labels).mean())
            said = detector.check_crops(changed)
            if said.accuracy is None:
                raise ValueError(f"{len(images)} images are too few to be judged")
            accuracy = said.accuracy
            found.append({
                "change": name, "true": right, "estimate": accuracy.accuracy, "low": accuracy.low,
                "high": accuracy.high, "known": accuracy.known, "level": said.level,
                "cause": said.cause and said.cause.kind,
            })  # fmt: skip
            bar.update()
    return found


def summary(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """How many of the changes are beyond what was asked, and how wide intervals are; the first cell is unchanged."""
    clean, rest = cells[0]["true"], cells[1:]
    known = [cell for cell in rest if cell["known"]]
    beyond = {cell["change"]: max(cell["low"] - cell["true"], cell["true"] - cell["high"]) for cell in rest}
    return {
        "changes": len(rest), "accuracy_lost_20_points": sum(clean - cell["true"] >= LOSS for cell in rest),
        "outside_by_5_points": [name for name, off in beyond.items() if off > OUTSIDE],
        "silent": [cell["change"] for cell in rest if clean - cell["true"] >= LOSS and cell["level"] != "alert"],
        "unknown": len(rest) - len(known), "off_by": _mean([abs(cell["true"] - cell["estimate"]) for cell in known]),
        "held": _mean([off <= 0 for off in beyond.values()]),
        "width": _mean([cell["high"] - cell["low"] for cell in known]),
    }  # fmt: skip


def _mean(values: list[Any]) -> float | None:
    return float(np.mean(values)) if values else None


def _line(cell: dict[str, Any]) -> str:
    numbers = " ".join(f"{100 * cell[name]:5.1f}" for name in ("true", "estimate", "low", "high"))
    return f"{cell['change']:16s} {numbers}  {cell['level']:7s} {'' if cell['known'] else 'unknown'}"


if __name__ == "__main__":
    sys.exit(main())
