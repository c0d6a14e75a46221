"""What packing of clips costs beside bare decoding: `python -m drift_detector_pipeline.proof.clips_packing FOLDER ...`.

Writes reports/clips_packing.json. Per folder of videos, in turn and several times, in one thread, CPU seconds of:
FFmpeg decoding every frame, with nothing done with it; the same with every frame as an RGB array, as PyAV gives them;
and all that `make process_data` does from files to the frames that are stored: it hashes, cuts, decodes, makes small.
"""

import sys
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.frames.decode_clips import footage_hash
from drift_detector_pipeline.frames.moments import clips_of
from drift_detector_pipeline.frames.pieces import cut
from drift_detector_pipeline.frames.read import pyav
from drift_detector_pipeline.raw.formats.catalog import read
from drift_detector_pipeline.raw.listing import Listing

REPORT = Path("reports/clips_packing.json")
REPEATS = 7
_CLIP_SECONDS, _SIDE_PX, _MOST = 2.0, 160, 32  # as conf/data/clips.yaml has them


def main() -> int:
    """Measure each folder, log a row each, write the report."""
    set_up_logging()
    found = {Path(word).name: _measured(Path(word)) for word in sys.argv[1:]}
    facts = {"unit": "CPU seconds, one thread", "repeats": REPEATS, "av": pyav().__version__}
    write_json(REPORT, facts | {"folders": found})
    return 0


def _measured(folder: Path) -> dict[str, Any]:
    listing = read(folder, None, "clips")
    files = [folder / image.path for image in listing.images]
    ways: dict[str, Callable[[], int]] = {
        "decoded": lambda: sum(_decoded(file, as_array=False) for file in files),
        "decoded_to_arrays": lambda: sum(_decoded(file, as_array=True) for file in files),
        "packed": lambda: _packed(listing),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    frames = dict[str, int]()
    for _ in range(REPEATS):
        for name, way in ways.items():
            start = time.process_time()
            frames[name] = way()
            spent[name].append(round(time.process_time() - start, 4))
    ratios = [packed / bare for packed, bare in zip(spent["packed"], spent["decoded_to_arrays"], strict=True)]
    said = "%s: packing costs %.2f times bare decoding (%.2f to %.2f)"
    log.info(said, folder.name, median(ratios), min(ratios), max(ratios))
    return {
        "files": len(files),
        "frames": frames,
        "cpu_seconds": spent,
        "packed_over_decoded_to_arrays": [round(ratio, 3) for ratio in ratios],
        "median_ratio_to_arrays": round(median(ratios), 3),
        "median_ratio_to_decoding_alone": round(median(spent["packed"]) / median(spent["decoded"]), 3),
    }


def _decoded(file: Path, as_array: bool) -> int:
    """Frames of a file, decoded as PyAV's own examples do."""
    count = 0
    with pyav().open(str(file)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        for frame in container.decode(stream):
            count += 1
            if as_array:
                frame.to_ndarray(format="rgb24")
    return count


def _packed(listing: Listing) -> int:
    """Frames that are stored of a listing, in this thread."""
    pieces, stored = cut(listing, _CLIP_SECONDS), 0
    clips = [pieces.clips[image.path] for image in pieces.images]
    for _, of_file in groupby(clips, key=lambda clip: clip.file):
        same = list(of_file)
        footage_hash(listing.root, same[0])
        for found in clips_of(listing.root, same, _SIDE_PX, _MOST):
            stored += 0 if isinstance(found, Exception) else len(found)
    return stored


if __name__ == "__main__":
    sys.exit(main())
