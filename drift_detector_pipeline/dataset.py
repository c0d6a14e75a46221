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
from drift_detector_pipeline.frames.decode_clips import decode_clips
from drift_detector_pipeline.frames.pieces import cut
from drift_detector_pipeline.images.decode_many import Decoded, decode_all, encoded
from drift_detector_pipeline.processed.class_balance import refuse_balance
from drift_detector_pipeline.processed.digits import digits
from drift_detector_pipeline.processed.entries import Entries
from drift_detector_pipeline.processed.freshness import archives_sha256, content_of, stat_digest, why_stale
from drift_detector_pipeline.processed.integrity import fingerprint_of
from drift_detector_pipeline.processed.manifest import (
    CROISSANT,
    FILES,
    FORMAT,
    REPORT,
    Manifest,
    Source,
    deciding_settings,
    write_manifest,
)
from drift_detector_pipeline.processed.packing import write_packed
from drift_detector_pipeline.processed.splits import SPLITS, assign, assign_sources
from drift_detector_pipeline.processed.stored_form import jpeg_quality
from drift_detector_pipeline.processed.told import check_bad, tell
from drift_detector_pipeline.raw.archives import archives_of, extract_all
from drift_detector_pipeline.raw.fetch import ensure_raw, verify
from drift_detector_pipeline.raw.formats.catalog import read
from drift_detector_pipeline.raw.listing import Listing
from drift_detector_pipeline.settings import Data
from drift_detector_pipeline.starts import check_starts


@exit_status
def main() -> int:
    """Process the data set that the overrides on the command line name."""
    settings = load(sys.argv[1:]).settings
    check_starts(settings)  # `make train` gives its words to this module first
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
    listed, decoded = _read(folder, data, raw, archives)
    listing, splits = listed, list[str]()
    if listed.task == "clips":
        listing = cut(listed, data.clip_seconds)
        decoded = decode_clips(listing, data.stored_side_px, data.stored_frames)
        splits = assign_sources(listing.images, listing.sources, data.val_fraction, data.fit_fraction)
    entries = Entries(listing, splits or assign(listing.images, data.val_fraction, data.fit_fraction), decoded)
    packed_sha256 = write_packed(folder, entries)
    check_bad(entries.bad, entries.images.total(), data, listing.task)
    shutil.rmtree(folder / "extracted", ignore_errors=True)
    source = Source(
        path=str(raw) if raw else "scikit-learn's loaddigits",
        sha256=archives_sha256(archives) if archives else content_of(listed, entries.hashes_of(listed)),
        stat=before,
    )
    manifest = _manifest(data, listing, entries, source, fingerprint_of(packed_sha256, entries.classes))
    write_manifest(folder, manifest)
    tell(manifest, listing, time.monotonic() - started)


def _read(folder: Path, data: Data, raw: Path | None, archives: Sequence[Path]) -> tuple[Listing, Iterator[Decoded]]:
    """List the source, unpacked below `folder` if it comes in archives; images are decoded as they are asked for."""
    if raw is None:
        listing, decoded = digits(data.stored_side_px)
        quality = jpeg_quality(data, listing)
        return listing, (encoded(one, quality) for one in decoded)
    extract_all(archives, folder / "extracted")
    listing = read(folder / "extracted" if archives else raw, raw, data.format)
    _check_preset(data, listing)
    refuse_balance(data.balance, listing.task)
    return listing, decode_all(listing, data.stored_side_px, jpeg_quality(data, listing))


def _manifest(data: Data, listing: Listing, entries: Entries, source: Source, fingerprint: str) -> Manifest:
    boxes, clips = listing.task == "boxes", listing.task == "clips"
    return Manifest(
        format=FORMAT,
        name=data.name,
        fingerprint=fingerprint,
        classes=entries.classes,
        counts=entries.counts(),
        images=entries.images.total(),
        settings=deciding_settings(data, listing.task),
        source=source,
        bad_images=entries.bad,
        ignored_files=listing.ignored,
        unused_folders=listing.unused_folders,
        pillow=PIL.__version__,
        task=listing.task,
        split_images={split: entries.images[split] for split in SPLITS} if boxes else None,
        notes=dict(sorted(entries.notes.items())) if boxes or clips else None,
        class_ids=list(listing.class_ids) or None,
        sources_from=listing.sources_from,
        jpegs={"kept": entries.jpegs["kept"], "encoded": entries.jpegs["encoded"], "quality": data.jpeg_quality}
        if entries.jpegs
        else None,
        sources={split: len(entries.sources[split]) for split in SPLITS} if clips else None,
    )


def _check_preset(data: Data, listing: Listing) -> None:
    """Raise DataError, or warn, where images are to be stored as suits the other kind of truth."""
    if data.name == "boxes" and listing.task != "boxes":
        raise DataError(
            f"{data.raw_path}: holds no boxes in a layout of docs/boxes.md, but one folder per class; make it "
            f"data={listing.task or 'folder'}, or name the layout: data.format=yolo"
        )
    if data.name == "folder" and listing.task is not None:
        log.warning(
            "%s: holds %s; data=%s stores images as suits them, data=folder at %d px",
            data.raw_path, listing.task, listing.task, data.stored_side_px,
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
