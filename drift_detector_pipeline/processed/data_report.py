"""What a data set holds, in pictures: `make data_report ARGS="data=cifar10"`.

In: a processed folder. Out: data_report/{report.html,data_report.json} in it: counts, class balance, sizes, sample
pictures, images that appear twice, of boxes what box_report.py tells, of clips what clip_report.py does. Read by
people before they train.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from drift_detector_pipeline.arrays import Boxes, Pixels
from drift_detector_pipeline.config import load
from drift_detector_pipeline.console import log, progress_bar, set_up_logging
from drift_detector_pipeline.errors import exit_status
from drift_detector_pipeline.figures import drawable, figure_png
from drift_detector_pipeline.files import exclusive, replaced_folder, write_json
from drift_detector_pipeline.pages import data_uri, image_png, write_page
from drift_detector_pipeline.processed.box_report import report_boxes
from drift_detector_pipeline.processed.clip_report import report_clips
from drift_detector_pipeline.processed.duplicates import EXACT, MANY, AlikePair, find_pairs, thumbnail
from drift_detector_pipeline.processed.manifest import REPORT, Processed, open_processed
from drift_detector_pipeline.processed.packing import PackedImages
from drift_detector_pipeline.processed.splits import SPLITS

ALIKE = 0.97  # correlation of 16 px grey thumbnails; on CIFAR-10 most such pairs are one photograph, some two horizons
_SAMPLES, _PAIRS = 6, 24  # shown: images of each class, pairs
NAMED = 60  # classes up to which a chart has room for their names, and a page for samples of each
_SHOWN_PX, _LONGEST = 96, 30  # of a sample's shorter side; letters of a class in the chart


@exit_status
def main() -> int:
    """Write the report of the data set that the overrides on the command line name."""
    set_up_logging()
    settings = load(sys.argv[1:]).settings.data
    path = write_report(open_processed(settings), settings.img_size)
    log.info("%s", path)
    return 0


def write_report(data: Processed, side_px: int) -> Path:
    """Write the report into the processed folder; return the page's path. `side_px`: the side of the model's input."""
    folder, pairs = data.folder / REPORT, _pairs(data)
    facts = _facts(data, pairs)
    if data.task == "clips":
        clips = report_clips(data, _shown_classes(data))
        facts |= {"clips": clips.facts}
        template = "data_report_clips.html"
        page = clips.page | {"balance": data_uri(figure_png(_balance(facts["counts"], "clips")))}
    elif data.task == "boxes":
        boxes = report_boxes(data, side_px)
        facts |= {"boxes": boxes.facts, "unused_parts": data.manifest.unused_folders}
        template, page = "data_report_boxes.html", boxes.page
    else:
        template, page = "data_report.html", _labels_page(data, facts)
    values = page | {
        "title": f"The data set {data.manifest.name}",
        "facts": facts,
        "many": MANY,
        "numbered": list(_numbered(data.classes)) if len(data.classes) <= NAMED else [],
        "named": NAMED,
        "pairs": [(pair, *(_shown(data.images[one]) for one in pair["images"])) for pair in facts["pairs"][:_PAIRS]],
    }
    with exclusive(data.folder / f".{REPORT}.lock"), replaced_folder(folder) as partial:
        write_json(partial / "data_report.json", facts)
        write_page(partial / "report.html", template, **values)
    _say(facts)
    return folder / "report.html"


def _pairs(data: Processed) -> list[AlikePair]:
    """Images that look alike; clips are compared by clip_report.py, across splits alone."""
    if data.task == "clips":
        return []
    return find_pairs(_watched(data.images, "equal pixels"), _thumbnails(data.images), threshold=ALIKE)


def _labels_page(data: Processed, facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "balance": data_uri(figure_png(_balance(facts["counts"]))),
        "samples": [(data.classes[label], _samples(data, label)) for label in _shown_classes(data)],
    }


def _facts(data: Processed, pairs: list[AlikePair]) -> dict[str, Any]:
    images, counts = data.images, data.manifest.counts
    shapes = [tuple(sides) for sides in images.sides.tolist()]
    across, within = list[AlikePair](), list[AlikePair]()
    for pair in pairs:
        (within if images.splits[pair.first] == images.splits[pair.second] else across).append(pair)
    return {
        "name": data.manifest.name,
        "fingerprint": data.fingerprint,
        "images": len(images),
        "classes": data.classes,
        "counts": {split: counts[split] for split in SPLITS if any(counts.get(split, {}).values())},
        "largest_class_to_smallest": _imbalance(counts["train"]),
        "bad_images": [asdict(image) for image in data.manifest.bad_images],
        "sizes": _sizes(shapes),
        "equal_pairs": sum(pair.exact for pair in pairs),
        "similar_pairs": sum(not pair.exact for pair in pairs),
        "equal_pairs_across_splits": sum(pair.exact for pair in across),
        "similar_pairs_across_splits": sum(not pair.exact for pair in across),
        "similarity_threshold": ALIKE,
        "every_pair_compared": len(images) <= EXACT,
        "pairs": [_described(images, pair) for pair in across + within],
    }


def _described(images: PackedImages, pair: AlikePair) -> dict[str, object]:
    both = (pair.first, pair.second)
    return {
        "images": list(both),
        "paths": [images.paths[index] for index in both],
        "splits": [images.splits[index] for index in both],
        **_truths(images, both),
        "similarity": round(pair.similarity, 4),
        "equal": pair.exact,
    }


def _truths(images: PackedImages, both: tuple[int, int]) -> dict[str, object]:
    if images.boxes is None:
        return {"labels": [int(images.labels[index]) for index in both], "boxes": None}
    first, second = (images.target(index) for index in both)
    return {"labels": None, "boxes": [len(first.labels), len(second.labels)], "same_boxes": _same(first, second)}


def _same(first: Boxes, second: Boxes) -> bool:
    return (
        np.array_equal(first.boxes, second.boxes)
        and np.array_equal(first.labels, second.labels)
        and np.array_equal(first.ignore, second.ignore)
    )


def _imbalance(counts: dict[str, int]) -> float | None:
    """Images of the largest class over those of the smallest; None if a class has none."""
    return round(max(counts.values()) / min(counts.values()), 2) if min(counts.values()) else None


def _sizes(shapes: list[tuple[int, ...]]) -> dict[str, object]:
    """The stored sizes: the most common ones, and the spread of width over height."""
    aspects = np.array([width / height for height, width in shapes])
    low, middle, high = (round(float(value), 2) for value in np.quantile(aspects, [0.05, 0.5, 0.95]))
    common = [
        {"height_px": height, "width_px": width, "images": count}
        for (height, width), count in Counter(shapes).most_common(5)
    ]
    return {"different": len(set(shapes)), "most_common": common, "aspect_ratio_5_50_95_percent": [low, middle, high]}


def _thumbnails(images: PackedImages) -> npt.NDArray[np.float32]:
    return np.stack([thumbnail(pixels) for pixels in _watched(images, "thumbnails")])


def _watched(images: PackedImages, title: str) -> Iterator[Pixels]:
    with progress_bar(total=len(images), title=title, unit=" images") as bar:
        for index in range(len(images)):
            yield images[index]
            bar.update()


def _balance(counts: dict[str, dict[str, int]], what: str = "images") -> Figure:
    """Bars: images of each class, one row of bars a split; of many classes without names, the largest first."""
    named = len(counts["train"]) <= NAMED
    figure = Figure(figsize=(7, (1 + 0.25 * min(len(counts["train"]), NAMED)) * len(counts)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(counts), 1, sharex=False))
    for axis, (split, of_split) in zip(axes, counts.items(), strict=True):
        sizes = list(of_split.values())
        axis.set_title(f"{split}: {sum(sizes):,} {what}", loc="left", fontsize=10)
        if named:
            axis.bar_label(axis.barh(range(len(sizes)), sizes, color="0.6", edgecolor="0.2"), padding=2, fontsize=8)
            axis.set_yticks(range(len(sizes)), drawable(list(of_split), _LONGEST))
        else:
            axis.stairs(sorted(sizes, reverse=True), orientation="horizontal", fill=True, color="0.6")
            axis.set_yticks([])
        axis.invert_yaxis()
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _numbered(classes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The classes whose names the chart cannot draw: what stands there, and the name."""
    for drawn, name in zip(drawable(classes, _LONGEST), classes, strict=True):
        if drawn != name:
            yield drawn, name


