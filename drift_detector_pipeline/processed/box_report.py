"""The part of a data set's report that is about boxes: numbers, charts, and pictures with their boxes drawn.

In: a processed folder of task "boxes". Out: what data_report.json and its page say beside what every data set's do.
Read by data_report.py.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from drift_detector_pipeline.arrays import Boxes
from drift_detector_pipeline.figures import figure_png
from drift_detector_pipeline.images.drawing import Drawn, colour_of, draw_boxes
from drift_detector_pipeline.pages import data_uri, image_png
from drift_detector_pipeline.processed.box_charts import (
    MOST_CLASSES,
    aspect_chart,
    class_chart,
    overlap_chart,
    per_image_chart,
    position_chart,
    size_chart,
)
from drift_detector_pipeline.processed.box_facts import COMPARED, TINY_PX, TWICE, Measured, facts_of, measure
from drift_detector_pipeline.processed.manifest import Processed

_SPREAD, _SPECIAL = 9, 3  # pictures shown: evenly spread ones, and of each kind that is worth a look
_SHOWN_PX = 360  # of a picture's longer side
_MOST_NAMED = 12  # boxes of a picture that have their class written beside them; of more the colour tells
_MOST_COLOURS = 24  # classes that the page tells the colours of


class BoxReport(NamedTuple):
    """What a report says of boxes."""

    facts: dict[str, Any]
    page: dict[str, Any]


def report_boxes(data: Processed, side_px: int) -> BoxReport:
    """Measure, draw and choose; `side_px` is the side of the model's input, in whose px sizes are told."""
    found = measure(data, side_px)
    facts = facts_of(data, found, side_px)
    charts = {
        "balance": class_chart(data.manifest.counts, data.classes),
        "per_image": per_image_chart(found.per_image),
        "sizes_chart": size_chart(found, data.classes),
        "aspects": aspect_chart(found, data.classes),
        "positions": position_chart(found.positions),
        "overlaps": overlap_chart(found),
    }
    page = {name: data_uri(figure_png(figure)) for name, figure in charts.items()}
    colours = [(name, "#{:02x}{:02x}{:02x}".format(*colour_of(n))) for n, name in enumerate(data.classes)]
    return BoxReport(
        facts,
        page
        | {
            "boxes": facts,
            "colours": colours[:_MOST_COLOURS],
            "spread_pictures": _pictures(data, _spread(data)),
            "special": [(said, _pictures(data, chosen)) for said, chosen in _special(found) if len(chosen)],
            "limits": {"compared": COMPARED, "twice": TWICE, "tiny": TINY_PX, "classes": MOST_CLASSES},
        },
    )


def _spread(data: Processed) -> list[int]:
    """Images of train, evenly spread over its files."""
    train = data.images.indices("train")
    places = np.linspace(0, len(train) - 1, min(_SPREAD, len(train))).astype(int)
    return [int(index) for index in train[places]]


def _special(found: Measured) -> list[tuple[str, list[int]]]:
    smallest = np.full(len(found.per_image), np.inf)
    np.minimum.at(smallest, found.images, found.side_px)
    fullest = np.argsort(-found.per_image, kind="stable")[:_SPECIAL]
    twice = list(dict.fromkeys(image for image, _ in found.overlaps.twice))
    return [
        ("With the most boxes", fullest[found.per_image[fullest] > 0].tolist()),
        (
            "With the smallest box",
            np.argsort(smallest, kind="stable")[: min(_SPECIAL, len(set(found.images)))].tolist(),
        ),
        ("With two boxes of a class that nearly cover one another: is one thing marked twice?", twice[:_SPECIAL]),
        ("Without a box to find", np.flatnonzero(found.per_image == 0)[:_SPECIAL].tolist()),
    ]


def _pictures(data: Processed, images: Iterable[int]) -> list[tuple[str, str]]:
    """A caption and the drawn picture of each image."""
    return [(_caption(data, index), data_uri(image_png(_drawn(data, index)))) for index in images]


def _caption(data: Processed, index: int) -> str:
    truth: Boxes = data.images.target(index)
    counts = np.bincount(truth.labels[~truth.ignore], minlength=len(data.classes))
    shown = [f"{count} {data.classes[label]}" for label, count in enumerate(counts.tolist()) if count]
    ignored = [f"{truth.ignore.sum()} to ignore"] * bool(truth.ignore.any())
    return f"{data.images.paths[index]}: {', '.join([*shown, *ignored]) or 'nothing'}"


def _drawn(data: Processed, index: int) -> Any:
    pixels, truth = data.images[index], data.images.target(index)
    height, width, _ = pixels.shape
    scale = min(1.0, _SHOWN_PX / max(height, width))
    small = Image.fromarray(pixels).resize((max(1, round(width * scale)), max(1, round(height * scale))))
    return draw_boxes(np.asarray(small), _lines(truth, data.classes, scale))


def _lines(truth: Boxes, classes: Sequence[str], scale: float) -> list[Drawn]:
    named = len(truth.labels) <= _MOST_NAMED
    rows = zip((truth.boxes * scale).tolist(), truth.labels.tolist(), truth.ignore.tolist(), strict=True)
    return [
        Drawn(box, "ignored" * named, 0, dashed=True) if ignore else Drawn(box, classes[label] * named, label)
        for box, label, ignore in rows
    ]
