"""Decoded images, their splits and the truth about them -> what is packed, and how much of what there is.

In: a `Listing`, the split of each image, decoded images in the same order. Out: entries for packing.py one by one, and
afterwards counts, notes, bad images and the hashes of files. Read by dataset.py.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from drift_detector_pipeline.arrays import Boxes
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images.decode_many import Decoded
from drift_detector_pipeline.images.stored_jpeg import Jpeg
from drift_detector_pipeline.processed.manifest import BadImage
from drift_detector_pipeline.processed.packing import NO_LABEL, Entry
from drift_detector_pipeline.processed.placed_boxes import Lie, place
from drift_detector_pipeline.processed.splits import SPLITS
from drift_detector_pipeline.raw.listing import Listing, RawImage


class Entries:
    """Joins decoded images with their split and truth, and counts what it sees."""

    def __init__(self, listing: Listing, splits: Sequence[str], decoded: Iterator[Decoded]) -> None:
        self._listing, self._splits, self._decoded = listing, splits, decoded
        self.classes = list(listing.class_names) or sorted({image.class_name for image in listing.images})
        self._labels = {name: label for label, name in enumerate(self.classes)}
        self.bad: list[BadImage] = []
        self.images: Counter[str] = Counter()  # by split
        self.notes: Counter[str] = Counter(listing.notes)
        self._counts: Counter[tuple[str, int]] = Counter()
        self._hashes: list[bytes] = []  # of the file of each image, the bad ones included
        self.jpegs: Counter[str] = Counter()  # kept as their files are, and encoded
        self.sources: dict[str, set[str]] = {split: set() for split in SPLITS}  # of clips

    def __iter__(self) -> Iterator[Entry]:
        """Yield the images that are whole, once."""
        for image, split, found in zip(self._listing.images, self._splits, self._decoded, strict=True):
            self._hashes.append(bytes.fromhex(found.content_sha256))
            try:
                entry = self._entry(image, split, found)
            except DataError as error:
                self.bad.append(BadImage(image.path, str(error)))
                continue
            self.images[split] += 1
            yield entry

    def counts(self) -> dict[str, dict[str, int]]:
        """Images, or clips, of each split and class; where boxes are the truth, boxes to find."""
        return {
            split: {name: self._counts[split, label] for label, name in enumerate(self.classes)} for split in SPLITS
        }

    def hashes_of(self, listed: Listing) -> Iterator[str]:
        """Of the file of each image; of clips that were cut, of each file of the listing before that."""
        hashes = map(bytes.hex, self._hashes)
        if listed.task != "clips":
            return hashes
        clips = (self._listing.clips[image.path].file for image in self._listing.images)
        by_file = dict(zip(clips, hashes, strict=True))
        return (by_file[listed.clips[image.path].file] for image in listed.images)

    def _entry(self, image: RawImage, split: str, found: Decoded) -> Entry:
        packed = found.packed
        if packed is None:
            raise DataError(found.problem or "")
        if isinstance(packed, Jpeg):
            self.jpegs["kept" if packed.kept else "encoded"] += 1
        if self._listing.task != "boxes":
            label = self._labels[image.class_name]
            self._counts[split, label] += 1
            return Entry(image.path, split, label, packed, source=self._source(image, split))
        boxes = self._placed(image, found, packed.shape[1], packed.shape[0])
        self._counts.update((split, label) for label in boxes.labels[~boxes.ignore].tolist())
        return Entry(image.path, split, NO_LABEL, packed, boxes)

    def _source(self, image: RawImage, split: str) -> str | None:
        if self._listing.task is None:
            return None
        source = self._listing.sources[image.path]
        self.sources[split].add(source)
        return source

    def _placed(self, image: RawImage, found: Decoded, width: int, height: int) -> Boxes:
        lie = Lie(found.size, found.orientation, (width, height))
        boxes, notes = place(self._listing.boxes[image.path], lie, self._labels)
        self.notes.update(notes)
        return boxes
