"""Several finished runs as one claim: `python -m drift_detector_pipeline.modeling.summary REPORT RUN RUN ...`.

In: receipts of runs that differ in their seed only. Out: a JSON file in reports/ with n, mean, spread, minutes and
hardware, from which the README's numbers are taken.
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from drift_detector_pipeline.errors import ResumeError, exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.runs.receipts import compare_facts, read_receipt


@exit_status
def main() -> int:
    """Summarize the runs named on the command line."""
    if len(sys.argv) < 3:
        raise ResumeError('name a report and at least one run: make summary ARGS="reports/NAME.json RUN RUN"')
    report = summarize([Path(name) for name in sys.argv[2:]])
    Path(sys.argv[1]).parent.mkdir(parents=True, exist_ok=True)
    write_json(Path(sys.argv[1]), report)
    print(f"{report['val_accuracy_mean']:.4f} +- {report['val_accuracy_sd']:.4f} (n={report['n']})")
    return 0


def summarize(folders: list[Path]) -> dict[str, Any]:
    """Mean, spread and cost of the final weights' validation accuracy, over runs that differ in their seed only.

    Raises ResumeError if a run is not finished or differs in another setting that decides its bits.
    """
    receipts = [read_receipt(folder) for folder in folders]
    first = receipts[0]
    for folder, receipt in zip(folders, receipts, strict=True):
        differences = compare_facts(_without_seed(first["identity"]), _without_seed(receipt["identity"]))
        if differences:
            raise ResumeError(f"{folder} differs from {folders[0]} in more than its seed: {', '.join(differences)}")
    accuracies = [receipt["final"]["val_accuracy"] for receipt in receipts]
    return {
        "n": len(receipts),
        "val_accuracy_mean": round(statistics.mean(accuracies), 5),
        "val_accuracy_sd": round(statistics.stdev(accuracies), 5) if len(accuracies) > 1 else 0.0,
        "val_accuracy": accuracies,
        "seeds": [receipt["seed"] for receipt in receipts],
        "training_minutes": [round(_seconds(folder) / 60, 1) for folder in folders],
        "command": f'make train ARGS="{" ".join(first["overrides"])}"',
        **{key: first[key] for key in ("instruction_set", "device", "precision", "threads", "processes", "packages")},
        "data_fingerprint": first["data_fingerprint"],
        "weights_sha256": [receipt["weights_sha256"]["final_model.safetensors"] for receipt in receipts],
        "epochs": [[row["val_accuracy"] for row in _rows(folder)] for folder in folders],
    }


def _without_seed(identity: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in identity.items() if key != "run.seed"}


def _seconds(folder: Path) -> float:
    return sum(float(row["seconds"]) for row in _rows(folder))


def _rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    sys.exit(main())
