"""What found boxes are worth: mean average precision as COCO has it, by class and by size, and the mean loss.

In: outputs and targets of N images, boxes in px of the view. Out: `Metrics`. The figures are faster-coco-eval's; what
it does not tell (curves, errors, intervals) follows from matching.py. Fed by modeling/inference.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from drift_detector_pipeline.arrays import Boxes
from drift_detector_pipeline.tasks.boxes.matching import EVERY_CLASS, Matches, Said, average_precision, match_class

SIZES = {
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e10),
}  # area in square px of the view
DRAWS = 200  # of images, for an interval
_MOST = 100  # boxes of an image


@dataclass(frozen=True)
class Metrics:
    """What a model of boxes is worth on N images. Averages are over classes of which there is something to find."""

    n: int  # images
    loss: float  # mean of the images' losses
    map: float  # mean average precision over IoU 0.50 to 0.95; 0 if nothing is to be found
    map50: float  # at IoU 0.50
    map75: float
    sizes: dict[str, float | None]  # map of SIZES; None: none of that size is to be found
    per_class: dict[int, tuple[float, float]]  # label -> map and map50, of classes that are to be found
    said: Sequence[Said]
    truth: Sequence[Boxes]

    @property
    def headline(self) -> float:
        """What decides: map50."""
        return self.map50

    @property
    def sought(self) -> int:
        """Boxes that are to be found."""
        return sum(int((~one.ignore).sum()) for one in self.truth)

    @cached_property
    def matches(self) -> dict[int, Matches]:
        """Found and true boxes brought together, by the classes of which something is to be found."""
        return {label: match_class(self.said, self.truth, label) for label in self.per_class}

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float] | None]:
        """95 % intervals of map and map50 by drawing images anew, with replacement; None if nothing is to be found."""
        if not self.per_class:
            return {"map": None, "map50": None}
        rng, drawn = np.random.default_rng(0), []
        for _ in range(DRAWS):
            weights = np.bincount(rng.integers(0, self.n, self.n), minlength=self.n)
            each = np.array([average_precision(matches, weights) for matches in self.matches.values()])
            each = each[~np.isnan(each[:, 0])]
            drawn.append((each.mean(), each[:, 0].mean()) if len(each) else (np.nan, np.nan))
        low, high = np.nanquantile(np.array(drawn), [0.025, 0.975], axis=0)
        return {name: (float(low[place]), float(high[place])) for place, name in enumerate(("map", "map50"))}

    def words(self, images: str) -> str:
        """What it comes to, for people; `images` says of which, such as "72 val images"."""
        interval = self.intervals["map50"]
        if interval is None:
            return f"in {images} there is no box to be found, so nothing can be said of precision; loss {self.loss:.4f}"
        low, high = interval
        return (
            f"mAP50 {self.map50:.3f} (95 % interval {low:.3f} to {high:.3f}), mAP {self.map:.3f}, "
            f"mAP75 {self.map75:.3f} on the {self.sought:,} boxes of {images}, loss {self.loss:.4f}"
        )


def measure(outputs: Sequence[Any], targets: Sequence[Boxes]) -> Metrics:
    """Measure the boxes found in images against the true ones; at least one image."""
    said = [Said(one.boxes, one.scores, one.labels) for one in outputs]
    told = [float(part) for one in outputs for part in one.loss.tolist()]
    loss = math.fsum(told) / len(told) if told else 0.0
    labels = sorted({int(label) for one in targets for label in one.labels[~one.ignore]})
    if not labels:
        return Metrics(len(targets), loss, 0.0, 0.0, 0.0, dict.fromkeys(SIZES), {}, said, targets)
    precision = _precision(said, targets, labels)  # (T, R, K, A)
    by_class = {
        label: (_mean(precision[:, :, place, 0]), _mean(precision[0, :, place, 0]))
        for place, label in enumerate(labels)
    }
    return Metrics(
        n=len(targets), loss=loss, map=_mean(precision[..., 0]), map50=_mean(precision[0, ..., 0]),
        map75=_mean(precision[5, ..., 0]),
        sizes={name: _mean_or_none(precision[..., place]) for place, name in enumerate(SIZES, start=1)},
        per_class=by_class, said=said, truth=targets,
    )  # fmt: skip


def _precision(said: Sequence[Said], truth: Sequence[Boxes], labels: list[int]) -> Any:
    """Precision at IoU, recall, class and area (all, then SIZES); -1 where nothing is to be found."""
    images = [{"id": number + 1} for number in range(len(truth))]
    categories = [{"id": label + 1, "name": str(label)} for label in labels]
    true = [one for number, boxes in enumerate(truth) for one in _annotations(number + 1, boxes, labels)]
    for number, one in enumerate(true, start=1):
        one["id"] = number
    given = COCO({"images": images, "categories": categories, "annotations": true})
    results = [
        {"image_id": number + 1, "category_id": label + 1, "bbox": box, "score": score}
        for number, one in enumerate(said)
        for box, score, label in zip(_xywh(one.boxes), one.scores.tolist(), one.labels.tolist(), strict=True)
        if label in set(labels)
    ]
    if not results:
        return np.where(_anything(truth, labels), 0.0, -1.0)
    evaluation = COCOeval_faster(given, given.loadRes(results), iouType="bbox")
    evaluation.params.maxDets = [_MOST]
    evaluation.params.areaRng = [[0, 1e10], *(list(limits) for limits in SIZES.values())]
    evaluation.params.areaRngLbl = ["all", *SIZES]
    evaluation.evaluate()
    evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"])[..., 0]


def _annotations(image: int, truth: Boxes, labels: list[int]) -> list[dict[str, Any]]:
    """The true boxes of an image; a region to be ignored whatever is found there stands once a class."""
    rows = list[dict[str, Any]]()
    for box, label, ignore in zip(_xywh(truth.boxes), truth.labels.tolist(), truth.ignore.tolist(), strict=True):
        for own in labels if label == EVERY_CLASS else [label]:
            area = box[2] * box[3]
            rows.append({"image_id": image, "category_id": own + 1, "bbox": box, "area": area, "iscrowd": int(ignore)})
    return [row for row in rows if row["category_id"] - 1 in labels]


def _xywh(boxes: Any) -> list[list[float]]:
    corners = boxes.astype(np.float64)
    sized: list[list[float]] = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()
    return sized


def _anything(truth: Sequence[Boxes], labels: list[int]) -> Any:
    """Whether there is something to be found, as an array of the evaluation's shape: (10, 101, K, 4)."""
    there = np.zeros((len(labels), 1 + len(SIZES)), np.bool_)
    limits = [(0.0, 1e10), *SIZES.values()]
    for one in truth:
        sides = (one.boxes[:, 2:] - one.boxes[:, :2]).astype(np.float64)
        for area, label in zip(sides.prod(1)[~one.ignore].tolist(), one.labels[~one.ignore].tolist(), strict=True):
            there[labels.index(label)] |= [low <= area <= high for low, high in limits]
    return np.broadcast_to(there, (10, 101, *there.shape))


def _mean(precision: Any) -> float:
    return _mean_or_none(precision) or 0.0


def _mean_or_none(precision: Any) -> float | None:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else None
