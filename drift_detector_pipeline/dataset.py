"""Raw source to processed folder: `python -m drift_detector_pipeline.dataset data=digits`.

In: an archive, a folder, or the embedded digits. Out: data/processed/<name>/ with packed images, index and, last of
all, manifest.json. Read through processed/manifest.py.
"""

import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import PIL

from drift_detector_pipeline.config import load
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.errors import DataError, exit_status
from drift_detector_pipeline.files import disk_full_explained, exclusive, replaced_folder
from drift_detector_pipeline.images.decode_many import decode_all
from drift_detector_pipeline.processed.class_balance import refuse_balance
from drift_detector_pipeline.processed.digits import digits
from drift_detector_pipeline.processed.entries import Entries
from drift_detector_pipeline.processed.freshness import archives_sha256, stat_digest, why_stale
from drift_detector_pipeline.processed.integrity import fingerprint_of
from drift_detector_pipeline.processed.manifest import (
    CROISSANT,
    FILES,
    FORMAT,
    REPORT,
    BadImage,
    Manifest,
    Source,
    deciding_settings,
    write_manifest,
)
from drift_detector_pipeline.processed.packing import write_packed
from drift_detector_pipeline.processed.splits import SPLITS, assign
from drift_detector_pipeline.raw.archives import archives_of, extract
from drift_detector_pipeline.raw.fetch import ensure_raw, verify
from drift_detector_pipeline.raw.formats.catalog import read
from drift_detector_pipeline.raw.listing import Listing, is_clutter
from drift_detector_pipeline.settings import Data

_IGNORED_LABELS = "files outside of class folders, links that lead nowhere or back"
_IGNORED_BOXES = "pictures of parts that are not used or without annotation, and what is neither picture nor annotation"


@exit_status
def main() -> int:
    """Process the data set that the overrides on the command line name."""
    settings = load(sys.argv[1:]).settings
    set_up_logging()
    process(settings.data)
    return 0


def process(data: Data) -> Path:
    """Bring `data.processed_path` up to date; return it. Does nothing when its manifest matches source and settings.

    Raises DataError if the source is missing or damaged, too many images are bad, or the disk is full; what was
    there before is then unharmed.
    """
    shown, target = data.processed_path, data.processed_path.resolve()  # a link stays, the folder it names is replaced
    with _named_in_errors(shown):
        _refuse_foreign(target, data.raw_path)
        with disk_full_explained(shown), exclusive(target.with_name(f".{target.name}.lock")):
            raw = ensure_raw(data) if data.raw_path else None
            reason = why_stale(data, raw)
            if reason is None:
                log.info("%s: up to date", shown)
                return shown
            log.info("%s: processing, because %s", shown, reason)
            if raw:
                verify(raw)
            with replaced_folder(target) as folder:
                _build(folder, data, raw)
    return shown


@contextmanager
def _named_in_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{error.filename or target}: {error.strerror}; the source must be readable, and the folder of {target} "
            "writable"
        ) from error


def _refuse_foreign(target: Path, raw: Path | None) -> None:
    """Raise DataError if replacing `target` would remove something that this module has not written."""
    if raw and raw.is_dir() and target.is_relative_to(raw.resolve()):
        raise DataError(
            f"{target}: lies in the source {raw}, which is only read; choose another data.processed_path=PATH"
        )
    if not target.exists():
        return
    names = {path.name for path in target.iterdir() if not path.name.startswith(".")} if target.is_dir() else {"a file"}
    if foreign := sorted(names - FILES - {CROISSANT, REPORT}):
        raise DataError(f"{target}: holds {foreign[0]}, no processed data; choose another data.processed_path=PATH")


