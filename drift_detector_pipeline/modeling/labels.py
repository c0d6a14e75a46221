"""Labels for anybody's images.

In: a weight file, and nothing else of its run; images as files, folders, globs or archives. Out: JSON lines on stdout,
and `predictions/<date>_<time>/` beside the weights with the same lines, predictions.csv, what else the task writes and,
last, summary.json. The probabilities are those of evaluation.py, to the last digit. `make predict` is predict.py.
"""

import csv
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.commands import refuse_others
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.files import final_name, new_folder, spreadsheet_row, write_json
from drift_detector_pipeline.images.crops import Stored, read_stored
from drift_detector_pipeline.images.named_files import ImageFile, image_files
from drift_detector_pipeline.images.tiles import Tile, tiles
from drift_detector_pipeline.modeling.clip_files import read_clips
from drift_detector_pipeline.modeling.loaders import batch_of
from drift_detector_pipeline.modeling.trained import Trained, facts_of, open_trained, outputs_of, precision_of
from drift_detector_pipeline.networks.weights import read_description
from drift_detector_pipeline.runs.facts import now, this_command
from drift_detector_pipeline.runs.machine import Machine, prepared
from drift_detector_pipeline.settings import Run
from drift_detector_pipeline.settings_in_use import Predict
from drift_detector_pipeline.tasks.task import Answer, FurtherFiles, Task

_ALLOWED = (
    "run.device", "run.precision", "run.threads", "predict.threshold", "predict.tile_px", "predict.pictures",
)  # fmt: skip
_WHOLE_PX = 1_000_000  # longer side of an image that is read as it is


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
    how = load_section(Predict, overrides)
    with prepared(run) as machine, image_files(images) as found, new_folder(file.parent / "predictions") as partial:
        if (recorded, machine.precision) == ("bf16", "fp32"):
            log.warning("%s: its run computed in bf16, here it is fp32; probabilities differ a little", file)
        trained = open_trained(file, machine)
        check_for_task(how, trained.task, trained.classes)
        unreadable = dict[str, str]()
        count = _write(partial, _predictions(trained, machine, found, how, unreadable), trained, how)
        if not count:
            first = "".join(f"; {name}: {why}" for name, why in list(unreadable.items())[:1])
            what = "image" if trained.clip is None else "clip"
            raise DataError(f"{' '.join(images)}: no {what} among {len(found)} files{first}")
        write_json(partial / "summary.json", _summary(trained, machine, count, unreadable))
    return Predicted(final_name(partial), count, len(unreadable))


class _Image(NamedTuple):
    """An image on its way: its parts are answered one after another."""

    name: str
    stored: Stored
    tiles: list[Tile]  # px of the stored image
    answers: list[Answer]  # of the first tiles


def check_for_task(how: Predict, task: Task, classes: Sequence[str]) -> None:
    """Raise ConfigError if a word asks for what models of this task, or of more than two classes, cannot do."""
    for name in ("threshold", "tile_px"):
        if task.join is not None or (value := getattr(how, name)) is None:
            continue
        if name == "tile_px" or task.decide is None:
            raise ConfigError(f"predict.{name}={value}: is for models of boxes; this one is for {task.name}")
        if len(classes) != 2:
            raise ConfigError(f"predict.{name}={value}: is for models of two classes; this one has {len(classes)}")


def _predictions(
    trained: Trained, machine: Machine, found: Sequence[ImageFile], how: Predict, unreadable: dict[str, str]
) -> Iterator[tuple[_Image, Answer]]:
    """Yield each image and its answer, in order; add the others to `unreadable`."""
    if trained.clip is None:
        stored = read_stored(found, side_of(trained, how), trained.task.stored_side, unreadable)
    else:
        stored = read_clips(found, trained.clip, trained.stored_side_px, unreadable)
    yield from answers_of(trained, machine, stored, how)
    for name, why in unreadable.items():
        log.warning("%s: %s", name, why)


def side_of(trained: Trained, how: Predict) -> int:
    """To how many px the side of an image is brought that counts for its task."""
    return trained.stored_side_px if how.tile_px is None else _WHOLE_PX


def answers_of(
    trained: Trained, machine: Machine, stored: Iterable[tuple[str, Stored]], how: Predict
) -> Iterator[tuple[_Image, Answer]]:
    """Yield each of the named images, and its answer in px of the image as people see it, in order."""
    images = (
        _Image(name, one, tiles(one.pixels.shape[-3], one.pixels.shape[-2], how.tile_px), []) for name, one in stored
    )
    parts = ((image, tile) for image in images for tile in image.tiles)
    while group := list(itertools.islice(parts, trained.task.batch)):
        views = [trained.task.view(_cut(image, tile), None, trained.look, None) for image, tile in group]
        known = [target for _, target in views if target is not None]  # of clips, how many frames of a view they fill
        outputs = outputs_of(trained, batch_of([view.numpy() for view, _ in views], known or None), machine)
        for (image, _), answer in zip(group, trained.task.answer(outputs, trained.classes), strict=True):
            image.answers.append(answer)
            if len(image.answers) == len(image.tiles):
                yield image, _on_image(image, trained, how)


def _cut(image: _Image, tile: Tile) -> Pixels:
    return image.stored.pixels[..., tile.top : tile.top + tile.height, tile.left : tile.left + tile.width, :]


def _on_image(image: _Image, trained: Trained, how: Predict) -> Answer:
    """What is said of an image's parts, in terms of the whole image as people see it."""
    task, size = trained.task, (image.stored.height, image.stored.width)
    if len(image.tiles) == 1:
        stored = image.stored.pixels.shape[-3:-1]
        answer = task.on_image(image.answers[0], size, trained.img_size, stored=stored)
        if task.decide is not None and how.threshold is not None:
            return task.decide(answer, trained.classes, how.threshold)
        return answer if task.join is None else task.join([(answer, Tile(0, 0, *size[::-1]))], size, how.threshold)
    assert task.join is not None
    parts = [
        (task.on_image(answer, (tile.height, tile.width), trained.img_size), tile)
        for answer, tile in zip(image.answers, image.tiles, strict=True)
    ]
    return task.join(parts, size, how.threshold)


def _write(folder: Path, rows: Iterable[tuple[_Image, Answer]], trained: Trained, how: Predict) -> int:
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
