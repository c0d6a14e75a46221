"""The parts of an evaluation's page and numbers that only boxes have.

In: an `Evaluation`. Out: a `Report`: numbers, pictures and what the page shows. Read by modeling/evaluation_report.py.
"""

import base64
import io
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from drift_detector_pipeline.arrays import Float64s, Pixels
from drift_detector_pipeline.figures import figure_png
from drift_detector_pipeline.images.letterbox import without_border
from drift_detector_pipeline.pages import data_uri, image_png
from drift_detector_pipeline.tasks.boxes.charts import (
    MOST_CURVES,
    drawn,
    error_chart,
    precision_recall_chart,
    score_chart,
    sheet,
)
from drift_detector_pipeline.tasks.boxes.matching import Matches, best_threshold, confusions, curve
from drift_detector_pipeline.tasks.boxes.metrics import DRAWS, SIZES, Metrics
from drift_detector_pipeline.tasks.boxes.tide import KINDS, split_errors
from drift_detector_pipeline.tasks.classification.charts import confusion_chart
from drift_detector_pipeline.tasks.task import Evaluation, Report

SAMPLE, WORST = 6, 6  # images on the page
NOTHING = "(none)"  # beside the classes of a confusion matrix


class ClassRow(NamedTuple):
    """What is known of a class; None where there is nothing to divide by."""

    name: str
    sought: int  # true boxes
    map: float | None
    map50: float | None
    precision: float | None  # at the threshold
    recall: float | None


def report(evaluation: Evaluation) -> Report:
    """Gather numbers, pictures and page; the images with most errors have a sheet of their own."""
    metrics, classes = evaluation.metrics, evaluation.classes
    threshold = best_threshold(list(metrics.matches.values()))
    matrix = confusions(metrics.said, metrics.truth, len(classes), threshold)
    rows, splits = _rows(evaluation, matrix), split_errors(metrics.said, metrics.truth, threshold)
    worst, sample = _worst(evaluation, threshold), _spread(len(evaluation.paths))
    shown = {place: _drawn(evaluation, place, threshold) for place in {*worst, *sample}}
    pictures = {
        "precision_recall.png": figure_png(_curves(evaluation)),
        "confusion.png": figure_png(confusion_chart(matrix, [*classes, NOTHING])),
        "scores.png": figure_png(score_chart(*_scores(metrics), threshold)),
        "errors.png": figure_png(error_chart(splits)),
    }
    sheets = {"predictions.png": sample, "worst_images.png": worst}
    pictures |= {
        name: image_png(sheet([shown[place] for place in places])) for name, places in sheets.items() if places
    }
    page = {
        "threshold": threshold,
        "rows": rows,
        "absent": [row.name for row in rows if not row.sought],
        "sizes": SIZES,
        "draws": DRAWS,
        "splits": splits,
        "kinds": KINDS,
        "sample": [(evaluation.paths[place], _jpeg(shown[place])) for place in sample],
        "worst": [(evaluation.paths[place], _jpeg(shown[place])) for place in worst],
        **{name.removesuffix(".png"): data_uri(png) for name, png in pictures.items() if name not in sheets},
    }
    details = {
        "classes": classes,
        "threshold": threshold,
        "per_class": [{"class": row.name, **{k: v for k, v in row._asdict().items() if k != "name"}} for row in rows],
        "confusion": matrix.tolist(),
        "errors": [split._asdict() for split in splits],
    }
    return Report(_numbers(metrics), details, pictures, "boxes.html", page)


def _numbers(metrics: Metrics) -> dict[str, Any]:
    intervals = {f"{name}_interval_95": list(both) if both else None for name, both in metrics.intervals.items()}
    sizes = {f"map_{name}": value for name, value in metrics.sizes.items()}
    figures = {name: getattr(metrics, name) for name in ("n", "sought", "map50", "map", "map75", "loss")}
    return {**figures, **intervals, **sizes}


def _rows(evaluation: Evaluation, matrix: Any) -> list[ClassRow]:
    """One row a class, in the order of labels."""
    metrics, rows = evaluation.metrics, []
    for label, name in enumerate(evaluation.classes):
        sought, given, hits = int(matrix[label].sum()), int(matrix[:, label].sum()), int(matrix[label, label])
        whole, half = metrics.per_class.get(label, (None, None))
        rows.append(ClassRow(name, sought, whole, half, _share(hits, given), _share(hits, sought)))
    return rows


def _curves(evaluation: Evaluation) -> Any:
    """Precision against recall of the classes with most boxes, in the order of labels."""
    found: dict[int, Matches] = evaluation.metrics.matches
    most = sorted(sorted(found, key=lambda label: -found[label].sought.sum())[:MOST_CURVES])
    lines = {}
    for label in most:
        one = found[label]
        each = np.ones(len(one.scores), np.int64)
        lines[evaluation.classes[label]] = curve(one.right[0], one.counted[0], each, int(one.sought.sum()))
    return precision_recall_chart(lines, len(found) - len(most))


def _scores(metrics: Metrics) -> tuple[Float64s, Float64s]:
    """Scores of right and of wrong boxes at IoU 0.50, classes of which something is to be found."""
    right, wrong = [np.zeros(0)], [np.zeros(0)]
    for one in metrics.matches.values():
        right.append(one.scores[one.right[0]])
        wrong.append(one.scores[one.counted[0] & ~one.right[0]])
    return np.concatenate(right), np.concatenate(wrong)


def _spread(count: int) -> list[int]:
    """Places spread evenly over the images: nobody chose them."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(SAMPLE, count)).tolist()})


def _worst(evaluation: Evaluation, threshold: float) -> list[int]:
    """Places of the images with most errors at the threshold, the most first: missed, made up, of another class."""
    metrics, classes = evaluation.metrics, len(evaluation.classes)
    errors = []
    for place, (said, true) in enumerate(zip(metrics.said, metrics.truth, strict=True)):
        counts = confusions([said], [true], classes, threshold)
        errors.append((int(counts.sum() - counts.diagonal()[:classes].sum()), place))
    return [place for wrong, place in sorted(errors, key=lambda one: (-one[0], one[1]))[:WORST] if wrong]


def _drawn(evaluation: Evaluation, place: int, threshold: float) -> Pixels:
    found = [one for one in evaluation.answers[place]["boxes"] if one["score"] >= threshold]
    return drawn(without_border(evaluation.picture(place)), found, evaluation.targets[place], evaluation.classes)


def _jpeg(pixels: Pixels) -> str:
    """The picture as an address: photographs are a tenth of what they are as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="jpeg", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
