"""The bytes of answered images in a folder of bounded size: what a person is shown who is asked what is on them.

In: bytes and their SHA-256, from the service's loop. Out: <folder>/<aa>/<sha256>.<ending>, written by a thread of its
own; the oldest go, and so do those that are older than the log's rows may be. Off unless serving.keep_images names a
folder: images may show people. Read by whoever makes baskets.
"""

import contextlib
import errno
import os
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from drift_detector_pipeline.console import log
from drift_detector_pipeline.images.decoder import ending_of
from drift_detector_pipeline.settings_in_use import Serving

WAITING_BYTES = 64_000_000  # on their way to the disk, at most; what comes beyond is not kept, and counted
_ROOM = 8  # a part of so many stays free, for what several services write between two looks
_LOOKS = 16  # in the time that the folder takes to fill
_TIDY_EVERY_S, _DAY_S = 3600.0, 86_400.0
_ABANDONED_S = 3600.0  # a partial file that nobody has touched for so long was left by a kill


class _Kept(NamedTuple):
    at: float  # when it was answered last
    size: int  # on the disk
    path: Path


class KeptImages:
    """A folder of images, at most `limit_bytes` on the disk; safe between threads, and between services that share it.

    Two services stay within the limit, each further one may exceed it by a sixteenth.
    """

    def __init__(self, folder: Path, limit_bytes: int, keep_days: float | None = None) -> None:
        """`keep_days`: images that were answered longer ago are deleted, every hour."""
        self.dropped = 0  # that could not be kept
        self._keep_days, self._next_tidying = keep_days, 0.0
        self._folder, self._limit = folder, limit_bytes
        self._waiting: queue.SimpleQueue[tuple[bytes, bytes] | None] = queue.SimpleQueue()
        self._waiting_bytes, self._lock = 0, threading.Lock()
        self._unseen = limit_bytes  # bytes that were written since the last look at the folder
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="kept-images", daemon=True)
        self._thread.start()

    def put(self, sha256: bytes, content: bytes) -> None:
        """Take an image's bytes; microseconds, never waits, never raises."""
        with self._lock:
            if self._waiting_bytes + len(content) > WAITING_BYTES:
                self.dropped += 1
                return
            self._waiting_bytes += len(content)
        self._waiting.put((sha256, content))

    def close(self) -> None:
        """Write what was taken, and end."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._forget_old()
            try:
                item = self._waiting.get(timeout=None if self._keep_days is None else _TIDY_EVERY_S)
            except queue.Empty:
                continue
            if item is None:
                return
            self._keep(*item)

    def _keep(self, sha256: bytes, content: bytes) -> None:
        try:
            self._write(sha256, content)
            self._failing = False
        except OSError as error:
            self.dropped += 1
            if not self._failing:
                log.warning("%s: images cannot be kept for now: %s", self._folder, error.strerror)
            self._failing = True
        with self._lock:
            self._waiting_bytes -= len(content)

    def _forget_old(self) -> None:
        if self._keep_days is None or time.monotonic() < self._next_tidying:
            return
        self._next_tidying = time.monotonic() + _TIDY_EVERY_S
        before = time.time() - self._keep_days * _DAY_S
        try:
            for one in _files_of(self._folder):
                if one.at < before:
                    one.path.unlink(missing_ok=True)
        except FileNotFoundError:
            return  # nothing was kept yet
        except OSError as error:
            log.warning("%s: old images stay for now: %s", self._folder, error.strerror)

    def _write(self, sha256: bytes, content: bytes) -> None:
        path = kept_path(self._folder, sha256.hex(), ending_of(content))
        if path.exists():
            os.utime(path)  # the newest again
            return
        if len(content) > self._limit // _LOOKS:
            raise OSError(errno.EFBIG, f"one is larger than a {_LOOKS}th of serving.keep_images_gb")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            partial.write_bytes(content)
            self._unseen += _size_of(partial.stat())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        if self._unseen >= self._limit // _LOOKS:
            self._remove_oldest()

    def _remove_oldest(self) -> None:
        kept = sorted(_files_of(self._folder))
        total, most = sum(one.size for one in kept), self._limit - self._limit // _ROOM
        for one in kept:
            if total <= most:
                break
            one.path.unlink(missing_ok=True)  # another service may have been faster
            total -= one.size
        self._unseen = 0


def kept_path(folder: Path, sha256: str, ending: str) -> Path:
    """Where an image with the hexadecimal digest `sha256` lies."""
    return folder / sha256[:2] / f"{sha256}{ending}"


def _files_of(folder: Path) -> Iterator[_Kept]:
    """All images; partial files that were abandoned go."""
    for part in os.scandir(folder):
        if not part.is_dir(follow_symlinks=False) or len(part.name) != 2:
            continue  # nothing of ours
        for file in os.scandir(part):
            with contextlib.suppress(FileNotFoundError):
                known = file.stat(follow_symlinks=False)
                if not file.name.startswith("."):
                    yield _Kept(known.st_mtime, _size_of(known), Path(file))
                elif time.time() - known.st_mtime > _ABANDONED_S:
                    Path(file).unlink(missing_ok=True)


def _size_of(known: os.stat_result) -> int:
    """What a file takes on the disk, or its length, if that is more."""
    return max(known.st_size, 512 * getattr(known, "st_blocks", 0))


def kept_images(settings: Serving) -> KeptImages | None:
    """Where images are kept by the settings; None: nowhere."""
    if settings.keep_images is None:
        return None
    return KeptImages(settings.keep_images, int(settings.keep_images_gb * 1e9), settings.retention_days)
