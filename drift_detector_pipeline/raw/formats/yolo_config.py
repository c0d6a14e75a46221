"""data.yaml of a YOLO data set: which classes, and which pictures are in which part.

In: a `Survey`. Out: a `Config`. Without data.yaml, classes.txt or obj.names names the classes, and folders the parts.
Read by yolo.py.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import yaml

from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.formats.survey import Survey, folder_of, is_picture, nfc
from drift_detector_pipeline.raw.formats.values import AGAIN, class_name, lines_of, read_text, shown, whole

_KEYS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}  # of a part
_USUAL = ("data.yaml", "data.yml", "dataset.yaml")
_MOST_BYTES, _MOST_CLASSES, _MOST_TRIED = 1 << 20, 100_000, 100


class Config(NamedTuple):
    """What is said about the data set as a whole."""

    path: str  # of the file that says so; "": there is none
    names: dict[int, str]  # number -> class; {}: nothing names them
    parts: dict[str, list[str]]  # part, "" for none -> pictures; {}: the folders say, if anything does
    missing: int  # pictures in lists that are not there
    keypoints: bool  # whether points follow each box


def config_of(source: Survey) -> Config:
    """Raises DataError for a file that says nothing of use, or names folders that are not there."""
    path = _found(source)
    if path is None:
        return _by_list_of_names(source)
    content = _parsed(source, path)
    parts, missing = dict[str, list[str]](), 0
    for part, keys in _KEYS.items():
        if given := next((content[key] for key in keys if content.get(key)), None):
            pictures, lost = _pictures(source, path, content, part, given)
            parts[part], missing = pictures, missing + lost
    if parts.get("val") and parts.get("val") == parts.get("train"):
        log.info("%s: train and val are the same pictures; some of them are taken to validate on", source.where(path))
        del parts["val"]
        parts = {"": parts["train"]} if set(parts) == {"train"} else parts
    parts = {part: pictures for part, pictures in parts.items() if pictures}
    return Config(path, _names(content, source.where(path)), parts, missing, bool(content.get("kpt_shape")))


def has_config(source: Survey) -> bool:
    """Whether a YAML file reads so, with parts."""
    return any(_reads_so(source, path) for path in _yamls(source))


def _yamls(source: Survey) -> list[str]:
    found = source.ending(".yaml", ".yml")
    return ([path for path in found if _is_usual(path)] or found)[:_MOST_TRIED]


def _is_usual(path: str) -> bool:
    return PurePosixPath(path).name.lower() in _USUAL


def _found(source: Survey) -> str | None:
    """The file that describes the data set; one of the usual name may leave the parts to the folders."""
    found = [path for path in _yamls(source) if _reads_so(source, path, parts=not _is_usual(path))]
    if len(found) > 1:
        raise DataError(f"{source.shown}: {found[0]} and {found[1]} may both describe the data set; leave one there")
    return found[0] if found else None


def _reads_so(source: Survey, path: str, *, parts: bool = True) -> bool:
    with (source.root / path).open("rb") as file:
        keys = {line.partition(b":")[0].strip(b" \"'") for line in file.read(_MOST_BYTES).splitlines() if b":" in line}
    return bool({b"names", b"nc"} & keys and (not parts or {b"train", b"val", b"valid", b"test"} & keys))


def _parsed(source: Survey, path: str) -> dict[str, Any]:
    """Every scalar as the text it is: a class may be called `no`."""
    where = source.where(path)
    try:
        content = yaml.load(read_text(source.root / path, where, _MOST_BYTES), Loader=yaml.BaseLoader)  # noqa: S506
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise DataError(f"{where}: not whole YAML ({said}); {AGAIN}") from error
    if not isinstance(content, dict):
        raise DataError(f"{where}: expected names, train and val, found {shown(content)}; {AGAIN}")
    return content


def _names(content: dict[str, Any], where: str) -> dict[int, str]:
    given = content.get("names")
    if isinstance(given, list):
        pairs: list[tuple[Any, Any]] = list(enumerate(given))
    elif isinstance(given, dict):
        pairs = list(given.items())
    elif given:
        raise DataError(f"{where}: names is {shown(given)}; expected a list, or numbers with names; {AGAIN}")
    else:
        count = whole(content.get("nc"), where, "nc, as there are no names,")
        pairs = [(number, str(number)) for number in range(min(count, _MOST_CLASSES))]
    names = {whole(key, where, "a class's number"): class_name(name, where, "a class") for key, name in pairs}
    if len(set(names.values())) < len(pairs):
        raise DataError(f"{where}: two classes have one name or number; {AGAIN}")
    return dict(sorted(names.items()))


def _pictures(source: Survey, path: str, content: dict[str, Any], part: str, given: Any) -> tuple[list[str], int]:
    """Pictures of a part, from folders and lists; and how many of the lists' are not there."""
    places, where = given if isinstance(given, list) else [given], source.where(path)
    if not all(isinstance(place, str) for place in places):
        raise DataError(f"{where}: {part} is {shown(given)}; expected a folder of pictures, or a list of them; {AGAIN}")
    top = content.get("path") if isinstance(content.get("path"), str) else ""
    known = {path.casefold(): path for path in source.pictures} | {path: path for path in source.pictures}
    found, missing = dict[str, None](), 0
    for place in places:
        ways = list(_ways(place, f"{folder_of(path)}/{top}", folder_of(path)))
        inside = next((under for way in ways if (under := _below(source, way))), [])
        if not inside and (text := next((way for way in ways if way in source.others), None)):
            listed = [_listed(line, text, str(top), known) for _, line in lines_of(_text(source, text))]
            missing += listed.count(None)
            inside = [one for one in listed if one]
        if not inside and part != "test":
            raise DataError(f"{where}: {part} is {shown(place)}, where there are no pictures; {AGAIN}")
        found |= dict.fromkeys(inside)
    return list(found), missing


