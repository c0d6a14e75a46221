"""Videos that are longer than a clip, cut into clips.

In: a `Listing` of files. Out: one of clips, each with where in its file it lies and how many frames it has, going by
the times in the file, without decoding. Read by dataset.py.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath

from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.frames.read import frame_times
from drift_detector_pipeline.raw.listing import Footage, Listing, RawImage

_LONGEST_LISTED = 5  # times the length of a clip: longer than that a file that is named as a clip is cut like others


def cut(listing: Listing, clip_seconds: float) -> Listing:
    """Cut the videos of a listing of task "clips" into pieces of `clip_seconds`.

    A piece of a.mp4 is called a.mp4#00012.000, its start in seconds. The last one takes what is left: it is half as
    long to one and a half times as long. Pieces in which no frame comes are left out. A video that cannot be read
    stays whole: decoding says what is wrong with it.
    """
    images, clips, sources = list[RawImage](), dict[str, Footage](), dict[str, str]()
    measure = lru_cache(maxsize=1)(partial(_measured, listing.root))  # parts of one file come one after another
    with progress_bar(total=len(listing.images), title="measure", unit=" files") as bar:
        for image in listing.images:
            for path, footage in _pieces(image.path, listing.clips[image.path], clip_seconds, measure):
                suffix = path.removeprefix(image.path)
                images.append(image._replace(path=path, key=image.key + suffix))
                clips[path], sources[path] = footage, listing.sources[image.path]
            bar.update()
    return listing._replace(images=sorted(images), clips=clips, sources=sources)


def by_second(file: str, times: Sequence[float], length: float, clip_seconds: float) -> list[Footage]:
    """The clip that begins at each second of a video in which a frame comes; those at the end are shorter.

    `times` of the frames, ascending, and `length` in seconds, as `frame_times` gives them.
    """
    found = []
    for second in range(math.ceil(length) or 1):
        end = min(second + clip_seconds, max(length, second + 1e-3))
        if count := bisect_left(times, end) - bisect_left(times, second):
            found.append(Footage(file, float(second), end, count))
    return found or [Footage(file, 0.0, length, len(times))]


def _pieces(
    path: str, footage: Footage, clip_seconds: float, measure: Callable[[str], tuple[list[float], float]]
) -> Iterator[tuple[str, Footage]]:
    if footage.pictures or PurePosixPath(footage.file).suffix.lower() == ".npz":
        yield path, footage._replace(frames=len(footage.pictures) or None)
        return
    times, length = measure(footage.file)
    if footage.start is not None:
        end = footage.end if footage.end is not None else footage.start + clip_seconds
        inside = bisect_left(times, end) - bisect_left(times, footage.start)
        yield path, footage._replace(end=min(end, max(length, footage.start)), frames=inside)
        return
    whole = footage.listed and length <= _LONGEST_LISTED * clip_seconds
    count = 1 if whole else max(1, math.floor(length / clip_seconds + 0.5))
    if count == 1:
        yield path, footage._replace(start=0.0, end=length, frames=len(times))
        return
    inside_each = Counter(min(int(time / clip_seconds), count - 1) for time in times)
    for number, frames in sorted(inside_each.items()):
        start, end = number * clip_seconds, (number + 1) * clip_seconds if number < count - 1 else length
        yield f"{path}#{start:09.3f}", footage._replace(start=start, end=end, frames=frames)


def _measured(root: Path, file: str) -> tuple[list[float], float]:
    """When each frame of a video comes, and its length, in seconds; ([], 0) of one that is none."""
    try:
        return frame_times(root / file)
    except DataError:
        return [], 0.0
