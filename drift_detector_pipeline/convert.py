"""`make convert FROM=PATH TO=yolo`: boxes of one layout as a new folder in another, pictures copied.

In: a folder or an archive with boxes, in any layout of raw/formats/catalog.py. Out: data/raw/<name>_<to>/, or out=PATH,
with conversion.json beside the data: what the reader left out, and what the new layout cannot say. All parts come
along, also `test`. Pictures that EXIF turns are written upright, as PNG: other programs differ in whether they turn
them.
"""

import itertools
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from drift_detector_pipeline.console import log, progress_bar, set_up_logging
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.files import disk_full_explained, from_home, is_there, write_json
from drift_detector_pipeline.images.decode_many import read_image
from drift_detector_pipeline.images.decoder import read_lie, upright_png
from drift_detector_pipeline.meant import for_make
from drift_detector_pipeline.processed.placed_boxes import Lie, upright
from drift_detector_pipeline.raw.archives import extract
from drift_detector_pipeline.raw.formats.boxed import Boxed, Found, Upright
from drift_detector_pipeline.raw.formats.catalog import LAYOUTS, all_of, layout_of
from drift_detector_pipeline.raw.formats.survey import Survey, is_picture, nfc, survey
from drift_detector_pipeline.raw.formats.values import each
from drift_detector_pipeline.raw.listing import is_clutter
from drift_detector_pipeline.stopped import held_back

_NO_AREA = "boxes without area: left out"
_TURNED = "pictures that EXIF turns: written upright, as PNG"
_NO_FILES = "pictures that are links to nothing, pipes or devices: left out"
_RENAMED = "pictures of one name, or of one that not all systems take: renamed"
_NOT_CARRIED = {
    "voc": "pose, truncation, parts",
    "coco": "outlines, masks, keypoints, captions",
    "kitti": "truncation, occlusion, angles and all that is known in 3D",
    "yolo": "outlines and keypoints",
}
_FORBIDDEN = re.compile('[\x00-\x1f\x7f<>:"|?*\\\\\ud800-\udfff\ufffe\uffff]')  # in names, on one system or another
_LICENCES = ("licen", "copying", "notice", "attribution", "readme")


class Converted(NamedTuple):
    """What became of a conversion."""

    folder: Path
    source: str
    layout: str  # of the source
    to: str
    pictures: dict[str, int]  # part, "in no part" where there are none -> how many
    boxes: int
    classes: list[str]
    read: dict[str, int]  # what reading left out or mended -> how often
    lost: dict[str, int]  # what the new layout cannot say -> how often
    not_carried: str  # further facts that the source's layout may hold


@exit_status
def main() -> int:
    """Convert what the words name: FROM TO, format=voc, out=PATH."""
    set_up_logging()
    words = [word.removeprefix("data.") if word.startswith("data.format=") else word for word in sys.argv[1:]]
    pairs = [word.partition("=") for word in words]
    own = {key: value for key, _, value in pairs if key in ("format", "out") and value}
    source, to, *others = [word for word in words if word.partition("=")[0] not in own] + ["", ""]
    once = len(own) == sum(key in own for key, _, _ in pairs)
    if not (source and once) or any(others) or to not in LAYOUTS or own.get("format") not in (None, *LAYOUTS):
        known = ", ".join(LAYOUTS)
        raise ConfigError(
            f"{' '.join(sys.argv[1:])}: name a source and one of {known}: make convert FROM=PATH TO=yolo; "
            f"ARGS may hold format=... of the source and out=PATH, once each"
        )
    out = Path(from_home(own["out"])) if "out" in own else None
    say(convert(Path(from_home(source)), to, out, own.get("format")))
    return 0


def convert(source: Path, to: str, out: Path | None = None, layout: str | None = None) -> Converted:
    """Write the boxes of `source` as layout `to`, into a folder that is not there yet.

    Raises DataError if the source is missing or holds no boxes, something in it is broken, or `out` exists; nothing is
    left then.
    """
    if not (source.is_dir() or source.is_file()):
        raise DataError(f"{source}: no such file or folder; make convert FROM=PATH takes an archive or a folder")
    name = source.name.partition(".")[0] if source.is_file() else source.resolve().name
    out = out or Path("data/raw") / f"{name}_{to}"
    with _new_folder(out) as folder, tempfile.TemporaryDirectory(".partial", ".", out.parent) as unpacked:
        if source.is_file():
            extract(source, Path(unpacked))
        read = survey(Path(unpacked) if source.is_file() else source, source)
        known = layout_of(read, layout)
        if known is None:
            raise DataError(f"{source}: no boxes in a layout that is known: {', '.join(LAYOUTS)}; name it: format=...")
        done = _write(folder, read, all_of(read, known), to)._replace(folder=out, layout=known)
        done = done._replace(not_carried=_NOT_CARRIED[known])
        write_json(folder / "conversion.json", done._asdict() | {"folder": out.name})
    return done


