"""Whether a processed folder still shows its source: changed files are noticed, and settings through manifest.py.

In: settings, and where the source lies. Out: why the folder must be built again, or None. Read by dataset.py only, so
that whoever opens processed data needs nothing of how a source is fetched.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from drift_detector_pipeline.errors import NOT_WRITABLE
from drift_detector_pipeline.files import file_hash
from drift_detector_pipeline.frames.decode_clips import footage_hash
from drift_detector_pipeline.processed.manifest import NOTHING, Manifest, find_whole, write_manifest
from drift_detector_pipeline.raw.archives import archives_of
from drift_detector_pipeline.raw.fetch import verify
from drift_detector_pipeline.raw.formats.catalog import read
from drift_detector_pipeline.raw.listing import Listing, RawImage, everything_below
from drift_detector_pipeline.settings import Data


def why_stale(data: Data, raw: Path | None) -> str | None:
    """Why the processed folder must be built, or None; notices changed files and settings, and damage."""
    manifest = find_whole(data)
    if not isinstance(manifest, Manifest):
        return "nothing is there yet" if manifest == NOTHING else manifest
    if len(manifest.bad_images) > data.max_bad_images:
        return f"it has {len(manifest.bad_images)} bad images, more than data.max_bad_images={data.max_bad_images}"
    source = manifest.source
    if raw is None or source.stat == stat_digest(raw):
        return None
    if source.sha256 != content_sha256(raw, data.format):
        return f"{raw} has changed" if source.path == str(raw) else f"it was made from {source.path}, now {raw}"
    verify(raw)
    try:
        write_manifest(data.processed_path, replace(manifest, source=replace(source, stat=stat_digest(raw))))
    except OSError as error:  # a folder that is only read is as fresh; the next look takes as long again
        if error.errno not in NOT_WRITABLE:
            raise
    return None


def content_sha256(raw: Path, layout: str | None) -> str:
    """SHA-256 of the archives, or of a folder's images and the truth about them, as dataset.py sees them."""
    if archives := archives_of(raw):
        return archives_sha256(archives)
    listing = read(raw, None, layout)
    if listing.task != "clips":
        return content_of(listing, (file_hash(listing.root / image.path) for image in listing.images))
    hashes = {clip.file: footage_hash(listing.root, clip) for clip in listing.clips.values()}
    return content_of(listing, (hashes[listing.clips[image.path].file] for image in listing.images))


def archives_sha256(archives: Sequence[Path]) -> str:
    """SHA-256 of an archive, or over names and bytes of several."""
    if len(archives) == 1:
        return file_hash(archives[0])
    lines = (f"{path.name} {file_hash(path)}\n" for path in archives)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def content_of(listing: Listing, hashes: Iterable[str]) -> str:
    """SHA-256 over the paths of images, their `hashes`, and what is said of them.

    A label stands in the path. Boxes, and what is said of clips, stand in other files, whose bytes may change where
    that does not. Clips are listed as files, not yet cut.
    """
    digest = hashlib.sha256()
    for image, sha256 in zip(listing.images, hashes, strict=True):
        digest.update(f"{image.path} {sha256}{_said(listing, image)}\n".encode("utf-8", "surrogateescape"))
    if listing.task:
        known = listing.sources_from if listing.task == "clips" else listing.class_names
        digest.update(repr(known).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _said(listing: Listing, image: RawImage) -> str:
    if listing.task == "clips":
        return (
            f" {image.in_val_folder} {image.class_name!r} {listing.sources[image.path]!r} {listing.clips[image.path]}"
        )
    return f" {image.in_val_folder} {listing.boxes[image.path]}" if listing.task else ""


def stat_digest(raw: Path) -> str:
    """A digest of names, sizes and times of change, also of what links lead to.

    Equal means the bytes need no second look. The time of modification is what archives and copies set as they like, so
    that two files of one size may change places unseen; the time when anything of a file was changed is the system's.
    """
    files = filter(Path.is_file, everything_below(raw)) if raw.is_dir() else [raw]
    digest = hashlib.sha256()
    for path in files:
        found = path.stat()
        line = f"{path} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
