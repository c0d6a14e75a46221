"""Which files a source holds, and which picture an annotation is about.

In: a folder. Out: a `Survey`, one walk for all readers. Paths are below the folder, with forward slashes.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.listing import everything_below, is_clutter
from drift_detector_pipeline.raw.split_names import split_name

PICTURES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".jp2", ".j2k",
    ".ppm", ".pgm", ".pnm",
})  # fmt: skip


class Survey(NamedTuple):
    """The files of a source, clutter left out."""

    root: Path
    shown: Path  # how people call the root: itself, or the archive that was unpacked there
    pictures: list[str]  # sorted
    others: list[str]  # sorted
    lost: list[str]  # clutter, and links that lead nowhere or back

    def where(self, path: str) -> str:
        """How an error names a file."""
        return f"{self.shown}/{path}"

    def ending(self, *endings: str) -> list[str]:
        """Those of the other files whose names end so, in any case."""
        return [path for path in self.others if path.lower().endswith(endings)]


def survey(root: Path, shown: Path) -> Survey:
    """Walk through a folder once, or through the one folder in it, such as most archives have at their top.

    So an archive and what was packed into it hold the same paths. Raises DataError for a folder that cannot be read.
    """
    if wrapped := _wrapped(root):
        return survey(wrapped, shown / wrapped.name)
    found: dict[str, list[str]] = {"pictures": [], "others": [], "lost": []}
    for path in everything_below(root):
        relative = path.relative_to(root)
        hidden = any(is_clutter(Path(part)) for part in relative.parts)
        kind = "lost" if hidden or not path.is_file() else "pictures" if is_picture(path.name) else "others"
        found[kind].append(relative.as_posix())
    return Survey(root, shown, *(sorted(found[kind]) for kind in ("pictures", "others", "lost")))


def _wrapped(root: Path) -> Path | None:
    inside = [path for path in root.iterdir() if not is_clutter(path)] if root.is_dir() else []
    alone = len(inside) == 1 and inside[0].is_dir() and split_name(inside[0].name) is None
    return inside[0] if alone else None


class Stems(NamedTuple):
    """Files by their stems."""

    exact: dict[str, list[str]]
    folded: dict[str, list[str]]  # the same, whatever the case

    def of(self, name: str) -> list[str]:
        """Those of that stem; if there are none, those whose stem differs in case only."""
        return self.exact.get(name) or self.folded.get(name.casefold(), [])


def is_picture(name: str) -> bool:
    """Going by its ending."""
    return PurePosixPath(name).suffix.lower() in PICTURES


def nfc(name: str) -> str:
    """One spelling of names that look the same."""
    return unicodedata.normalize("NFC", name)


def stem(path: str) -> str:
    """A file's name without folders and ending, in NFC."""
    return nfc(PurePosixPath(path).stem)


def folder_of(path: str) -> str:
    """The folder a file lies in; "." at the top."""
    return PurePosixPath(path).parent.as_posix()


def by_stem(paths: Iterable[str]) -> Stems:
    """All files by their stems."""
    exact, folded = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for path in paths:
        exact[stem(path)].append(path)
        folded[stem(path).casefold()].append(path)
    return Stems(dict(exact), dict(folded))


def part_of(path: str) -> str | None:
    """The part of a data set, train, val or test, that the folders of a path name; the innermost counts."""
    for name in reversed(PurePosixPath(path).parent.parts):
        if (found := split_name(name)) and not found.rest:
            return found.part
    return None


def partner(path: str, stems: Stems, shown: Path) -> str | None:
    """The picture that an annotation is about, by its stem: beside it, else in the twin of its folder, else anywhere.

    Folders are twins if one name on their ways differs, as in Annotations/a/1.xml and JPEGImages/a/1.jpg. A picture of
    another part of the data set is none. Raises DataError if several are equally near.
    """
    near = nearest(path, stems.of(stem(path)))
    if len(near) > 1:
        raise DataError(
            f"{shown}/{path}: {near[0]} and {near[1]} may both be meant; give one another name, or remove it"
        )
    return near[0] if near else None


def nearest(path: str, candidates: Sequence[str]) -> list[str]:
    """Of files with the stem of `path` those that lie nearest to it; several: nothing says which is meant."""
    candidates = [other for other in candidates if part_of(other) in (None, part_of(path)) or part_of(path) is None]
    beside = [other for other in candidates if folder_of(other) == folder_of(path)]
    twins = [other for other in candidates if _are_twins(folder_of(path), folder_of(other))]
    named = [other for other in twins if folder_of(other) == folder_of(path).replace("label", "image")]
    return beside or named or twins or list(candidates)


def _are_twins(one: str, other: str) -> bool:
    ours, theirs = PurePosixPath(one).parts, PurePosixPath(other).parts
    return len(ours) == len(theirs) and sum(mine != its for mine, its in zip(ours, theirs, strict=True)) == 1
