"""All clips of a listing decoded once: the frames that are stored, or why there are none.

In: a `Listing` of clips. Out: one `Decoded` a clip, in their order. Read by dataset.py. In threads: FFmpeg leaves
Python's lock while it decodes, and frames need no way from process to process.
"""

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from pathlib import Path
from queue import Full, Queue

from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.files import file_hash
from drift_detector_pipeline.frames.moments import clips_of
from drift_detector_pipeline.images.decode_many import Decoded, cores
from drift_detector_pipeline.raw.listing import Footage, Listing

_AHEAD = 2  # clips of a file that wait to be taken
_POLL_S = 0.2
_Waiting = Queue[Decoded | BaseException | None]  # None: that was all


def decode_clips(listing: Listing, side_px: int, most: int) -> Iterator[Decoded]:
    """Decode in listing order: `pixels` (T, H, W, 3), shorter side at most `side_px`, T <= `most`.

    A long video is never held as a whole: of each file at work a few clips are. Raises OSError for a file that
    cannot be opened.
    """
    clips = [listing.clips[image.path] for image in listing.images]
    files = [list(of_file) for _, of_file in groupby(clips, key=lambda clip: clip.file)]
    makers = [partial(_decoded, listing.root, of_file, side_px, most) for of_file in files]
    with progress_bar(total=len(clips), title="decode", unit=" clips") as bar:
        for found in _side_by_side(makers, cores()):
            bar.update()
            yield found


def footage_hash(root: Path, clip: Footage) -> str:
    """SHA-256 of a clip's file; of a folder of pictures over their names and hashes."""
    if not clip.pictures:
        return file_hash(root / clip.file)
    lines = (f"{name} {file_hash(root / clip.file / name)}\n" for name in clip.pictures)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _decoded(root: Path, clips: Sequence[Footage], side_px: int, most: int) -> Iterator[Decoded]:
    sha256 = footage_hash(root, clips[0])
    for found in clips_of(root, clips, side_px, most):
        yield Decoded(None, str(found), sha256) if isinstance(found, Exception) else Decoded(found, None, sha256)


def _side_by_side(makers: Sequence[Callable[[], Iterator[Decoded]]], workers: int) -> Iterator[Decoded]:
    """What all of `makers` yield, one after another, with as many of them at work ahead as there are workers.

    An error of one is raised where its items would come.
    """
    queues, todo, stop = deque[_Waiting](), iter(makers), threading.Event()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for _ in makers:
                while len(queues) < workers and (maker := next(todo, None)) is not None:
                    queues.append(Queue(_AHEAD))
                    pool.submit(_fill, queues[-1], maker, stop)
                queue = queues.popleft()
                while (item := queue.get()) is not None:
                    if isinstance(item, BaseException):
                        raise item
                    yield item
        finally:
            stop.set()


def _fill(queue: _Waiting, make: Callable[[], Iterator[Decoded]], stop: threading.Event) -> None:
    try:
        for item in make():
            if not _put(queue, item, stop):
                return
        _put(queue, None, stop)
    except BaseException as error:
        _put(queue, error, stop)


def _put(queue: _Waiting, item: Decoded | BaseException | None, stop: threading.Event) -> bool:
    """Wait for room; False if nobody will take it any more."""
    while not stop.is_set():
        try:
            queue.put(item, timeout=_POLL_S)
        except Full:
            continue
        return True
    return False
