"""Labelled images join the images a run was trained on: a further processed folder, by rule.

In: a run's processed data, labelled images. Out: a folder beside it that holds the same images, and the labelled ones
as part of `train`. Read by retrain.py. The folder is named after what is in it, so the same images and labels are the
same folder, with the same fingerprint, wherever and whenever they are joined.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import disk_full_explained, exclusive, replaced_folder
from drift_detector_pipeline.images.decode_many import Decoded, decode_files
from drift_detector_pipeline.images.decoder import Picture
from drift_detector_pipeline.images.stored_jpeg import Packed, kept_or_encoded, pixels_of
from drift_detector_pipeline.lifecycle.labelling.labels import Labelled
from drift_detector_pipeline.processed.integrity import fingerprint_of
from drift_detector_pipeline.processed.manifest import MANIFEST, Processed, write_manifest
from drift_detector_pipeline.processed.packing import Entry, write_packed
from drift_detector_pipeline.processed.splits import SPLITS

FROM_LABELS = "labels/"  # what paths of labelled images begin with


class Joined(NamedTuple):
    """Where they lie together."""

    folder: Path
    labelled: list[str]  # SHA-256 of the images that joined
    repeats: int  # how often each of them is in `train`
    left_out: int  # that are images of fit or val: nothing may be learned from what measures


def join_labels(data: Processed, labels: Sequence[Labelled], *, share: float, most_repeats: int) -> Joined:
    """Join `labels` to `data` so that they make up about `share` of `train`, each at most `most_repeats` times.

    Raises DataError if a labelled image cannot be read, or what the data shows is boxes.
    """
    if data.task is not None:
        raise DataError(
            f"{data.folder}: its truth is boxes, and a label is not enough to learn a box from; add the images, with "
            "their boxes, to the source and train again: make train"
        )
    known = {one.sha256: one for one in labels if one.label in data.classes}
    entries, left_out = _labelled(data, [known[name] for name in sorted(known)])
    if left_out:
        log.warning("%d labelled images are among those that measure (fit, val), and are not learned from", left_out)
    if not entries:
        return Joined(data.folder, [], 0, left_out)
    own = _own(data)
    train = sum(data.images.splits[place] == "train" for place in own)
    repeats = min(most_repeats, max(1, round(share / (1 - share) * train / len(entries))))
    names = [entry.path.rpartition("/")[2] for entry in entries]
    told = [data.fingerprint, repeats, *((name, known[name].label) for name in names)]
    mark = hashlib.sha256(repr(told).encode()).hexdigest()[:8]
    base = data.folder.name.partition("_labels_")[0]
    folder = data.folder.with_name(f"{base}_labels_{mark}")
    with disk_full_explained(folder), exclusive(folder.with_name(f".{folder.name}.lock")):
        if not (folder / MANIFEST).exists():
            _write(folder, data, own, entries * repeats)
    return Joined(folder, names, repeats, left_out)


def _own(data: Processed) -> list[int]:
    """The images that are not there because of earlier labels."""
    return [place for place, path in enumerate(data.images.paths) if not path.startswith(FROM_LABELS)]


def _labelled(data: Processed, labels: Sequence[Labelled]) -> tuple[list[Entry], int]:
    """Labelled images as they are stored, each once, and how many lie in fit or val."""
    measuring = np.flatnonzero(np.array(data.images.splits) != "train").tolist()
    forbidden = {_hash(data.images[place]) for place in measuring}
    decoded = decode_files([one.path for one in labels], int(str(data.manifest.settings["stored_side_px"])))
    entries, left_out = list[Entry](), 0
    for one, found in zip(labels, decoded, strict=True):
        if found.pixels is None:
            raise DataError(f"{one.path}: {found.problem}; labelled images must stay where they are")
        packed = _packed(one.path, found.pixels, found, data)
        if {_hash(found.pixels), _hash(pixels_of(packed))} & forbidden:
            left_out += 1
        else:
            path = f"{FROM_LABELS}{one.basket}/{one.sha256}"
            entries.append(Entry(path, "train", data.classes.index(one.label), packed))
    return entries, left_out


def _packed(path: Path, pixels: Pixels, found: Decoded, data: Processed) -> Packed:
    """A labelled image in the form of the others."""
    if data.manifest.jpegs is None:
        return pixels
    picture = Picture(pixels, found.size, found.orientation)
    return kept_or_encoded(path.read_bytes(), picture, data.manifest.jpegs["quality"])


def _write(folder: Path, data: Processed, own: Sequence[int], labelled: Sequence[Entry]) -> None:
    counts = Counter[tuple[str, str]]()

    def entries() -> Iterator[Entry]:
        images = data.images
        stored = (Entry(images.paths[i], images.splits[i], int(images.labels[i]), images.packed(i)) for i in own)
        for entry in (*stored, *labelled):
            counts[entry.split, data.classes[entry.label]] += 1
            yield entry

    with replaced_folder(folder) as partial:
        fingerprint = fingerprint_of(write_packed(partial, entries()), data.classes)
        by_split = {split: {name: counts[split, name] for name in data.classes} for split in SPLITS}
        manifest = replace(data.manifest, fingerprint=fingerprint, counts=by_split, images=counts.total())
        write_manifest(partial, manifest)


def _hash(pixels: np.ndarray) -> bytes:
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
