"""What annotation files are made of: text, numbers, names. What cannot be meant is a DataError with its place.

In: a file, or a value that stands in one, and `where` that is for people. Out: the value. Read by the readers of boxes.
"""

import math
import re
import reprlib
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.listing import is_unseen

MOST_BYTES = 1 << 26  # of one text; boxes of a single image take kilobytes
FARTHEST = 1e6  # px from a picture's corner, or pictures' sides: no coordinate of anything that was photographed
LONGEST_NAME = 200  # characters of a class
AGAIN = "correct the file and run this again"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,18}(\.0*)?", re.ASCII)
_T = TypeVar("_T")
_U = TypeVar("_U")


def read_bytes(path: Path, where: str, most: int = MOST_BYTES) -> bytes:
    """A file's bytes. Raises DataError if there are more than `most`, or the file cannot be read."""
    try:
        if (size := path.stat().st_size) > most:
            raise DataError(f"{where}: {size:,} bytes, more than annotations take ({most:,}); is it one? {AGAIN}")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{where}: {error.strerror}; annotations must be readable") from error


def read_text(path: Path, where: str, most: int = MOST_BYTES) -> str:
    """A text in UTF-8, or in UTF-16 if it says so, with its line ends as they are and without a mark of order."""
    content = read_bytes(path, where, most)
    try:
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: byte {error.start + 1} is not UTF-8; save it as UTF-8 and run this again") from error
    if "\0" in text:
        raise DataError(f"{where}: holds zero bytes, so is no text; fetch it again, or write it again")
    return text


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 with plain line ends, and the folders it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def lines_of(text: str) -> list[tuple[int, str]]:
    """Lines that are not empty, with their numbers from 1, whatever system has ended them."""
    numbered = enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1)
    return [(number, line.strip()) for number, line in numbered if line.strip()]


def number(value: Any, where: str, what: str) -> float:
    """A finite number within FARTHEST. Raises DataError for all else, such as nan, 1_0, `12,5` or true."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if not plain and not (isinstance(value, str) and _NUMBER.fullmatch(value.strip())):
        raise DataError(f"{where}: {what} is {shown(value)}; expected a number such as 12.5; {AGAIN}")
    if isinstance(value, int) and abs(value) > FARTHEST:  # may have more digits than a float
        return _refuse_far(value, where, what)
    found = float(value)
    return found if math.isfinite(found) and abs(found) <= FARTHEST else _refuse_far(value, where, what)


def _refuse_far(value: Any, where: str, what: str) -> float:
    raise DataError(f"{where}: {what} is {shown(value)}, which is no place in a picture; {AGAIN}")


def whole(value: Any, where: str, what: str) -> int:
    """A whole number, also where it is written as text or as 3.0. Raises DataError for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or not _WHOLE.fullmatch(_plain(value)):
        raise DataError(f"{where}: {what} is {shown(value)}; expected a whole number; {AGAIN}")
    return int(_plain(value).partition(".")[0])


def _plain(value: int | float | str) -> str:
    if isinstance(value, int):
        return str(value) if abs(value) < 10**18 else "too large"  # Python refuses to write some as text
    return value.strip() if isinstance(value, str) else repr(value)


def class_name(value: Any, where: str, what: str = "the class") -> str:
    """A class's name in NFC. Raises DataError if it is empty, too long, or holds what no file can."""
    name = unicodedata.normalize("NFC", value).strip() if isinstance(value, str) else ""
    if is_unseen(name) or len(name) > LONGEST_NAME or not all(map(_can_be_written, name)):
        raise DataError(
            f"{where}: {what} is {shown(value)}; expected a name of 1 to {LONGEST_NAME} characters in one line; {AGAIN}"
        )
    return name


def _can_be_written(letter: str) -> bool:
    return unicodedata.category(letter) not in ("Cc", "Cs") and letter not in "\ufffe\uffff"  # which XML has none of


def tidy(value: float) -> int | float:
    """A coordinate to be written: without what computing in shares and back adds, whole where it is."""
    rounded = round(value, 6)
    return int(rounded) if rounded == int(rounded) else rounded


def shown(value: Any) -> str:
    """A value for people, shortened."""
    if value is None:
        return "missing"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**18:
        return "a number of more than 18 digits"
    return reprlib.repr(value)


def each(things: Iterable[_T], read_one: Callable[[_T], _U]) -> list[_U]:
    """What `read_one` gives for each. Raises the first DataError, with how many others there are."""
    found, errors = list[_U](), list[DataError]()
    for thing in things:
        try:
            found.append(read_one(thing))
        except DataError as error:
            errors.append(error)
    if len(errors) > 1:
        further = "; ".join(str(error).partition("; ")[0] for error in errors[1:4])
        more = f"{errors[0]}\n  and {len(errors) - 1} more: {further}" + "; ..." * (len(errors) > 4)
        raise DataError(more) from errors[0]
    if errors:
        raise errors[0]
    return found
