"""The files of an evaluation: metrics.json, a page, its pictures, and one line per image.

In: an `Evaluation`. Out: `<run>/evaluation/<split>/{metrics.json,report.html,predictions.csv,*.png}`, replaced as a
whole. Fed by evaluate.py; for people, and for whoever compares runs.
"""

import csv
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import disk_full_explained, write_atomically, write_json
from drift_detector_pipeline.modeling.charts import Tile, confusion_chart, contact_sheet, reliability_chart
from drift_detector_pipeline.modeling.metrics import Metrics
from drift_detector_pipeline.modeling.trained import ANSWER_COLUMNS, Answer, answer_cells
from drift_detector_pipeline.pages import data_uri, figure_png, image_png, write_page

SAMPLE, WORST, CONFUSIONS = 12, 12, 10  # shown on the page
_TILE_PX = 128  # largest side of an image inside the page: two dozen stay below a megabyte


class Evaluation(NamedTuple):
    """Everything known about a model on a split; lists have one item per image."""

    facts: dict[str, Any]  # which weights, data, command and machine
    metrics: Metrics
    classes: list[str]
    paths: list[str]
    true_labels: list[str]
    answers: list[Answer]
    picture: Callable[[int], Pixels]  # the image at a place of these lists, as the model saw it


def write_evaluation(target: Path, evaluation: Evaluation) -> Path:
    """Write all files, metrics.json last, then put them in the place of an earlier evaluation; return `target`.

    Raises DataError if the run's folder cannot be written.
    """
    partial = target.with_name(f".{target.name}.partial")
    try:
        with disk_full_explained(target):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            _write(partial, evaluation)
            shutil.rmtree(target, ignore_errors=True)
            partial.replace(target)
    except OSError as error:
        raise DataError(f"{error.filename or target}: {error.strerror}; the run's folder must be writable") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def metrics_json(evaluation: Evaluation) -> dict[str, Any]:
    """What metrics.json holds: all numbers and the facts, what is asked for most often first."""
    metrics, classes = evaluation.metrics, evaluation.classes
    return {
        "n": metrics.n,
        "accuracy": metrics.accuracy,
        "accuracy_interval_95": list(metrics.accuracy_interval),
        "loss": metrics.loss,
        "confidence": metrics.confidence,
        "calibration_error": metrics.calibration_error,
        **evaluation.facts,
        "classes": classes,
        "per_class": [
            {"class": name, **scores._asdict()} for name, scores in zip(classes, metrics.per_class, strict=True)
        ],
        "confusion": metrics.confusion.tolist(),
        "reliability": [part._asdict() for part in metrics.reliability],
    }


def _write(folder: Path, evaluation: Evaluation) -> None:
    sample, worst = _tiles(evaluation, _spread(evaluation)), _tiles(evaluation, _worst(evaluation))
    pictures = {
        "predictions.png": figure_png(contact_sheet(sample, evaluation.classes)),
        "confusion.png": figure_png(confusion_chart(evaluation.metrics.confusion, evaluation.classes)),
        "reliability.png": figure_png(reliability_chart(evaluation.metrics.reliability)),
        "worst_mistakes.png": figure_png(contact_sheet(worst, evaluation.classes)),
    }
    for name, png in pictures.items():
        write_atomically(folder / name, png)
    _write_predictions(folder / "predictions.csv", evaluation)
    write_page(
        folder / "report.html",
        "evaluation.html",
        title=f"{evaluation.facts['model']} on {Path(evaluation.facts['data']).name}, {evaluation.facts['split']}",
        facts=evaluation.facts,
        command=shlex.join(evaluation.facts["command"]),
        metrics=evaluation.metrics,
        rows=list(zip(evaluation.classes, evaluation.metrics.per_class, strict=True)),
        confusions=_confusions(evaluation),
        sample=[(tile, _small(tile.pixels)) for tile in sample],
        worst=[(tile, _small(tile.pixels)) for tile in worst],
        confusion=data_uri(pictures["confusion.png"]),
        reliability=data_uri(pictures["reliability.png"]),
    )
    write_json(folder / "metrics.json", metrics_json(evaluation))


def _write_predictions(path: Path, evaluation: Evaluation) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["path", "true_label", *ANSWER_COLUMNS])
        for place, answer in enumerate(evaluation.answers):
            rows.writerow([evaluation.paths[place], evaluation.true_labels[place], *answer_cells(answer)])


def _spread(evaluation: Evaluation) -> list[int]:
    """Places spread evenly over the images in the order of their classes: nobody chose them."""
    number = {name: label for label, name in enumerate(evaluation.classes)}
    by_class = sorted(range(len(evaluation.paths)), key=lambda place: number[evaluation.true_labels[place]])
    spread = np.linspace(0, len(by_class) - 1, min(SAMPLE, len(by_class)))
    return [by_class[round(place)] for place in spread.tolist()]


def _worst(evaluation: Evaluation) -> list[int]:
    """Places of the mistakes made with the highest probability, the highest first."""
    pairs = enumerate(zip(evaluation.answers, evaluation.true_labels, strict=True))
    wrong = [(answer.probability, place) for place, (answer, truth) in pairs if answer.label != truth]
    return [place for _, place in sorted(wrong, key=lambda found: (-found[0], found[1]))[:WORST]]


def _tiles(evaluation: Evaluation, places: list[int]) -> list[Tile]:
    return [
        Tile(
            evaluation.picture(place), evaluation.answers[place].label, evaluation.answers[place].probability,
            evaluation.true_labels[place], evaluation.paths[place],
        )
        for place in places
    ]  # fmt: skip


def _confusions(evaluation: Evaluation) -> list[tuple[str, str, int, float]]:
    """The most frequent mistakes: true class, predicted class, images, share of the true class."""
    matrix, classes = evaluation.metrics.confusion, evaluation.classes
    wrong = matrix - np.diag(matrix.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS]
    pairs = [divmod(int(place), len(classes)) for place in order]
    return [
        (classes[row], classes[column], int(wrong[row, column]), wrong[row, column] / matrix[row].sum())
        for row, column in pairs
        if wrong[row, column]
    ]


def _small(pixels: Pixels) -> str:
    side = min(_TILE_PX, pixels.shape[0])
    return data_uri(image_png(np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS))))
