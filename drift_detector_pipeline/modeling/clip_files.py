"""Files -> clips as they would lie in processed data, cut as a model's training data was.

In: names and paths of videos, .npz and pictures, of which those of a folder are one clip. Out: names and frames, one
clip at a time; the unreadable ones put aside. Read by labels.py and by video/, which says what happens when.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.clip_cut import ClipCut
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.frames.moments import clips_of
from drift_detector_pipeline.frames.pieces import cut
from drift_detector_pipeline.images.crops import Stored
from drift_detector_pipeline.images.named_files import ImageFile
from drift_detector_pipeline.raw.formats.clip_table import TABLE, rows_of
from drift_detector_pipeline.raw.formats.clips import ARRAY, VIDEOS, natural
from drift_detector_pipeline.raw.formats.survey import Survey, is_picture, nfc
from drift_detector_pipeline.raw.listing import Footage, Listing, RawImage

_ANYWHERE = Path()  # paths are taken as they are


def read_clips(
    files: Sequence[ImageFile], how: ClipCut, stored_side_px: int, unreadable: dict[str, str]
) -> Iterator[tuple[str, Stored]]:
    """Yield name and frames (T, H, W, 3) of each clip; long videos are cut, and a piece is named a.mp4#00012.000.

    Files that a clips.csv with labels lists, among `files`, beside them or a folder above, are cut as processing cuts
    them: whole, or the parts that it names. A file that is no clip, or a piece that cannot be had whole, goes into
    `unreadable` with the reason. Raises DataError for a clips.csv that is none.
    """
    parts = _listed_in(_tables(files))
    named = list(_footage([one for one in files if not is_table(one.file)], unreadable))
    for name, whole in named:
        listed = parts.get(nfc(Path(whole.file).resolve().as_posix()), [])
        yield from _clips_of(
            name, [whole._replace(**one) for one in listed] or [whole], how, stored_side_px, unreadable
        )


def is_table(file: Path) -> bool:
    """Whether a file says what the clips beside it are, and is none itself."""
    return file.name.lower() == TABLE


def _clips_of(
    name: str, parts: Sequence[Footage], how: ClipCut, stored_side_px: int, unreadable: dict[str, str]
) -> Iterator[tuple[str, Stored]]:
    """The clips of one file, or of some parts of it."""
    for footage in parts:
        pieces = cut(_listing(footage), how.clip_seconds).clips
        start = "" if footage.start is None else f"#{footage.start:09.3f}"
        of_file = [(name + start + path.removeprefix(footage.file), piece) for path, piece in pieces.items()]
        yield from read_pieces(of_file, how, stored_side_px, unreadable)


def _tables(files: Sequence[ImageFile]) -> list[Path]:
    near = {folder / TABLE for one in files for folder in (one.file.parent, one.file.parent.parent)}
    found = {*(path for path in near if path.is_file()), *(one.file for one in files if is_table(one.file))}
    return sorted({path.resolve() for path in found})


def _listed_in(tables: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """What tables say of files, by where these are: fields of the `Footage` of each row."""
    found = dict[str, list[dict[str, Any]]]()
    for table in tables:
        rows = rows_of(Survey(table.parent, table.parent, [], [table.name], []))
        for row in rows if any(row.label for row in rows) else ():  # else it tells sources, and no clips
            end = None if row.start is None or row.seconds is None else row.start + row.seconds
            where = nfc((table.parent / row.path).resolve().as_posix())
            found.setdefault(where, []).append({"start": row.start, "end": end, "listed": True})
    return found


def read_pieces(
    pieces: Iterable[tuple[str, Footage]], how: ClipCut, stored_side_px: int, unreadable: dict[str, str]
) -> Iterator[tuple[str, Stored]]:
    """The same of named pieces of one file, in the order of their ends."""
    names, footage = zip(*pieces, strict=True)
    try:
        for name, found in zip(names, clips_of(_ANYWHERE, footage, stored_side_px, how.stored_frames), strict=True):
            if isinstance(found, DataError):
                unreadable[name] = str(found)
            else:
                yield name, _stored(found)
    except OSError as error:
        unreadable[names[0]] = error.strerror or str(error)


def _stored(frames: Pixels) -> Stored:
    return Stored(frames, *frames.shape[1:3])


def _listing(footage: Footage) -> Listing:
    """One file, of no class and no source."""
    image = RawImage(footage.file, "", None, footage.file)
    return Listing(
        _ANYWHERE, [image], [], [], task="clips", clips={image.path: footage}, sources={image.path: image.path}
    )


def _footage(files: Sequence[ImageFile], unreadable: dict[str, str]) -> Iterator[tuple[str, Footage]]:
    """Where the frames of each clip are, by the clip's name; pictures of a folder are one."""
    for folder, together in itertools.groupby(files, _of_frames):
        if folder is None:
            yield from ((one.name, Footage(str(one.file))) for one in together if _is_one(one, unreadable))
        else:
            pictures = list(together)
            names = sorted((one.file.name for one in pictures), key=natural)
            yield str(Path(pictures[0].name).parent), Footage(str(folder), pictures=tuple(names))


def _of_frames(one: ImageFile) -> Path | None:
    """The folder of a picture, which is a frame; None: another file, a clip by itself."""
    return one.file.parent if is_picture(one.file.name) else None


def _is_one(one: ImageFile, unreadable: dict[str, str]) -> bool:
    if one.file.suffix.lower() in {*VIDEOS, ARRAY} and one.file.is_file():
        return True
    unreadable[one.name] = "no video, .npz or picture" if one.file.exists() else "no such file"
    return False
