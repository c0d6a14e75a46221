"""What came out of a sweep: results.json, results.csv, plot_<k>.png and report.html, written anew after every trial.

In: a plan and its ended trials. Out: these files, and tables for a console. Fed by __main__.py.
"""

import csv
import io
import json
import statistics
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from drift_detector_pipeline.figures import figure_png
from drift_detector_pipeline.files import spreadsheet_row, write_atomically, write_json
from drift_detector_pipeline.meant import for_make
from drift_detector_pipeline.modeling.sweep.plan import Plan
from drift_detector_pipeline.modeling.sweep.plots import sweep_pictures, value_text
from drift_detector_pipeline.modeling.sweep.search import SEED_KEY, new_study
from drift_detector_pipeline.modeling.sweep.trials import (
    Trial,
    TrialResult,
    earlier_scores,
    headline_of,
    read_result,
    shown_values,
)
from drift_detector_pipeline.pages import data_uri, write_page


class SeedsMean(NamedTuple):
    """What one choice reaches over its seeds."""

    values: dict[str, int | float | str]  # without the seed
    n: int  # different seeds
    mean: float
    sd: float | None  # of a sample; None for one seed


def write_results(plan: Plan, trials: Sequence[Trial]) -> list[TrialResult]:
    """Write all files that show the results so far; return them, the best first, failed trials last."""
    results = sorted((read_result(plan, trial) for trial in trials), key=_rank)
    write_json(plan.folder / "results.json", [_as_json(result, headline_of(results).column) for result in results])
    write_atomically(plan.folder / "results.csv", _csv(plan, results).encode())
    pictures = [(picture.caption, figure_png(picture.figure)) for picture in sweep_pictures(plan.search, results)]
    for number, (_, png) in enumerate(pictures, start=1):
        write_atomically(plan.folder / f"plot_{number}.png", png)
    if plan.listed is None and not plan.shared:
        _write_study(plan, trials)
    _write_report(plan, results, pictures)
    return results


def over_seeds(results: Sequence[TrialResult]) -> list[SeedsMean]:
    """Mean and spread of each choice over its seeds, the best mean first; empty unless seeds were varied, too."""
    groups: dict[str, dict[int | None, float]] = {}
    for result in results:
        if result.score is not None and SEED_KEY in result.values and len(result.values) > 1:
            choice = {name: value for name, value in result.values.items() if name != SEED_KEY}
            groups.setdefault(json.dumps(choice), {})[result.seed] = result.score
    means = [
        SeedsMean(
            json.loads(choice),
            len(scores),
            statistics.mean(scores.values()),
            statistics.stdev(scores.values()) if len(scores) > 1 else None,
        )
        for choice, scores in groups.items()
    ]
    return sorted(means, key=lambda one: headline_of(results).badness(one.mean))


def trials_table(results: Sequence[TrialResult]) -> str:
    """A line a trial, for a console."""
    names = list(dict.fromkeys(name for result in results for name in result.values))
    seed_column, name = ("seed",) * (SEED_KEY not in names), headline_of(results).name
    cells = [["trial", *names, *seed_column, name, "loss", "minutes", "weights", "note"]]
    for result in results:
        seed = [] if SEED_KEY in names else [_cell(result.seed, "d")]
        numbers = [_cell(result.score, ".4f"), _cell(result.loss, ".4f"), _cell(result.minutes, ".2f")]
        values = [value_text(result.values[name]) for name in names]
        sha256, note = (result.weights_sha256 or "-")[:12], textwrap.shorten(result.note, 60, placeholder="...")
        cells.append([str(result.trial), *values, *seed, *numbers, sha256, note])
    return _aligned(cells if any(line[-1] for line in cells[1:]) else [line[:-1] for line in cells])


def seeds_table(results: Sequence[TrialResult]) -> str:
    """The means over seeds for a console; empty unless seeds were varied, too."""
    means = over_seeds(results)
    if not means:
        return ""
    cells = [[*means[0].values, f"mean {headline_of(results).name}", "sd", "seeds"]]
    for one in means:
        cells.append([*map(value_text, one.values.values()), f"{one.mean:.4f}", _cell(one.sd, ".4f"), str(one.n)])
    return _aligned(cells)


def resume_command(plan: Plan) -> str:
    """The make command that goes on with a sweep."""
    return "make sweep " + for_make([f"sweep.resume={plan.folder}"])


def _cell(number: float | None, form: str) -> str:
    return "-" if number is None else f"{number:{form}}"


def _aligned(cells: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells)
    return "\n".join(lines)


def _rank(result: TrialResult) -> tuple[bool, float, float, int]:
    if result.score is None or result.loss is None:
        return True, 0.0, 0.0, result.trial
    return False, result.headline.badness(result.score), result.loss, result.trial


def _as_json(result: TrialResult, column: str) -> dict[str, Any]:
    """The result by the names of its columns, which are those of receipts."""
    return {
        "trial": result.trial,
        "status": result.status,
        "values": result.values,
        "seed": result.seed,
        column: result.score,
        "val_loss": result.loss,
        "minutes": result.minutes,
        "weights_sha256": result.weights_sha256,
        "folder": result.folder,
        "command": result.command,
        "note": result.note,
    }


def _csv(plan: Plan, results: Sequence[TrialResult]) -> str:
    names = _names(plan)
    column = headline_of(results).column
    other = ["seed", column, "val_loss", "minutes", "weights_sha256", "folder", "note"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "status", *names, *(name for name in other if name not in names)])
    for result in results:
        row = _as_json(result, column)
        cells = [result.trial, result.status, *(result.values[name] for name in names), *map(row.get, other)]
        writer.writerow(spreadsheet_row(cells))
    return text.getvalue()


def _names(plan: Plan) -> list[str]:
    return list(shown_values(dict.fromkeys(plan.search.swept, "")))


def _write_study(plan: Plan, trials: Sequence[Trial]) -> None:
    """Write the trials as Optuna's own file, for its dashboard; a sweep goes on from the records, not from it."""
    path, partial = plan.folder / "optuna.journal", plan.folder / ".optuna.journal.partial"
    partial.unlink(missing_ok=True)
    storage = JournalStorage(JournalFileBackend(str(partial)))
    new_study(plan.search, *earlier_scores(plan, trials), storage=storage)
    partial.replace(path)


def _write_report(plan: Plan, results: list[TrialResult], pictures: list[tuple[str, bytes]]) -> None:
    names = _names(plan)
    write_page(
        plan.folder / "report.html",
        "sweep.html",
        title=f"Sweep of {', '.join(names)}",
        plan=plan,
        names=names,
        results=results,
        headline=headline_of(results),
        best=results[0] if results and results[0].score is not None else None,
        seeds=over_seeds(results),
        finished=sum(result.score is not None for result in results),
        minutes=sum(result.minutes or 0 for result in results),
        resume=resume_command(plan),
        pictures=[(caption, data_uri(png)) for caption, png in pictures],
        text=value_text,
    )
