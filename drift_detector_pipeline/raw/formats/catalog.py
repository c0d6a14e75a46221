"""Which layout a source has, and the reader for it.

In: a folder, and the layout's name if it is known. Out: a `Listing`, or what there is in all parts. Read by dataset.py,
and by processed/freshness.py to see what has changed.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.formats import clips, coco, imagefolder, kitti, voc, yolo
from drift_detector_pipeline.raw.formats.boxed import Classes, Found, Upright, checked, listing_of
from drift_detector_pipeline.raw.formats.survey import Survey, survey
from drift_detector_pipeline.raw.listing import Listing


class Layout(NamedTuple):
    """A way to keep boxes beside pictures."""

    called: str
    expected: str  # for who names it where it is not
    fits: Callable[[Survey], bool]
    read: Callable[[Survey], Found]
    place: Callable[[Upright], str]  # of a picture that is written
    write: Callable[[Path, Sequence[Upright], Classes], Counter[str]]  # all but pictures; gives what it cannot say


LAYOUTS = {
    "voc": Layout(
        "Pascal VOC", "Annotations/1.xml beside JPEGImages/1.jpg", voc.fits, voc.read, voc.place, voc.write
    ),
    "coco": Layout(
        "COCO", "annotations/instances_train.json, or a JSON beside the pictures",
        coco.fits, coco.read, coco.place, coco.write,
    ),
    "kitti": Layout(
        "KITTI", "training/label_2/000001.txt beside image_2/000001.png",
        kitti.fits, kitti.read, kitti.place, kitti.write,
    ),
    "yolo": Layout(
        "YOLO", "data.yaml, or labels/1.txt beside images/1.jpg", yolo.fits, yolo.read, yolo.place, yolo.write
    ),
}  # fmt: skip


def read(source: Path, shown: Path | None = None, layout: str | None = None) -> Listing:
    """List what lies below `source`; `layout` is a name of LAYOUTS, "imagefolder", "clips", or None: found by itself.

    Errors name `shown` instead, such as the archive that was unpacked. Raises DataError if several layouts fit, the one
    that is named does not, or something is wrong within it.
    """
    listing = None if layout == "imagefolder" else _more_than_folders(survey(source, shown or source), layout)
    return listing or imagefolder.read(source, shown)  # the survey of millions of files is gone by then


def _more_than_folders(surveyed: Survey, layout: str | None) -> Listing | None:
    """Boxes or clips; None: an ImageFolder, if anything."""
    if layout == "clips" or (layout is None and clips.fits(surveyed)):
        return clips.read(surveyed)
    named = layout_of(surveyed, layout)
    return listing_of(surveyed, all_of(surveyed, named)) if named else None


def all_of(source: Survey, layout: str) -> Found:
    """Pictures and boxes of all parts, also of those that are not used here. Raises DataError as `read` does."""
    found = LAYOUTS[layout].read(source)
    if not found.pictures:
        raise DataError(
            f"{source.shown}: no picture with an annotation of {LAYOUTS[layout].called}, among {len(source.pictures)} "
            f"pictures; expected {LAYOUTS[layout].expected}; data.format=null finds the layout by itself"
        )
    return checked(source, found)


def layout_of(source: Survey, named: str | None) -> str | None:
    """The layout that is named, or that fits; None: an ImageFolder, if anything. Raises DataError if several fit."""
    if named is not None:
        return named
    fitting = [name for name, layout in LAYOUTS.items() if source.pictures and layout.fits(source)]
    if len(fitting) > 1:
        both = " and ".join(LAYOUTS[name].called for name in fitting)
        words = " or ".join(f"data.format={name}" for name in fitting)
        raise DataError(f"{source.shown}: reads like {both}; say which is meant: {words}")
    if fitting:
        log.info("%s: read as %s; data.format=... names another layout", source.shown, LAYOUTS[fitting[0]].called)
    return fitting[0] if fitting else None
