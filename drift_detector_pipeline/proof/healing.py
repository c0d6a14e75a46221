"""What healing is worth: `python -m drift_detector_pipeline.proof.healing RUN [MOST_IMAGES]`.

In: a finished run. Out: reports/healing_<data>.json: accuracy on changed and on clean pool images before and after, by
change, number of images and prior weight. Recent images are the run's reference images, changed, so that no image is
both healed with and measured on.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.errors import exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.lifecycle.gating.gate_images import changed_at_random, levels_near
from drift_detector_pipeline.lifecycle.mending.frozen import freeze, predictions
from drift_detector_pipeline.processed.roles import crops_of, roles_of
from drift_detector_pipeline.release.source import Source, one_core, open_source
from drift_detector_pipeline.runs.facts import now, this_command

CHANGES = {"fog": 3, "gaussian_noise": 3, "contrast": 3, "jpeg": 3, "dark": 2, "normalised_twice": 1}
IMAGES, PRIORS, SEEDS = (64, 128, 256), (16, 128), (0, 1)


@exit_status
def main() -> int:
    """Measure the run that is named, on at most so many pool images."""
    run, most = Path(sys.argv[1]), int((sys.argv[2:] or ["1000"])[0])
    set_up_logging()
    with one_core() as machine:
        source = open_source(run, machine)
        rows = [row for kind, severity in CHANGES.items() for row in _rows(source, kind, severity, most)]
    facts = {"run": str(run), "weights_sha256": source.trained.sha256, "command": this_command(), "when": now()}
    path = Path("reports") / f"healing_{source.receipt.recorded['data']['name']}.json"
    write_json(path, {**facts, "seeds": len(SEEDS), "rows": rows})
    log.info("%s", path)
    return 0


def _rows(source: Source, kind: str, severity: int, most: int) -> list[dict[str, Any]]:
    """A row for each number of images and prior, with the spread over draws of recent images."""
    roles, side, own = roles_of(source.processed), source.trained.img_size, source.trained.network
    cells = [(kind, level) for level in levels_near(kind, severity)]
    pool = np.sort(np.random.default_rng(0).permutation(roles.pool)[:most])
    clean, labels = crops_of(source.processed, pool, side), source.processed.images.labels[pool]
    worlds = {"changed": changed_at_random(clean, cells, pool), "clean": clean}
    recent = changed_at_random(crops_of(source.processed, roles.ref, side), cells, roles.ref, 5)
    before = {name: float((predictions(own, crops) == labels).mean()) for name, crops in worlds.items()}
    found = list[dict[str, Any]]()
    for images in IMAGES:
        for prior in PRIORS:
            after: dict[str, list[float]] = {name: [] for name in worlds}
            for seed in SEEDS:
                some = np.random.default_rng(seed).permutation(len(recent))[: 2 * images]
                healed, chosen = freeze(own, recent[some], most=images, prior=prior)
                for name, crops in worlds.items():
                    after[name].append(float((predictions(healed, crops) == labels).mean()))
            row: dict[str, Any] = {"change": kind, "images": len(chosen), "prior": prior, "n": len(pool)}
            for name, values in after.items():
                row |= {f"{name}_before": before[name], f"{name}_after": float(np.mean(values))}
                row |= {f"{name}_sd": float(np.std(values))}
            log.info("%s", row)
            found.append(row)
    return found


if __name__ == "__main__":
    sys.exit(main())
