"""What a source holds, whatever its layout: its images in order, and what was left out.

Made by the readers in formats/ and by processed/digits.py, read by dataset.py. The rule that says which files of a
folder are meant stands here, too: one for data sets, predictions and drift.
"""

import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn

from drift_detector_pipeline.errors import DataError

_CLUTTER = {
    "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r", "@eadir", "$recycle.bin",
    "system volume information",
}  # fmt: skip
_UNSEEN = ("Zs", "Zl", "Zp", "Cc", "Cf", "Mn")
_WITHOUT_INK = "\u115f\u1160\u2800\u3164\uffa0"  # fillers of Hangul, an empty cell of Braille

# How sources of clips are known: clips.csv names them; names of files and folders do; or not at all, and then every
# file counts as one, two of which may show the same.
SourcesFrom = Literal["listed", "named", "unknown"]


class RawBox(NamedTuple):
    """One box as an annotation gives it, neither clipped nor turned; half-open, so x1 - x0 is its width."""

    x0: float  # px from the left border of the picture as annotated, 0-based; all finite
    y0: float
    x1: float
    y1: float
    class_name: str  # in NFC; "" of a box to ignore whatever the class, such as KITTI's DontCare
    ignore: bool = False  # neither to be found nor an error if it is: a crowd, a difficult object


class ImageBoxes(NamedTuple):
    """All boxes of one image; none: it shows nothing to find."""

    boxes: tuple[RawBox, ...]
    size: tuple[int, int] | None  # (width, height) in px as the annotation says, right or wrong; None: it does not say
    normalised: bool = False  # coordinates are shares, 0..1, of the picture turned as its EXIF says


class RawImage(NamedTuple):
    """One image of a source, before decoding."""

    path: str  # below the source's root, with forward slashes
    class_name: str  # in NFC; "" where the truth is boxes
    in_val_folder: bool | None  # None: the source has no validation folder
    key: str  # the path below the split folder in NFC, what the hash is taken of


class Footage(NamedTuple):
    """Where the frames of a clip are."""

    file: str  # below the source's root, with forward slashes: a video, an .npz, or a folder of pictures
    start: float | None = None  # seconds since the first frame; None: the whole file, to be cut if it is long
    end: float | None = None  # seconds since the first frame; None: as long as clips are, or to its end
    frames: int | None = None  # how many there are, as far as is known without decoding
    pictures: tuple[str, ...] = ()  # of a folder: their names in order
    listed: bool = False  # named as a clip, so that only a very long one is cut


class Listing(NamedTuple):
    """The images of a source, sorted by path, and what was left out; of clips, one `RawImage` a clip."""

    root: Path
    images: list[RawImage]
    ignored: list[str]  # files outside class folders, hidden files, links that lead nowhere or back
    unused_folders: list[str]  # beside train and val, such as a second validation folder
    empty_folders: tuple[str, ...] = ()  # class folders without a file
    task: str | None = None  # for which the truth is meant; None: labels
    boxes: Mapping[str, ImageBoxes] = {}  # of each image, by its path; of task "boxes" alone
    class_names: tuple[str, ...] = ()  # in the order of their labels; of task "boxes" alone
    class_ids: tuple[int, ...] = ()  # the source's own numbers of class_names; (): it has none
    notes: Mapping[str, int] = {}  # what reading left out or mended -> how often
    clips: Mapping[str, Footage] = {}  # of each image, by its path; of task "clips" alone, like the two below
    sources: Mapping[str, str] = {}  # path -> what it was taken from: two clips of one source are never independent
    sources_from: SourcesFrom | None = None


def is_clutter(path: Path) -> bool:
    """Whether a file or folder is hidden or left by an operating system, going by its name."""
    return path.name.startswith(".") or path.name.lower() in _CLUTTER


def is_unseen(name: str) -> bool:
    """Whether a class's name shows nothing: it is empty, or of blanks and letters without ink alone."""
    return all(unicodedata.category(letter) in _UNSEEN or letter in _WITHOUT_INK for letter in name)


def refuse_unseen(classes: Iterable[str], shown: Path) -> None:
    """Raise DataError if nobody could see the name of a class."""
    if unseen := sorted(filter(is_unseen, classes)):
        raise DataError(f"{shown}: the name of the class {unseen[0]!a} shows nothing; rename its folder, or remove it")


def files_below(folder: Path) -> Iterator[Path]:
    """The files below `folder` that are meant as images, in order: all but what is clutter or lies in clutter."""
    found = (path for path in everything_below(folder) if path.is_file())
    return (path for path in found if not any(is_clutter(Path(part)) for part in path.relative_to(folder).parts))


def holds_files(folder: Path) -> bool:
    """Whether `files_below` has any; of a large folder only the beginning is listed."""
    return any(True for _ in files_below(folder))


def everything_below(folder: Path) -> Iterator[Path]:
    """All that is no folder, clutter and broken links included, in the order of sorted paths, a folder at a time.

    Links to folders are followed; a link that leads back to where it lies is not, but listed. Raises DataError for a
    folder that cannot be read, whose images would otherwise be missing in silence.
    """
    open_folders = [_inside(folder)]
    while open_folders:
        path, is_folder = next(open_folders[-1], (None, False))
        if path is None:
            open_folders.pop()
        elif is_folder and not (path.is_symlink() and leads_back(path, folder)):
            open_folders.append(_inside(path))
        else:
            yield path


def _inside(folder: Path) -> Iterator[tuple[Path, bool]]:
    """What lies in `folder`, by name, and whether it is a folder or leads to one."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((os.path.normcase(entry.name), entry.name, entry) for entry in entries)
    except OSError as error:
        _refuse(error)
    return ((folder / name, _is_folder(entry)) for _, name, entry in found)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _refuse(error: OSError) -> NoReturn:
    raise DataError(f"{error.filename}: {error.strerror}; folders of images must be readable") from error


def leads_back(link: Path, top: Path) -> bool:
    """Whether `link` names a folder that the way from `top` to it goes through, or one above that."""
    way = [folder for folder in link.parents if folder.is_relative_to(top)]
    return any(folder.resolve().is_relative_to(link.resolve()) for folder in way)
