"""Which layout a source has, and the reader for it.

In: a folder, and the layout's name if it is known. Out: a `Listing`. Read by dataset.py, and by processed/freshness.py to
see what has changed.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.formats import imagefolder, voc
from drift_detector_pipeline.raw.formats.survey import Survey, survey
from drift_detector_pipeline.raw.listing import Listing


class _Layout(NamedTuple):
    called: str
    expected: str  # for who names it where it is not
    fits: Callable[[Survey], bool]
    read: Callable[[Survey], Listing]


LAYOUTS = {
    "voc": _Layout("Pascal VOC", "Annotations/1.xml beside JPEGImages/1.jpg", voc.fits, voc.read),
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
        raise DataError(f"{source.shown}: reads like {both}; say which is meant: data.format={fitting[0]}")
    if fitting:
        log.info("%s: read as %s; data.format=... names another layout", source.shown, LAYOUTS[fitting[0]].called)
    return fitting[0] if fitting else None
