"""Whether intervals hold with other references: `python -m drift_detector_pipeline.proof.other_references RUN`.

In: a finished run and its processed data. Out: reports/drift_references_<data>.json. A study has one reference, and all
its cells share the luck of these few images. Here the images of `fit`, reference and pool are divided anew, again and
again; each time everything is learned from what `fit` is then, and 75 cells of the new pool are judged.
"""

import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, progress_bar, set_up_logging
from drift_detector_pipeline.drift.reference import learn, mistakes, one_blas_thread
from drift_detector_pipeline.drift.scores.module_forward import through
from drift_detector_pipeline.drift.scores.signals import Forward
from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.modeling.trained import open_trained
from drift_detector_pipeline.processed.roles import crops_of, roles_of
from drift_detector_pipeline.proof.study_material import SIZES, Labelled, Material, Parts, gather
from drift_detector_pipeline.proof.study_windows import Effort, detection
from drift_detector_pipeline.runs.facts import now, package_versions, this_command
from drift_detector_pipeline.runs.machine import instruction_set, prepared
from drift_detector_pipeline.runs.receipts import newest_finished, read_receipt
from drift_detector_pipeline.settings import Run

REFERENCES, LOOKS = 6, 2  # divisions; windows of each size and cell that a copy is asked about
WORD = "references="


@exit_status
def main() -> int:
    """Measure the run named on the command line, or the newest finished one."""
    command = read_command(sys.argv[1:])
    count = _count(command.overrides)
    set_up_logging()
    found = measure(command.target or newest_finished(), count)
    report = Path("reports") / f"drift_references_{found['data']}.json"
    report.parent.mkdir(exist_ok=True)
    write_json(report, found)
    print(table(found))
    log.info("%s", report)
    return 0


def measure(folder: Path, count: int) -> dict[str, Any]:
    """Divide, learn and judge `count` times. Raises a PipelineError if the run has no receipt or no `fit` split."""
    started = time.perf_counter()
    processed = read_receipt(folder).data()
    roles = roles_of(processed)
    with prepared(load_section(Run, ["run.precision=fp32"])) as machine:
        trained = open_trained(folder / "final_model.safetensors", machine)
        forward = through(trained.network.module, trained.network.mean, trained.network.std)
        indices = np.concatenate(roles)
        every = Labelled(crops_of(processed, indices, trained.img_size), processed.images.labels[indices])
        cuts = np.cumsum([len(part) for part in roles])[:-1]
        with progress_bar(total=count, title="references", unit=" references") as bar:
            rows = list[dict[str, Any]]()
            for seed in range(count):
                rows.append(_judged(every, cuts.tolist(), forward, seed))
                bar.update()
    return {
        "data": processed.folder.name, "data_fingerprint": processed.fingerprint, "weights_sha256": trained.sha256,
        "model": trained.architecture, "side_px": trained.img_size,
        "images": {name: len(part) for name, part in roles._asdict().items()}, "looks": LOOKS, "references": rows,
        "summary": summarise(rows), "command": this_command(), "when": now(),
        "instruction_set": instruction_set(torch.device("cpu")), "packages": package_versions(),
        "minutes": round((time.perf_counter() - started) / 60, 1),
    }  # fmt: skip


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """By window size: the mean over references of the share of intervals that hold the truth, the least, the most."""
    return {
        size: {
            "mean": statistics.fmean(row["holds"][size] for row in rows),
            "least": min(row["holds"][size] for row in rows),
            "most": max(row["holds"][size] for row in rows),
            "width": statistics.fmean(row["width"][size] for row in rows),
        }
        for size in rows[0]["holds"]
    }


def table(found: dict[str, Any]) -> str:
    """The summary in Markdown."""
    by_size: dict[str, dict[str, float]] = found["summary"]
    lines = [f"| window of | {' | '.join(by_size)} |", f"| --- |{' --- |' * len(by_size)}"]
    for words, key in (("truth inside the 90 % interval, mean", "mean"), ("least", "least"), ("most", "most")):
        lines.append(f"| {words} | {' | '.join(f'{100 * one[key]:.0f} %' for one in by_size.values())} |")
    widths = " | ".join(f"{100 * one['width']:.1f}" for one in by_size.values())
    lines.append(f"| mean width, points | {widths} |")
    return "\n".join(lines)


def _judged(every: Labelled, cuts: list[int], forward: Forward, seed: int) -> dict[str, Any]:
    order = np.random.default_rng((seed, len(every.labels))).permutation(len(every.labels))
    parts = Parts(*(Labelled(every.images[some], every.labels[some]) for some in np.split(order, cuts)))
    smallest = min(len(part.labels) for part in parts)
    material = gather(parts, forward, images=smallest, looks=LOOKS, seed=seed, only="corruption")
    effort = Effort(windows=1, sizes=tuple(size for size in SIZES if size <= smallest))
    with one_blas_thread():
        learned = learn(material.fit, material.fit_labels, material.twins, material.side_px, material.fit_looks)
        cells = detection(material, material.cells, lambda kind: learned, effort, seed).values()

    def mean(measure: str) -> dict[str, float]:
        return {
            str(size): statistics.fmean(cell["windows"][str(size)][measure] for cell in cells) for size in effort.sizes
        }

    return {"accuracy": _accuracy(material), "holds": mean("coverage"), "width": mean("width"), "bias": mean("bias")}


def _accuracy(material: Material) -> dict[str, float]:
    clean = {
        "fit": (material.fit, material.fit_labels),
        "ref": (material.ref, material.ref_labels),
        "pool": (material.pool, material.pool_labels),
    }
    return {name: 1 - float(mistakes(*part).mean()) for name, part in clean.items()}


def _count(words: Sequence[str]) -> int:
    for word in words:
        if not word.startswith(WORD) or not word.removeprefix(WORD).isdecimal() or word.removeprefix(WORD) == "0":
            raise ConfigError(f"{word}: expected {WORD}NUMBER (from 1)")
    return int(words[-1].removeprefix(WORD)) if words else REFERENCES


if __name__ == "__main__":
    sys.exit(main())
