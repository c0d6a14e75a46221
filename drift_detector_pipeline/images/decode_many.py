"""Image files decoded once, on all cores: the pixels, or why there are none.

In: a `Listing`, or any files. Out: one `Decoded` per image, in their order. Read by dataset.py and crops.py.
"""

import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import file_hash
from drift_detector_pipeline.images.decoder import Side, decode_picture
from drift_detector_pipeline.images.stored_jpeg import Jpeg, Packed, as_jpeg, kept_or_encoded
from drift_detector_pipeline.raw.listing import Listing
from drift_detector_pipeline.stopped import held_back, let_through
from drift_detector_pipeline.whole_files import read_at_most

_GOOD_ORDER_S = 2.0  # for what a worker is at
_ENDING = threading.Event()  # in a worker: it was asked to end
_MOST_BYTES = 1 << 30  # of a file that may be an image: what MOST_PIXELS take without compression


class Decoded(NamedTuple):
    """What became of one image."""

    pixels: Pixels | None  # uint8 (H, W, 3), shorter or longer side as stored; None: no complete image, or a `jpeg`
    problem: str | None  # then, why
    content_sha256: str
    size: tuple[int, int] = (0, 0)  # width and height in px as in the file, before EXIF's orientation, 1 to 8:
    orientation: int = 1
    jpeg: Jpeg | None = None  # instead of pixels, where images are stored so

    @property
    def packed(self) -> Packed | None:
        """What is stored of it; None: no complete image."""
        return self.pixels if self.jpeg is None else self.jpeg


def read_image(path: Path) -> bytes:
    """The bytes of a file that may be an image. Raises DataError if no image takes so many."""
    if (content := read_at_most(path, _MOST_BYTES)) is None:
        raise DataError(f"more than {_MOST_BYTES / 1e9:.0f} GB, which no image takes")
    return content


def decode_all(listing: Listing, stored_side_px: int, jpeg_quality: int | None = None) -> Iterator[Decoded]:
    """Decode in listing order, on all cores, holding only a few hundred images at a time.

    Where boxes are the truth the longer side is as stored, elsewhere the shorter. With a quality, as `Jpeg`s.
    """
    side: Side = "longer" if listing.task == "boxes" else "shorter"
    with _processes(len(listing.images)) as pool:
        decode_one = partial(_decode_file, stored_side_px=stored_side_px, side=side, jpeg_quality=jpeg_quality)
        paths = (listing.root / image.path for image in listing.images)  # of millions, a list would fill the memory
        yield from _on_all_cores(decode_one, paths, len(listing.images), pool)


def decode_files(paths: Sequence[Path], stored_side_px: int, side: Side = "shorter") -> Iterator[Decoded]:
    """As `decode_all`, for files of any place; one that cannot be opened has a problem like one that is no image.

    In threads, so that it may be called from any script: new processes would run the script once more.
    """
    with ThreadPoolExecutor(cores()) as pool:
        decode_one = partial(_decode_if_readable, stored_side_px=stored_side_px, side=side)
        yield from _on_all_cores(decode_one, iter(paths), len(paths), pool)


def encoded(decoded: Decoded, quality: int | None) -> Decoded:
    """Pixels that come from no file, as `Jpeg` if there is a quality."""
    if quality is None or decoded.pixels is None:
        return decoded
    return decoded._replace(pixels=None, jpeg=as_jpeg(decoded.pixels, quality))


def _on_all_cores(
    decode_one: Callable[[Path], Decoded], paths: Iterator[Path], total: int, pool: Executor | None
) -> Iterator[Decoded]:
    with progress_bar(total=total, title="decode", unit=" images") as bar:
        while chunk := list(islice(paths, 512)):
            with held_back():  # here starts a process whenever all are busy
                done = pool.map(decode_one, chunk, chunksize=16) if pool else map(decode_one, chunk)
            for found in done:
                bar.update()
                yield found


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _processes(images: int) -> Iterator[Executor | None]:
    """Worker processes, or None where starting them would take longer than the work."""
    if images < 200:
        yield None
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores(), context, initializer=follow_parent) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            raise DataError("a process that decodes images was killed, most likely because memory ran out") from error
        except BaseException:
            pool.shutdown(cancel_futures=True)  # and wait: a worker that starts needs what would be gone with the pool
            raise


def follow_parent() -> None:
    """Leave signals to the parent, and end when it is gone: after a SIGKILL nobody else would end this process.

    SIGTERM comes to all processes, and the parent then ends this one in good order, or from a pool that is broken.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_soon)
    let_through()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def end_if_asked() -> None:
    """Between two tasks of a worker, where nothing is half handed over: end here, if that was asked meanwhile."""
    if _ENDING.is_set():
        os._exit(128 + signal.SIGTERM)


def _end_soon(number: int, frame: FrameType | None) -> None:
    _ENDING.set()
    timer = threading.Timer(_GOOD_ORDER_S, os._exit, (128 + number,))
    timer.daemon = True
    timer.start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _decode_file(path: Path, stored_side_px: int, side: Side, jpeg_quality: int | None = None) -> Decoded:
    end_if_asked()
    try:
        content = read_image(path)
    except DataError as error:
        return Decoded(None, str(error), file_hash(path) if path.is_file() else "")
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        found = decode_picture(content, stored_side_px, side)
    except DataError as error:
        return Decoded(None, str(error), sha256)
    if jpeg_quality is not None:  # pixels stay here: to hand them over costs more than the bytes
        jpeg = kept_or_encoded(content, found, jpeg_quality)
        return Decoded(None, None, sha256, found.size, found.orientation, jpeg)
    return Decoded(found.pixels, None, sha256, found.size, found.orientation)


def _decode_if_readable(path: Path, stored_side_px: int, side: Side) -> Decoded:
    try:
        return _decode_file(path, stored_side_px, side)
    except OSError as error:
        return Decoded(None, error.strerror or str(error), "")
