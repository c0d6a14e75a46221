"""A verdict as files: verdict.json, and one page that says it in words and pictures before numbers.

In: a `Verdict`, the window's images and the detector. Out: `<folder>/<date>_<time>/{report.html,verdict.json}`. Read by
people; verdict.json by whoever acts on it.
"""

import io
import shlex
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from PIL import Image

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.corruptions.corrupt import SMALLEST_PX
from drift_detector_pipeline.corruptions.faults import change, levels_of
from drift_detector_pipeline.drift.cause import MIX, Cause
from drift_detector_pipeline.drift.cause_words import words_for
from drift_detector_pipeline.drift.decision import CERTAIN
from drift_detector_pipeline.drift.detector import DriftDetector
from drift_detector_pipeline.drift.preparation import Shown
from drift_detector_pipeline.drift.twins import CHANGES
from drift_detector_pipeline.drift.verdict import Verdict
from drift_detector_pipeline.files import final_name, new_folder, write_atomically, write_json
from drift_detector_pipeline.pages import data_uri, fill_page, image_png

_TILE_PX = 128
_TITLES = {
    "quiet": "Quiet: these images look like the training world",
    "notice": "Notice: these images look different",
    "alert": "Alert: these images look different, and accuracy has probably fallen",
    "too few images": "Too few images for a verdict",
}
_MIXED = "Notice: other classes come more often, the looks are as they were"
_COMPARED_PX = 16  # side at which images are compared


class CarrierPair(NamedTuple):
    """An image of the window beside a typical one of the training world."""

    name: str
    label: str  # the predicted class of both
    now: str | None  # data URIs; None: no picture was kept
    before: str | None
    changed: str | None  # the typical one after the cause that was named
    same_class: bool  # of the typical one


def write_report(place: Path, verdict: Verdict, window: Shown, detector: DriftDetector, facts: dict[str, Any]) -> Path:
    """Write both files into a new folder below `place`; return the page. Raises DataError if that cannot be done."""
    with new_folder(place) as folder:
        page = report_page(verdict, window, detector, facts)
        write_atomically(folder / "report.html", page.encode("utf-8", "backslashreplace"))
        files = {"unreadable": window.unreadable}
        write_json(folder / "verdict.json", detector.words.as_json(verdict) | files | detector.about() | facts)
    return final_name(folder) / "report.html"


def report_page(verdict: Verdict, window: Shown | None, detector: DriftDetector, facts: dict[str, Any]) -> str:
    """The page as HTML; without a `window` no picture of its images was kept, and the training world's remain."""
    cause = verdict.cause
    mixed = verdict.level == "notice" and cause is not None and cause.kind == MIX
    return fill_page(
        "drift.html",
        title=(_MIXED if mixed else _TITLES[verdict.level]).replace("images", detector.words.things),
        things=detector.words.things, verdict=verdict, words=detector.words.summary(verdict)[1:],
        facts=facts, about=detector.about(),
        command=shlex.join(facts["command"]), unreadable={} if window is None else window.unreadable,
        pictures=window is not None, pairs=_pairs(verdict, window, detector),
        seen=words_for(cause.kind).seen if _shows(cause) else None,
        strangers=_strangers(verdict, window),
    )  # fmt: skip


def _pairs(verdict: Verdict, window: Shown | None, detector: DriftDetector) -> list[CarrierPair]:
    """Each carrier beside the reference image of its predicted class that is nearest to it after the named cause."""
    views = [(label, _opened(jpeg)) for label, jpeg in detector.thumbnails]
    after = [_after(verdict.cause, view) for _, view in views]
    used = set[int]()  # so that not all are compared with one and the same
    found = list[CarrierPair]()
    known = verdict.carrier_names or map(str, verdict.carriers)
    names = known if window is None else [window.names[place] for place in verdict.carriers]
    crops = [None] * len(verdict.carriers) if window is None else window.crops_of(verdict.carriers)
    for name, label, crop in zip(names, verdict.carrier_classes, crops, strict=True):
        own = [number for number, (other, _) in enumerate(views) if other == label] or list(range(len(views)))
        fresh = [number for number in own if number not in used] or own
        now = None if crop is None else data_uri(image_png(_small(crop)))
        if not fresh:
            found.append(CarrierPair(name, label, now, None, None, same_class=False))
            continue
        best = fresh[0] if crop is None else min(fresh, key=lambda number: _unlike(crop, after[number]))
        used.add(best)
        changed = data_uri(image_png(after[best])) if _shows(verdict.cause) else None
        before = data_uri(image_png(views[best][1]))
        found.append(CarrierPair(name, label, now, before, changed, views[best][0] == label))
    return found


def _shows(cause: Cause | None) -> TypeGuard[Cause]:
    """Whether a cause can be done to an image."""
    return cause is not None and cause.kind in CHANGES


def _after(cause: Cause | None, view: Pixels) -> Pixels:
    """A reference image with the cause applied, if it is one that can be."""
    if not _shows(cause) or min(view.shape[:2]) < SMALLEST_PX:
        return view
    kinds = [(cause.kind, cause.severity), (cause.second, cause.second_severity)]
    for kind, severity in kinds:
        if kind is not None:
            levels = levels_of(kind)
            level = min(levels, key=lambda one: abs(one - (severity or 1.0)))
            view = change(view[None], kind, level, keys=[0])[0]
    return view


def _opened(jpeg: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def _unlike(one: Pixels, other: Pixels) -> float:
    small = [
        Image.fromarray(image).resize((_COMPARED_PX, _COMPARED_PX), Image.Resampling.BOX) for image in (one, other)
    ]
    return float(np.square(np.asarray(small[0], np.float64) - np.asarray(small[1])).mean())


def _strangers(verdict: Verdict, window: Shown | None) -> list[tuple[str, str]]:
    """Name and data URI of the images likeliest to be of no known class, if more of them are than usual."""
    if window is None or verdict.p_values is None or verdict.p_values["strangers"] > CERTAIN:
        return []
    crops = zip(verdict.strangers, window.crops_of(verdict.strangers), strict=True)
    return [(window.names[place], data_uri(image_png(_small(crop)))) for place, crop in crops]


def _small(crop: Pixels) -> Pixels:
    image = Image.fromarray(crop)
    image.thumbnail((_TILE_PX, _TILE_PX), Image.Resampling.BICUBIC)
    return np.asarray(image)
