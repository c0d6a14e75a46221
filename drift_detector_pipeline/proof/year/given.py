"""A year of a champion that is trained already.

In: a finished run, a processed folder of strangers. Out: below a folder, smaller processed data and a copy of the run
that names them, whose weights are the run's own to the bit; a `World`. Read by the command.

The run's `train` is cut to the same sample for all seeds, so that training on is cheap. Its `fit` and `val`, which it
has not learned from, are divided by the seed: a part remains what drift is measured from and gates ask about, the rest
comes as a year.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from drift_detector_pipeline.arrays import Indices, Pixels
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.files import make_folder, sealed, write_json
from drift_detector_pipeline.images.model_input import inference_crop
from drift_detector_pipeline.processed.integrity import fingerprint_of
from drift_detector_pipeline.processed.manifest import MANIFEST, Processed, write_manifest
from drift_detector_pipeline.processed.packing import Entry, PackedImages, write_packed
from drift_detector_pipeline.processed.splits import SPLITS
from drift_detector_pipeline.proof.year.world import NOBODY, World
from drift_detector_pipeline.runs.facts import RECEIPT
from drift_detector_pipeline.runs.receipts import WEIGHT_FILES, Receipt, read_receipt

FIRST, OWN = Path("outputs/first"), Path("data/processed/own")  # below a year's folder
PARTS = {"train": 15_000, "fit": 300, "val": 2_000}  # images that are the pipeline's own
_KNOWN = ("n02102040", "n03417042")  # Imagenette's dogs and lorries, which CIFAR-10 has, too


def given(run: Path, strangers: Path, folder: Path, seed: int) -> World:
    """Lay out `run` below `folder` as the first champion's, and return all other images it has not learned from.

    Raises ConfigError if there are too few, DataError or ResumeError if the run or its data is not whole.
    """
    receipt = read_receipt(run)
    processed = receipt.data()
    images, rng = processed.images, np.random.default_rng((seed, 2))
    unseen = rng.permutation(np.concatenate([images.indices("fit"), images.indices("val")]))
    if len(unseen) < 2 * (PARTS["fit"] + PARTS["val"]):
        raise ConfigError(f"{processed.folder}: {len(unseen)} images the run has not learned from, too few for a year")
    train = np.random.default_rng(0).permutation(images.indices("train"))[: PARTS["train"]]
    fit, val, rest = np.split(unseen, np.cumsum([PARTS["fit"], PARTS["val"]]))
    parts = {"train": train, "fit": fit, "val": val}
    fingerprint = _pack(processed, {name: np.sort(own) for name, own in parts.items()}, folder / OWN)
    _copy(run, receipt, fingerprint, folder / FIRST)
    unknown = _strangers(strangers, receipt_side(receipt))
    stored = np.stack([images[place] for place in rest.tolist()])
    labels = np.concatenate([images.labels[rest], np.full(len(unknown), NOBODY)])
    return World(np.concatenate([stored, unknown]), labels, processed.classes)


def receipt_side(receipt: Receipt) -> int:
    """Side of a run's stored images in px."""
    return int(str(receipt.recorded["data"]["stored_side_px"]))


def _pack(processed: Processed, parts: dict[str, Indices], folder: Path) -> str:
    """Write some of the images, with the parts they play now; return the fingerprint."""
    make_folder(folder)
    counts = Counter[tuple[str, int]]()
    images = processed.images

    def entries() -> Iterator[Entry]:
        for split, places in parts.items():
            for place in places.tolist():
                counts[split, int(images.labels[place])] += 1
                yield Entry(images.paths[place], split, int(images.labels[place]), images.packed(place))

    fingerprint = fingerprint_of(write_packed(folder, entries()), processed.classes)
    by_split = {split: {name: counts[split, label] for label, name in enumerate(processed.classes)} for split in SPLITS}
    manifest = replace(processed.manifest, fingerprint=fingerprint, counts=by_split, images=counts.total())
    write_manifest(folder, manifest)
    return fingerprint


def _copy(run: Path, receipt: Receipt, fingerprint: str, folder: Path) -> None:
    """The run's files, its receipt about the smaller data; what it says of its weights and settings stays."""
    make_folder(folder)
    for name in WEIGHT_FILES:
        shutil.copyfile(run / name, folder / name)
    values = json.loads((run / RECEIPT).read_text(encoding="utf-8"))
    values["settings"]["data"]["processed_path"] = values["processed_path"] = str(OWN)
    write_json(folder / RECEIPT, sealed(values | {"data_fingerprint": fingerprint}))


def _strangers(folder: Path, side_px: int) -> Pixels:
    """Images of classes that the run does not know, as large as its own."""
    images = PackedImages(folder)
    classes = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["classes"]
    places = [place for place, label in enumerate(images.labels.tolist()) if classes[label] not in _KNOWN]
    return np.stack([inference_crop(images[place], side_px) for place in places[:: max(1, len(places) // 500)]])
