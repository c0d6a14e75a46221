"""The part of a data set's report that is about clips: sources, strips of frames, and what two splits share.

In: a processed folder of task "clips". Out: what data_report.json and its page say beside what every data set's do.
Read by data_report.py.
"""

import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.pages import jpeg_uri
from drift_detector_pipeline.processed.clip_leaks import ALIKE, Leak, find_leaks
from drift_detector_pipeline.processed.duplicates import thumbnail
from drift_detector_pipeline.processed.manifest import Processed
from drift_detector_pipeline.processed.packing import PackedImages
from drift_detector_pipeline.processed.splits import SPLITS

_STRIP, _STRIP_PX = 6, 72  # frames of a strip, and their height
_SAMPLES, _LEAKS = 5, 24  # shown: clips of each class, pairs
_COMPARED = 3  # frames of a clip: where it begins, in its middle, where it ends


class ClipReport(NamedTuple):
    """What a report says of clips."""

    facts: dict[str, Any]
    page: dict[str, Any]


def report_clips(data: Processed, classes: Sequence[int]) -> ClipReport:
    """Compare, count and choose; `classes`: labels that the page shows clips of."""
    images = data.images
    leaks, looked = find_leaks(_thumbnails(images), images.splits)
    facts = _sources(data) | {
        "frames_stored": _spread(images.frames),
        "alike_above": ALIKE,
        "compared": looked,
        "alike_across_splits": {split: sum(images.splits[one.clip] == split for one in leaks) for split in looked},
        "alike_pairs": [_described(images, leak) for leak in leaks],
        "alike_sources": _alike_sources(images, leaks),
    }
    strips = [(data.classes[label], [_strip(images, index) for index in _samples(images, label)]) for label in classes]
    pairs = [
        (fact, _frame(images, leak.clip, leak.frame), _frame(images, leak.other, leak.other_frame))
        for fact, leak in zip(facts["alike_pairs"], leaks[:_LEAKS], strict=False)
    ]
    return ClipReport(facts, {"clips": facts, "strips": strips, "alike": pairs})


def _thumbnails(images: PackedImages) -> npt.NDArray[np.float32]:
    found = list[npt.NDArray[np.float32]]()
    with progress_bar(total=len(images), title="thumbnails", unit=" clips") as bar:
        for index in range(len(images)):
            frames = images[index]
            found.append(np.stack([thumbnail(frames[place]) for place in _ends_and_middle(len(frames))]))
            bar.update()
    return np.stack(found)


def _ends_and_middle(frames: int) -> list[int]:
    return [round(place) for place in np.linspace(0, frames - 1, _COMPARED).tolist()]


def _sources(data: Processed) -> dict[str, Any]:
    """Counts of clips and classes by source."""
    clips, labels = defaultdict[str, int](int), defaultdict[str, set[int]](set)
    for source, label in zip(data.images.sources or (), data.images.labels.tolist(), strict=True):
        clips[source] += 1
        labels[source].add(label)
    table = [
        {
            "split": split,
            "sources": (data.manifest.sources or {}).get(split, 0),
            "clips": data.images.splits.count(split),
        }
        for split in SPLITS
    ]
    return {
        "sources_from": data.manifest.sources_from,
        "by_split": table,
        "sources": len(clips),
        "sources_by_class": {
            name: sum(label in of_source for of_source in labels.values()) for label, name in enumerate(data.classes)
        },
        "sources_of_several_classes": sum(len(of_source) > 1 for of_source in labels.values()),
        "clips_per_source": _spread(np.array(list(clips.values()))),
        "largest_source": max(clips.items(), key=lambda item: item[1], default=("", 0)),
    }


def _spread(values: npt.NDArray[np.int64] | None) -> dict[str, int] | None:
    if values is None or not len(values):
        return None
    return {"least": int(values.min()), "middle": int(np.median(values)), "most": int(values.max())}


def _described(images: PackedImages, leak: Leak) -> dict[str, Any]:
    both, sources = (leak.clip, leak.other), images.sources or []
    return {
        "clips": list(both),
        "paths": [images.paths[index] for index in both],
        "splits": [images.splits[index] for index in both],
        "labels": [int(images.labels[index]) for index in both],
        "sources": [sources[index] for index in both],
        "similarity": round(leak.similarity, 4),
    }


def _alike_sources(images: PackedImages, leaks: Sequence[Leak]) -> list[dict[str, Any]]:
    """Pairs of sources that leaks join, those with the most clips first."""
    counts, sources = defaultdict[tuple[str, str], int](int), images.sources or []
    for leak in leaks:
        counts[sources[leak.clip], sources[leak.other]] += 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"sources": list(pair), "clips": count} for pair, count in ordered]


def _samples(images: PackedImages, label: int) -> list[int]:
    """Clips of a class in train, each of another source as far as that goes."""
    members = [int(index) for index in images.indices("train") if images.labels[index] == label]
    turns = defaultdict[str, int](int)
    order = sorted(members, key=lambda index: (_next(turns, (images.sources or [])[index]), index))
    return order[:_SAMPLES]


def _next(turns: dict[str, int], source: str) -> int:
    turns[source] += 1
    return turns[source]


def _strip(images: PackedImages, index: int) -> tuple[str, str]:
    """What is written below a strip of frames, and the strip."""
    frames = images[index]
    places = np.linspace(0, len(frames) - 1, min(_STRIP, len(frames))).round().astype(int)
    drawn = np.concatenate(list(_small(frames[place] for place in places)), axis=1)
    path, source = images.paths[index], (images.sources or [])[index]
    return f"{path}, {len(frames)} frames" + f", of {source}" * (source != path), _uri(drawn)


def _frame(images: PackedImages, index: int, which: int) -> str:
    frames = images[index]
    return _uri(next(_small([frames[_ends_and_middle(len(frames))[which]]])))


def _small(frames: Any) -> Iterator[Pixels]:
    for frame in frames:
        height, width, _ = frame.shape
        size = (max(1, round(width * _STRIP_PX / height)), _STRIP_PX)
        yield np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC))


def _uri(pixels: Pixels) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return jpeg_uri(buffer.getvalue())
