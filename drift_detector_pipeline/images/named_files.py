"""The image files a person means: files, folders, globs and archives, in the order they are named.

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

from drift_detector_pipeline.files import is_there
from drift_detector_pipeline.raw.archives import ENDINGS, extract
from drift_detector_pipeline.raw.listing import files_below, is_clutter


class ImageFile(NamedTuple):
    """A file that may be an image."""

    name: str  # as it is shown; inside an archive: the archive's path and the member's
    file: Path  # where its bytes are


@contextmanager
def image_files(words: Sequence[str]) -> Iterator[list[ImageFile]]:
    """List the files that `words` name; archives are unpacked for as long as the context is open.

    Each file is listed once, by its first name. A folder stands for all files below it that are not hidden, a pattern
    for what it matches. A name that leads nowhere is listed as it is: whoever opens it will say so. Raises DataError if
    an archive is damaged or unsafe.
    """
    with tempfile.TemporaryDirectory(prefix="images-") as place:
        found = (file for number, word in enumerate(words) for file in _named_by(word, Path(place) / str(number)))
        once = dict[Path, ImageFile]()
        for image in found:
            once.setdefault(Path(os.path.abspath(image.file)), image)  # noqa: PTH100  (links stay apart)
        yield list(once.values())


def leads_somewhere(word: str) -> bool:
    """Whether `word` names a file, a folder or several, or matches any, as `image_files` reads it."""
    if is_there(Path(word)) or _matches(word):
        return True
    parts = [] if _blank_in(_literal(word)) else _parts(word)
    return len(parts) > 1 and any(map(leads_somewhere, parts))


def _named_by(word: str, unpacked: Path) -> Iterator[ImageFile]:
    path = Path(word)
    if is_there(path):
        if path.is_dir():
            yield from _below(path, word)
        elif word.lower().endswith(ENDINGS):
            extract(path, unpacked)
            yield from _below(unpacked, word)
        else:
            yield ImageFile(word, path)
    elif matches := _matches(word):
        for number, match in enumerate(matches):
            yield from _named_by(match, unpacked / str(number))
    elif not _blank_in(_literal(word)) and len(parts := _parts(word)) > 1:
        for number, part in enumerate(parts):
            yield from _named_by(part, unpacked / str(number))
    else:
        yield ImageFile(word, path)


def _below(folder: Path, shown: str) -> Iterator[ImageFile]:
    for path in files_below(folder):
        yield ImageFile((Path(shown) / path.relative_to(folder)).as_posix(), path)


def _matches(word: str) -> list[str]:
    """What a pattern matches, sorted, but for clutter that it does not name; hidden files are left out by glob."""
    literal = _literal(word)
    pattern = glob.escape(literal) + word[len(literal) :]
    named = set(Path(word).parts)
    return [
        match
        for match in sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  (pathlib takes no absolute pattern)
        if not any(is_clutter(Path(part)) for part in set(Path(match).parts) - named if not part.startswith("."))
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
