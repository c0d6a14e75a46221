"""Labels as a tool wrote them -> labels of a basket's images, or every reason why not, at once.

In: a `Basket` and what label_formats.py read. Out: one label an image. Read by labels.py. Nothing is guessed: a name
that is nearly a class, or two people who disagree, is somebody's to decide.
"""

import difflib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import spreadsheet_row
from drift_detector_pipeline.lifecycle.labelling.basket_file import Basket, Item
from drift_detector_pipeline.lifecycle.labelling.label_formats import NONE_OF_THESE, Said

_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")  # as Label Studio names what was dropped on its page
_NAMED = 5  # examples of each kind of mistake
_LONGEST = 200  # letters of a label


class Given(NamedTuple):
    """A label that was given to an image of the basket."""

    item: Item
    label: str  # a class, "?" or "?NAME"
    who: str  # "" if the tool does not say
    when: str  # ISO 8601, or ""


class Checked(NamedTuple):
    """What became of a file's lines."""

    given: list[Given]
    empty: int  # images without label


def checked_labels(basket: Basket, said: Sequence[Said]) -> Checked:
    """Match names and labels with the basket. Raises DataError that names all that does not fit, and the nearest."""
    items, classes = _by_stem(basket), {_plain(name): name for name in basket.classes}
    loose = _unambiguous(classes)
    found, strange, unknown = defaultdict[Item, list[Given]](list), list[str](), Counter[str]()
    for one in said:
        item, text = _item_of(one.name, items), _without_apostrophe(_plain(one.label))
        label = classes.get(text) or loose.get(text.casefold()) or (text if text.startswith(NONE_OF_THESE) else None)
        if item is None:
            strange.append(one.name)
        elif text and (label is None or len(text) > _LONGEST):
            unknown[text] += 1
        else:
            found[item].append(Given(item, label or "", one.who, one.when))
    holding = {item: _newest_of_each(given) for item, given in found.items()}
    at_odds = [item.file for item, given in holding.items() if len({one.label for one in given}) > 1]
    if reasons := [*_of_strange(strange), *_of_unknown(unknown, basket.classes), *_of_odds(at_odds)]:
        raise DataError(f"nothing was taken: {'; '.join(reasons)}")
    given = [labels[0] for labels in holding.values() if labels]
    return Checked(given, len(holding) - len(given))


def labels_by_file(basket: Basket, said: Iterable[Said]) -> dict[str, str]:
    """What a file says of each image of the basket, unchecked; the last line holds."""
    items = _by_stem(basket)
    named = ((_item_of(one.name, items), _without_apostrophe(_plain(one.label))) for one in said)
    return {item.file: label for item, label in named if item is not None}


def known_names(basket: Basket, said: Iterable[Said]) -> int:
    """How many of the images that are named belong to the basket."""
    items = _by_stem(basket)
    return len({item for one in said if (item := _item_of(one.name, items))})


def _by_stem(basket: Basket) -> dict[str, Item]:
    return {PurePosixPath(item.file).stem: item for item in basket.images}


def _item_of(name: str, items: dict[str, Item]) -> Item | None:
    """The image that a path, or an address, ends with; the path itself is never opened."""
    text = unquote(name).replace("\\", "/")
    text = text.partition("?d=")[2] if "?d=" in text else text.partition("?")[0]
    stem = PurePosixPath(text).stem
    uploaded = _UPLOADED.fullmatch(stem)
    return items.get(stem) or (items.get(uploaded[1]) if uploaded else None)


def _plain(label: str) -> str:
    """In NFC, as classes are; what looks alike is alike then."""
    return unicodedata.normalize("NFC", label).strip()


def _without_apostrophe(text: str) -> str:
    """Undo what keeps a spreadsheet from running a label as a formula."""
    return text[1:] if text.startswith("'") and spreadsheet_row([text[1:]]) == [text] else text


def _unambiguous(classes: dict[str, str]) -> dict[str, str]:
    """Classes by their name without capitals, as far as that names one."""
    count = Counter(name.casefold() for name in classes)
    return {name.casefold(): own for name, own in classes.items() if count[name.casefold()] == 1}


def _newest_of_each(given: Sequence[Given]) -> list[Given]:
    """Of each person the newest label that is one; of nobody in particular all."""
    newest = dict[tuple[str, str], Given]()
    for one in sorted((one for one in given if one.label), key=lambda one: one.when):
        newest[one.who, "" if one.who and one.when else one.label] = one
    return list(newest.values())


def _of_strange(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    return [f"{len(names)} images are not of this basket: {_some(names)}; name theirs: BASKET=FOLDER"]


def _of_unknown(labels: Counter[str], classes: Sequence[str]) -> list[str]:
    def told(label: str) -> str:
        nearest = difflib.get_close_matches(label[:_LONGEST], classes, 1, 0.0)[0]
        return f"{label:.40} ({labels[label]} times; the nearest class is {nearest})"

    way = f"for what is none of the classes write {NONE_OF_THESE}, or {NONE_OF_THESE}NAME to keep what it is"
    return [f"no class: {_some(list(labels), told)}; {way}"] if labels else []


def _of_odds(files: Sequence[str]) -> list[str]:
    return (
        [f"{len(files)} images have labels that contradict each other: {_some(files)}; leave one each"] if files else []
    )


def _some(words: Sequence[str], told: Callable[[str], str] = "{:.120}".format) -> str:
    shown = ", ".join(map(told, words[:_NAMED]))
    return f"{shown} and {len(words) - _NAMED} more" if len(words) > _NAMED else shown
