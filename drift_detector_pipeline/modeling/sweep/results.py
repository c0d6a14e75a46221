"""What came out of a sweep: results.json, results.csv, plot_<k>.png and report.html, written anew after every trial.

In: a plan and its ended trials. Accuracy (0..1) and loss (nats) are those of the final weights on `val`; minutes are
those spent training. Fed by sweep.py.
"""

import csv
import io
import json
import math
import shlex
import statistics
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from drift_detector_pipeline.files import write_atomically, write_json
from drift_detector_pipeline.modeling.sweep.plan import Plan
from drift_detector_pipeline.modeling.sweep.plots import SEED_KEY, Row, draw, value_text
from drift_detector_pipeline.modeling.sweep.search import new_study, trial_words
from drift_detector_pipeline.modeling.sweep.trials import FINISHED, Trial, trial_folder
from drift_detector_pipeline.pages import data_uri, figure_png, write_page
from drift_detector_pipeline.runs.receipts import FINAL, read_receipt


def write_results(plan: Plan, trials: Sequence[Trial]) -> list[Row]:
    """Write all files that show the results so far; return the rows, the best first, failed trials last."""
    rows = sorted((result(plan, trial) for trial in trials), key=_rank)
    write_json(plan.folder / "results.json", rows)
    write_atomically(plan.folder / "results.csv", _csv(plan, rows).encode())
    pictures = [(picture.caption, figure_png(picture.figure)) for picture in draw(plan.search, rows)]
    for number, (_, png) in enumerate(pictures, start=1):
        write_atomically(plan.folder / f"plot_{number}.png", png)
    if plan.listed is None:
        _write_study(plan, trials)
    _write_report(plan, rows, pictures)
    return rows


def result(plan: Plan, trial: Trial) -> Row:
    """A trial as one row: what it tried, how it ended, which bytes came out."""
    folder = trial_folder(plan.folder, trial.trial if trial.same_as is None else trial.same_as)
    row: Row = {"trial": trial.trial, "status": trial.status, "values": _shown(trial.choice)}
    row |= dict.fromkeys(("seed", "val_accuracy", "val_loss", "minutes", "weights_sha256"))
    if trial.status == FINISHED:
        receipt = read_receipt(folder)
        row |= {
            "seed": receipt.seed,
            "val_accuracy": receipt.final.val_accuracy,
            "val_loss": receipt.final.val_loss,
            "minutes": 0.0 if trial.same_as is not None else round(_seconds(folder) / 60, 2),
            "weights_sha256": receipt.weights_sha256[FINAL],
        }
    note = f"same as trial {trial.same_as}, not trained again" if trial.same_as is not None else None
    failure = f"failed: {trial.message}" if trial.message else None
    return row | {
        "folder": str(folder),
        "command": train_command(trial_words(plan.search, trial.choice)),
        "note": "; ".join(text for text in (note, failure) if text),
    }


