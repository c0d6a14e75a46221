"""COCO: one JSON a part of the data set, with pictures, boxes and the numbers of classes.

In: a `Survey`. Out: what was `Found`. annotations/instances_train2017.json is about train2017/*.jpg, or
train/_annotations.coco.json about the pictures beside it. Boxes are x, y, width, height, from 0; numbers of classes
have gaps and may start at 0, so labels are their places in sorted order.
"""

import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.formats.boxed import NOT_ANNOTATED, NOT_THERE, Boxed, Classes, Found, Upright
from drift_detector_pipeline.raw.formats.mask_extent import extent_of
from drift_detector_pipeline.raw.formats.survey import Stems, Survey, by_stem, folder_of, nfc, part_of, stem
from drift_detector_pipeline.raw.formats.values import (
    AGAIN,
    class_name,
    each,
    number,
    read_text,
    shown,
    tidy,
    whole,
    write_text,
)
from drift_detector_pipeline.raw.listing import ImageBoxes, RawBox
from drift_detector_pipeline.raw.split_names import split_name

EVERY_CLASS = "ignored_for_every_class"  # our own key of an annotation: a region that is no class's, once a class
_HEADS = "classes without a box that only head the others: left out"
_BY_STEM = "pictures found by their names without ending"
_MOST_BYTES, _MOST_TRIED = 1 << 31, 100  # of one file; files: some keep a JSON of other facts beside each picture
_KEYS = ("images", "annotations", "categories")
_WRITTEN_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")  # with more zeros it is a name
_Id = int | str


class _Entry(NamedTuple):
    path: str
    size: tuple[int, int] | None


class _File(NamedTuple):
    """What one JSON says."""

    path: str
    part: str | None
    names: dict[int, str]  # category id -> class
    heads: set[str]  # those of them that stand over others, as Roboflow writes one
    entries: dict[_Id, str]  # picture's id -> its name in the file
    sizes: dict[_Id, tuple[int, int] | None]
    boxes: Mapping[_Id, list[RawBox]]


def fits(source: Survey) -> bool:
    """Whether a JSON is, or reads like, a file of boxes."""
    return bool(_files(source))


def read(source: Survey) -> Found:
    """Raises DataError, with file and entry, for what is no such file, and for a picture that two may be about."""
    notes = Counter[str]()
    found = each(_files(source), lambda path: _read_one(source, path, notes))
    _refuse_two_of_a_part(found, source)
    classes = _classes(found, notes)
    stems, boxed = by_stem(source.pictures), list[Boxed]()
    for file in found:
        for number_, name in file.entries.items():
            if picture := _picture(name, file, stems, source, notes):
                boxed.append(Boxed(picture, file.part, ImageBoxes(tuple(file.boxes[number_]), file.sizes[number_])))
            else:
                notes[NOT_THERE] += 1
    notes[NOT_ANNOTATED] += len(source.pictures) - len({one.path for one in boxed})
    return Found(boxed, classes, notes)


def _files(source: Survey) -> list[str]:
    """Those named as usual; without one, those that read so."""
    found = source.ending(".json")
    for usual in ("instances_*.json", "*.coco.json"):
        if named := [path for path in found if fnmatch(PurePosixPath(path).name.lower(), usual)]:
            return named
    return [path for path in found[:_MOST_TRIED] if _reads_so(source, path)]


def _reads_so(source: Survey, path: str) -> bool:
    """Whether the first or last megabyte names what such a file holds."""
    with (source.root / path).open("rb") as file:
        start = file.read(1 << 20)
        file.seek(max(0, (source.root / path).stat().st_size - (1 << 20)))
        seen = start + file.read()
    opens = start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
    return opens and sum(f'"{key}"'.encode() in seen for key in _KEYS) > 1


