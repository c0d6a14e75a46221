"""Training speed in the container against the host: `make docker_bench`, written to reports/container_speed.json.

In: overrides of the run that is measured. Out: images per second of five pairs of runs, host and container in turn, so
that a machine whose speed drifts treats both alike; epochs after the first, which warms up.
"""

import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from drift_detector_pipeline.errors import TrainingError, exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.runs.facts import now
from drift_detector_pipeline.runs.receipts import OUTPUTS, read_receipt

REPORT = Path("reports/container_speed.json")
PAIRS = 5
RUN = ["+experiment=quickstart", "training.epochs=4"]


@exit_status
def main() -> int:
    """Measure and write the report; overrides choose another run."""
    words, folder = sys.argv[1:] or RUN, OUTPUTS / "bench_container"
    shutil.rmtree(folder, ignore_errors=True)
    rates: dict[str, list[float]] = {"train": [], "docker_train": []}
    for pair in range(PAIRS):
        for target, found in rates.items():
            found.append(_rate(target, words, folder / f"{target}_{pair}"))
        print(f"pair {pair + 1}: host {rates['train'][-1]:.0f}, container {rates['docker_train'][-1]:.0f} images/s")
    ratios = [inside / outside for outside, inside in zip(*rates.values(), strict=True)]
    host, container = (read_receipt(folder / f"{target}_0") for target in rates)
    write_json(
        REPORT,
        {
            "when": now(),
            "command": f'make docker_bench ARGS="{" ".join(words)}"',
            **{key: getattr(host, key) for key in ("instruction_set", "precision", "threads", "packages")},
            "image": container.where,
            "same_weights": host.weights_sha256 == container.weights_sha256,
            "pairs": PAIRS,
            "ratios": {
                "container_vs_host": {
                    "median_ratio": round(statistics.median(ratios), 3),
                    "ratios": [round(ratio, 3) for ratio in ratios],
                    "images_per_second": rates["docker_train"],
                    "compared_with": rates["train"],
                }
            },
        },
    )
    print(f"container / host: median {statistics.median(ratios):.3f}; written: {REPORT}")
    return 0


def _rate(target: str, words: list[str], folder: Path) -> float:
    """Images per second of a run started by make, without its first epoch."""
    arguments = " ".join([*words, f"hydra.run.dir={folder}"])
    done = subprocess.run(["make", "--silent", target, f"ARGS={arguments}"], capture_output=True, text=True)  # noqa: S607
    if done.returncode:
        raise TrainingError(f"make {target} failed: {(done.stderr or done.stdout).strip()[-500:]}")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return round(statistics.mean(float(row["images_per_second"]) for row in rows[1:] or rows), 1)


if __name__ == "__main__":
    sys.exit(main())
