"""A verdict about boxes as files: verdict.json, and one page that says it in words and pictures before numbers.

In: a `BoxVerdict`, the window's images and the detector. Out: `<folder>/<date>_<time>/{report.html,verdict.json}`. Read
by people; verdict.json by whoever acts on it.
"""

import shlex
from pathlib import Path
from typing import Any, NamedTuple

from drift_detector_pipeline.drift.boxes.detector import BoxDetector
from drift_detector_pipeline.drift.boxes.pictures import jpeg_of, with_boxes
from drift_detector_pipeline.drift.boxes.verdict import BoxVerdict
from drift_detector_pipeline.drift.boxes.verdict_words import box_summary, box_verdict_as_json, channel_in_words
from drift_detector_pipeline.drift.preparation import Shown
from drift_detector_pipeline.files import final_name, new_folder, write_atomically, write_json
from drift_detector_pipeline.pages import fill_page, jpeg_uri

_TITLES = {
    "quiet": "Quiet: these images look like the training world",
    "notice": "Notice: these images look different",
    "alert": "Alert: these images look different, and mAP50 has probably fallen",
    "too few images": "Too few images for a verdict",
}


class Picture(NamedTuple):
    """An image with the boxes that were found in it."""

    name: str
    source: str  # a data URI


def write_box_report(
    place: Path, verdict: BoxVerdict, album: Shown, detector: BoxDetector, facts: dict[str, Any]
) -> Path:
    """Write both files into a new folder below `place`; return the page. Raises DataError if that cannot be done."""
    with new_folder(place) as folder:
        page = box_report_page(verdict, album, detector, facts)
        write_atomically(folder / "report.html", page.encode("utf-8", "backslashreplace"))
        files = {"unreadable": album.unreadable}
        write_json(folder / "verdict.json", box_verdict_as_json(verdict) | files | detector.about() | facts)
    return final_name(folder) / "report.html"


def box_report_page(
    verdict: BoxVerdict, album: Shown | None, detector: BoxDetector, facts: dict[str, Any]
) -> str:  # fmt: skip
    """The page as HTML; without an `album` no picture of its images was kept, and the training world's remain."""
    typical = [Picture("of the training world", jpeg_uri(one)) for one in detector.pictures[: len(verdict.carriers)]]
    return fill_page(
        "drift_boxes.html",
        title=_TITLES[verdict.level], verdict=verdict, words=box_summary(verdict)[1:], facts=facts,
        about=detector.about(), command=shlex.join(facts["command"]),
        unreadable={} if album is None else album.unreadable, pictures=album is not None,
        carriers=_carriers(verdict, album, detector), typical=typical,
        in_words={one.name: channel_in_words(one) for one in verdict.channels},
        threshold=detector.reference.learned.parameters.threshold,
    )  # fmt: skip


def _carriers(verdict: BoxVerdict, album: Shown | None, detector: BoxDetector) -> list[Picture]:
    if album is None or not verdict.carriers:
        return []
    views, threshold = album.crops_of(verdict.carriers), detector.reference.learned.parameters.threshold
    return [
        Picture(name, jpeg_uri(jpeg_of(with_boxes(view, found, detector.classes, threshold))))
        for name, view, found in zip(verdict.carrier_names, views, detector.found_in(views), strict=True)
    ]
