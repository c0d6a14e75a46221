"""Lists of the pictures in a part: ImageSets/Main/train.txt of Pascal VOC, ImageSets/train.txt of KITTI.

In: the annotations of a source. Out: the part of each. Read by voc.py and kitti.py.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.formats.survey import Stems, Survey, by_stem, nfc, stem
from drift_detector_pipeline.raw.formats.values import AGAIN, lines_of, read_text

_UNKNOWN = "names in lists that have no annotation"
_FOLDER = "ImageSets"
_LISTS = ("train", "val", "trainval", "test")  # a picture is in the first that names it: KITTI counts test anew


def parts_of(source: Survey, annotations: Sequence[str], notes: Counter[str]) -> dict[str, str]:
    """Annotation -> train, val or test; empty if there are no lists. `trainval` counts where its halves have none.

    Raises DataError for a list to train or validate on that names nothing that is annotated.
    """
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
        for listed in _listed(source, path, own, notes):
            parts.setdefault(listed, stem(path).removesuffix("val") or "val")
    return parts


def _is_list(path: str) -> bool:
    """Whether the list is about boxes: at the top of ImageSets, or in its folder Main."""
    way = PurePosixPath(path).parts
    return (way[-2:-1] == (_FOLDER,) and stem(path) in _LISTS) or (
        way[-3:-1] == (_FOLDER, "Main") and stem(path) in _LISTS
    )


def _listed(source: Survey, path: str, own: Stems, notes: Counter[str]) -> list[str]:
    """Annotations that a list names: a stem a line, with an ending or a further column if need be."""
    lines = lines_of(read_text(source.root / path, source.where(path)))
    known = [found for _, line in lines if (found := _annotations(line, own))]
    if stem(path) != "test":  # whose truth is often kept back
        notes[_UNKNOWN] += len(lines) - len(known)
        if lines and not known:
            raise DataError(f"{source.where(path)}: none of its {len(lines)} names is one of an annotation; {AGAIN}")
    return [annotation for annotations in known for annotation in annotations]


def _annotations(line: str, own: Stems) -> list[str]:
    return next((found for name in _spellings(line) if (found := own.of(name))), [])


def _spellings(line: str) -> list[str]:
    first = line.split()[0]
    return [nfc(name) for name in (line, PurePosixPath(line).stem, first, PurePosixPath(first).stem)]
