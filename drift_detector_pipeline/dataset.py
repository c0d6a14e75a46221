"""Raw source to processed folder: `python -m drift_detector_pipeline.dataset data=digits`.

In: an archive, a folder, or the embedded digits. Out: data/processed/<name>/ with packed images, index and, last of
all, manifest.json; a folder with a manifest is complete. Read by loaders.py through `open_processed`.
"""

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
from PIL import Image

from drift_detector_pipeline.archives import Listing, extract, list_images
from drift_detector_pipeline.config import Data, load
from drift_detector_pipeline.console import log, progress_bar, set_up_logging
from drift_detector_pipeline.errors import DataError, exit_status
from drift_detector_pipeline.files import disk_full_explained, exclusive, file_hash, write_json
from drift_detector_pipeline.images import Pixels, decode, fit
from drift_detector_pipeline.packing import Entry, PackedImages, write_packed
from drift_detector_pipeline.sources import ensure_raw, verify
from drift_detector_pipeline.splits import SPLITS, RawImage, assign

FORMAT = 1  # of the processed folder; another number in a manifest means: build it again
_FILES = {"images.bin", "index.csv", "manifest.json"}


class Processed(NamedTuple):
    """A finished processed folder."""

    folder: Path
    manifest: dict[str, Any]
    images: PackedImages

    @property
    def classes(self) -> list[str]:
        """Class names; a label is an index into them."""
        return list(self.manifest["classes"])

    @property
    def fingerprint(self) -> str:
        """SHA-256 over pixels, index and class names."""
        return str(self.manifest["fingerprint"])


class _Decoded(NamedTuple):
    pixels: Pixels | None
    problem: str | None
    content_sha256: str


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
            reason = _why_stale(data, raw)
            if reason is None:
                log.info("%s: up to date", shown)
                return shown
            log.info("%s: processing, because %s", shown, reason)
            if raw:
                verify(raw)
            _replace(target, data, raw)
    return shown


def open_processed(data: Data) -> Processed:
    """Open the processed folder of `data` for reading.

    Raises DataError if it is not there or was made with other settings, naming the command that makes it.
    """
    manifest = _read_manifest(data.processed_path)
    remedy = f'run: make process_data ARGS="data={data.name}" (with the overrides of this command)'
    if manifest is None:
        raise DataError(f"{data.processed_path}: no processed data; {remedy}")
    if stale := _why_unusable(data, manifest):
        raise DataError(f"{data.processed_path}: {stale}; {remedy}")
    return Processed(data.processed_path, manifest, PackedImages(data.processed_path))


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
    if foreign := sorted(names - _FILES):
        raise DataError(f"{target}: holds {foreign[0]}, no processed data; choose another data.processed_path=PATH")


def _settings(data: Data) -> dict[str, Any]:
    return data.model_dump(include={"name", "stored_side_px", "val_fraction", "fit_fraction"})


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    return ", ".join(f"data.{key}={old.get(key)}, now {value}" for key, value in new.items() if old.get(key) != value)


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    path = folder / "manifest.json"
    if not path.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise DataError(f"{folder}: holds files but no manifest.json; choose an empty data.processed_path=PATH")
        return None
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: no readable JSON ({error}); remove {folder} and run: make process_data") from error
    if not isinstance(manifest, dict) or "fingerprint" not in manifest:
        raise DataError(f"{path}: not the manifest of processed data; choose another data.processed_path=PATH")
    return manifest


def _why_stale(data: Data, raw: Path | None) -> str | None:
    """Why the processed folder must be built, or None; notices changed files and settings."""
    manifest = _read_manifest(data.processed_path)
    if manifest is None:
        return "nothing is there yet"
    if unusable := _why_unusable(data, manifest):
        return unusable
    if len(manifest["bad_images"]) > data.max_bad_images:
        return f"it has {len(manifest['bad_images'])} bad images, more than data.max_bad_images={data.max_bad_images}"
    source = manifest["source"]
    if raw is None or source["stat"] == _stat(raw):
        return None
    if source["sha256"] != _content_sha256(raw):
        return f"{raw} has changed" if source["path"] == str(raw) else f"it was made from {source['path']}, now {raw}"
    verify(raw)
    write_json(data.processed_path / "manifest.json", manifest | {"source": source | {"stat": _stat(raw)}})
    return None


