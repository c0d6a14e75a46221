"""A basket as other tools read it, and what they wrote back: spreadsheets, Label Studio, CVAT.

In: a `Basket`; files of unknown origin. Out: files for these tools; `Said`, one a label. Nothing that stands in a file
is ever opened: images are found by their names among those of the basket. Read by basket.py, labels.py and label.py.

Label Studio: tasks with `data` and `predictions`, and its exports JSON, JSON-MIN, CSV and TSV, as its documentation has
them (guide/task_format, guide/predictions, guide/export). CVAT: the list of labels that its "Raw" editor takes, and
"CVAT for images 1.1" (docs/other/xml_format), as XML or as the ZIP it comes in. CVAT gets no predictions: it takes them
for annotations, so that one nobody has looked at would come back as a label.
"""

import csv
import io
import json
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import spreadsheet_row, write_atomically, write_json
from drift_detector_pipeline.first_bytes import what_unpacked
from drift_detector_pipeline.lifecycle.labelling.basket_file import TABLE, Basket, Item
from drift_detector_pipeline.whole_files import read_at_most

NONE_OF_THESE = "?"  # the label of an image that shows none of the classes; "?zebra" says what it shows
_MOST_BYTES = 200_000_000  # of a file with labels
_NAMES, _LABELS = ("file", "path", "image", "name", "filename"), ("label", "choice", "class")
_WHO, _WHEN = ("annotator", "who", "completed_by"), ("updated_at", "created_at")
_DIGIT_KEYS, _SHOWN = 9, 100
_UNREADABLE = (  # RuntimeError: a ZIP with a password or packed in an unknown way; JSON nested too deeply
    ValueError, TypeError, LookupError, AttributeError, RuntimeError, EOFError, csv.Error, expat.ExpatError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip


class Said(NamedTuple):
    """A label as it stands in a file."""

    name: str  # of the image, as the tool has it
    label: str  # "": none
    who: str = ""  # if the tool says so
    when: str = ""  # ISO 8601, if the tool says so


def write_tasks(basket: Basket, folder: Path) -> None:
    """Write the files of all tools into `folder`; nothing of them tells what the model said of random images.

    Who sees an answer tends to agree with it, and the random images are what accuracy is told by.
    """
    write_table(basket.images, {}, folder / TABLE)
    write_json(folder / "label_studio.json", [_task(basket, item) for item in basket.images])
    write_atomically(folder / "label_studio.xml", _interface(basket.classes).encode())
    labels = [{"name": name, "type": "tag", "attributes": []} for name in [*basket.classes, NONE_OF_THESE]]
    write_json(folder / "cvat_labels.json", labels)


def write_table(images: Sequence[Item], labels: dict[str, str], path: Path) -> None:
    """Write path, label, predicted as CSV, atomically; `labels` by file. With a mark by which Excel knows UTF-8."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(["path", "label", "predicted"])
    for item in images:
        shown = "" if item.chosen == "random" else item.predicted
        table.writerow(spreadsheet_row([item.file, labels.get(item.file, ""), shown]))
    write_atomically(path, text.getvalue().encode("utf-8-sig", "backslashreplace"))


def read_said(path: Path) -> list[Said]:
    """All labels of a file, whatever tool wrote it. Raises DataError if none of these tools did."""
    try:
        if (content := read_at_most(path, _MOST_BYTES)) is None:
            raise DataError(f"{path}: larger than {_MOST_BYTES // 1_000_000} MB; labels of a basket take far less")
        content = _annotations(content)
        start = content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        if start == b"<":
            return _from_cvat(content)
        return list(_from_label_studio(json.loads(content)) if start in (b"[", b"{") else _from_table(content))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; name a file with labels: FILE=...") from error
    except _UNREADABLE as error:
        wanted = (
            "expected basket.csv with labels, an export of Label Studio (JSON, JSON-MIN, CSV) or CVAT for images 1.1"
        )
        raise DataError(f"{path}: cannot be read ({error}); {wanted}") from error


def _task(basket: Basket, item: Item) -> dict[str, Any]:
    """An image is addressed below the folder that Label Studio serves; `file` comes back in every export."""
    data = {"image": f"/data/local-files/?d={quote(f'{basket.name}/{item.file}')}", "file": item.file}
    if item.chosen == "random":
        return {"data": data}
    result = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [item.predicted]}}
    version = str(basket.model["sha256"])[:12]
    return {"data": data, "predictions": [{"model_version": version, "score": item.probability, "result": [result]}]}


def _interface(classes: Sequence[str]) -> str:
    keys = [f' hotkey="{number}"' if number <= _DIGIT_KEYS else "" for number in range(1, len(classes) + 1)]
    choices = [f"    <Choice value={quoteattr(name)}{key}/>" for name, key in zip(classes, keys, strict=True)]
    return "\n".join([
        "<View>", '  <Image name="image" value="$image"/>',
        '  <Choices name="label" toName="image" choice="single-radio" showInLine="true">', *choices,
        f'    <Choice value="{NONE_OF_THESE}" hint="none of these" hotkey="0"/>', "  </Choices>", "</View>", "",
    ])  # fmt: skip


def _annotations(content: bytes) -> bytes:
    """What stands in annotations.xml if this is a ZIP that CVAT made, else the same."""
    if not content.startswith(b"PK\x03\x04"):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        member = archive.getinfo("annotations.xml")
        if member.file_size > _MOST_BYTES:
            raise ValueError("its annotations.xml is too large")
        with archive.open(member) as file:
            return file.read(_MOST_BYTES)


def _from_table(content: bytes) -> Iterator[Said]:
    text = _text(content)
    if not text.strip():
        raise ValueError("it is empty")
    head = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
    names = [str(name).strip().lower() for name in rows.fieldnames or []]
    known = dict(zip(names, rows.fieldnames or [], strict=True))
    if twice := [one for one in (*_NAMES, *_LABELS) if names.count(one) > 1]:
        raise ValueError(f"the column {twice[0]} is there twice")
    name, label = _column(known, _NAMES), _column(known, _LABELS)
    who, when = (next((known[one] for one in names if one in known), "") for names in (_WHO, _WHEN))
    for row in rows:
        yield Said(*((row.get(column) or "").strip() for column in (name, label, who, when)))


def _text(content: bytes) -> str:
    """UTF-8 or UTF-16 with a mark; else UTF-8, or what Excel writes in Western Europe without being asked."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        if b"\0" in content:
            raise ValueError(what_unpacked(content) or "it is no text") from None
        return content.decode("cp1252")


def _column(known: dict[str, str], names: Sequence[str]) -> str:
    found = [known[name] for name in names if name in known]
    if not found:
        raise ValueError(f"no column {names[0]} among {', '.join(known)[:_SHOWN] or 'none'}")
    return found[0]


def _from_label_studio(tasks: Any) -> Iterator[Said]:
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise ValueError("JSON, but no list of tasks")
    for task in tasks:
        if "annotations" in task or "data" in task:
            yield from _from_task(task)
        else:  # JSON-MIN
            label = task.get("label", task.get("choice", ""))
            yield Said(_name_in(task), _one_choice(label), str(task.get("annotator", "")), _when(task))


def _from_task(task: dict[str, Any]) -> Iterator[Said]:
    name = _name_in(task["data"])
    finished = [one for one in task.get("annotations") or [] if not one.get("was_cancelled")]
    for annotation in finished:
        choices = [part for part in annotation["result"] if part.get("type") == "choices"]
        who = annotation.get("completed_by", "")
        who = who.get("email", "") if isinstance(who, dict) else who
        label = _one_choice([one for part in choices for one in part["value"]["choices"]])
        yield Said(name, label, str(who), _when(annotation))
    if not finished:
        yield Said(name, "")


def _name_in(data: dict[str, Any]) -> str:
    found = next((data[name] for name in _NAMES if isinstance(data.get(name), str)), None)
    if found is None:
        raise ValueError("a task without image")
    return str(found)


def _one_choice(value: Any) -> str:
    choices = value.get("choices", []) if isinstance(value, dict) else value
    several = [choices] if isinstance(choices, str) else list(choices)
    if len(several) > 1:
        raise ValueError(f"several labels for one image: {', '.join(map(str, several[:5]))}")
    return str(several[0]).strip() if several else ""


def _when(task: dict[str, Any]) -> str:
    return next((str(task[name]) for name in _WHEN if task.get(name)), "")


def _from_cvat(content: bytes) -> list[Said]:
    """Tags of images. A document type is refused: nothing needs one but to make a small file grow without end."""
    found, image, tags = list[Said](), "", list[str]()
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise ValueError("it declares a document type, which CVAT never does")

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal image
        if name == "image":
            image = attributes["name"]
            tags.clear()
        elif name == "tag":
            tags.append(attributes["label"])
        elif name == "track":
            raise ValueError("an export of a video; export it as CVAT for images 1.1")

    def end(name: str) -> None:
        if name == "image":
            found.append(Said(image, _one_choice(list(dict.fromkeys(tags)))))

    parser.StartDoctypeDeclHandler, parser.EntityDeclHandler = refuse, refuse
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.Parse(content, True)
    return found
