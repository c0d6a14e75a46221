"""Folders named as parts of a data set: `train`, `Testing`, `val_set`, `seg_train`, `dev`, `images-test`, ...

In: a folder's name. Out: which part it names, if any. Pure functions of names. Read by formats/imagefolder.py.
"""

import re
import unicodedata
from collections.abc import Sequence
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


# How other languages, folds and tasks call parts, which is asked about and not guessed: names that hold one of these,
# or are numbered; of these words with `train` in them nobody means a part,
_ORDINARY = re.compile(r"(?<![^\W\d_])((con|di|eye|over|re)?strain|quatrain|trainer|trainee)")
_HINT = re.compile(
    r"train|(?<![^\W\d_])fold([ _-]*\d+|[ _-]+[a-z](?![^\W\d_]))"
    r"|тест(ы|ов\w*|ир\w*)?(?![^\W\d_])|εκπαίδ|δοκιμ|обуч|провер|навч|训练|訓練|学习|學習|学習|测试|測試|テスト|検証"
    r"|验证|驗證|훈련|학습|검증|시험|تدريب|اختبار|تحقق|אימון|מבחן|प्रशिक्षण|परीक्षण|huấn|kiểm tra"
)
# or two with different ones of these: at the start of their only word, or with the same beside them; `contest` and
# `banana_split` are words of their own,
_SIGN = re.compile(
    r"train(?:ing)?|test(?:ing)?|valid(?:ation)?|eval(?:uation)?|split|lern|prüf|prueb|entren|apprent|entraîn|addestr"
    r"|verific|trein|eğitim|uczą|trén"
)
_NUMBERED = re.compile(r"(cv|part|set|split|subset|batch|chunk|shard|group|partition)s?([ _.-]*\d+|[ _.-]+([a-z]|i+))")
_PAIRS = (  # or are both of one of these
    "fit predict", "seen unseen", "known unknown", "gallery query", "support query", "labeled unlabeled",
    "labelled unlabelled", "public private", "source target",
)  # fmt: skip


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


def is_spelt_out(name: str) -> bool:
    """Whether a name says a part in a word that is nothing else: `tr` and `te` are also languages."""
    return any(word in _PART_OF and (word in PLAIN or len(word) > 3) for word in _words(name))


def hints_at_parts(names: Sequence[str]) -> bool:
    """Whether names of folders that hold the same folders read like parts, in a spelling that is not read as such."""
    plain = [unicodedata.normalize("NFKC", name).lower().strip() for name in names]
    typed = {part for name in plain for part in ("train", "test", "valid") if _is_slip_of(part, name)}
    return (
        any(_HINT.search(_ORDINARY.sub("", name)) or _NUMBERED.fullmatch(name) for name in plain)
        or any(len(signs) > 1 for signs in _signs_by_rest(plain).values())
        or len(typed) > 1
        or any(set(pair.split()) <= set(plain) for pair in _PAIRS)
    )


def _signs_by_rest(names: Sequence[str]) -> dict[str, set[str]]:
    """What is beside a sign of parts in a name -> the signs beside it; under "" those at the start of an only word."""
    found: dict[str, set[str]] = {"": set()}
    for name in names:
        words = [word for word in _words(name) if len(word) > 1 and not (word in _FILLER or word.isdecimal())]
        if len(words) == 1 and (sign := _SIGN.match(words[0])):
            found[""].add(sign[0])
        for sign in _SIGN.finditer(name):
            found.setdefault(name[: sign.start()] + name[sign.end() :], set()).add(sign[0])
    return found


def _is_slip_of(part: str, name: str) -> bool:
    """Whether a name is a part's but for one slip: two letters swapped, one missing, or one too many.

    The first letter is the part's: `brain` and `chest` are words of their own.
    """
    if name[:1] != part[0]:
        return False
    places = range(1, len(part))
    swapped = {part[: at - 1] + part[at] + part[at - 1] + part[at + 1 :] for at in places}
    missing = {part[:at] + part[at + 1 :] for at in places}
    return name in {part} | swapped | missing or part in {name[:at] + name[at + 1 :] for at in range(1, len(name))}


def says_nothing(name: str) -> bool:
    """Whether a name tells neither a part nor a class: `images`, `data`."""
    return all(word in _FILLER for word in _words(name))


def _words(name: str) -> list[str]:
    words = [word.lower() for word in _WORD.findall(unicodedata.normalize("NFKC", name))]
    joined = [(word, _JOINED.fullmatch(word)) for word in words]
    return [part for word, found in joined for part in (found.groups() if found else (word,))]
