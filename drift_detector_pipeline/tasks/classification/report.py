"""The parts of an evaluation's page and numbers that only classification has.

In: an `Evaluation`. Out: a `Report`: numbers, pictures and what the page shows. Read by modeling/evaluation_report.py.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.figures import figure_png
from drift_detector_pipeline.pages import data_uri, image_png
from drift_detector_pipeline.tasks.classification.charts import Tile, confusion_chart, contact_sheet, reliability_chart
from drift_detector_pipeline.tasks.task import Evaluation, Report

SAMPLE, WORST, CONFUSIONS = 12, 12, 10  # shown on the page
_TILE_PX = 128  # largest side of an image inside the page: two dozen stay below a megabyte


def report(evaluation: Evaluation) -> Report:
    """Gather numbers, pictures and page; the mistakes made with the highest probability have a sheet of their own."""
    metrics, classes = evaluation.metrics, evaluation.classes
    sample = _tiles(evaluation, spread(evaluation.targets, SAMPLE))
    mistakes = _tiles(evaluation, worst(evaluation, evaluation.targets, WORST))
    pictures = {
        "predictions.png": figure_png(contact_sheet(sample, classes)),
        "confusion.png": figure_png(confusion_chart(metrics.confusion, classes)),
        "reliability.png": figure_png(reliability_chart(metrics.reliability)),
        "worst_mistakes.png": figure_png(contact_sheet(mistakes, classes)),
    }
    page = {
        "rows": list(zip(classes, metrics.per_class, strict=True)),
        "confusions": _confusions(evaluation),
        "sample": [(tile, _small(tile.pixels)) for tile in sample],
        "worst": [(tile, _small(tile.pixels)) for tile in mistakes],
        "confusion": data_uri(pictures["confusion.png"]),
        "reliability": data_uri(pictures["reliability.png"]),
    }
    return Report(_numbers(evaluation), _details(evaluation), pictures, "classification.html", page)


def _numbers(evaluation: Evaluation) -> dict[str, Any]:
    metrics = evaluation.metrics
    return {
        "n": metrics.n,
        "accuracy": metrics.accuracy,
        "accuracy_interval_95": list(metrics.accuracy_interval),
        "loss": metrics.loss,
        "confidence": metrics.confidence,
        "calibration_error": metrics.calibration_error,
    }


def _details(evaluation: Evaluation) -> dict[str, Any]:
    metrics, classes = evaluation.metrics, evaluation.classes
    return {
        "classes": classes,
        "per_class": [
            {"class": name, **scores._asdict()} for name, scores in zip(classes, metrics.per_class, strict=True)
        ],
        "confusion": metrics.confusion.tolist(),
        "reliability": [part._asdict() for part in metrics.reliability],
    }


def spread(labels: Sequence[int], most: int) -> list[int]:
    """At most so many places, spread evenly over the items in the order of their classes: nobody chose them."""
    by_class = sorted(range(len(labels)), key=lambda place: int(labels[place]))
    places = np.linspace(0, len(by_class) - 1, min(most, len(by_class)))
    return [by_class[round(place)] for place in places.tolist()]


def worst(evaluation: Evaluation, labels: Sequence[int], most: int) -> list[int]:
    """Places of the mistakes made with the highest probability, the highest first, at most so many."""
    wrong = [
        (answer["probability"], place)
        for place, (answer, label) in enumerate(zip(evaluation.answers, labels, strict=True))
        if answer["label"] != evaluation.classes[label]
    ]
    return [place for _, place in sorted(wrong, key=lambda found: (-found[0], found[1]))[:most]]


def _tiles(evaluation: Evaluation, places: list[int]) -> list[Tile]:
    return [
        Tile(
            evaluation.picture(place), evaluation.answers[place]["label"], evaluation.answers[place]["probability"],
            evaluation.classes[evaluation.targets[place]], evaluation.paths[place],
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
