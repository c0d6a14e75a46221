"""The parts of an evaluation's page and numbers that only clips have.

In: an `Evaluation`. Out: a `Report`: numbers, pictures and what the page shows. Read by modeling/evaluation_report.py.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from drift_detector_pipeline.figures import figure_png
from drift_detector_pipeline.pages import data_uri, image_png
from drift_detector_pipeline.tasks.classification.charts import confusion_chart, reliability_chart
from drift_detector_pipeline.tasks.classification.metrics import wilson_interval
from drift_detector_pipeline.tasks.classification.report import spread, worst
from drift_detector_pipeline.tasks.clips.charts import precision_recall_chart, roc_chart, sources_chart, strip
from drift_detector_pipeline.tasks.clips.curve import Curve, Point, positive_class, threshold_curve
from drift_detector_pipeline.tasks.clips.sources import DRAWS
from drift_detector_pipeline.tasks.task import Evaluation, Report

SAMPLE, WORST = 8, 8  # strips shown on the page
FEW = 8  # sources below which an interval says little
_STRIP_PX = 72  # height of a strip inside the page
_THRESHOLDS = 12  # rows of the table


def report(evaluation: Evaluation) -> Report:
    """Gather numbers, pictures and page: worst mistakes as strips, two classes at every threshold."""
    metrics, classes = evaluation.metrics, evaluation.classes
    curve, labels = curve_of(evaluation), [target.label for target in evaluation.targets]
    pictures = {
        "confusion.png": figure_png(confusion_chart(metrics.over_clips.confusion, classes)),
        "reliability.png": figure_png(reliability_chart(metrics.over_clips.reliability)),
        "sources.png": figure_png(sources_chart(metrics.per_source)),
    }
    if curve is not None:
        pictures["precision_recall.png"] = figure_png(precision_recall_chart(curve))
        pictures["roc.png"] = figure_png(roc_chart(curve))
    page = {
        **{name.removesuffix(".png"): data_uri(png) for name, png in pictures.items()},
        "rows": list(zip(classes, metrics.over_clips.per_class, strict=True)),
        "sample": _strips(evaluation, spread(labels, SAMPLE)),
        "worst": _strips(evaluation, worst(evaluation, labels, WORST)),
        "curve": curve,
        "thresholds": _some(curve.points) if curve else [],
        "independent": wilson_interval(int(metrics.over_clips.confusion.trace()), metrics.n),
        "draws": DRAWS,
        "few": FEW,
    }
    return Report(_numbers(evaluation), _details(evaluation, curve), pictures, "clips.html", page)


def curve_of(evaluation: Evaluation) -> Curve | None:
    """Two classes at every threshold; None if there are more."""
    if len(evaluation.classes) != 2:
        return None
    place = positive_class(evaluation.classes)
    name = evaluation.classes[place]
    chances = [one["probability"] for answer in evaluation.answers for one in answer["top3"] if one["label"] == name]
    is_positive = np.array([target.label == place for target in evaluation.targets])
    return threshold_curve(np.array(chances), is_positive, name, evaluation.facts.get("threshold"))


def _numbers(evaluation: Evaluation) -> dict[str, Any]:
    metrics = evaluation.metrics
    return {
        "n": metrics.n,
        "sources": len(metrics.per_source),
        "accuracy": metrics.headline,
        "accuracy_interval_90": metrics.interval_90 and list(metrics.interval_90),
        "accuracy_interval_95": metrics.interval_95 and list(metrics.interval_95),
        "source_accuracy": metrics.source_accuracy,
        "loss": metrics.loss,
        "confidence": metrics.over_clips.confidence,
        "calibration_error": metrics.over_clips.calibration_error,
    }


def _details(evaluation: Evaluation, curve: Curve | None) -> dict[str, Any]:
    over_clips, classes = evaluation.metrics.over_clips, evaluation.classes
    two = {} if curve is None else {
        "positive_class": curve.positive,
        "roc_area": curve.roc_area,
        "average_precision": curve.average_precision,
        "at_half": curve.at_half._asdict(),
        "at_best_f1": curve.best._asdict(),
        **({} if curve.asked is None else {"at_threshold": curve.asked._asdict()}),
        "thresholds": [point._asdict() for point in curve.points],
    }  # fmt: skip
    return {
        "classes": classes,
        "per_class": [
            {"class": name, **scores._asdict()} for name, scores in zip(classes, over_clips.per_class, strict=True)
        ],
        "per_source": [{**one._asdict(), "accuracy": one.accuracy} for one in evaluation.metrics.per_source],
        "confusion": over_clips.confusion.tolist(),
        "reliability": [part._asdict() for part in over_clips.reliability],
        **two,
    }


def _strips(evaluation: Evaluation, places: Sequence[int]) -> list[dict[str, Any]]:
    """What the page shows of some clips."""
    shown = []
    for place in places:
        answer, target = evaluation.answers[place], evaluation.targets[place]
        frames = strip(evaluation.picture(place)[: target.frames])
        width = max(1, round(frames.shape[1] * _STRIP_PX / frames.shape[0]))
        small = Image.fromarray(frames).resize((width, _STRIP_PX), Image.Resampling.LANCZOS)
        truth = evaluation.classes[target.label]
        shown.append({
            "path": evaluation.paths[place], "source": target.source, "label": answer["label"],
            "probability": answer["probability"], "truth": truth, "right": truth == answer["label"],
            "picture": data_uri(image_png(np.asarray(small))),
        })  # fmt: skip
    return shown


def _some(points: Sequence[Point]) -> list[Point]:
    """Points spread evenly over a curve, its ends among them."""
    places = np.unique(np.linspace(0, len(points) - 1, min(_THRESHOLDS, len(points))).round().astype(np.int64))
    return [points[place] for place in places.tolist()]
