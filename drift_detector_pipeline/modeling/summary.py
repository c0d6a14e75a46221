"""What finished runs came to: `python -m drift_detector_pipeline.modeling.summary [RUN]` or `... REPORT.json RUN RUN`.

In: receipts. Out: of one run, the newest if none is named, a few lines of Markdown on stdout, which a workflow shows as
its summary or as a comment; of runs that differ in their seed only, a JSON file in reports/ with n, mean, spread,
minutes and hardware, from which the README's numbers are taken.
"""

import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drift_detector_pipeline.console import tell
from drift_detector_pipeline.errors import ResumeError, exit_status
from drift_detector_pipeline.files import from_home, write_json
from drift_detector_pipeline.json_files import parsed, read_json
from drift_detector_pipeline.runs.receipts import (
    FINAL,
    Receipt,
    compare_facts,
    newest_finished,
    read_receipt,
    sources_words,
)
from drift_detector_pipeline.whole_files import read_plain

_USAGE = 'name a report and at least one run: make summary ARGS="reports/NAME.json RUN RUN"; or one run alone'


@exit_status
def main() -> int:
    """Describe the run named on the command line, or summarize the runs that follow a report's name."""
    words = [Path(from_home(word)) for word in sys.argv[1:] if word]
    if words and words[0].suffix == ".json":
        _write(words[0], words[1:])
    elif len(words) > 1:
        raise ResumeError(_USAGE)
    else:
        for line in describe(read_receipt(words[0] if words else newest_finished())).split("\n"):
            tell(line)
    return 0


def describe(receipt: Receipt) -> str:
    """Return accuracy, speed and what decided them, as a heading and a table."""
    final, best, headline = receipt.final, receipt.best, receipt.headline
    value, highest = (headline.text(row.value(headline), 2) for row in (final, best))
    rows = {
        headline.name: f"**{value}** after epoch {final.epoch} (best {highest})",
        "loss": f"{final.train_loss:.4f} train, {final.val_loss:.4f} val",
        "speed": f"{final.images_per_second:.0f} {receipt.items}/s in training, {final.seconds:.1f} s the last epoch",
        "machine": f"{receipt.instruction_set}, {receipt.device}, {receipt.precision}, {receipt.threads} threads, "
        f"{receipt.processes} process(es)",
        "where": receipt.where,
        "commit": f"{receipt.git.commit}{' with changes' if receipt.git.dirty else ''}",
        "data": f"`{receipt.data_fingerprint[:16]}`",
        **({"sources of the clips": sources_words(receipt.sources_from)} if receipt.sources_from else {}),
        "weights": f"`{receipt.weights_sha256[FINAL]}`",
        "overrides": f"`{' '.join(receipt.overrides)}`",
    }
    name, model = receipt.recorded["data"]["name"], receipt.identity["model.name"]
    return f"### {name}, {model}\n\n| | |\n|---|---|\n" + "".join(f"| {row} | {says} |\n" for row, says in rows.items())


def summarize(folders: Sequence[Path]) -> dict[str, object]:
    """Mean, spread and cost of the final weights' headline on `val`, over runs that differ in their seed only.

    Raises ResumeError if a run is not finished or differs in another setting that decides its bits.
    """
    receipts = [read_receipt(folder) for folder in folders]
    first = receipts[0]
    for receipt in receipts:
        if differences := compare_facts(_without_seed(first.identity), _without_seed(receipt.identity)):
            raise ResumeError(
                f"{receipt.folder} differs from {first.folder} in more than its seed: {', '.join(differences)}"
            )
    column, values = first.headline.column, [receipt.score for receipt in receipts]
    rows = [_rows(folder, column) for folder in folders]
    return {
        "n": len(receipts),
        f"{column}_mean": round(statistics.mean(values), 5),
        f"{column}_sd": round(statistics.stdev(values), 5) if len(values) > 1 else 0.0,
        column: values,
        "seeds": [receipt.seed for receipt in receipts],
        "training_minutes": [round(sum(seconds for seconds, _ in of_run) / 60, 1) for of_run in rows],
        "command": f'make train ARGS="{" ".join(first.overrides)}"',
        "instruction_set": first.instruction_set,
        "device": first.device,
        "precision": first.precision,
        "threads": first.threads,
        "processes": first.processes,
        "packages": first.packages,
        "data_fingerprint": first.data_fingerprint,
        "weights_sha256": [receipt.weights_sha256[FINAL] for receipt in receipts],
        "epochs": [[value for _, value in of_run] for of_run in rows],
    }


def _write(path: Path, folders: Sequence[Path]) -> None:
    if not folders:
        raise ResumeError(_USAGE)
    if path.exists() and not _is_summary(path):
        raise ResumeError(f"{path}: is there and no summary; name another file, and runs by their folders. {_USAGE}")
    report, column = summarize(folders), read_receipt(folders[0]).headline.column
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, report)
    tell(f"{report[f'{column}_mean']:.4f} +- {report[f'{column}_sd']:.4f} (n={report['n']})")


def _is_summary(path: Path) -> bool:
    try:
        values = read_json(path)
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and {"n", "seeds", "weights_sha256"} <= values.keys()


def _without_seed(identity: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in identity.items() if key != "run.seed"}


def _rows(folder: Path, column: str) -> list[tuple[float, Any]]:
    """Seconds and the value of `column`, an epoch a row. Raises ResumeError if metrics.jsonl has no such rows."""
    path = folder / "metrics.jsonl"
    try:
        rows = [parsed(line) for line in read_plain(path).decode().splitlines()]
        return [(float(row["seconds"]), row[column]) for row in rows]
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise ResumeError(
            f"{path}: no rows of epochs ({type(error).__name__}: {error}); copy the whole run again"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