def _why_unusable(data: Data, manifest: dict[str, Any]) -> str | None:
    """Why a processed folder does not serve these settings, or None; does not look at the source."""
    if manifest.get("format") != FORMAT:
        return f"its format is {manifest.get('format')}, now {FORMAT}"
    if missing := sorted(name for name in _FILES if not (data.processed_path / name).exists()):
        return f"{missing[0]} is missing"
    if manifest["settings"] != _settings(data):
        return f"it was made with {_difference(manifest['settings'], _settings(data))}"
    return None


def _content_sha256(raw: Path) -> str:
    """SHA-256 of an archive, or over paths and bytes of a folder's images, as `_Packer` sees them."""
    if raw.is_file():
        return file_hash(raw)
    listing, digest = list_images(raw), hashlib.sha256()
    for image in listing.images:
        digest.update(_content_line(image.path, file_hash(listing.root / image.path)))
    return digest.hexdigest()


def _content_line(path: str, sha256: str) -> bytes:
    return f"{path} {sha256}\n".encode("utf-8", "surrogateescape")


def _stat(raw: Path) -> str:
    """A digest of names, sizes and times of modification: equal means the bytes need no second look."""
    files = sorted(path for path in raw.rglob("*") if path.is_file()) if raw.is_dir() else [raw]
    lines = (f"{path} {(found := path.stat()).st_size} {found.st_mtime_ns}\n" for path in files)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _replace(target: Path, data: Data, raw: Path | None) -> None:
    """Build beside `target`, then rename: a kill at any moment leaves the old folder, or none, never half a one."""
    partial_folder, old = (target.with_name(f".{target.name}.{kind}") for kind in ("partial", "old"))
    for folder in (partial_folder, old):
        shutil.rmtree(folder, ignore_errors=True)
    partial_folder.mkdir(parents=True)
    try:
        _build(partial_folder, data, raw)
        if target.exists():
            target.rename(old)
        partial_folder.rename(target)
    finally:
        for folder in (partial_folder, old):
            shutil.rmtree(folder, ignore_errors=True)


def _build(folder: Path, data: Data, raw: Path | None) -> None:
    started, before = time.monotonic(), _stat(raw) if raw else ""
    if raw is None:
        listing, decoded = _digits(data.stored_side_px)
    else:
        if raw.is_file():
            extract(raw, folder / "extracted")
        listing = list_images(raw if raw.is_dir() else folder / "extracted")
        decoded = _decode_all(listing, data.stored_side_px)
    splits = assign(listing.images, data.val_fraction, data.fit_fraction)
    classes = sorted({image.class_name for image in listing.images})
    packer = _Packer(listing, splits, classes)
    fingerprint = write_packed(folder, packer.entries(decoded))
    _check_bad(packer.bad, packer.counts.total(), data, raw)
    shutil.rmtree(folder / "extracted", ignore_errors=True)
    manifest = {
        "format": FORMAT,
        "name": data.name,
        "fingerprint": hashlib.sha256(f"{fingerprint} {classes}".encode("utf-8", "surrogateescape")).hexdigest(),
        "classes": classes,
        "counts": {split: {name: packer.counts[split, name] for name in classes} for split in SPLITS},
        "images": packer.counts.total(),
        "settings": _settings(data),
        "source": {
            "path": str(raw) if raw else "scikit-learn's load_digits",
            "sha256": file_hash(raw) if raw and raw.is_file() else packer.content.hexdigest(),
            "stat": before,
        },
        "bad_images": packer.bad,
        "ignored_files": listing.ignored,
        "unused_folders": listing.unused_folders,
        "pillow": PIL.__version__,
    }
    write_json(folder / "manifest.json", manifest)
    _report(manifest, time.monotonic() - started)


