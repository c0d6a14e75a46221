"""The files of an evaluation: metrics.json, a page, its pictures, and one line per image.

In: an `Evaluation` and its task. Out: `<run>/evaluation/<split>/{metrics.json,report.html,predictions.csv,*.png}`,
replaced as a whole. Fed by evaluation.py; for people, and for whoever compares runs.
"""

import csv
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import (
    disk_full_explained,
    exclusive,
    replaced_folder,
    spreadsheet_row,
    write_atomically,
    write_json,
)
from drift_detector_pipeline.pages import write_page
from drift_detector_pipeline.tasks.task import Evaluation, Task


def write_evaluation(target: Path, evaluation: Evaluation, task: Task) -> Path:
    """Write all files, metrics.json last, then put them in the place of an earlier evaluation; return `target`.

    Of two at once the second waits for the first, and is the one that stays. Raises DataError if the run's folder
    cannot be written.
    """
    lock = target.with_name(f".{target.name}.lock")
    try:
        with disk_full_explained(target), exclusive(lock), replaced_folder(target) as partial:
            _write(partial, evaluation, task)
    except OSError as error:
        raise DataError(f"{error.filename or target}: {error.strerror}; the run's folder must be writable") from error
    return target


def seen_in(facts: Mapping[str, Any]) -> str:
    """In how many views each image was seen, where it is more than one."""
    return f" in {facts['views']} views each" if "views" in facts else ""


def _write(folder: Path, evaluation: Evaluation, task: Task) -> None:
    facts, report = evaluation.facts, task.report(evaluation)
    for name, png in report.pictures.items():
        write_atomically(folder / name, png)
    _write_predictions(folder / "predictions.csv", evaluation, task)
    write_page(
        folder / "report.html",
        report.template,
        title=f"{facts['model']} on {Path(facts['data']).name}, {facts['split']}",
        facts=facts,
        command=shlex.join(facts["command"]),
        metrics=evaluation.metrics,
        headline=task.headline,
        words=evaluation.metrics.words(f"{evaluation.metrics.n:,} {facts['split']} images{seen_in(facts)}"),
        **report.page,
    )
    write_json(folder / "metrics.json", {**report.numbers, **facts, **report.details})


def _write_predictions(path: Path, evaluation: Evaluation, task: Task) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["path", task.truth_column, *task.columns])
        for place, answer in enumerate(evaluation.answers):
            truth = task.caption(answer, evaluation.targets[place], evaluation.classes).truth
            rows.writerows(spreadsheet_row([evaluation.paths[place], truth, *row]) for row in task.rows(answer))
