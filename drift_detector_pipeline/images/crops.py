"""Image files -> pixels as they are stored, and inference crops; the unreadable ones put aside.

In: names and paths. Out: names and pixels, one at a time, so that any number of files fits into memory. Read by
modeling/labels.py, drift/preparation.py and proof/study.py.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.images.decode_many import decode_files
from drift_detector_pipeline.images.decoder import Side, upright_sides
from drift_detector_pipeline.images.model_input import inference_crop


class Stored(NamedTuple):
    """An image as it would lie in processed data."""

    pixels: Pixels  # (H, W, 3), upright
    height: int  # px of the image as people see it: upright, before it was made smaller
    width: int


def read_stored(
    files: Sequence[tuple[str, Path]], stored_side_px: int, side: Side, unreadable: dict[str, str]
) -> Iterator[tuple[str, Stored]]:
    """Decode `files`, each a name and a path, on all cores: yield name and pixels of each image, in order.

    A file that is no complete image, or cannot be opened, goes into `unreadable` with the reason, under its name.
    """
    decoded = decode_files([path for _, path in files], stored_side_px, side)
    for (name, _), one in zip(files, decoded, strict=True):
        if one.pixels is None:
            unreadable[name] = str(one.problem)
        else:
            yield name, Stored(one.pixels, *upright_sides(one.size, one.orientation))


def read_crops(
    files: Sequence[tuple[str, Path]], stored_side_px: int, side_px: int, unreadable: dict[str, str]
) -> Iterator[tuple[str, Pixels]]:
    """As `read_stored`, cropped: yield name and crop, uint8 (S, S, 3), of each image."""
    for name, stored in read_stored(files, stored_side_px, "shorter", unreadable):
        yield name, inference_crop(stored.pixels, side_px)