class _Packer:
    """Joins decoded images with their split and label, and counts what it sees."""

    def __init__(self, listing: Listing, splits: list[str], classes: list[str]) -> None:
        self._rows = list(zip(listing.images, splits, strict=True))
        self._labels = {name: label for label, name in enumerate(classes)}
        self.bad: list[dict[str, str]] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self.content = hashlib.sha256()

    def entries(self, decoded: Iterator[_Decoded]) -> Iterator[Entry]:
        for (image, split), found in zip(self._rows, decoded, strict=True):
            self.content.update(_content_line(image.path, found.content_sha256))
            if found.pixels is None:
                self.bad.append({"path": image.path, "reason": found.problem or ""})
                continue
            self.counts[split, image.class_name] += 1
            yield Entry(image.path, split, self._labels[image.class_name], found.pixels)


def _digits(stored_side_px: int) -> tuple[Listing, Iterator[_Decoded]]:
    """scikit-learn's digits as a source: 1,797 gray images of 8 x 8, values 0 to 16."""
    from sklearn.datasets import load_digits  # a second of imports that only this source needs

    digits = load_digits()
    gray = np.round(digits.images * (255 / 16)).astype(np.uint8)
    images = [RawImage(f"{label}/{index}", str(label), None, str(index)) for index, label in enumerate(digits.target)]
    decoded = (
        _Decoded(fit(Image.fromarray(image).convert("RGB"), stored_side_px), None, hashlib.sha256(image).hexdigest())
        for image in gray
    )
    return Listing(Path(), images, [], []), decoded


def _decode_all(listing: Listing, stored_side_px: int) -> Iterator[_Decoded]:
    """Decode in listing order, on all cores, holding only a few hundred images at a time."""
    paths = [listing.root / image.path for image in listing.images]
    decode_one = partial(_decode_file, stored_side_px=stored_side_px)
    with progress_bar(total=len(paths), title="decode", unit=" images") as bar, _pool(len(paths)) as pool:
        for start in range(0, len(paths), 512):
            chunk = paths[start : start + 512]
            for found in pool.map(decode_one, chunk, chunksize=16) if pool else map(decode_one, chunk):
                bar.update()
                yield found


@contextmanager
def _pool(images: int) -> Iterator[Executor | None]:
    """Worker processes, or None where starting them would take longer than the work."""
    if images < 200:
        yield None
        return
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_follow_parent) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            raise DataError("a process that decodes images was killed, most likely because memory ran out") from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it is gone: after a SIGKILL nobody else would end this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _decode_file(path: Path, stored_side_px: int) -> _Decoded:
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        return _Decoded(decode(content, stored_side_px), None, sha256)
    except DataError as error:
        return _Decoded(None, str(error), sha256)


def _check_bad(bad: list[dict[str, str]], images: int, data: Data, raw: Path | None) -> None:
    for image in bad[:10]:
        log.warning("%s: %s", image["path"], image["reason"])
    if len(bad) > data.max_bad_images:
        raise DataError(
            f"{raw}: {len(bad)} files are no complete images (the first: {bad[0]['path']}), data.max_bad_images allows "
            f"{data.max_bad_images}. Repair or remove them, or leave them out: data.max_bad_images={len(bad)}"
        )
    if not images:
        raise DataError(f"{raw}: none of its {len(bad)} files is a complete image")


def _report(manifest: dict[str, Any], seconds: float) -> None:
    counts = ", ".join(f"{sum(classes.values()):,} {split}" for split, classes in manifest["counts"].items())
    log.info(
        "%s images of %d classes: %s (%.1f s)", f"{manifest['images']:,}", len(manifest["classes"]), counts, seconds
    )
    if manifest["bad_images"]:
        log.warning("%d bad images were left out; the manifest names them", len(manifest["bad_images"]))
    if manifest["unused_folders"]:
        log.warning("not used: the folders %s", ", ".join(manifest["unused_folders"]))


if __name__ == "__main__":
    sys.exit(main())