def over_seeds(rows: Sequence[Row]) -> list[Row]:
    """Mean and spread of each choice over its seeds, the best mean first; empty unless seeds were varied, too."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row["val_accuracy"] is not None and SEED_KEY in row["values"] and len(row["values"]) > 1:
            groups.setdefault(json.dumps(_without_seed(row["values"])), []).append(row)
    means = []
    for group in groups.values():
        accuracies = [row["val_accuracy"] for row in {row["seed"]: row for row in group}.values()]
        means.append(
            {
                "values": _without_seed(group[0]["values"]),
                "n": len(accuracies),
                "mean": statistics.mean(accuracies),
                "sd": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
            }
        )
    return sorted(means, key=lambda one: -one["mean"])


def table(rows: Sequence[Row]) -> str:
    """The rows for a console."""
    names = list(dict.fromkeys(name for row in rows for name in row["values"]))
    cells = [["trial", *names, *("seed",) * (SEED_KEY not in names), "accuracy", "loss", "minutes", "weights", "note"]]
    for row in rows:
        seed = [] if SEED_KEY in names else ["-" if row["seed"] is None else str(row["seed"])]
        numbers = [f"{row[key]:{form}}" if row[key] is not None else "-"
                   for key, form in (("val_accuracy", ".4f"), ("val_loss", ".4f"), ("minutes", ".2f"))]  # fmt: skip
        values = [value_text(row["values"][name]) for name in names]
        sha256, note = (row["weights_sha256"] or "-")[:12], textwrap.shorten(row["note"], 60, placeholder="...")
        cells.append([str(row["trial"]), *values, *seed, *numbers, sha256, note])
    return _aligned(cells if any(line[-1] for line in cells[1:]) else [line[:-1] for line in cells])


def seeds_table(rows: Sequence[Row]) -> str:
    """The means over seeds for a console; empty unless seeds were varied, too."""
    means = over_seeds(rows)
    if not means:
        return ""
    cells = [[*means[0]["values"], "mean accuracy", "sd", "seeds"]]
    for one in means:
        sd = "-" if one["sd"] is None else f"{one['sd']:.4f}"
        cells.append([*map(value_text, one["values"].values()), f"{one['mean']:.4f}", sd, str(one["n"])])
    return _aligned(cells)


def train_command(words: Sequence[str]) -> str:
    """The make command of a training with these words."""
    return f'make train ARGS="{shlex.join(words)}"'


def resume_command(plan: Plan) -> str:
    """The make command that goes on with a sweep."""
    return f'make sweep ARGS="{shlex.join([f"sweep.resume={plan.folder}"])}"'


def _aligned(cells: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells)
    return "\n".join(lines)


def _rank(row: Row) -> tuple[bool, float, float, int]:
    if row["val_accuracy"] is None:
        return True, 0.0, 0.0, row["trial"]
    return False, -row["val_accuracy"], row["val_loss"], row["trial"]


def _shown(choice: dict[str, str]) -> dict[str, Any]:
    """Names without Hydra's plus, and numbers as numbers."""
    return {key.lstrip("+"): _number(text) for key, text in choice.items()}


def _number(text: str) -> int | float | str:
    for read in (int, float):
        try:
            number = read(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else text
    return text


def _without_seed(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != SEED_KEY}


def _seconds(folder: Path) -> float:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return sum(float(json.loads(line)["seconds"]) for line in lines)


def _csv(plan: Plan, rows: Sequence[Row]) -> str:
    names = list(_shown(dict.fromkeys(plan.search.swept, "")))
    other = ["seed", "val_accuracy", "val_loss", "minutes", "weights_sha256", "folder", "note"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "status", *names, *(name for name in other if name not in names)])
    for row in rows:
        writer.writerow([row["trial"], row["status"], *(row["values"][name] for name in names), *map(row.get, other)])
    return text.getvalue()


def _write_study(plan: Plan, trials: Sequence[Trial]) -> None:
    """Write the trials as Optuna's own file, for its dashboard; a sweep goes on from the records, not from it."""
    path, partial = plan.folder / "optuna.journal", plan.folder / ".optuna.journal.partial"
    partial.unlink(missing_ok=True)
    earlier = [(trial.choice, result(plan, trial)["val_accuracy"]) for trial in trials]
    new_study(plan.search, earlier, storage=JournalStorage(JournalFileBackend(str(partial))))
    partial.replace(path)


def _write_report(plan: Plan, rows: list[Row], pictures: list[tuple[str, bytes]]) -> None:
    names = list(_shown(dict.fromkeys(plan.search.swept, "")))
    best = rows[0] if rows and rows[0]["val_accuracy"] is not None else None
    write_page(
        plan.folder / "report.html",
        "sweep.html",
        title=f"Sweep of {', '.join(names)}",
        plan=plan,
        names=names,
        rows=rows,
        best=best,
        seeds=over_seeds(rows),
        finished=sum(row["val_accuracy"] is not None for row in rows),
        minutes=sum(row["minutes"] or 0 for row in rows),
        resume=resume_command(plan),
        pictures=[(caption, data_uri(png)) for caption, png in pictures],
        text=value_text,
    )
