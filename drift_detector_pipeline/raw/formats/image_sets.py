"""Lists of the pictures in a part: ImageSets/Main/train.txt of Pascal VOC, ImageSets/train.txt of KITTI.

In: the annotations of a source. Out: the part of each. Read by voc.py and kitti.py.
"""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from drift_detector_pipeline.raw.formats.survey import Survey, by_stem, nfc, stem
from drift_detector_pipeline.raw.formats.values import lines_of, read_text

_FOLDER = "ImageSets"
_LISTS = ("train", "val", "trainval", "test")  # a picture is in the first that names it: KITTI counts test anew


def parts_of(source: Survey, annotations: Sequence[str]) -> dict[str, str]:
    """Annotation -> train, val or test; empty if there are no lists. `trainval` counts where its halves have none."""
    lists = [path for path in source.ending(".txt") if _is_list(path)]
    lists.sort(key=lambda path: _LISTS.index(stem(path)))
    names = {stem(path) for path in lists}
    parts = dict[str, str]()
    for path in lists:
        if stem(path) == "trainval" and {"train", "val"} <= names:
            continue
        way = PurePosixPath(path).parts
        top = way[: way.index(_FOLDER)]
        own = by_stem(one for one in annotations if PurePosixPath(one).parts[: len(top)] == top)
        for listed in _listed(source, path, own):
            parts.setdefault(listed, stem(path).removesuffix("val") or "val")
    return parts


def _is_list(path: str) -> bool:
    """Whether the list is about boxes: at the top of ImageSets, or in its folder Main."""
    way = PurePosixPath(path).parts
    return (way[-2:-1] == (_FOLDER,) and stem(path) in _LISTS) or (
        way[-3:-1] == (_FOLDER, "Main") and stem(path) in _LISTS
    )


def _listed(source: Survey, path: str, own: dict[str, list[str]]) -> Iterator[str]:
    """Annotations that a list names: a stem a line, with an ending or a further column if need be."""
    for _, line in lines_of(read_text(source.root / path, source.where(path))):
        spellings = [line, PurePosixPath(line).stem, line.split()[0], PurePosixPath(line.split()[0]).stem]
        if known := next((name for name in map(nfc, spellings) if name in own), None):
            yield from own[known]
