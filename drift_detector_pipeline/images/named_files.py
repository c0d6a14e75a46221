"""The image files a person means: files, folders, globs, archives and buckets, in the order they are named.

In: words of a command line. Out: paths, each with the name to show, as crops.py takes them. Read by everything that
takes images from outside the processed data.
"""

import glob
import os
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from drift_detector_pipeline.files import from_home, is_there
from drift_detector_pipeline.images.buckets import fetch_object, in_bucket, objects_named
from drift_detector_pipeline.raw.archives import ENDINGS, extract
from drift_detector_pipeline.raw.listing import files_below, holds_files, is_clutter


class ImageFile(NamedTuple):
    """A file that may be an image."""

    name: str  # as it is shown; inside an archive: the archive's path and the member's
    file: Path  # where its bytes are


class Source(NamedTuple):
    """A file, an archive of files, or an object in a bucket that is either."""

    name: str  # as it is shown
    place: str  # a path, or an address

    @property
    def is_archive(self) -> bool:
        """Whether it stands for the files in it."""
        return self.place.lower().endswith(ENDINGS) and (in_bucket(self.place) or is_there(Path(self.place)))


@contextmanager
def image_files(words: Sequence[str]) -> Iterator[list[ImageFile]]:
    """List the files that `words` name; archives are unpacked, and objects fetched, for as long as the context is open.

    Each file is listed once, by its first name. A folder stands for all files below it that are not hidden, a pattern
    for what it matches. A name that leads nowhere is listed as it is: whoever opens it will say so. Raises DataError if
    an archive is damaged or unsafe.
    """
    with opened(sources_of(words)) as found:
        yield found


def sources_of(words: Sequence[str]) -> list[Source]:
    """What `words` name, each once, nothing opened yet."""
    once = dict[str, Source]()
    for source in (one for word in words for one in _named_by(word)):
        key = source.place if in_bucket(source.place) else os.path.abspath(source.place)  # noqa: PTH100 (links apart)
        once.setdefault(key, source)
    return list(once.values())


@contextmanager
def opened(sources: Sequence[Source]) -> Iterator[list[ImageFile]]:
    """The files that `sources` are or hold, in their order, as `image_files` lists them."""
    with tempfile.TemporaryDirectory(prefix="images-") as place:
        yield [file for number, one in enumerate(sources) for file in _files_of(one, Path(place) / str(number))]


def units_of(sources: Sequence[Source], files: int) -> list[list[Source]]:
    """Cut sources into parts that other processes open: `files` files each, an archive always by itself."""
    units = list[list[Source]]()
    for given in sources:
        source = given if in_bucket(given.place) else given._replace(place=os.path.abspath(given.place))  # noqa: PTH100
        if not units or source.is_archive or units[-1][0].is_archive or len(units[-1]) == files:
            units.append([])
        units[-1].append(source)
    return units


def leads_somewhere(word: str) -> bool:
    """Whether `word` names a file, a folder that holds one or several, or matches any, as `image_files` reads it."""
    word = from_home(word)
    if in_bucket(word):
        return bool(objects_named(word))
    if found := [Path(word)] if is_there(Path(word)) else [Path(match) for match in _matches(word)]:
        return any(not path.is_dir() or holds_files(path) for path in found)
    parts = [] if _blank_in(_literal(word)) else _parts(word)
    return len(parts) > 1 and any(map(leads_somewhere, parts))


def _named_by(word: str) -> Iterator[Source]:
    word = from_home(word)
    path = Path(word)
    if in_bucket(word) and not _blank_in(word):
        yield from [Source(one, one) for one in objects_named(word)] or [Source(word, word)]
    elif is_there(path):
        if path.is_dir():
            yield from (Source((path / one.relative_to(path)).as_posix(), str(one)) for one in files_below(path))
        else:
            yield Source(word, word)
    elif matches := _matches(word):
        for match in matches:
            yield from _named_by(match)
    elif not _blank_in(_literal(word)) and len(parts := _parts(word)) > 1:
        for part in parts:
            yield from _named_by(part)
    else:
        yield Source(word, word)


def _files_of(source: Source, place: Path) -> Iterator[ImageFile]:
    """The files of a source; below `place` lies what is made for them."""
    path = Path(source.place)
    if in_bucket(source.place):
        path = place / path.name
        fetch_object(source.place, path)
    if source.is_archive:
        extract(path, place / "files")
        for file in files_below(place / "files"):
            below = file.relative_to(place / "files").as_posix()
            shown = source.name if in_bucket(source.name) else Path(source.name).as_posix()
            yield ImageFile(f"{shown}/{below}", file)
    else:
        yield ImageFile(source.name, path)


def _matches(word: str) -> list[str]:
    """What a pattern matches, sorted, but for clutter that it does not name; hidden files are left out by glob.

    A link that leads nowhere matches its own name, and is none that leads somewhere.
    """
    literal = _literal(word)
    pattern = glob.escape(literal) + word[len(literal) :]
    named = set(Path(word).parts)
    return [
        match
        for match in sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  (pathlib takes no absolute pattern)
        if match != word
        and not any(is_clutter(Path(part)) for part in set(Path(match).parts) - named if not part.startswith("."))
    ]


def _literal(word: str) -> str:
    """The folders a pattern starts with that exist as they are written, brackets in their names included."""
    ends = [place + 1 for place, character in enumerate(word) if character == "/"]
    return next((word[:end] for end in reversed(ends) if is_there(Path(word[:end]))), "")


def _blank_in(text: str) -> bool:
    return any(map(str.isspace, text))


def _parts(word: str) -> list[str]:
    """Several names in one word, as in IMAGES="a.jpg 'my photos/*.png'"."""
    try:
        return shlex.split(word)
    except ValueError:  # a quotation mark that is part of a name
        return word.split()
