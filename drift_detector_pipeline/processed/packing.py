"""Processed images on disk: one flat file of pixels or JPEGs, one index, read by memory map.

    images.bin   the images' rows one after another, each (H, W, 3) uint8; of clips, the frames in order; or a JPEG an
                 image
    index.csv    path,split,label,height,width,offset: one line per image, in the order of images.bin; of clips also
                 source,frames: a clip is that many frames of one size; of JPEGs also bytes: how long each is
    boxes.csv    image,x0,y0,x1,y1,label,ignore: one line per box, images by their place in the index; only where the
                 truth is boxes, and the index's labels are then NO_LABEL
    .checksums   CRC-32 of each line and each image, for integrity.py; earlier versions pass over hidden files

Written by dataset.py, read by modeling/loaders.py and everything that needs images by index.
"""

import csv
import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.arrays import Boxes, ClipTruth, Pixels
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import write_atomically
from drift_detector_pipeline.images.stored_jpeg import Jpeg, Packed, pixels_of
from drift_detector_pipeline.processed.splits import SPLITS, some_of

IMAGES, INDEX, BOXES, CHECKSUMS = "images.bin", "index.csv", "boxes.csv", ".checksums"
_WHOLE_NUMBERS = {"label", "height", "width", "offset", "frames", "bytes"}
NO_LABEL = -1  # of an image whose truth is boxes
_COLUMNS = ("path", "split", "label", "height", "width", "offset")
_TABLES = (_COLUMNS, (*_COLUMNS, "source", "frames"), (*_COLUMNS, "bytes"))  # of images, of clips, of JPEGs
_BOX_COLUMNS = ("image", "x0", "y0", "x1", "y1", "label", "ignore")


class Entry(NamedTuple):
    """One packed image, or clip."""

    path: str  # in the source
    split: str  # one of splits.SPLITS
    label: int  # index into the manifest's classes, or NO_LABEL
    pixels: Packed  # (H, W, 3); of a clip (T, H, W, 3); of all entries a JPEG, or of none
    boxes: Boxes | None = None  # in px of `pixels`; of all images of a source or of none
    source: str | None = None  # of a clip: what it was taken from; of all or of none


def write_packed(folder: Path, entries: Iterable[Entry]) -> str:
    """Write images, index, boxes if there are any, and checksums below `folder`.

    Returns the SHA-256 over the bytes of images, index and boxes.
    """
    digest, offset, checksums, boxes = hashlib.sha256(), 0, list[int](), list[Boxes]()
    with (
        (folder / IMAGES).open("wb") as images,
        (folder / INDEX).open("w", newline="", encoding="utf-8", errors="surrogateescape") as index,
    ):
        rows = csv.writer(index, lineterminator="\n")
        for number, entry in enumerate(entries):
            content = entry.pixels.content if isinstance(entry.pixels, Jpeg) else entry.pixels.tobytes()
            more = _further_cells(entry)
            if not number:
                rows.writerow([*_COLUMNS, *more])
            height, width, _ = entry.pixels.shape[-3:]
            rows.writerow([entry.path, entry.split, entry.label, height, width, offset, *more.values()])
            images.write(content)
            digest.update(content)
            checksums.append(zlib.crc32(content))
            offset += len(content)
            if entry.boxes is not None:
                boxes.append(entry.boxes)
    if boxes:
        _write_boxes(folder / BOXES, boxes)
    values = {INDEX: list[int](), IMAGES: checksums}
    for name in (INDEX, *[BOXES] * bool(boxes)):
        values[name] = []
        with (folder / name).open("rb") as lines:
            for line in lines:
                digest.update(line)
                values[name].append(zlib.crc32(line.removesuffix(b"\n")))
        values[name].append(zlib.crc32(b""))  # of what follows the last line's end
    write_atomically(folder / CHECKSUMS, json.dumps(values).encode())
    return digest.hexdigest()


def _further_cells(entry: Entry) -> dict[str, str | int]:
    """What the index says of clips, or of JPEGs, and of nothing else."""
    if isinstance(entry.pixels, Jpeg):
        return {"bytes": len(entry.pixels.content)}
    return {} if entry.source is None else {"source": entry.source, "frames": len(entry.pixels)}


def _write_boxes(path: Path, boxes: Sequence[Boxes]) -> None:
    with path.open("w", newline="", encoding="ascii") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(_BOX_COLUMNS)
        for image, (places, labels, ignore) in enumerate(boxes):
            for place, label, ignored in zip(places, labels, ignore, strict=True):
                rows.writerow([image, *map(str, place), label, int(ignored)])  # the fewest digits that give these bits


def read_index(folder: Path) -> dict[str, tuple[str, ...]]:
    """The columns of the index, each with a value per image. Raises DataError if it is no whole table."""
    try:
        with (folder / INDEX).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            names, *rows = csv.reader(file)
        if tuple(names) not in _TABLES:
            raise ValueError(f"its first line is {','.join(names)!r:.80}")
        return dict(zip(names, zip(*rows, strict=True) if rows else [()] * len(names), strict=True))
    except (csv.Error, ValueError) as error:
        raise DataError(f"{folder / INDEX}: damaged ({error}); run: make process_data") from error


class PackedBoxes:
    """The boxes of all images: read once, cut at the images' ends. Raises DataError if boxes.csv is no whole table."""

    def __init__(self, path: Path, images: int) -> None:
        try:
            lines = path.read_text(encoding="ascii").splitlines()[1:]
            table = np.loadtxt(lines or ["0," * 6 + "0"], np.float64, delimiter=",", ndmin=2)[: len(lines)]
            if table.shape[1] != len(_BOX_COLUMNS) or not np.isfinite(table).all():
                raise ValueError(f"expected rows of {len(_BOX_COLUMNS)} numbers")
            numbers = table[:, 0].astype(np.int64)
            if (np.diff(numbers) < 0).any() or not ((numbers >= 0) & (numbers < images)).all():
                raise ValueError("its images are not those of the index, in their order")
        except ValueError as error:
            raise DataError(f"{path}: damaged ({error}); run: make process_data") from error
        self._starts = np.searchsorted(numbers, np.arange(images + 1))
        self.all = Boxes(table[:, 1:5].astype(np.float32), table[:, 5].astype(np.int64), table[:, 6] != 0)
        self.images = numbers  # (M,): the image that each of `all` is of

    def __getitem__(self, index: int) -> Boxes:
        part = slice(self._starts[index], self._starts[index + 1])
        return Boxes(self.all.boxes[part], self.all.labels[part], self.all.ignore[part])


class PackedImages:
    """The images or clips of a processed folder, as views into the memory map, or decoded from it.

    `len(packed)` images; `packed[i]` is uint8 (H, W, 3), of a clip (T, H, W, 3): a read-only view, or decoded from a
    JPEG, DataError if that is damaged. `labels` is int64 (N,), `paths` and `splits` are lists of N strings; `boxes` is
    None unless the truth is boxes. Of clips `sources` is a list of N strings, and `frames`, the T of each, int64 (N,);
    elsewhere they are None.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        columns = read_index(folder)
        self.paths, self.splits = list(columns["path"]), list(columns["split"])
        self.sources = list(columns["source"]) if "source" in columns else None
        try:
            whole = {name: np.array(columns[name], np.int64) for name in _WHOLE_NUMBERS & columns.keys()}
        except (ValueError, OverflowError) as error:
            raise DataError(f"{folder / INDEX}: damaged ({error}); run: make process_data") from error
        self.labels: npt.NDArray[np.int64] = whole["label"]
        self.frames = whole.get("frames")
        self._heights, self._widths, self._offsets = whole["height"], whole["width"], whole["offset"]
        self._lengths = whole.get("bytes")  # of JPEGs; None: raw pixels
        self.boxes = PackedBoxes(folder / BOXES, len(self)) if (folder / BOXES).exists() else None
        self._bytes = np.asarray(np.memmap(folder / IMAGES, dtype=np.uint8, mode="r"))  # plain: faster to slice

    def __reduce__(self) -> tuple[type["PackedImages"], tuple[Path]]:
        return PackedImages, (self._folder,)  # another process maps the file itself instead of getting a copy

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Pixels:
        return pixels_of(self.packed(index))

    def packed(self, index: int) -> Packed:
        """An image as it lies there: pixels, or the JPEG that `pixels_of` decodes."""
        height, width, offset = self._heights[index], self._widths[index], self._offsets[index]
        if self._lengths is not None:
            content = self._bytes[offset : offset + self._lengths[index]].tobytes()
            return Jpeg(content, int(height), int(width), where=f"{self._folder / IMAGES}: {self.paths[index]}")
        if self.frames is None:
            return self._bytes[offset : offset + height * width * 3].reshape(height, width, 3)
        frames = self.frames[index]
        return self._bytes[offset : offset + frames * height * width * 3].reshape(frames, height, width, 3)

    @property
    def sides(self) -> npt.NDArray[np.int64]:
        """Height and width of each image, or frame of a clip, in px: (N, 2)."""
        return np.stack([self._heights, self._widths], axis=1)

    def target(self, index: int) -> Any:
        """The truth about an image: its label, or its `Boxes` in px of the image as stored; of a clip `ClipTruth`."""
        if self.boxes is not None:
            return self.boxes[index]
        label = int(self.labels[index])
        return label if self.sources is None else ClipTruth(label, self.sources[index])

    def indices(self, split: str, limit: int | None = None) -> npt.NDArray[np.int64]:
        """Positions of the images of a split, ascending; with a limit, of `some_of` them."""
        if split not in SPLITS:
            raise ValueError(f"expected one of {SPLITS}, got {split!r}")
        found = np.flatnonzero(np.array(self.splits) == split)
        if limit is None or limit >= len(found):
            return found
        return found[some_of([self.paths[index] for index in found], self.labels[found].tolist(), limit)]
