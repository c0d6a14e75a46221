"""Labels for anybody's images.

In: a weight file, and nothing else of its run; images as files, folders, globs or archives. Out: JSON lines on stdout,
and `predictions/<date>_<time>/` beside the weights with the same lines, predictions.csv and, last, summary.json. The
probabilities are those of evaluation.py, to the last digit. `make predict` is predict.py.
"""

import csv
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from drift_detector_pipeline.commands import refuse_others
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import final_name, new_folder, spreadsheet_row, write_json
from drift_detector_pipeline.images.crops import read_crops
from drift_detector_pipeline.images.named_files import ImageFile, image_files
from drift_detector_pipeline.modeling.loaders import batch_of
from drift_detector_pipeline.modeling.trained import Trained, open_trained, outputs_of, precision_of
from drift_detector_pipeline.networks.weights import read_description
from drift_detector_pipeline.runs.facts import now, this_command
from drift_detector_pipeline.runs.machine import Machine, instruction_set, prepared
from drift_detector_pipeline.settings import Run
from drift_detector_pipeline.tasks.task import Answer, Task

_ALLOWED = ("run.device", "run.precision", "run.threads")


class Predicted(NamedTuple):
    """What became of the images."""

    folder: Path  # with predictions.jsonl and predictions.csv
    predicted: int
    unreadable: int


def predict(file: Path, images: Sequence[str], overrides: Sequence[str] = ()) -> Predicted:
    """Predict the files that `images` name; print a JSON line for each, name what is unreadable on stderr.

    Raises a PipelineError if the weight file is missing or damaged, or no image could be read.
    """
    recorded = read_description(file).get("precision")
    precision = precision_of(recorded)
    refuse_others(overrides, _ALLOWED, "all else a prediction needs is in the weight file")
    run = load_section(Run, [f"run.precision={precision}", *overrides])
    with prepared(run) as machine, image_files(images) as found, new_folder(file.parent / "predictions") as partial:
        if (recorded, machine.precision) == ("bf16", "fp32"):
            log.warning("%s: its run computed in bf16, here it is fp32; probabilities differ a little", file)
        trained = open_trained(file, machine)
        unreadable = dict[str, str]()
        count = _write(partial, _predictions(trained, machine, found, unreadable), trained.task)
        if not count:
            first = "".join(f"; {name}: {why}" for name, why in list(unreadable.items())[:1])
            raise DataError(f"{' '.join(images)}: no image among {len(found)} files{first}")
        write_json(partial / "summary.json", _summary(trained, machine, count, unreadable))
    return Predicted(final_name(partial), count, len(unreadable))


def _predictions(
    trained: Trained, machine: Machine, found: Sequence[ImageFile], unreadable: dict[str, str]
) -> Iterator[tuple[str, Answer]]:
    """Yield name and answer of each image, in order; add the others to `unreadable`."""
    crops = read_crops(found, trained.stored_side_px, trained.img_size, unreadable)
    while group := list(itertools.islice(crops, trained.task.batch)):
        outputs = outputs_of(trained, batch_of([crop for _, crop in group]), machine)
        yield from zip((name for name, _ in group), trained.task.answer(outputs, trained.classes), strict=True)
    for name, why in unreadable.items():
        log.warning("%s: %s", name, why)


def _write(folder: Path, rows: Iterable[tuple[str, Answer]], task: Task) -> int:
    """Write both files and print each JSON line, as they come; return how many."""
    count = 0
    with (
        (folder / "predictions.jsonl").open("w", encoding="utf-8", errors="backslashreplace") as lines,
        (folder / "predictions.csv").open("w", newline="", encoding="utf-8", errors="surrogateescape") as table,
    ):
        cells = csv.writer(table, lineterminator="\n")
        cells.writerow(["path", *task.columns])
        for name, answer in rows:
            count += 1
            line = json.dumps({"path": name, **answer}, ensure_ascii=False)
            lines.write(line + "\n")
            cells.writerows(spreadsheet_row([name, *row]) for row in task.rows(answer))
            _print(line.encode("utf-8", "backslashreplace").decode())
    return count


def _print(line: str) -> None:
    """Print beside a progress bar; when nobody reads any more, as after `| head`, the files are still written."""
    try:
        tqdm.write(line, file=sys.stdout)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _summary(trained: Trained, machine: Machine, count: int, unreadable: dict[str, str]) -> dict[str, Any]:
    return {
        "predicted": count,
        "unreadable": [{"path": name, "reason": why} for name, why in unreadable.items()],
        "weights": str(trained.file),
        "weights_sha256": trained.sha256,
        "model": trained.architecture,
        "classes": trained.classes,
        "command": this_command(),
        "when": now(),
        "device": machine.device.type,
        "instruction_set": instruction_set(machine.device),
        "precision": machine.precision,
        "threads": machine.threads,
    }
