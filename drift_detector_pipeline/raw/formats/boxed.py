"""What a reader of boxes has found, checked, and put together as a `Listing`: the same for every layout.

In: pictures with boxes, each with the part of the data set it is in. Out: the same, checked; or a `Listing` of task
"boxes". Read by catalog.py.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.formats.survey import Survey, folder_of, nfc
from drift_detector_pipeline.raw.listing import ImageBoxes, Listing, RawBox, RawImage

TWICE = "boxes given twice: one of them kept"
NOT_THERE = "annotated pictures that are not there: left out"
NOT_ANNOTATED = "pictures without an annotation: left out"
IN_NO_PART = "pictures in none of the parts that the source has: left out"


class Boxed(NamedTuple):
    """A picture and the truth about it."""

    path: str  # below the root
    part: str | None  # train, val or test; None: the source does not say
    found: ImageBoxes


class Classes(NamedTuple):
    """Names in the order of their labels, and the source's own numbers if it has some."""

    names: tuple[str, ...]
    ids: tuple[int, ...] = ()


class Upright(NamedTuple):
    """A picture to be written with its boxes, both as they are seen."""

    name: str  # of its file, which no other has, whatever its ending and case
    part: str | None  # train, val or test; None: there are no parts
    size: tuple[int, int]  # width and height in px
    boxes: tuple[RawBox, ...]  # px, not clipped


class Found(NamedTuple):
    """All that a reader has found."""

    pictures: list[Boxed]
    classes: Classes | None  # None: those that occur, sorted
    notes: Counter[str]  # what was left out or mended -> how often


def checked(source: Survey, found: Found) -> Found:
    """Sorted by path, each box once, classes named.

    Where some pictures are in parts, those in none are trained on if nothing else is, or else left out.
    Raises DataError if a picture comes twice, or there is not a single box.
    """
    pictures = sorted(found.pictures, key=lambda one: one.path)
    _refuse_twice(source, pictures)
    notes, parts = Counter(found.notes), {one.part for one in pictures}
    if "train" in parts and None in parts:
        notes[IN_NO_PART] += sum(one.part is None for one in pictures)
        pictures = [one for one in pictures if one.part]
    elif len(parts) > 1:
        pictures = [one._replace(part=one.part or "train") for one in pictures]
    flat = [box for one in pictures for box in one.found.boxes]
    _refuse_nothing(source, pictures, flat)
    once = [one._replace(found=_once(one.found, notes)) for one in pictures]
    for note in (NOT_THERE, NOT_ANNOTATED, IN_NO_PART):
        if notes[note]:
            log.warning("%s: %d %s", source.shown, notes[note], note)
    classes = found.classes or Classes(tuple(sorted({box.class_name for box in flat} - {""})))
    return Found(once, classes, +notes)


def listing_of(source: Survey, found: Found) -> Listing:
    """The listing of what was checked.

    Of parts, `train` is trained on and `val`, or `test` where there is no `val`, is validated on; what else there is
    stays unused.
    """
    assert found.classes is not None
    parts = {one.part for one in found.pictures if one.part}
    sides = sides_of(parts, source)
    used = [one for one in found.pictures if one.part is None or one.part in sides]
    images = [RawImage(one.path, "", sides[one.part] if one.part else None, key) for one, key in _keyed(used)]
    ignored = sorted((set(source.pictures) - {one.path for one in found.pictures}) | set(source.lost))
    notes = {note: found.notes[note] for note in sorted(found.notes)}
    boxes = {one.path: one.found for one in used}
    return Listing(source.root, images, ignored, sorted(parts - set(sides)), (), "boxes", boxes, *found.classes, notes)


def sides_of(parts: Collection[str], source: Survey) -> dict[str, bool | None]:
    """Part -> whether its pictures are validated on; None: the only part, to be split. Unused ones are no keys.

    Raises DataError for several parts of which none is `train`.
    """
    if len(parts) < 2:
        return dict.fromkeys(parts)
    if "train" not in parts:
        raise DataError(
            f"{source.shown}: has the parts {' and '.join(sorted(parts))} and none to train on; name one of them train"
        )
    return {"train": False, "val" if "val" in parts else "test": True}


def _refuse_twice(source: Survey, pictures: Sequence[Boxed]) -> None:
    twice = [path for path, count in Counter(one.path for one in pictures).items() if count > 1]
    if twice:
        raise DataError(
            f"{source.where(twice[0])}: {len(twice)} pictures are annotated twice, or are in two parts; a picture "
            "belongs to one annotation and one part: remove the others"
        )


def _refuse_nothing(source: Survey, pictures: Sequence[Boxed], flat: Sequence[RawBox]) -> None:
    if all(box.ignore for box in flat):
        where = f"{source.shown}: in {len(pictures)} pictures"
        if not flat:
            raise DataError(
                f"{where} there is no box, so nothing to learn; are the labels complete, and in their place?"
            )
        raise DataError(
            f"{where} all {len(flat)} boxes are marked as crowds, difficult or DontCare, so nothing to learn; some "
            "tools mark every mask as a crowd: set iscrowd, or difficult, to 0 where a box shows one thing"
        )


def _once(found: ImageBoxes, notes: Counter[str]) -> ImageBoxes:
    once = tuple(dict.fromkeys(found.boxes))
    notes[TWICE] += len(found.boxes) - len(once)
    return found._replace(boxes=once)


def _keyed(used: Sequence[Boxed]) -> list[tuple[Boxed, str]]:
    """Each with its path below the folder that holds its part, which stays the same wherever the source lies."""
    tops = {part: _common([folder_of(one.path) for one in used if one.part == part]) for part in {o.part for o in used}}
    return [(one, nfc(PurePosixPath(one.path).relative_to(tops[one.part]).as_posix())) for one in used]


def _common(folders: Iterable[str]) -> str:
    ways = [PurePosixPath(folder).parts for folder in set(folders)]
    same = 0
    while all(len(way) > same and way[same] == ways[0][same] for way in ways):
        same += 1
    return PurePosixPath(*ways[0][:same]).as_posix()
