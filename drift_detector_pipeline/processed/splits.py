"""Which image plays which role: train, fit or val. Roles never mix.

train is learned from; fit is labelled and never trained on (the drift part learns there); val measures.
Pure functions of paths: an archive and a folder with the same files give the same split.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from drift_detector_pipeline.raw.listing import RawImage

SPLITS = ("train", "fit", "val")


def assign(images: Sequence[RawImage], val_fraction: float, fit_fraction: float) -> list[str]:
    """Return the split of each image.

    Within a class, images are ordered by the SHA-256 of their key; without a validation folder the first
    `val_fraction` of them is `val`, and the first `fit_fraction` of the remaining ones is `fit`. At least one
    image of a class stays in `train`, and a class of two or more has one in `val`.
    """
    splits = ["train"] * len(images)
    by_class: dict[str, list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        by_class[image.class_name].append(index)
    for members in by_class.values():
        members.sort(key=lambda index: _digest(images[index].key))
        val = [index for index in members if images[index].in_val_folder]
        rest = [index for index in members if not images[index].in_val_folder]
        if images[members[0]].in_val_folder is None:
            count = min(len(rest) - 1, max(1, round(val_fraction * len(rest))))
            val, rest = rest[:count], rest[count:]
        fit = rest[: min(len(rest) - 1, round(fit_fraction * len(rest)))] if rest else []
        for index in val:
            splits[index] = "val"
        for index in fit:
            splits[index] = "fit"
    return splits


def some_of(paths: Sequence[str], labels: Sequence[int], limit: int) -> list[int]:
    """Return the positions of at most `limit` images, ascending, each class in proportion.

    Within a class, images come in the order of the SHA-256 of their path. The first of every class come before all
    others, and a smaller limit gives a part of what a larger one gives.
    """
    by_class: dict[int, list[int]] = defaultdict(list)
    digests = [_digest(path) for path in paths]
    for position in sorted(range(len(paths)), key=digests.__getitem__):
        by_class[labels[position]].append(position)
    ranks = {position: rank / len(members) for members in by_class.values() for rank, position in enumerate(members)}
    return sorted(sorted(ranks, key=lambda position: (ranks[position], digests[position]))[:limit])


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
