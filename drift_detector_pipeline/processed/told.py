"""What people are told when a source has become a processed folder, or cannot.

In: what was read and packed. Out: log lines, or a DataError. Read by dataset.py.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.processed.manifest import BadImage, Manifest
from drift_detector_pipeline.raw.listing import Listing, is_clutter
from drift_detector_pipeline.settings import Data


class _Words(NamedTuple):
    """What things are called where this is the task."""

    images: str
    bad: str
    ignored: str
    learned: str  # of a class, at least one
    validated: str  # why there may be nothing to validate on
    unseen: str = "a class needs two whole images, or one in the part named val"
    empty: str = "files in the class folders"


_LABELS = _Words(
    "images",
    "files are no complete images",
    "files outside of class folders, links that lead nowhere or back",
    "whole image",
    "a class needs at least two",
)
_WORDS = {
    None: _LABELS,
    "boxes": _LABELS._replace(
        ignored="pictures of parts that are not used or without annotation, and what is neither picture nor annotation",
        learned="box",
        validated="there must be at least two",
    ),
    "clips": _Words(
        "clips",
        "clips cannot be read to their end",
        "what is neither video, folder of frames nor .npz of a class",
        "whole clip",
        "a class needs two sources, as a source is never split",
        "a class needs two sources, one to stay in train",
        "clip in the folders",
    ),
}
_SOURCES_FROM = {"listed": "as clips.csv says", "named": "going by the names of folders and files"}


def check_bad(bad: Sequence[BadImage], images: int, data: Data, task: str | None) -> None:
    """Raise DataError if more images are bad than `data` allows, or none of them is whole."""
    said, what = _WORDS[task].bad, "clip" if task == "clips" else "complete image"
    for image in bad[:10]:
        log.warning("%s: %s", image.path, image.reason)
    if len(bad) > data.max_bad_images:
        raise DataError(
            f"{data.raw_path}: {len(bad)} {said} (the first: {bad[0].path}), data.max_bad_images allows "
            f"{data.max_bad_images}. Repair or remove them, or leave them out: data.max_bad_images={len(bad)}"
        )
    if not images:
        raise DataError(f"{data.raw_path}: none of its {len(bad)} files is a {what}")


def tell(manifest: Manifest, listing: Listing, seconds: float) -> None:
    """Log what is packed, what was left out and what is missing."""
    words = _WORDS[manifest.task]
    counts = ", ".join(f"{count:,} {split}" for split, count in manifest.images_by_split.items())
    log.info(
        "%s %s of %d classes: %s (%.1f s)", f"{manifest.images:,}", words.images, len(manifest.classes), counts, seconds
    )
    log.info("classes: %s", _some(manifest.classes))
    if manifest.jpegs:
        log.info(
            "stored as JPEG: %s kept as their files are, %s encoded at quality %d",
            *(f"{manifest.jpegs[how]:,}" for how in ("kept", "encoded")), manifest.jpegs["quality"],
        )  # fmt: skip
    if manifest.task == "boxes":
        log.info("boxes: %s", ", ".join(f"{sum(of.values()):,} {split}" for split, of in manifest.counts.items()))
    if manifest.task == "clips":
        _tell_sources(manifest, listing)
    for note, count in (manifest.notes or {}).items():
        log.info("%s: %s", note, f"{count:,}")
    if manifest.bad_images:
        log.warning("%d bad %s were left out; the manifest names them", len(manifest.bad_images), words.images)
    if manifest.unused_folders:
        what = "parts" if manifest.task else "folders"
        log.warning("not used: the %s %s", what, ", ".join(manifest.unused_folders))
    if ignored := [path for path in listing.ignored if not any(is_clutter(Path(part)) for part in path.split("/"))]:
        log.info("not used: %s: %s", words.ignored, _some(ignored, 5))
    if listing.empty_folders:
        log.warning("no %s %s", words.empty, _some(listing.empty_folders))
    _tell_missing(manifest, words)


def _tell_sources(manifest: Manifest, listing: Listing) -> None:
    counts = ", ".join(f"{count:,} {split}" for split, count in (manifest.sources or {}).items())
    if manifest.sources_from == "unknown":
        log.warning(
            "sources unknown: every file counts as one of its own. Where two files show the same scene, one may be "
            "trained on and the other measured, and accuracy looks better than it is; name the source of each in "
            "clips.csv (docs/clips.md)"
        )
    else:
        examples = _some(sorted(set(listing.sources.values())), 3)
        log.info("sources: %s, %s: %s", counts, _SOURCES_FROM[manifest.sources_from or ""], examples)


def _tell_missing(manifest: Manifest, words: _Words) -> None:
    if alike := _differ_in_spelling(manifest.classes):
        log.warning("classes whose names differ only in case, blanks, - or _: %s; are they meant as one?", _some(alike))
    if hollow := [name for name in manifest.classes if not manifest.counts["train"][name]]:
        log.warning("classes without a %s to train on: %s", words.learned, _some(hollow))
    if not manifest.images_by_split["val"]:
        log.warning(
            "no %s to validate on: %s, or a part named val; training will refuse this",
            words.images.removesuffix("s"), words.validated,
        )  # fmt: skip
    elif manifest.task != "boxes" and (unseen := [name for name, count in manifest.counts["val"].items() if not count]):
        one, why = words.images.removesuffix("s"), words.unseen
        log.warning("no %s to validate on of %s: %s", one, _some(unseen), why)


def _differ_in_spelling(names: Sequence[str]) -> list[str]:
    def plain(name: str) -> str:
        seen = (letter for letter in unicodedata.normalize("NFKC", name) if unicodedata.category(letter) != "Cf")
        return re.sub(r"[\s_-]+", "", "".join(seen).casefold())

    counts = Counter(map(plain, names))
    return [name for name in names if counts[plain(name)] > 1]


def _some(names: Sequence[str], most: int = 20) -> str:
    """The names, or the first and the last of a list of more than `most`."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 1])}, ... {names[-1]} ({len(names):,} in all)"
