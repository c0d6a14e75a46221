"""Pascal VOC: an XML file a picture, lists of pictures for the parts of the data set.

In: a `Survey`. Out: what was `Found`. Annotations/1.xml is about JPEGImages/1.jpg, or lies beside it; lists such as
ImageSets/Main/train.txt, or folders named train and valid, say which pictures are in which part.

VOC counts pixels from 1 and its ends lie inside the box: x0 = xmin - 1, x1 = xmax (VOC2007 development kit). Some
programs count from 0 with ends outside; a box that starts at 0 anywhere in the data set says so.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError, SubElement, indent, tostring

from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.formats.boxed import NOT_ANNOTATED, NOT_THERE, Boxed, Classes, Found, Upright
from drift_detector_pipeline.raw.formats.image_sets import parts_of
from drift_detector_pipeline.raw.formats.survey import Stems, Survey, by_stem, nearest, nfc, part_of, partner, stem
from drift_detector_pipeline.raw.formats.values import AGAIN, class_name, each, number, read_bytes, tidy, write_text
from drift_detector_pipeline.raw.listing import ImageBoxes, RawBox

FROM_ZERO = "boxes that start at 0: all were read as counted from 0, with ends outside"
_ENDS = ("xmin", "ymin", "xmax", "ymax")
_YES = ("1", "true", "yes")


class _Annotation(NamedTuple):
    path: str
    filename: str  # of the picture, without folders; "": it does not say
    size: tuple[int, int] | None
    boxes: list[RawBox]  # with the ends as they stand in the file


def fits(source: Survey) -> bool:
    """Whether one of the first XML files is an annotation."""
    for path in source.ending(".xml")[:20]:
        with (source.root / path).open("rb") as file:
            if b"<annotation" in file.read(1000).replace(b"\0", b""):
                return True
    return False


def read(source: Survey) -> Found:
    """Raises DataError, with file and object, for what is no annotation, and for a picture that two may be about."""
    notes = Counter[str]()
    found = each(_annotations(source), lambda path: _read_one(source, path))
    zeros = sum(any(0 <= start < 1 for start in box[:2]) for one in found for box in one.boxes)
    notes[FROM_ZERO] += zeros
    log.info("%s: pixels counted from %d", source.shown, 0 if zeros else 1)
    parts, stems = parts_of(source, [one.path for one in found], notes), by_stem(source.pictures)
    boxed = list[Boxed]()
    for one in found:
        if picture := _picture(one, stems, source):
            boxes = tuple(_half_open(box, 0 if zeros else 1) for box in one.boxes)
            part = parts.get(one.path) if parts else part_of(one.path) or part_of(picture)
            boxed.append(Boxed(picture, part, ImageBoxes(boxes, one.size)))
        else:
            notes[NOT_THERE] += 1
    notes[NOT_ANNOTATED] += len(source.pictures) - len({one.path for one in boxed})
    return Found(boxed, None, notes)


def _annotations(source: Survey) -> list[str]:
    """All XML files, or those in folders called Annotations if there are such."""
    found = source.ending(".xml")
    return [path for path in found if "Annotations" in PurePosixPath(path).parts] or found


def _read_one(source: Survey, path: str) -> _Annotation:
    where = source.where(path)
    root = _parsed(read_bytes(source.root / path, where), where)
    if root.tag != "annotation":
        raise DataError(
            f"{where}: its first element is {root.tag[:50]!r}, expected annotation; remove it if it is none"
        )
    boxes = [_box(one, f"{where}, object {n}") for n, one in enumerate(root.findall("object"), start=1)]
    filename = nfc(PureWindowsPath((root.findtext("filename") or "").strip()).name)
    return _Annotation(path, filename, _size(root, where), boxes)


def _parsed(content: bytes, where: str) -> Element:
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root: Element = fromstring(content.lstrip())
    except DefusedXmlException as error:
        raise DataError(f"{where}: declares entities, which annotations need not; remove them") from error
    except (ParseError, ValueError, LookupError) as error:  # the last two: an encoding nobody knows
        raise DataError(f"{where}: not whole XML ({error}); {AGAIN}") from error
    return root


def _size(root: Element, where: str) -> tuple[int, int] | None:
    """As it says; None where it says nothing, or 0 as some programs do."""
    texts = [(root.findtext(f"size/{side}") or "").strip() for side in ("width", "height")]
    width, height = (round(number(text, where, "a side of the picture")) if text else 0 for text in texts)
    return (width, height) if width > 0 and height > 0 else None


def _box(element: Element, where: str) -> RawBox:
    ends = element.find("bndbox")
    name = class_name(element.findtext("name"), where, "its name")
    if ends is None:
        raise DataError(f"{where}: {name} has no bndbox; expected one with {', '.join(_ENDS)}; {AGAIN}")
    x0, y0, x1, y1 = (number(ends.findtext(end), where, end) for end in _ENDS)
    difficult = (element.findtext("difficult") or "").strip().lower() in _YES
    return RawBox(x0, y0, x1, y1, name, difficult)


def _half_open(box: RawBox, first: int) -> RawBox:
    """Counted from 0 and half-open; a box whose ends are one another, or swapped, has no area."""
    x0, y0 = box.x0 - first, box.y0 - first
    return box._replace(x0=x0, y0=y0, x1=box.x1 if box.x1 > box.x0 else x0, y1=box.y1 if box.y1 > box.y0 else y0)


def _picture(one: _Annotation, stems: Stems, source: Survey) -> str | None:
    """By the stem of the annotation, then by the name it gives, with that ending or another."""
    same = stems.of(stem(one.path))
    named = [path for path in same if nfc(PurePosixPath(path).name) == one.filename]
    if len(same) > 1 and len(nearest(one.path, named)) == 1:
        return nearest(one.path, named)[0]
    if same or not one.filename:
        return partner(one.path, stems, source.shown)
    here = (PurePosixPath(one.path).parent / one.filename).as_posix()
    return partner(here, stems, source.shown)


def place(picture: Upright) -> str:
    """Where a picture lies that is written."""
    return f"JPEGImages/{picture.name}"


def write(folder: Path, pictures: Sequence[Upright], classes: Classes) -> Counter[str]:
    """Write annotations and lists; return what they cannot say."""
    lost, used = Counter[str](), {box.class_name for picture in pictures for box in picture.boxes}
    lists: dict[str | None, list[str]] = defaultdict(list)
    for picture in pictures:
        name = PurePosixPath(picture.name).stem
        lists[picture.part].append(name)
        root = _written(picture, lost)
        indent(root)
        write_text(folder / "Annotations" / f"{name}.xml", tostring(root, "unicode"))
    for part, names in lists.items():
        if part:
            write_text(folder / "ImageSets" / "Main" / f"{part}.txt", "\n".join([*names, ""]))
    lost["classes without a box: not named"] += len(set(classes.names) - used)
    lost["classes whose labels change: they follow their sorted names"] += _moved(classes, used)
    return +lost


def _moved(classes: Classes, used: set[str]) -> int:
    kept = [name for name in classes.names if name in used]
    return sum(one != other for one, other in zip(kept, sorted(kept), strict=True))


def _written(picture: Upright, lost: Counter[str]) -> Element:
    root = Element("annotation")
    SubElement(root, "folder").text = "JPEGImages"
    SubElement(root, "filename").text = picture.name
    size = SubElement(root, "size")
    for side, pixels in zip(("width", "height", "depth"), (*picture.size, 3), strict=True):
        SubElement(size, side).text = str(pixels)
    for box in picture.boxes:
        ends = [tidy(end) for end in (max(box.x0, 0.0) + 1, max(box.y0, 0.0) + 1, box.x1, box.y1)]
        if not box.class_name:
            lost["boxes to ignore whatever the class: left out"] += 1
        elif ends[0] >= ends[2] or ends[1] >= ends[3]:
            lost["boxes of at most 1 px in width or height: left out, as ends that are one are read as no area"] += 1
        else:
            lost["boxes that reach out to the left or top: cut there, as a 0 would say that pixels count from 0"] += (
                min(box[:2]) < 0
            )
            lost["boxes with fractions of pixels: written so, which some readers refuse"] += any(
                isinstance(end, float) for end in ends
            )
            _write_box(root, box, ends)
    return root


def _write_box(root: Element, box: RawBox, ends: Sequence[float]) -> None:
    element = SubElement(root, "object")
    for tag, text in (("name", box.class_name), ("pose", "Unspecified"), ("truncated", "0")):
        SubElement(element, tag).text = text
    SubElement(element, "difficult").text = str(int(box.ignore))
    around = SubElement(element, "bndbox")
    for tag, end in zip(_ENDS, ends, strict=True):
        SubElement(around, tag).text = str(end)