def _read_one(source: Survey, path: str, notes: Counter[str]) -> _File:
    where = source.where(path)
    content = _parsed(read_text(source.root / path, where, _MOST_BYTES), where)
    pictures, boxes, categories = (_items(content, key, where) for key in _KEYS)
    names = _names(categories, where)
    entries, sizes = dict[_Id, str](), dict[_Id, tuple[int, int] | None]()
    for place, entry in enumerate(pictures):
        here = f"{where}, images[{place}]"
        number_ = _id(entry.get("id"), here, "its id")
        if number_ in entries:
            raise DataError(f"{here}: the id {shown(number_)} is given twice; each picture has its own; {AGAIN}")
        entries[number_], sizes[number_] = _file_name(entry.get("file_name"), here), _size(entry, here)
    above = {str(category.get("supercategory")) for category in categories}
    heads = {names[first] for first in list(names)[:1] if names[first] in above and len(names) > 1}
    return _File(path, _part(path), names, heads, entries, sizes, _boxes(boxes, names, entries, where))


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits
        raise DataError(f"{where}: not whole JSON ({error}); {AGAIN}") from error
    if not isinstance(content, dict):
        raise DataError(f"{where}: expected an object with {', '.join(_KEYS)}, found {shown(content)}; {AGAIN}")
    return content


