"""KITTI: a text a picture, a line an object, and regions called DontCare where nobody has looked.

In: a `Survey`. Out: what was `Found`. training/label_2/000001.txt is about training/image_2/000001.png. A line has 15
columns, 16 with a score: type, truncated, occluded, alpha, four ends of the box in pixels from 0, and 3D facts.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.formats.boxed import NOT_ANNOTATED, NOT_THERE, Boxed, Classes, Found, Upright
from drift_detector_pipeline.raw.formats.image_sets import parts_of
from drift_detector_pipeline.raw.formats.survey import Survey, by_stem, folder_of, part_of, partner
from drift_detector_pipeline.raw.formats.values import (
    AGAIN,
    class_name,
    each,
    lines_of,
    number,
    read_text,
    tidy,
    write_text,
)
from drift_detector_pipeline.raw.listing import ImageBoxes, RawBox

DONT_CARE = "DontCare"
_NAMED = re.compile(r"(^|/)label_\d$")
_PUBLISHED = re.compile(r"(^|/)training/")  # KITTI's name for all that has labels, which is no part
_COLUMNS = (15, 16)
_FACTS = ("truncated", "occluded", "alpha")  # before the ends: words there are the rest of a class's name
_ENDS = ("left", "top", "right", "bottom")


def fits(source: Survey) -> bool:
    """Whether a folder holds texts of such lines."""
    return bool(_labels(source))


def read(source: Survey) -> Found:
    """Raises DataError, with file and line, for what is no such line, and for a picture that two may be about."""
    notes, stems, labels = Counter[str](), by_stem(source.pictures), _labels(source)
    parts, boxed = parts_of(source, labels, notes), list[Boxed]()
    for path, boxes in zip(labels, each(labels, lambda path: _boxes(source, path)), strict=True):
        if picture := partner(path, stems, source.shown):
            part = parts.get(path) if parts else part_of(_PUBLISHED.sub("", path))
            boxed.append(Boxed(picture, part, ImageBoxes(boxes, None)))
        else:
            notes[NOT_THERE] += 1
    notes[NOT_ANNOTATED] += len(source.pictures) - len(boxed)
    return Found(boxed, None, notes)


def _labels(source: Survey) -> list[str]:
    """All texts of the folders called label_2, or where one of the first texts reads so."""
    texts = [path for path in source.ending(".txt") if "ImageSets" not in PurePosixPath(path).parts]
    folders, tried = {folder_of(path) for path in texts if _NAMED.search(folder_of(path))}, Counter[str]()
    for path in texts:
        if folder_of(path) not in folders and tried[folder_of(path)] < 20:
            tried[folder_of(path)] += 1
            if _reads_so(source, path):
                folders.add(folder_of(path))
    return [path for path in texts if folder_of(path) in folders]


def _reads_so(source: Survey, path: str) -> bool:
    with (source.root / path).open("rb") as file:
        columns = file.readline(10_000).removeprefix(b"\xef\xbb\xbf").split()
    return len(columns) in _COLUMNS and columns[0][:1].isalpha() and columns[4][-1:].isdigit()


def _boxes(source: Survey, path: str) -> tuple[RawBox, ...]:
    where = source.where(path)
    return tuple(_box(line, f"{where}, line {n}") for n, line in lines_of(read_text(source.root / path, where)))


def _box(line: str, where: str) -> RawBox:
    columns = line.split()
    if len(columns) not in _COLUMNS:
        raise DataError(f"{where}: {len(columns)} columns, expected 15, or 16 with a score; {AGAIN}")
    _, _, _, x0, y0, x1, y1 = (
        number(value, where, what) for value, what in zip(columns[1:8], _FACTS + _ENDS, strict=True)
    )
    if columns[0].lower() == DONT_CARE.lower():
        return RawBox(x0, y0, x1, y1, "", True)
    return RawBox(x0, y0, x1, y1, class_name(columns[0], where))


def place(picture: Upright) -> str:
    """Where a picture lies that is written."""
    return f"training/image_2/{picture.name}"


def write(folder: Path, pictures: Sequence[Upright], classes: Classes) -> Counter[str]:
    """Write labels and lists; return what they cannot say. Raises DataError if two classes get the same name."""
    lost = Counter[str]()
    names = {name: "_".join(name.split()) for name in classes.names}
    if clash := [name for name, count in Counter(names.values()).items() if count > 1]:
        raise DataError(f"two classes would be called {clash[0]}, as KITTI has no spaces; rename one of them")
    lost["classes with spaces: written with _ instead"] += sum(name != new for name, new in names.items())
    used = {box.class_name for picture in pictures for box in picture.boxes if not box.ignore}
    lost["classes without a box: not named"] += len(set(names) - used)
    lost["classes called DontCare: read as regions to ignore"] += sum(map(_is_dont_care, used))
    for picture in pictures:
        lost["boxes to ignore for one class: DontCare, so for every class"] += sum(
            box.ignore and bool(box.class_name) for box in picture.boxes
        )
        text = "".join(_written(box, names) for box in picture.boxes)
        write_text(folder / "training" / "label_2" / f"{PurePosixPath(picture.name).stem}.txt", text)
    for part in sorted({picture.part for picture in pictures if picture.part}):
        names_of = [PurePosixPath(picture.name).stem for picture in pictures if picture.part == part]
        write_text(folder / "ImageSets" / f"{part}.txt", "\n".join([*names_of, ""]))
    return +lost


def _is_dont_care(name: str) -> bool:
    return name.lower() == DONT_CARE.lower()


def _written(box: RawBox, names: Mapping[str, str]) -> str:
    """A line, with KITTI's own values for what is not known."""
    ends = " ".join(str(tidy(end)) for end in box[:4])
    return f"{DONT_CARE if box.ignore else names[box.class_name]} -1 -1 -10 {ends} -1 -1 -1 -1000 -1000 -1000 -10\n"
