"""One folder a class, with or without folders for training and validation around them: an ImageFolder.

In: a folder. Out: a `Listing`. Read by dataset.py, and by processed/freshness.py to see what has changed.
"""

from collections.abc import Iterator
from pathlib import Path

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.listing import Listing, RawImage, is_clutter

VAL_FOLDERS = ("val", "valid", "validation", "test")  # the first that exists becomes `val`
_LAYOUT = "expected one folder per class, for example PATH/cat/1.jpg, or PATH/train/cat/1.jpg and PATH/val/cat/2.jpg"


def read(source: Path) -> Listing:
    """List the images below `source`, an ImageFolder layout with or without train and validation folders.

    Raises DataError if there are no class folders, fewer than two classes, or a class only in the validation part.
    """
    root = _root(source)
    folders = {path.name.lower(): path for path in _subfolders(root)}
    val = next((folders[name] for name in VAL_FOLDERS if name in folders), None)
    if val is not None and "train" not in folders:
        if _subfolders(val):
            raise DataError(f"{source}: {val.name}/ has class folders, but there is no train/ beside it; {_LAYOUT}")
        val = None  # a class that happens to have such a name
    parts: list[tuple[Path, bool | None]]
    parts = [(folders["train"], None if val is None else False)] if "train" in folders else [(root, None)]
    if val is not None:
        parts.append((val, True))
    images = [image for part, in_val in parts for image in _images_of(part, root, in_val)]
    _check_classes(images, source)
    used = {part for part, _ in parts}
    unused = [] if used == {root} else [path for path in folders.values() if path not in used]
    files = (path for path in root.rglob("*") if not path.is_dir() and not any(map(path.is_relative_to, unused)))
    ignored = {path.relative_to(root).as_posix() for path in files} - {image.path for image in images}
    return Listing(root, sorted(images), sorted(ignored), sorted(path.name for path in unused))


def _root(source: Path) -> Path:
    """Descend through wrapping folders, such as the one folder most archives have at their top."""
    folders = _subfolders(source)
    alone = len(folders) == 1 and folders[0].name.lower() != "train" and _subfolders(folders[0])
    return _root(folders[0]) if alone else source


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_clutter(path))


def _images_of(part: Path, root: Path, in_val: bool | None) -> Iterator[RawImage]:
    for folder in _subfolders(part):
        for path in folder.rglob("*"):
            inside = path.relative_to(part)
            if path.is_file() and not any(is_clutter(Path(name)) for name in inside.parts):
                yield RawImage(path.relative_to(root).as_posix(), folder.name, in_val, inside.as_posix())


def _check_classes(images: list[RawImage], source: Path) -> None:
    classes = {image.class_name for image in images}
    if len(classes) < 2:
        found = f"only the class {classes.pop()!r}" if classes else "no class folders with files"
        raise DataError(f"{source}: {found}; {_LAYOUT}")
    trained = {image.class_name for image in images if not image.in_val_folder}
    if classes - trained:
        raise DataError(
            f"{source}: {', '.join(sorted(classes - trained))} occurs in the validation folder only; "
            f"the classes of train are {', '.join(sorted(trained))}"
        )
