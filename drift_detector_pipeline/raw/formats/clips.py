"""Clips: videos, folders of frames and .npz in a folder a class, or listed with their class in clips.csv.

In: the files of a source. Out: a `Listing` of task "clips", a `RawImage` a file; frames/pieces.py cuts long ones. Read
by catalog.py.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.formats import imagefolder
from drift_detector_pipeline.raw.formats.boxed import sides_of
from drift_detector_pipeline.raw.formats.clip_sources import sources_of
from drift_detector_pipeline.raw.formats.clip_table import TABLE, Row, rows_of
from drift_detector_pipeline.raw.formats.survey import Survey, folder_of, is_picture, nfc, part_of
from drift_detector_pipeline.raw.listing import Footage, Listing, RawImage, SourcesFrom, is_clutter, refuse_unseen

VIDEOS = frozenset({
    ".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".3gp", ".flv", ".wmv",
    ".asf", ".ogv",
})  # fmt: skip
ARRAY = ".npz"
NOT_LISTED = f"clips that {TABLE} does not list: left out"
NOT_THERE = f"clips of {TABLE} that are not there: left out"
_LAYOUT = (
    "expected videos in one folder per class, for example PATH/walking/1.mp4, or PATH/train/walking/1.mp4 and "
    "PATH/val/walking/2.mp4; a folder of frames or an .npz may stand for a video (docs/clips.md)"
)


def fits(source: Survey) -> bool:
    """Whether a source holds videos or arrays and no pictures, or says what its clips are."""
    names = [PurePosixPath(path) for path in source.others]
    return any(path.name.lower() == TABLE for path in names) or (
        not source.pictures and any(path.suffix.lower() in {*VIDEOS, ARRAY} for path in names)
    )


def read(source: Survey) -> Listing:
    """List the clips of a source, videos not yet cut.

    Raises DataError if there are no two classes with clips, clips.csv contradicts itself or the folders, or sources lie
    in the parts to train and to validate on.
    """
    rows = rows_of(source)
    listing = _of_table(source, rows) if any(row.label for row in rows) else _of_folders(source, rows)
    for note, count in listing.notes.items():
        log.warning("%s: %d %s", source.shown, count, note)
    _refuse_shared(listing, source)
    return listing


def _of_folders(source: Survey, rows: Sequence[Row]) -> Listing:
    """Classes are folders; a table may still say what the clips were taken from."""
    found = imagefolder.read(source.root, source.shown)
    clips = list(_grouped(found.images))
    images, footage = [image for image, _ in clips], {image.path: one for image, one in clips}
    _check_classes(images, source)
    below = PurePosixPath(found.root.relative_to(source.root).as_posix())
    sources, known = _listed(images, rows, below, source) if any(row.source for row in rows) else sources_of(images)
    used = {path for one in footage.values() for path in _files_of(one)}
    ignored = sorted({*found.ignored, *(image.path for image in found.images)} - used - {TABLE})
    return found._replace(
        images=sorted(images), ignored=ignored, task="clips", clips=footage, sources=sources, sources_from=known,
        empty_folders=(*found.empty_folders, *_without_clip(found, footage)),
    )  # fmt: skip


def _without_clip(found: Listing, clips: Mapping[str, Footage]) -> list[str]:
    """Folders that read like a class, or like a clip of one, and give none."""
    classes = {"/".join(image.path.split("/")[: -image.key.count("/")]) for image in found.images}
    inside = {
        path.relative_to(found.root).as_posix()
        for name in classes
        for path in (found.root / name).iterdir()
        if path.is_dir() and not is_clutter(path)
    }
    full = {parent for path in clips for parent in (path, *(str(one) for one in PurePosixPath(path).parents))}
    hollow = classes - full
    return sorted(hollow | {path for path in inside - full if path.rpartition("/")[0] not in hollow})


def _listed(
    images: Sequence[RawImage], rows: Sequence[Row], below: PurePosixPath, source: Survey
) -> tuple[dict[str, str], SourcesFrom]:
    table = {row.path: row.source for row in rows if row.source}
    named = {image.path: table.get(nfc((below / image.path).as_posix())) for image in images}
    if missing := [path for path, name in named.items() if name is None]:
        raise DataError(
            f"{source.shown}: {TABLE} does not say what {missing[0]} and {len(missing) - 1} more were taken from; add "
            "them, or remove the table"
        )
    return {path: name for path, name in named.items() if name is not None}, "listed"


def _grouped(images: Sequence[RawImage]) -> Iterator[tuple[RawImage, Footage]]:
    """Videos and arrays as they are; pictures by folder, unless it is that of the class or holds videos, too."""
    folders = defaultdict[str, list[RawImage]](list)
    with_videos = set[str]()
    for image in images:
        if PurePosixPath(image.path).suffix.lower() in {*VIDEOS, ARRAY}:
            with_videos.add(folder_of(image.path))
            yield image, Footage(image.path)
        elif is_picture(image.path) and image.key.count("/") > 1:
            folders[folder_of(image.path)].append(image)
    for folder, pictures in folders.items():
        if folder not in with_videos:
            yield pictures[0]._replace(path=folder, key=folder_of(pictures[0].key)), _frames(folder, pictures)


def _frames(folder: str, pictures: Sequence[RawImage]) -> Footage:
    names = sorted((PurePosixPath(picture.path).name for picture in pictures), key=natural)
    return Footage(folder, pictures=tuple(names))


def natural(name: str) -> list[tuple[int, str]]:
    """Numbers in names count as numbers: frame 2 comes before frame 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def _of_table(source: Survey, rows: Sequence[Row]) -> Listing:
    """Classes are what clips.csv says, wherever the files lie."""
    if unnamed := [row for row in rows if row.label is None]:
        raise DataError(f"{unnamed[0].place}: no label, while another {TABLE} of this source has labels")
    files = _files(source)
    notes = Counter({NOT_THERE: sum(row.path not in files for row in rows)})
    there = [row for row in rows if row.path in files]
    if not there:
        raise DataError(f"{rows[0].place}: {rows[0].path} is not there, nor is any other clip of the table; {_LAYOUT}")
    _refuse_other_class(there)
    sides = sides_of({part for row in there if (part := part_of(row.path))}, source)
    used = [row for row in there if (part := part_of(row.path)) is None or part in sides]
    clips = {row: _clip_of(row, files[row.path], sides.get(part_of(row.path) or "")) for row in used}
    _check_classes([image for image, _ in clips.values()], source)
    taken = {row.path for row in there}
    notes[NOT_LISTED] = sum(path not in taken for path in files)
    seen = {path for row in there for path in _files_of(files[row.path])} | {row.table for row in rows}
    images = [image for image, _ in clips.values()]
    sources, known = sources_of(images)
    if all(row.source for row in used):
        sources, known = {clips[row][0].path: row.source or "" for row in used}, "listed"
    return Listing(
        source.root,
        sorted(images),
        sorted({*source.pictures, *source.others, *source.lost} - seen),
        sorted({part for row in there if (part := part_of(row.path))} - set(sides)),
        task="clips",
        clips={image.path: one for image, one in clips.values()},
        sources=sources,
        sources_from=known,
        notes=+notes,
    )


