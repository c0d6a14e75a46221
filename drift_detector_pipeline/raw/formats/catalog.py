"""Which layout a source has, and the reader for it.

In: a folder, and the layout's name if it is known. Out: a `Listing`. Read by dataset.py, and by
processed/freshness.py to see what has changed.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.formats import coco, imagefolder, kitti, voc, yolo
from drift_detector_pipeline.raw.formats.survey import Survey, survey
from drift_detector_pipeline.raw.listing import Listing


class _Layout(NamedTuple):
    called: str
    expected: str  # for who names it where it is not
    fits: Callable[[Survey], bool]
    read: Callable[[Survey], Listing]


LAYOUTS = {
    "voc": _Layout("Pascal VOC", "Annotations/1.xml beside JPEGImages/1.jpg", voc.fits, voc.read),
    "coco": _Layout("COCO", "annotations/instances_train.json, or a JSON beside the pictures", coco.fits, coco.read),
    "kitti": _Layout("KITTI", "training/label_2/000001.txt beside image_2/000001.png", kitti.fits, kitti.read),
    "yolo": _Layout("YOLO", "data.yaml, or labels/1.txt beside images/1.jpg", yolo.fits, yolo.read),
}


def read(source: Path, shown: Path | None = None, layout: str | None = None) -> Listing:
    """List what lies below `source`; `layout` is a name of LAYOUTS, "imagefolder", or None: found by itself.

    Errors name `shown` instead, such as the archive that was unpacked. Raises DataError if several layouts fit, the one
    that is named does not, or something is wrong within it.
    """
    if layout == "imagefolder":
        return imagefolder.read(source, shown)
    found = survey(source, shown or source)
    named = layout or _found(found)
    if named is None:
        return imagefolder.read(source, shown)
    if not LAYOUTS[named].fits(found):
        raise DataError(
            f"{found.shown}: nothing of {LAYOUTS[named].called} there; expected {LAYOUTS[named].expected}; "
            "data.format=null finds the layout by itself"
        )
    return LAYOUTS[named].read(found)


def _found(source: Survey) -> str | None:
    """The layout that fits; None: an ImageFolder, if anything."""
    fitting = [name for name, layout in LAYOUTS.items() if source.pictures and layout.fits(source)]
    if len(fitting) > 1:
        both = " and ".join(LAYOUTS[name].called for name in fitting)
        words = " or ".join(f"data.format={name}" for name in fitting)
        raise DataError(f"{source.shown}: reads like {both}; say which is meant: {words}")
    if fitting:
        log.info("%s: read as %s; data.format=... names another layout", source.shown, LAYOUTS[fitting[0]].called)
    return fitting[0] if fitting else None