def _build(folder: Path, data: Data, raw: Path | None) -> None:
    started, before = time.monotonic(), stat_digest(raw) if raw else ""
    archives = archives_of(raw) if raw else []
    if raw is None:
        listing, decoded = digits(data.stored_side_px)
    else:
        for archive in archives:
            extract(archive, folder / "extracted")
        listing = read(folder / "extracted" if archives else raw, raw, data.format)
        decoded = decode_all(listing, data.stored_side_px)
    _check_preset(data, listing)
    refuse_balance(data.balance, listing.task)
    entries = Entries(listing, assign(listing.images, data.val_fraction, data.fit_fraction), decoded)
    packed_sha256 = write_packed(folder, entries)
    _check_bad(entries.bad, entries.images.total(), data, raw)
    shutil.rmtree(folder / "extracted", ignore_errors=True)
    boxes = listing.task is not None
    manifest = Manifest(
        format=FORMAT,
        name=data.name,
        fingerprint=fingerprint_of(packed_sha256, entries.classes),
        classes=entries.classes,
        counts=entries.counts(),
        images=entries.images.total(),
        settings=deciding_settings(data, listing.task),
        source=Source(
            path=str(raw) if raw else "scikit-learn's loaddigits",
            sha256=archives_sha256(archives) if archives else entries.content_sha256(),
            stat=before,
        ),
        bad_images=entries.bad,
        ignored_files=listing.ignored,
        unused_folders=listing.unused_folders,
        pillow=PIL.__version__,
        task=listing.task,
        split_images={split: entries.images[split] for split in SPLITS} if boxes else None,
        notes=dict(sorted(entries.notes.items())) if boxes else None,
        class_ids=list(listing.class_ids) or None,
    )
    write_manifest(folder, manifest)
    _report(manifest, listing, time.monotonic() - started)


def _check_preset(data: Data, listing: Listing) -> None:
    """Raise DataError, or warn, where images are to be stored as suits the other kind of truth."""
    if data.name == "boxes" and listing.task is None:
        raise DataError(
            f"{data.raw_path}: holds no boxes in a layout of docs/boxes.md, but one folder per class; make it "
            "data=folder, or name the layout: data.format=yolo"
        )
    if data.name == "folder" and listing.task is not None:
        log.warning(
            "%s: holds boxes; data=boxes stores images as suits them, data=folder at %d px",
            data.raw_path, data.stored_side_px,
        )  # fmt: skip


def _check_bad(bad: list[BadImage], images: int, data: Data, raw: Path | None) -> None:
    for image in bad[:10]:
        log.warning("%s: %s", image.path, image.reason)
    if len(bad) > data.max_bad_images:
        raise DataError(
            f"{raw}: {len(bad)} files are no complete images (the first: {bad[0].path}), data.max_bad_images allows "
            f"{data.max_bad_images}. Repair or remove them, or leave them out: data.max_bad_images={len(bad)}"
        )
    if not images:
        raise DataError(f"{raw}: none of its {len(bad)} files is a complete image")


def _report(manifest: Manifest, listing: Listing, seconds: float) -> None:
    counts = ", ".join(f"{count:,} {split}" for split, count in manifest.images_by_split.items())
    log.info("%s images of %d classes: %s (%.1f s)", f"{manifest.images:,}", len(manifest.classes), counts, seconds)
    log.info("classes: %s", _some(manifest.classes))
    if manifest.task:
        boxes = ", ".join(f"{sum(of.values()):,} {split}" for split, of in manifest.counts.items())
        log.info("boxes: %s", boxes)
    for note, count in (manifest.notes or {}).items():
        log.info("%s: %s", note, f"{count:,}")
    if manifest.bad_images:
        log.warning("%d bad images were left out; the manifest names them", len(manifest.bad_images))
    if manifest.unused_folders:
        what = "parts" if manifest.task else "folders"
        log.warning("not used: the %s %s", what, ", ".join(manifest.unused_folders))
    if ignored := [path for path in listing.ignored if not any(is_clutter(Path(part)) for part in path.split("/"))]:
        log.info("not used: %s: %s", _IGNORED_BOXES if manifest.task else _IGNORED_LABELS, _some(ignored, 5))
    if listing.empty_folders:
        log.warning("no files in the class folders %s", _some(listing.empty_folders))
    if hollow := [name for name in manifest.classes if not manifest.counts["train"][name]]:
        what = "box" if manifest.task else "whole image"
        log.warning("classes without a %s to train on: %s", what, _some(hollow))
    if not manifest.images_by_split["val"]:
        what = "there must be" if manifest.task else "a class needs"
        log.warning("no image to validate on: %s at least two, or a part named val; training will refuse this", what)


def _some(names: Sequence[str], most: int = 20) -> str:
    """The names, or the first and the last of a list of more than `most`."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 1])}, ... {names[-1]} ({len(names):,} in all)"


if __name__ == "__main__":
    sys.exit(main())