def _items(content: Mapping[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    items = content.get(key)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise DataError(f"{where}: {key} is {shown(items)}; expected a list of objects; {AGAIN}")
    return items


def _names(categories: list[dict[str, Any]], where: str) -> dict[int, str]:
    """Category id -> class, by id."""
    names = dict[int, str]()
    for place, category in enumerate(categories):
        here = f"{where}, categories[{place}]"
        number_, name = whole(category.get("id"), here, "its id"), class_name(category.get("name"), here, "its name")
        if number_ in names or name in names.values():
            raise DataError(f"{here}: the id {number_} or the name {name!r} is given twice; {AGAIN}")
        names[number_] = name
    return dict(sorted(names.items()))


def _boxes(
    annotations: list[dict[str, Any]], names: Mapping[int, str], entries: Mapping[_Id, str], where: str
) -> Mapping[_Id, list[RawBox]]:
    found = defaultdict[_Id, list[RawBox]](list)
    for place, annotation in enumerate(annotations):
        here = f"{where}, annotations[{place}]"
        picture = _id(annotation.get("image_id"), here, "its image_id")
        category = whole(annotation.get("category_id"), here, "its category_id")
        if picture not in entries:
            raise DataError(f"{here}: no picture has the id {shown(picture)}; {AGAIN}")
        if category not in names:
            raise DataError(f"{here}: no category has the id {category}; there are {shown(list(names))}; {AGAIN}")
        flag = annotation.get("iscrowd")
        crowd = whole(int(flag or 0) if isinstance(flag, bool | None) else flag, here, "iscrowd")
        name = "" if crowd and annotation.get(EVERY_CLASS) is True else names[category]
        found[picture].append(RawBox(*_ends(annotation, here), name, crowd != 0))
    return found


def _ends(annotation: Mapping[str, Any], where: str) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of its box; without one, of its outline or mask."""
    box = annotation.get("bbox")
    if not box and annotation.get("segmentation"):
        return extent_of(annotation["segmentation"], where)
    if not isinstance(box, list) or len(box) != 4:
        raise DataError(f"{where}: bbox is {shown(box)}; expected [x, y, width, height] in pixels; {AGAIN}")
    x, y, width, height = (number(value, where, f"bbox[{place}]") for place, value in enumerate(box))
    return x, y, x + width, y + height


def _id(value: Any, where: str, what: str) -> _Id:
    """A picture's number, also as text; some programs write names."""
    if isinstance(value, str) and value and not _WRITTEN_NUMBER.fullmatch(value):
        return value
    return whole(value, where, what)


def _file_name(value: Any, where: str) -> str:
    name = nfc(value).replace("\\", "/").strip() if isinstance(value, str) else ""
    if not name or "\0" in name:
        raise DataError(f"{where}: file_name is {shown(value)}; expected a picture's name; {AGAIN}")
    return name


def _size(entry: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    sides = [round(number(entry[side], where, side)) if entry.get(side) else 0 for side in ("width", "height")]
    return (sides[0], sides[1]) if min(sides) > 0 else None


def _part(path: str) -> str | None:
    """By the file's name, instances_train2017 or val, else by its folder."""
    words = PurePosixPath(path).name.lower().removesuffix(".json").removesuffix(".coco").strip("_")
    said = split_name(words)
    return said.part if said else part_of(path)


def _refuse_two_of_a_part(found: Iterable[_File], source: Survey) -> None:
    seen = dict[str | None, str]()
    for file in found:
        if file.part in seen:
            raise DataError(
                f"{source.shown}: {seen[file.part]} and {file.path} read like the same part, {file.part or 'all'}; "
                "leave one of them there"
            )
        seen[file.part] = file.path


def _classes(found: list[_File], notes: Counter[str]) -> Classes:
    """Of the part to train on by their numbers, then those that other parts add."""
    ordered = sorted(found, key=lambda file: ("train", None, "val", "test").index(file.part))
    numbered = dict[str, int]()
    for file in ordered:
        numbered |= {name: number_ for number_, name in file.names.items() if name not in numbered}
    used = {box.class_name for file in found for boxes in file.boxes.values() for box in boxes}
    idle = {name for file in found for name in file.heads} - used
    notes[_HEADS] += len(idle)
    kept = {name: number_ for name, number_ in numbered.items() if name not in idle}
    return Classes(tuple(kept), tuple(kept.values()))


def _picture(name: str, file: _File, stems: Stems, source: Survey, notes: Counter[str]) -> str | None:
    """Where the picture lies that is called `name` in a file: by its whole name below any folder, else by its stem."""
    plain = "/" + name.lstrip("./")
    same = stems.of(stem(name))
    exact = [path for path in same if nfc(f"/{path}").endswith(plain)]
    named = [path for path in same if nfc(PurePosixPath(path).name) == PurePosixPath(name).name]
    for candidates in (exact, named, same):
        if near := _of_this_file(candidates, file):
            if len(near) > 1:
                raise DataError(f"{source.where(file.path)}: {name} may be {near[0]} or {near[1]}; remove one of them")
            notes[_BY_STEM] += candidates is same and not named
            return near[0]
    return None


def _of_this_file(candidates: list[str], file: _File) -> list[str]:
    """Those beside the file, else those whose folders name its part, else all."""
    beside = [path for path in candidates if folder_of(path) == folder_of(file.path)]
    return beside or [path for path in candidates if _folders_part(path) == file.part] or candidates


def _folders_part(path: str) -> str | None:
    said = [found.part for name in PurePosixPath(path).parent.parts if (found := split_name(name))]
    return said[-1] if said else None


def place(picture: Upright) -> str:
    """Where a picture lies that is written."""
    return f"{picture.part or 'images'}/{picture.name}"


def write(folder: Path, pictures: Sequence[Upright], classes: Classes) -> Counter[str]:
    """Write a JSON a part; return what they cannot say."""
    ids = dict(zip(classes.names, classes.ids or range(1, len(classes.names) + 1), strict=True))
    numbered = list(enumerate(pictures, start=1))
    count = itertools.count(1)
    for part in sorted({picture.part for picture in pictures}, key=str):
        ours = [(number_, picture) for number_, picture in numbered if picture.part == part]
        content = {
            "images": [
                {"id": number_, "file_name": picture.name, "width": picture.size[0], "height": picture.size[1]}
                for number_, picture in ours
            ],
            "annotations": [
                {"id": next(count), "image_id": number_, "category_id": category} | _written(box)
                for number_, picture in ours
                for box in picture.boxes
                for category in ([ids[box.class_name]] if box.class_name else ids.values())
            ],
            "categories": sorted(({"id": number_, "name": name} for name, number_ in ids.items()), key=_by_id),
        }
        text = json.dumps(content, ensure_ascii=False)
        write_text(folder / "annotations" / f"instances_{part or 'all'}.json", text)
    return Counter()


def _by_id(category: Mapping[str, Any]) -> int:
    return int(category["id"])


def _written(box: RawBox) -> dict[str, Any]:
    ends = [tidy(end) for end in (box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0)]
    said: dict[str, Any] = {"bbox": ends, "area": tidy(ends[2] * ends[3]), "iscrowd": int(box.ignore)}
    return said if box.class_name else said | {EVERY_CLASS: True}