def say(done: Converted) -> None:
    """For people: how much, and what did not come along."""
    parts = ", ".join(f"{count:,} {part}" for part, count in done.pictures.items())
    log.info("%s: %s pictures (%s)", done.folder, f"{sum(done.pictures.values()):,}", parts)
    log.info("%s boxes of %d classes were read", f"{done.boxes:,}", len(done.classes))
    for what, counts in (("reading", done.read), (f"as {LAYOUTS[done.to].called}", done.lost)):
        for note, count in counts.items():
            log.warning("%s: %d %s", what, count, note)
    if not done.read and not done.lost:
        log.info("every box came along")
    log.info("not carried over, where there was any: %s", done.not_carried)
    words = ["data=boxes", f"data.raw_path={done.folder}", f"data.format={done.to}"]
    log.info("use it: make train %s", for_make(words))


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Give a folder that becomes `out` when all went well; it must not be there, then or before."""
    if is_there(out) or out.is_symlink():
        raise DataError(f"{out}: is there already and stays as it is; name another: ARGS=out=PATH")
    above = [folder for folder in out.parents if not is_there(folder)]  # they go if nothing comes into them
    with disk_full_explained(out):
        partial: str | None = None
        try:
            try:
                out.parent.mkdir(parents=True, exist_ok=True)
                with held_back():
                    partial = tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent)
            except FileNotFoundError as error:  # as below /proc
                raise DataError(f"{out}: no folder can be made there; name another: ARGS=out=PATH") from error
            yield Path(partial)
            Path(partial).chmod(0o755)
            Path(partial).rename(out)
        finally:
            if partial is not None:
                shutil.rmtree(partial, ignore_errors=True)
            for folder in above:
                with suppress(OSError):
                    folder.rmdir()


def _write(folder: Path, source: Survey, found: Found, to: str) -> Converted:
    assert found.classes is not None
    lost, names = Counter[str](), _names(found.pictures)
    with progress_bar(total=len(found.pictures), title="copy", unit=" pictures") as bar:

        def copy(one: Boxed) -> Upright:
            bar.update()
            return _copied(one, names[one.path], source, lambda picture: folder / LAYOUTS[to].place(picture), lost)

        pictures = each(found.pictures, copy)
    lost[_RENAMED] += sum(names[one.path] != nfc(PurePosixPath(one.path).name) for one in found.pictures)
    lost += LAYOUTS[to].write(folder, pictures, found.classes)
    _copy_licences(folder, source)
    no_files = sum(map(is_picture, filter(_is_meant, source.lost)))
    counts, boxes = Counter(one.part or "in no part" for one in pictures), sum(len(one.boxes) for one in pictures)
    return Converted(
        folder, str(source.shown), "", to, dict(sorted(counts.items())), boxes, list(found.classes.names),
        dict(found.notes | {_NO_FILES: no_files} if no_files else found.notes), dict(+lost), "",
    )  # fmt: skip


def _copied(one: Boxed, name: str, source: Survey, place: Callable[[Upright], Path], lost: Counter[str]) -> Upright:
    """Copy a picture, upright; give its boxes as they lie on it."""
    try:
        content = read_image(source.root / one.path)
        size, orientation = read_lie(content)
        lie = Lie(size, orientation, size)
        boxes, _ = upright(one.found, lie)
        if orientation != 1:
            content, name = upright_png(content), f"{PurePosixPath(name).stem}.png"
    except DataError as error:
        raise DataError(f"{source.where(one.path)}: {error}; mend or remove it, with its annotation") from error
    kept = tuple(box for box in boxes if box.x1 > box.x0 and box.y1 > box.y0)
    lost.update({_NO_AREA: len(boxes) - len(kept), _TURNED: int(orientation != 1)})
    written = Upright(name, one.part, lie.upright, kept)
    place(written).parent.mkdir(parents=True, exist_ok=True)
    place(written).write_bytes(content)
    return written


def _is_meant(path: str) -> bool:
    return not any(is_clutter(Path(part)) for part in PurePosixPath(path).parts)


def _names(pictures: Iterable[Boxed]) -> dict[str, str]:
    """Path -> a name of its own in one folder, whatever its ending and case."""
    names, taken = dict[str, str](), set[str]()
    for one in pictures:
        plain = PurePosixPath(_FORBIDDEN.sub("_", nfc(PurePosixPath(one.path).name)))
        first = plain.stem.strip() or "_"
        stems = (first if number == 1 else f"{first}_{number}" for number in itertools.count(1))
        stem = next(stem for stem in stems if stem.casefold() not in taken)
        taken.add(stem.casefold())
        names[one.path] = f"{stem}{plain.suffix}"
    return names


def _copy_licences(folder: Path, source: Survey) -> None:
    """Pictures go nowhere without what their licence asks for."""
    for path in source.others:
        if "/" not in path and path.lower().startswith(_LICENCES) and not (folder / path).exists():
            shutil.copyfile(source.root / path, folder / path)


if __name__ == "__main__":
    sys.exit(main())
