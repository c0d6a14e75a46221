"""One folder a class, with or without folders for training and validation around them: an ImageFolder.

In: a folder. Out: a `Listing`. Read by dataset.py, and by processed/freshness.py to see what has changed.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.listing import (
    Listing,
    RawImage,
    everything_below,
    files_below,
    is_clutter,
    leads_back,
    refuse_unseen,
)
from drift_detector_pipeline.raw.split_names import (
    PLAIN,
    SplitName,
    hints_at_parts,
    is_spelt_out,
    says_nothing,
    split_name,
)

_LAYOUT = (
    "expected one folder per class, for example PATH/cat/1.jpg, or PATH/train/cat/1.jpg and PATH/val/cat/2.jpg; or "
    "boxes in a layout of docs/boxes.md"
)
_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")


class _Part(NamedTuple):
    """A folder that holds class folders."""

    folder: Path  # at the top; what is inside it and not used is ignored
    classes: Path  # where the class folders are: the same, or one folder that wraps them
    in_val: bool | None


def read(source: Path, shown: Path | None = None) -> Listing:
    """List the images below `source`, an ImageFolder layout with or without train and validation folders.

    Errors name `shown` instead, such as the archive that was unpacked. Raises DataError if there are no class folders,
    fewer than two classes, a class only in the validation part, or a folder named as a part that cannot be one.
    """
    shown = shown or source
    root = _root(source)
    folders = _subfolders(root)
    parts = _parts(folders, shown) or [_Part(root, root, None)]
    images = [image for part in parts for image in _images_of(part, root)]
    if parts[0].classes == root:
        _refuse_splits_as_classes(folders, shown)
        _refuse_splits_in_classes(folders, root, shown)
        _doubt_alike(folders, shown)
    _tell_twice(images, root, shown)
    used = {part.folder for part in parts}
    unused = [] if used == {root} else [path for path in folders if path not in used]
    files = (path for path in everything_below(root) if not any(map(path.is_relative_to, unused)))
    meant = {image.path for image in images}
    ignored = sorted(name for path in files if (name := path.relative_to(root).as_posix()) not in meant)
    _check_classes(images, ignored, shown)
    images.sort()
    return Listing(root, images, ignored, sorted(path.name for path in unused), _empty(parts, images, root))


def _root(source: Path) -> Path:
    """Descend through wrapping folders, such as the one folder most archives have at their top."""
    folders = _subfolders(source)
    alone = len(folders) == 1 and folders[0].name.lower() != "train" and _subfolders(folders[0])
    return _root(folders[0]) if alone else source


def _subfolders(folder: Path) -> list[Path]:
    """Those that may hold images; a link back to where it lies, or above, would hold all of them once more."""
    inside = (path for path, is_folder in _entries(folder) if is_folder and not is_clutter(path))
    return sorted(path for path in inside if not (path.is_symlink() and leads_back(path, folder)))


def _entries(folder: Path) -> Iterator[tuple[Path, bool]]:
    """What lies in `folder`, and whether it is a folder, as the listing says: nothing is asked about each image."""
    with os.scandir(folder) as entries:
        for entry in entries:
            path = folder / entry.name
            yield path, path.is_dir() if entry.is_symlink() else entry.is_dir()


def _parts(folders: Sequence[Path], shown: Path) -> list[_Part]:
    """The folders for training and validation; none: the folders are classes."""
    names = {folder: name for folder in folders if (name := split_name(folder.name))}
    plain = [folder for folder, name in names.items() if name.part == "train" and name.rank < len(PLAIN)]
    trains = plain or [folder for folder in names if _is_train(folder, names, shown)]
    if len(trains) > 1:
        raise DataError(
            f"{shown}: {' and '.join(path.name for path in trains)} both read like the folder to train on; leave one"
        )
    vals = _best([folder for folder in names if _is_val(folder, names, bool(trains))], names)
    if not trains and vals:
        raise DataError(f"{shown}: {vals[0].name}/ has class folders, but there is no train/ beside it; {_LAYOUT}")
    train = [_Part(folder, _unwrapped(folder), False if vals else None) for folder in trains]
    return train + [_Part(folder, _unwrapped(folder), True) for folder in vals[:1]]


def _best(folders: list[Path], names: dict[Path, SplitName]) -> list[Path]:
    rank = min((names[folder].rank for folder in folders), default=0)
    return [folder for folder in folders if names[folder].rank == rank]


def _is_train(folder: Path, names: dict[Path, SplitName], shown: Path) -> bool:
    name = names[folder]
    if name.part != "train" or len(_class_folders(folder)) < 2:
        return False  # without class folders: a class with such a name, `bullet train`
    if name.rest and not _has_partner(folder, names):
        raise DataError(
            f"{shown}: {folder.name}/ reads like a training part with class folders in it, but nothing beside it reads "
            "like its validation part; name it train, or, if it is a class, leave no folders in it"
        )
    return True


def _is_val(folder: Path, names: dict[Path, SplitName], has_train: bool) -> bool:
    name = names[folder]
    if name.part == "train":
        return False
    inside = len(_class_folders(folder))
    if name.rank < len(PLAIN):
        return inside > 0  # without: images to predict, or a class that happens to have such a name
    return inside >= (1 if has_train else 2) and (not name.rest or _has_partner(folder, names))


def _has_partner(folder: Path, names: dict[Path, SplitName]) -> bool:
    """Whether another folder names another part of the same: `seg_test` beside `seg_train`."""
    return any(name.rest == names[folder].rest and name.part != names[folder].part for name in names.values())


def _class_folders(part: Path) -> list[Path]:
    """The class folders of a part, if it is one: none where all there is only wraps images, as in test/images/1.jpg."""
    inside = _subfolders(_unwrapped(part))
    return [] if len(inside) == 1 and _wraps(inside[0], part) else inside


def _unwrapped(part: Path) -> Path:
    """Where the class folders of a part are: below a folder of its name, or of none, as in seg_train/seg_train/cat."""
    inside = _subfolders(part)
    if len(inside) != 1 or not _subfolders(inside[0]):
        return part
    return _unwrapped(inside[0]) if _wraps(inside[0], part) else part


def _wraps(folder: Path, part: Path) -> bool:
    """Whether a folder in a part only says once more what the part is called, or nothing."""
    inner, outer = split_name(folder.name), split_name(part.name)
    same = inner is not None and outer is not None and inner.part == outer.part
    return same or says_nothing(folder.name)


def _refuse_splits_as_classes(folders: Sequence[Path], shown: Path) -> None:
    """Raise DataError if the classes would be called `Training` and `Testing`."""
    names = {folder: name for folder in folders if (name := split_name(folder.name))}
    sure = [folder for folder, name in names.items() if not name.rest or _has_partner(folder, names)]
    parts = {names[folder].part for folder in sure}
    if sure and (len(sure) == len(folders) or ("train" in parts and len(parts) > 1)):
        raise DataError(
            f"{shown}: {', '.join(path.name for path in sure)} read like parts of a data set, not like classes, and "
            f"hold no class folders to train on; {_LAYOUT}"
        )


def _refuse_splits_in_classes(folders: Sequence[Path], root: Path, shown: Path) -> None:
    """Raise DataError if what would be a class holds parts: a data set beside other folders, or parts in each class."""
    for folder in folders:
        spelt = (path for path in _subfolders(_root(folder)) if is_spelt_out(path.name))
        inside = {name.part: path for path in spelt if (name := split_name(path.name))}
        if len(inside) > 1 and "train" in inside:
            pair = [inside["train"], next(path for part, path in inside.items() if part != "train")]
            parts = " and ".join(f"{path.relative_to(root).as_posix()}/" for path in pair)
            raise DataError(
                f"{shown}: {parts} read like parts of a data set, inside what would be the class {folder.name}. If "
                f"that is a data set, name it alone; if it is a class, put the parts around the classes; {_LAYOUT}"
            )


def _doubt_alike(folders: Sequence[Path], shown: Path) -> None:
    """Warn if classes hold folders of the same names, as parts of a data set do; DataError if their names agree."""
    inside = {folder: _only_folders(folder) for folder in folders}
    counts = Counter(name for names in inside.values() for name in names)
    alike = [folder.name for folder, names in inside.items() if sum(counts[name] > 1 for name in names) > 1]
    if not alike:
        return
    common = sorted(name for name, count in counts.items() if count > 1)
    said = f"{shown}: {alike[0]} and {alike[-1]} hold folders of the same names, such as {common[0]} and {common[1]}"
    if hints_at_parts(alike):
        raise DataError(
            f"{said}. Are they parts of a data set? Then name them train and val. Are they classes? Then rename them: "
            f"names like {alike[0]} and {alike[-1]} may be those of parts; {_LAYOUT}"
        )
    log.warning("%s. They are taken for classes; if they are parts of a data set, name them train and val", said)


def _tell_twice(images: Sequence[RawImage], root: Path, shown: Path) -> None:
    """Warn of folders that are one by links, wherever they lie: their images count twice, or have two classes."""
    first, twice = dict[str, str](), list[tuple[str, str]]()
    for folder in dict.fromkeys(image.path.rpartition("/")[0] for image in images):
        before = first.setdefault(os.path.realpath(root / folder), folder)
        if before != folder:
            twice.append((before, folder))
    if twice:
        pair = sorted(twice[0])
        log.warning(
            "%s: %s and %s lead to the same images, which count twice%s; remove a link, unless that is meant",
            shown, *pair, f" ({len(twice)} such pairs)" if len(twice) > 1 else "",
        )  # fmt: skip


def _only_folders(folder: Path) -> set[str]:
    """Names of the folders in `folder`; none if there are files beside them."""
    names = set()
    for path, is_folder in _entries(folder):
        if not is_clutter(path):
            if not is_folder:
                return set()
            names.add(path.name)
    return names


def _images_of(part: _Part, root: Path) -> Iterator[RawImage]:
    for folder in _subfolders(part.classes):
        class_name = _nfc(folder.name)
        for path in files_below(folder):
            name = path.relative_to(root).as_posix()
            key = _nfc(name if part.classes == root else path.relative_to(part.classes).as_posix())
            yield RawImage(name, class_name, part.in_val, key)


def _nfc(name: str) -> str:
    """One spelling of names that look the same: a Mac writes an accent as a character of its own."""
    return unicodedata.normalize("NFC", name)


def _empty(parts: list[_Part], images: list[RawImage], root: Path) -> tuple[str, ...]:
    full = {(image.in_val_folder, image.class_name) for image in images}
    places = [(part, folder) for part in parts for folder in _subfolders(part.classes)]
    return tuple(
        folder.relative_to(root).as_posix() for part, folder in places if (part.in_val, _nfc(folder.name)) not in full
    )


def _check_classes(images: list[RawImage], ignored: list[str], shown: Path) -> None:
    classes = {image.class_name for image in images}
    if len(classes) < 2:
        found = f"only the class {classes.pop()!r}" if classes else "no class folders with files"
        raise DataError(f"{shown}: {found}{_instead(ignored)}; {_LAYOUT}")
    refuse_unseen(classes, shown)
    trained = {image.class_name for image in images if not image.in_val_folder}
    if classes - trained:
        raise DataError(
            f"{shown}: {', '.join(sorted(classes - trained))} occurs in the validation folder only; "
            f"the classes of train are {', '.join(sorted(trained)) or 'none, as it holds no files'}"
        )


def _instead(ignored: list[str]) -> str:
    """What there is in place of class folders, for an error."""
    seen = [path for path in ignored if not any(is_clutter(Path(name)) for name in Path(path).parts)]
    if archives := [path for path in seen if path.lower().endswith(_ARCHIVES)]:
        return f", but the archive {archives[0]}: unpack it and name what it holds"
    return f", but {len(seen)} files outside of class folders (the first: {seen[0]})" if seen else ""
