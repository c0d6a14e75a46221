"""Folders named as parts of a data set: `train`, `Testing`, `val_set`, `seg_train`, `dev`, `images-test`, ...

In: a folder's name. Out: which part it names, if any. Pure functions of names. Read by formats/imagefolder.py.
"""

import re
import unicodedata
from typing import NamedTuple

PLAIN = ("train", "val", "valid", "validation", "test")  # what the documents name; of the last four the first is `val`
_PARTS = {
    "train": "train training trainval trn tr learn learning",
    "val": "val valid validate validation dev devel development",
    "test": "test testing tst te ts eval evaluation holdout",
}
_FILLERS = "set sets data dataset datasets split part folder dir image images img imgs file files pics photos"
_PART_OF = {word: part for part, words in _PARTS.items() for word in words.split()}
_FILLER = frozenset(_FILLERS.split())
_WORD = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+|\d+")  # TrainSet2 -> Train Set 2
_JOINED = re.compile(f"({'|'.join(sorted(_PART_OF, key=len, reverse=True))})({'|'.join(sorted(_FILLER))})")  # testset


class SplitName(NamedTuple):
    """What a folder's name says of its place in a data set."""

    part: str  # train, val or test
    rank: int  # of several folders for one part the lowest is meant: the plain names first
    rest: tuple[str, ...]  # words that have nothing to do with parts, such as `seg` of `seg_train`


def split_name(name: str) -> SplitName | None:
    """What a folder's name says if it names a part of a data set, or None."""
    if name.lower() in PLAIN:
        return SplitName(_PART_OF[name.lower()], PLAIN.index(name.lower()), ())
    words = _words(name)
    parts = [_PART_OF[word] for word in words if word in _PART_OF]
    if len(set(parts)) != 1:
        return None
    rest = tuple(word for word in words if not (word in _PART_OF or word in _FILLER or word.isdecimal()))
    return SplitName(parts[0], len(PLAIN) + ["train", "val", "test"].index(parts[0]), rest)


def says_nothing(name: str) -> bool:
    """Whether a name tells neither a part nor a class: `images`, `data`."""
    return all(word in _FILLER for word in _words(name))


def _words(name: str) -> list[str]:
    words = [word.lower() for word in _WORD.findall(unicodedata.normalize("NFC", name))]
    joined = [(word, _JOINED.fullmatch(word)) for word in words]
    return [part for word, found in joined for part in (found.groups() if found else (word,))]
