"""The box around an outline or a mask of COCO, without drawing either.

In: a `segmentation`: polygons, or run lengths (counted down the columns, background first) as a list or packed into
text as pycocotools packs them. Out: x0, y0, x1, y1.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.raw.formats.values import AGAIN, number, shown, whole

Ends = tuple[float, float, float, float]
_NOTHING = (0.0, 0.0, 0.0, 0.0)  # of a mask without a pixel: a box without area


def extent_of(segmentation: Any, where: str) -> Ends:
    """Raises DataError for what is neither polygons nor run lengths."""
    if isinstance(segmentation, Mapping):
        x0, y0, x1, y1 = (number(end, where, "an end of the mask") for end in _of_runs(segmentation, where))
        return x0, y0, x1, y1
    polygons = segmentation if isinstance(segmentation, list) else []
    if polygons and not any(isinstance(one, list) for one in polygons):
        polygons = [polygons]
    if not polygons or not all(isinstance(one, list) and len(one) >= 6 and len(one) % 2 == 0 for one in polygons):
        raise DataError(
            f"{where}: segmentation is {shown(segmentation)}; expected polygons of at least 3 points; {AGAIN}"
        )
    return around([number(value, where, "a corner") for one in polygons for value in one])


def around(corners: list[float]) -> Ends:
    """The box around points x, y, x, y, ..."""
    return min(corners[::2]), min(corners[1::2]), max(corners[::2]), max(corners[1::2])


def _of_runs(mask: Mapping[str, Any], where: str) -> Ends:
    size, counts = mask.get("size"), mask.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not isinstance(counts, list | str):
        raise DataError(f"{where}: a mask is {shown(dict(mask))}; expected size [height, width] and counts; {AGAIN}")
    height, width = (whole(side, where, "a side of the mask") for side in size)
    runs = _unpacked(counts, where) if isinstance(counts, str) else [whole(one, where, "a run") for one in counts]
    if min(height, width, *runs, 1) < 0 or sum(runs) != height * width:
        raise DataError(
            f"{where}: the runs of a mask add up to {shown(sum(runs))}, its size is {height} x {width}; {AGAIN}"
        )
    return _around_runs(runs, height)


def _around_runs(runs: Iterable[int], height: int) -> Ends:
    place, columns, rows = 0, list[int](), list[int]()
    for number_, run in enumerate(runs):
        if number_ % 2 and run:
            first, last = divmod(place, height), divmod(place + run - 1, height)
            columns += [first[0], last[0]]
            rows += [first[1], last[1]] if first[0] == last[0] else [0, height - 1]
        place += run
    return (min(columns), min(rows), max(columns) + 1, max(rows) + 1) if columns else _NOTHING


def _unpacked(text: str, where: str) -> list[int]:
    """Run lengths: 5 bits a character from code 48, low ones first; from the fourth on, less the last but one."""
    runs, value, shift = list[int](), 0, 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise DataError(f"{where}: the counts of a mask are no packed run lengths; {AGAIN}")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs
