"""Processed images on disk: one flat file of uint8 pixels, one index, read by memory map without decoding.

    images.bin   the images' rows one after another, each (H, W, 3) uint8
    index.csv    path,split,label,height,width,offset: one line per image, in the order of images.bin
    .checksums   CRC-32 of each line and each image, for integrity.py; earlier versions pass over hidden files

Written by dataset.py, read by modeling/loaders.py and everything that needs images by index.
"""

import csv
import hashlib
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import write_atomically
from drift_detector_pipeline.processed.splits import SPLITS, some_of

IMAGES, INDEX, CHECKSUMS = "images.bin", "index.csv", ".checksums"
_COLUMNS = ("path", "split", "label", "height", "width", "offset")


class Entry(NamedTuple):
    """One packed image."""

    path: str  # in the source
    split: str  # one of splits.SPLITS
    label: int  # index into the manifest's classes
    pixels: Pixels  # (H, W, 3)


def write_packed(folder: Path, entries: Iterable[Entry]) -> str:
    """Write images, index and checksums below `folder`; return the SHA-256 over the bytes of images and index."""
    digest, offset, checksums = hashlib.sha256(), 0, list[int]()
    with (
        (folder / IMAGES).open("wb") as images,
        (folder / INDEX).open("w", newline="", encoding="utf-8", errors="surrogateescape") as index,
    ):
        rows = csv.writer(index, lineterminator="\n")
        rows.writerow(_COLUMNS)
        for entry in entries:
            height, width, _ = entry.pixels.shape
            rows.writerow([entry.path, entry.split, entry.label, height, width, offset])
            pixels = entry.pixels.tobytes()
            images.write(pixels)
            digest.update(pixels)
            checksums.append(zlib.crc32(pixels))
            offset += len(pixels)
    written = (folder / INDEX).read_bytes()
    digest.update(written)
    values = {INDEX: [zlib.crc32(line) for line in written.split(b"\n")], IMAGES: checksums}
    write_atomically(folder / CHECKSUMS, json.dumps(values).encode())
    return digest.hexdigest()


def read_index(folder: Path) -> list[tuple[str, ...]]:
    """The columns of the index, each with a value per image. Raises DataError if it is no whole table."""
    try:
        with (folder / INDEX).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = list(csv.reader(file))[1:]
        return list(zip(*rows, strict=True)) or [()] * len(_COLUMNS)
    except (csv.Error, ValueError) as error:
        raise DataError(f"{folder / INDEX}: damaged ({error}); run: make process_data") from error


class PackedImages:
    """The images of a processed folder, as views into the memory map.

    `len(packed)` images; `packed[i]` is a read-only uint8 (H, W, 3) view; `labels` is int64 (N,), `paths` and
    `splits` are lists of N strings.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        columns = read_index(folder)
        self.paths, self.splits = list(columns[0]), list(columns[1])
        try:
            self.labels: npt.NDArray[np.int64] = np.array(columns[2], dtype=np.int64)
            self._heights, self._widths, self._offsets = (np.array(column, dtype=np.int64) for column in columns[3:])
        except (ValueError, OverflowError) as error:
            raise DataError(f"{folder / INDEX}: damaged ({error}); run: make process_data") from error
        self._bytes = np.asarray(np.memmap(folder / IMAGES, dtype=np.uint8, mode="r"))  # plain: faster to slice

    def __reduce__(self) -> tuple[type["PackedImages"], tuple[Path]]:
        return PackedImages, (self._folder,)  # another process maps the file itself instead of getting a copy

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Pixels:
        height, width, offset = self._heights[index], self._widths[index], self._offsets[index]
        return self._bytes[offset : offset + height * width * 3].reshape(height, width, 3)

    def target(self, index: int) -> int:
        """The truth about an image, as plain JSON: its label."""
        return int(self.labels[index])

    def indices(self, split: str, limit: int | None = None) -> npt.NDArray[np.int64]:
        """Positions of the images of a split, ascending; with a limit, of `some_of` them."""
        if split not in SPLITS:
            raise ValueError(f"expected one of {SPLITS}, got {split!r}")
        found = np.flatnonzero(np.array(self.splits) == split)
        if limit is None or limit >= len(found):
            return found
        return found[some_of([self.paths[index] for index in found], self.labels[found].tolist(), limit)]