def _shown_classes(data: Processed) -> list[int]:
    """All classes, or some that are evenly spread."""
    spread = np.linspace(0, len(data.classes) - 1, min(NAMED, len(data.classes)))
    return [round(place) for place in spread.tolist()]


def _samples(data: Processed, label: int) -> list[str]:
    """Images of a class in train, evenly spread over its files."""
    train = data.images.indices("train")
    members = train[data.images.labels[train] == label]
    chosen = members[np.linspace(0, len(members) - 1, min(_SAMPLES, len(members))).astype(int)]
    return [_shown(data.images[int(index)]) for index in chosen]


def _shown(pixels: Pixels) -> str:
    height, width, _ = pixels.shape
    scale = _SHOWN_PX / min(height, width)
    size = (round(width * scale), round(height * scale))
    return data_uri(image_png(np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))))


def _say(facts: dict[str, Any]) -> None:
    for split, counts in facts["counts"].items():
        what = "boxes" if "boxes" in facts else "clips" if "clips" in facts else "images"
        log.info("%-6s %7s %s in %d classes", split, f"{sum(counts.values()):,}", what, len(counts))
    if "clips" in facts:
        alike, compared = facts["clips"]["alike_across_splits"], facts["clips"]["compared"]
        for split, count in compared.items():
            log.info("%d of %d clips of %s look like a clip of another split", alike[split], count, split)
        return
    log.info(
        "pairs of equal images: %d (%d across splits); of similar ones: %d (%d across splits)",
        facts["equal_pairs"], facts["equal_pairs_across_splits"],
        facts["similar_pairs"], facts["similar_pairs_across_splits"],
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