def _files_of(clip: Footage) -> list[str]:
    return [f"{clip.file}/{name}" for name in clip.pictures] or [clip.file]


def _files(source: Survey) -> dict[str, Footage]:
    """Whatever may be a clip, by its path in NFC."""
    videos = [path for path in source.others if PurePosixPath(path).suffix.lower() in {*VIDEOS, ARRAY}]
    folders = defaultdict[str, list[RawImage]](list)
    for path in source.pictures:
        folders[folder_of(path)].append(RawImage(path, "", None, path))
    return {nfc(path): Footage(path) for path in videos} | {
        nfc(folder): _frames(folder, pictures) for folder, pictures in folders.items()
    }


def _clip_of(row: Row, footage: Footage, in_val: bool | None) -> tuple[RawImage, Footage]:
    assert row.label is not None
    path = footage.file if row.start is None else f"{footage.file}#{row.start:09.3f}"
    end = None if row.start is None or row.seconds is None else row.start + row.seconds
    return RawImage(path, row.label, in_val, nfc(path)), footage._replace(start=row.start, end=end, listed=True)


def _refuse_other_class(rows: Sequence[Row]) -> None:
    """Raise DataError for a clip in a folder that is called like another class."""
    labels = {row.label for row in rows}
    for row in rows:
        if named := (set(PurePosixPath(row.path).parts[:-1]) & labels) - {row.label}:
            raise DataError(f"{row.place}: {row.path} is {row.label}, but its folder says {named.pop()}; mend one")


def _check_classes(images: Sequence[RawImage], source: Survey) -> None:
    classes = {image.class_name for image in images}
    if len(classes) < 2:
        found = f"only the class {classes.pop()!r} has clips" if classes else "no clips"
        raise DataError(f"{source.shown}: {found}; {_LAYOUT}")
    refuse_unseen(classes, source.shown)
    if missing := classes - {image.class_name for image in images if not image.in_val_folder}:
        raise DataError(f"{source.shown}: {', '.join(sorted(missing))} occurs in the validation folder only")


def _refuse_shared(listing: Listing, source: Survey) -> None:
    """Raise DataError if clips of one source lie in the folders to train and to validate on."""
    sides: Mapping[bool, set[str]] = {True: set(), False: set()}
    for image in listing.images:
        if image.in_val_folder is not None:
            sides[image.in_val_folder].add(listing.sources[image.path])
    if both := sorted(sides[True] & sides[False]):
        raise DataError(
            f"{source.shown}: clips of {both[0]} and {len(both) - 1} more sources lie in the folders to train and to "
            "validate on: whatever is measured there has been seen before. Put all into one folder per class, and they "
            f"are split by source; or, if these are other sources of the same name, say so in {TABLE}"
        )
