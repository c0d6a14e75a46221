"""alibi-detect's detectors of streams, run by a Python that has it: `python alibi_streams.py IN.npz OUT.json`.

In: features of a reference, and streams of them by the places of their rows. Out: images until an alarm. Asked by
stream_peers.py, and by hand nothing. Imports nothing of this package: alibi-detect 0.11.4, the last version under a
free licence, needs an older NumPy, so it lives in an environment of its own.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

RUN_LENGTH = 1000  # images to a false alarm that every method is asked for
DETECTORS = ("MMDDriftOnline", "LSDDDriftOnline")
WINDOW, BOOTSTRAPS, REFERENCE = 16, 2000, 500  # with more images of the reference alibi-detect may take 20 GB

Floats = npt.NDArray[np.float64]
Watch = Callable[[Iterable[Any]], Iterable[float]]  # rows -> the statistic after each


def first_over(values: Iterable[float], limit: float) -> int | None:
    """The number of the first value above `limit`, from 1; None if there is none."""
    return next((number for number, value in enumerate(values, 1) if value > limit), None)


def limit_for(clean: Sequence[Floats], images: int = RUN_LENGTH) -> float:
    """The limit that clean streams exceed first after `images` images on average.

    Streams that end before count as what was seen of them (the estimate of greatest likelihood if alarms come evenly).
    """
    highest = [np.maximum.accumulate(values) for values in clean]
    limits = np.unique(np.concatenate(highest))
    low, high = 0, len(limits) - 1
    while low < high:
        middle = (low + high) // 2
        first = [int(np.searchsorted(values, limits[middle], side="right")) for values in highest]
        ended = sum(at < len(values) for at, values in zip(first, highest, strict=True))
        seen = sum(min(at + 1, len(values)) for at, values in zip(first, highest, strict=True))
        low, high = (low, middle) if seen >= images * max(ended, 1) else (middle + 1, high)
    return float(limits[low])


def mean_run(first: Sequence[int | None], images: int) -> float:
    """Images to a false alarm, from streams of `images` images."""
    ended = [one for one in first if one is not None]
    return (sum(ended) + images * (len(first) - len(ended))) / max(len(ended), 1)


def _detector(name: str, reference: npt.NDArray[np.float32]) -> Any:
    import alibi_detect.cd as detectors  # type: ignore[import-not-found, unused-ignore]

    made = getattr(detectors, name)
    rest: dict[str, Any] = {"backend": "pytorch", "n_bootstraps": BOOTSTRAPS, "verbose": False}
    return made(reference[:REFERENCE], ert=RUN_LENGTH, window_size=WINDOW, **rest)


def _ratios(detector: Any, rows: Iterable[Any]) -> Iterable[float]:
    """The statistic after each image, over the threshold that the detector chose for that place in a stream."""
    (getattr(detector, "reset_state", None) or detector.reset)()
    for row in rows:
        said = detector.predict(row)["data"]
        yield float(said["test_stat"]) / float(said["threshold"])


def main() -> None:
    """Run all detectors on all streams."""
    given = np.load(sys.argv[1])
    found = dict[str, Any]()
    for name in DETECTORS:
        np.random.seed(0)
        detector = _detector(name, given["reference"])
        pool, cells, places = given["pool"], given["cells"], given["places"]
        clean = [np.array(list(_ratios(detector, pool[rows]))) for rows in given["clean"]]
        limit = limit_for(clean)
        own = [first_over(values, 1.0) for values in clean]
        delays = [
            [first_over(_ratios(detector, cells[cell][rows]), limit) for rows in runs]
            for cell, runs in enumerate(places)
        ]
        found[name] = {"asked": mean_run(own, len(clean[0])), "limit": limit, "delays": delays}
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
