"""YOLO: a text a picture, a line a box, in shares of the width and height of the picture as seen, EXIF applied.

In: a `Survey`. Out: what was `Found`. labels/train/1.txt is about images/train/1.jpg; a line is class, x and y of the
middle, width, height, or class and the corners of an outline. A picture without a text, or an empty one, shows nothing.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.formats.boxed import NOT_THERE, Boxed, Classes, Found, Upright
from drift_detector_pipeline.raw.formats.mask_extent import around
from drift_detector_pipeline.raw.formats.survey import Stems, Survey, by_stem, folder_of, part_of, stem
from drift_detector_pipeline.raw.formats.values import AGAIN, each, lines_of, number, read_text, whole, write_text
from drift_detector_pipeline.raw.formats.yolo_config import Config, config_of, has_config, written
from drift_detector_pipeline.raw.listing import ImageBoxes, RawBox

NO_TEXT = "pictures without a label file: taken to show nothing"
EMPTY_TEXT = "pictures with an empty label file: shown nothing"
_OUTLINES = "outlines: their boxes were taken"
_NUMBERED = "classes without a name: called by their numbers"
_OUTSIDE = "boxes wholly outside of their picture: left out"
_CUT = "boxes that reach far out of their picture: cut to it"
_DIGITS = 10  # of a share, a millionth of a pixel: what is at the border is there, whatever adding has made of it
_BEYOND = 0.5  # of a picture, outside of which no outline reaches
_LABELS = re.compile("label|annot|txt", re.IGNORECASE)
_LINE = re.compile(rb"\s*\d+(\.0*)?(\s+[-+.\deE]+){4,}\s*")


def fits(source: Survey) -> bool:
    """Whether a data.yaml is there, or a text of such lines with the name of a picture."""
    return has_config(source) or any(_reads_so(source, path) for path in _texts(source)[:50])


def read(source: Survey) -> Found:
    """Raises DataError, with file and line, for what is no such line, and for a text that is about two pictures."""
    config, notes = config_of(source), Counter[str]()
    texts = by_stem(_texts(source))
    parts = config.parts or _parts_by_folders(source, texts)
    labels = {path: _label_of(path, texts, source) for pictures in parts.values() for path in pictures}
    _refuse_shared(labels, source)
    _refuse_bare_parts(parts, labels, source)
    given = [label for label in labels.values() if label]
    found = dict(zip(given, each(given, lambda label: _boxes(source, label, config, notes)), strict=True))
    names = config.names or _numbered({box.class_name for boxes in found.values() for box in boxes}, notes)
    notes[NO_TEXT] += len(labels) - len(given)
    notes[EMPTY_TEXT] += sum(not boxes for boxes in found.values())
    notes[NOT_THERE] += config.missing + _stray(given, texts)
    boxed = [
        Boxed(path, part or None, ImageBoxes(found.get(labels[path] or "", ()), None, normalised=True))
        for part, pictures in parts.items()
        for path in pictures
    ]
    ids = tuple(names) if list(names) != list(range(len(names))) else ()
    return Found(boxed, Classes(tuple(names.values()), ids), notes)


def _texts(source: Survey) -> list[str]:
    """Texts with the name of a picture."""
    texts = source.ending(".txt")
    pictures = by_stem(source.pictures if texts else [])  # no stems of millions of pictures where no text asks for one
    return [path for path in texts if pictures.of(stem(path))]


def _reads_so(source: Survey, path: str) -> bool:
    with (source.root / path).open("rb") as file:
        return bool(_LINE.fullmatch(file.readline(100_000).removeprefix(b"\xef\xbb\xbf")))


def _parts_by_folders(source: Survey, texts: Stems) -> dict[str, list[str]]:
    """Part, "" for none -> pictures of the folders in which one has a label."""
    folders = {folder_of(path) for path in source.pictures if _label_of(path, texts, source)}
    parts = dict[str, list[str]]()
    for path in source.pictures:
        if folder_of(path) in folders:
            parts.setdefault(part_of(path) or "", []).append(path)
    return parts


def _label_of(picture: str, texts: Stems, source: Survey) -> str | None:
    """The picture's text: in the folder called labels where its own is images, or beside it, or in the like of it."""
    same = texts.of(stem(picture))
    for folders in (_usual(folder_of(picture)), [folder_of(picture)]):
        if found := [path for path in same if folder_of(path) in folders]:
            return found[0]
    like = [path for path in same if _is_like(folder_of(path), folder_of(picture))]
    if len(like) > 1:
        raise DataError(f"{source.where(picture)}: {like[0]} and {like[1]} may both be its labels; leave one there")
    return like[0] if like else None


def _usual(folder: str) -> Iterator[str]:
    """The folder with `labels` for `images`, the last one first."""
    names = PurePosixPath(folder).parts
    for place in reversed(range(len(names))):
        if names[place].lower() == "images":
            yield PurePosixPath(*names[:place], "labels", *names[place + 1 :]).as_posix()


def _is_like(folder: str, pictures: str) -> bool:
    """Whether only one name on the ways differs, and that of `folder` speaks of labels, as in bbox_labels/train."""
    ours, theirs = PurePosixPath(folder).parts, PurePosixPath(pictures).parts
    if len(ours) == len(theirs) + 1:
        return ours[:-1] == theirs and bool(_LABELS.search(ours[-1]))
    differing = [mine for mine, its in zip(ours, theirs, strict=False) if mine != its]
    return len(ours) == len(theirs) and len(differing) == 1 and bool(_LABELS.search(differing[0]))


def _refuse_shared(labels: dict[str, str | None], source: Survey) -> None:
    owners = dict[str, str]()
    for picture, label in labels.items():
        if label and owners.setdefault(label, picture) != picture:
            raise DataError(
                f"{source.where(label)}: {owners[label]} and {picture} may both be meant; give one another name, "
                "or remove it"
            )


def _refuse_bare_parts(parts: dict[str, list[str]], labels: dict[str, str | None], source: Survey) -> None:
    for part, pictures in parts.items():
        if pictures and not any(labels[path] for path in pictures) and part != "test":
            said = f"none of the {len(pictures)} pictures" + f" of {part}" * bool(part)
            place = next(_usual(folder_of(pictures[0])), folder_of(pictures[0]))
            raise DataError(f"{source.shown}: {said} has a label file; expected {place}/{stem(pictures[0])}.txt")


def _stray(given: list[str], texts: Stems) -> int:
    """Texts beside those in use that are about no picture in use."""
    folders, used = {folder_of(path) for path in given}, set(given)
    return sum(folder_of(path) in folders and path not in used for paths in texts.exact.values() for path in paths)


def _boxes(source: Survey, path: str, config: Config, notes: Counter[str]) -> tuple[RawBox, ...]:
    where, boxes = source.where(path), list[RawBox]()
    for line_number, line in lines_of(read_text(source.root / path, where)):
        here, columns = f"{where}, line {line_number}", line.split()
        class_id = whole(columns[0], here, "the class")
        if class_id < 0 or (config.names and class_id not in config.names):
            known = f"{min(config.names)} to {max(config.names)} by {config.path}" if config.names else "0 or more"
            raise DataError(f"{here}: the class is {class_id}; expected {known}; {AGAIN}")
        ends = _ends([number(value, here, "a share") for value in columns[1:]], here, config.keypoints)
        notes[_OUTLINES] += len(columns) > 5 and not config.keypoints
        boxes.append(RawBox(*ends, config.names.get(class_id, str(class_id))))
    return tuple(boxes)


def _ends(values: list[float], where: str, keypoints: bool) -> tuple[float, float, float, float]:
    if len(values) == 5:
        raise DataError(f"{where}: 6 columns; is the last a score? Those are answers of a model, no labels; {AGAIN}")
    if len(values) < 4 or (len(values) % 2 and not keypoints):
        raise DataError(
            f"{where}: {len(values) + 1} columns; expected class, x and y of the middle, width, height, or class and "
            f"the corners of an outline; {AGAIN}"
        )
    outline = len(values) > 4 and not keypoints
    beyond, shares = (_BEYOND, values) if outline else (1.0, values[:4])
    if min(shares) < -beyond or max(shares) > 1 + beyond:
        far, else_ = max(shares, key=abs), " Or keypoints? Then data.yaml needs kpt_shape;" * outline
        raise DataError(f"{where}: {far:g} is no share of a picture, 0 to 1; are these pixels?{else_} {AGAIN}")
    if outline:
        return around(values)
    x, y, width, height = values[:4]
    at_border = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    x0, y0, x1, y1 = (round(end, _DIGITS) + 0.0 for end in at_border)  # + 0.0: no negative zero
    return x0, y0, x1, y1


def _numbered(found: set[str], notes: Counter[str]) -> dict[int, str]:
    """The numbers that occur, as names."""
    numbers = sorted(map(int, found))
    notes[_NUMBERED] += len(numbers)
    return {number_: str(number_) for number_ in numbers}


def place(picture: Upright) -> str:
    """Where a picture lies that is written."""
    return f"images/{picture.part or 'train'}/{picture.name}"


def write(folder: Path, pictures: Sequence[Upright], classes: Classes) -> Counter[str]:
    """Write labels and data.yaml; return what they cannot say."""
    lost, labels = Counter[str](), {name: label for label, name in enumerate(classes.names)}
    for picture in pictures:
        lost["boxes to ignore: left out"] += sum(box.ignore for box in picture.boxes)
        text = "".join(_written(box, picture.size, labels, lost) for box in picture.boxes if not box.ignore)
        path = PurePosixPath(place(picture).replace("images/", "labels/", 1)).with_suffix(".txt")
        write_text(folder / path, text)
    parts = {picture.part or "train" for picture in pictures}
    write_text(folder / "data.yaml", written(parts, classes.names))
    lost["parts called test: val, which YOLO asks for"] += "test" in parts and "val" not in parts
    lost["numbers of classes with gaps: now without"] += len(classes.ids)
    return +lost


def _written(box: RawBox, size: tuple[int, int], labels: Mapping[str, int], lost: Counter[str]) -> str:
    """A line, "" if nothing is left: a share outside of 0 to 1 makes other programs leave out the whole picture."""
    shares = _shares(box[:4], size)
    if not all(0 <= share <= 1 for share in shares):
        inside = [min(max(end, 0.0), float(side)) for end, side in zip(box[:4], size * 2, strict=True)]
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            lost[_OUTSIDE] += 1
            return ""
        lost[_CUT] += 1
        shares = _shares(inside, size)
    return " ".join([str(labels[box.class_name]), *(f"{share:.12g}" for share in shares)]) + "\n"


def _shares(ends: Sequence[float], size: tuple[int, int]) -> tuple[float, ...]:
    """The middle across and down, width, height."""
    (x0, y0, x1, y1), (width, height) = ends, size
    return (x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height