def _text(source: Survey, path: str) -> str:
    return read_text(source.root / path, source.where(path))


def _below(source: Survey, folder: str) -> list[str]:
    return [path for path in source.pictures if folder == "." or path.startswith(folder + "/")]


def _listed(line: str, text: str, top: str, known: Mapping[str, str]) -> str | None:
    if not is_picture(line):
        return None
    ways = list(_ways(line, folder_of(text), top))
    return next((known[way] for way in [*ways, *(way.casefold() for way in ways)] if way in known), None)


def _ways(place: str, *tops: str) -> Iterator[str]:
    """Paths below the source that may be meant: as said from each of `tops`, then ever less of its beginning.

    Files are made on other machines: `/home/me/coco/images/val`, or `../valid/images` for `valid/images`.
    """
    place = nfc(place.replace("\\", "/"))
    for top in (*tops, "."):
        yield os.path.normpath(f"{top}/{place}") if not place.startswith("/") else place
    names = [name for name in PurePosixPath(place).parts if name not in ("/", "..", ".")]
    for first in range(len(names)):
        yield "/".join(names[first:])


def _by_list_of_names(source: Survey) -> Config:
    lists = [path for path in source.others if PurePosixPath(path).name.lower() == "classes.txt"]
    lists = lists or source.ending(".names")
    said = {tuple(line for _, line in lines_of(_text(source, path))) for path in lists}
    if len(said) > 1:
        raise DataError(f"{source.shown}: {lists[0]} and {lists[1]} name classes differently; write a data.yaml")
    names = {number: class_name(name, source.where(lists[0])) for number, name in enumerate(next(iter(said), ()))}
    return Config(lists[0] if lists else "", names, {}, 0, False)


def written(parts: Collection[str], classes: Sequence[str]) -> str:
    """A data.yaml for pictures in images/PART. Without any to validate on, `val` names what is trained on."""
    train = "train" if "train" in parts else min(parts)
    val = next((part for part in ("val", "test") if part in parts), train)
    said: dict[str, Any] = {"train": f"images/{train}", "val": f"images/{val}"}
    if "test" in parts and "test" not in (train, val):
        said["test"] = "images/test"
    return yaml.safe_dump(said | {"names": dict(enumerate(classes))}, allow_unicode=True, sort_keys=False)
