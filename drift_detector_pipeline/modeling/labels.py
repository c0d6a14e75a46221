"""Labels for anybody's images.

In: a weight file, and nothing else of its run; images as files, folders, globs, archives or buckets. Out: JSON lines on
stdout, and `predictions/<date>_<time>/` beside the weights with the same lines, predictions.csv, what else the task
writes and, last, summary.json. The probabilities are those of evaluation.py, to the last digit. `make predict` is
predict.py.
"""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import final_name, new_folder, spreadsheet_row, write_json
from drift_detector_pipeline.modeling.answers import Image, answers_of_files, check_for_task
from drift_detector_pipeline.modeling.answers_elsewhere import answers_from_cluster
from drift_detector_pipeline.modeling.open_elsewhere import files_for
from drift_detector_pipeline.modeling.trained import Trained, facts_of, open_trained, precision_of
from drift_detector_pipeline.networks.header import read_description
from drift_detector_pipeline.runs.facts import now, this_command
from drift_detector_pipeline.runs.machine import Machine, prepared
from drift_detector_pipeline.settings import Run
from drift_detector_pipeline.settings_in_use import Predict
from drift_detector_pipeline.takes import PREDICT, check_settings
from drift_detector_pipeline.tasks.task import Answer, FurtherFiles


class Predicted(NamedTuple):
    """What became of the images."""

    folder: Path  # with predictions.jsonl and predictions.csv
    predicted: int
    unreadable: int


def predict(file: Path, images: Sequence[str], overrides: Sequence[str] = (), engine: str = "local") -> Predicted:
    """Predict the files that `images` name; print a JSON line for each, name what is unreadable on stderr.

    With the engine "ray" the images are answered by the machines of a cluster, which see the same paths: the same rows.
    Raises a PipelineError if the weight file is missing or damaged, or no image could be read.
    """
    recorded = read_description(file).get("precision")
    precision = precision_of(recorded)
    check_settings(overrides, PREDICT)
    run = load_section(Run, [f"run.precision={precision}", *overrides])
    how = load_section(Predict, overrides)
    with (
        prepared(run) as machine, files_for(engine, images) as found, new_folder(file.parent / "predictions") as partial
    ):  # fmt: skip
        if (recorded, machine.precision) == ("bf16", "fp32"):
            log.warning("%s: its run computed in bf16, here it is fp32; probabilities differ a little", file)
        trained = open_trained(file, machine)
        check_for_task(how, trained.task, trained.classes)
        unreadable = dict[str, str]()
        answers = answers_of_files if engine == "local" else answers_from_cluster
        rows = answers(trained, machine, found, how, unreadable)
        count = _write(partial, rows, trained, how)
        for name, why in unreadable.items():
            log.warning("%s: %s", name, why)
        if not count:
            first = "".join(f"; {name}: {why}" for name, why in list(unreadable.items())[:1])
            what = "image" if trained.clip is None else "clip"
            raise DataError(f"{' '.join(images)}: no {what} among {len(found)} files{first}")
        write_json(partial / "summary.json", _summary(trained, machine, count, unreadable))
    return Predicted(final_name(partial), count, len(unreadable))


def _write(folder: Path, rows: Iterable[tuple[Image, Answer]], trained: Trained, how: Predict) -> int:
    """Write all files and print each JSON line, as they come; return how many images."""
    count, task = 0, trained.task
    further: FurtherFiles | None = task.further_files and task.further_files(folder, trained.classes, how)
    with (
        (folder / "predictions.jsonl").open("w", encoding="utf-8", errors="backslashreplace") as lines,
        (folder / "predictions.csv").open("w", newline="", encoding="utf-8", errors="surrogateescape") as table,
    ):
        cells = csv.writer(table, lineterminator="\n")
        cells.writerow(["path", *task.columns])
        for image, answer in rows:
            count += 1
            line = json.dumps({"path": image.name, **answer}, ensure_ascii=False)
            lines.write(line + "\n")
            cells.writerows(spreadsheet_row([image.name, *row]) for row in task.rows(answer))
            tqdm.write(line.encode("utf-8", "backslashreplace").decode())
            if further is not None:
                further.add(image.name, image.stored.pixels, (image.stored.height, image.stored.width), answer)
    if further is not None:
        further.close()
    return count


def _summary(trained: Trained, machine: Machine, count: int, unreadable: dict[str, str]) -> dict[str, Any]:
    return {
        "predicted": count,
        "unreadable": [{"path": name, "reason": why} for name, why in unreadable.items()],
        "command": this_command(),
        "when": now(),
        **facts_of(trained, machine),
    }
