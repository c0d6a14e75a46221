"""Image files -> inference crops, the unreadable ones put aside.

In: names and paths. Out: names and uint8 (S, S, 3), one at a time, so that any number of files fits into memory. Read
by modeling/labels.py, drift/preparation.py and proof/study.py.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.images.decode_many import decode_files
from drift_detector_pipeline.images.model_input import inference_crop


def read_crops(
    files: Sequence[tuple[str, Path]], stored_side_px: int, side_px: int, unreadable: dict[str, str]
) -> Iterator[tuple[str, Pixels]]:
    """Decode and crop `files`, each a name and a path, on all cores: yield name and crop of each image, in order.

    A file that is no complete image, or cannot be opened, goes into `unreadable` with the reason, under its name.
    """
    decoded = decode_files([path for _, path in files], stored_side_px)
    for (name, _), one in zip(files, decoded, strict=True):
        if one.pixels is None:
            unreadable[name] = str(one.problem)
        else:
            yield name, inference_crop(one.pixels, side_px)
