"""clips.csv: which files are clips, of which class, and what they were taken from.

In: a source with such tables, each about files below its own folder. Out: `Row`s. Columns, in any order, the rest is
passed over: path; label and source, either or both; start and seconds, of a clip that is a part of its file.
"""

import csv
import io
import math
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.formats.survey import Survey, folder_of, nfc
from drift_detector_pipeline.raw.formats.values import lines_of, read_text

TABLE = "clips.csv"
_OTHER_NAMES = {"file": "path", "filename": "path", "video": "path", "class": "label", "group": "source"}
_SEPARATORS = ",;\t"
_OF_EXCEL = re.compile(r"\"?sep=.\"?", re.IGNORECASE)  # a first line that only says what parts the cells


class Row(NamedTuple):
    """What a table says of a clip."""

    table: str  # below the root of the source
    place: str  # table and line, for errors
    path: str  # below the root of the source, in NFC; of a folder of frames the folder
    label: str | None  # None: the table has no such column; so with the next
    source: str | None
    start: float | None  # seconds since the file's first frame; None: the whole file
    seconds: float | None  # None: as `data.clip_seconds` says


def rows_of(source: Survey) -> list[Row]:
    """The rows of all tables of a source; none: it has no table.

    Raises DataError for a table without a path column, a row without one of its values, or a clip listed twice.
    """
    tables = [path for path in source.others if PurePosixPath(path).name.lower() == TABLE]
    rows = [row for table in tables for row in _read(source, table)]
    seen = dict[tuple[str, float | None], str]()
    for row in rows:
        first = seen.setdefault((row.path, row.start), row.place)
        if first != row.place:
            raise DataError(f"{row.place}: {row.path} is listed before, in {first}; remove one of the rows")
    return rows


def _read(source: Survey, table: str) -> list[Row]:
    where = source.where(table)
    text = read_text(source.root / table, where)
    first, head = next(((number, line) for number, line in lines_of(text) if not _OF_EXCEL.fullmatch(line)), (0, ""))
    separator = max(_SEPARATORS, key=head.count)
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        raise DataError(f"{where}: no table in UTF-8 ({error}); save it as CSV") from error
    names = [_name(cell) for cell in lines[first - 1]] if head else []
    if "path" not in names or len(set(names)) < len(names):
        raise DataError(f"{where}: expected a first line with the columns path, label, source; got {head!r:.80}")
    rows = [(f"{where}, row {first + n}", line) for n, line in enumerate(lines[first:], start=1) if any(line)]
    if not rows:
        raise DataError(f"{where}: no row below its first line; list the clips, or remove the table")
    return [_row(table, place, dict(zip(names, line, strict=False)), names) for place, line in rows]


def _name(cell: str) -> str:
    name = cell.strip().lower()
    return _OTHER_NAMES.get(name, name)


def _row(table: str, place: str, cells: Mapping[str, str], names: list[str]) -> Row:
    given = {name: nfc(cells.get(name, "").strip()) for name in ("path", "label", "source")}
    if empty := [name for name, value in given.items() if name in names and not value]:
        raise DataError(f"{place}: no {empty[0]}; every clip needs one, or leave the column out")
    path = (PurePosixPath(folder_of(table)) / given["path"].replace("\\", "/")).as_posix()
    label, source = (given[name] if name in names else None for name in ("label", "source"))
    return Row(table, place, path, label, source, _number(place, cells, "start"), _number(place, cells, "seconds"))


def _number(place: str, cells: Mapping[str, str], name: str) -> float | None:
    """A number of seconds; None: there is none."""
    text = cells.get(name, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1e6 or (name == "seconds" and not value):
        raise DataError(f"{place}: {name} is {text!r}, expected seconds such as 12.5")
    return value
