"""Which image plays which role: train, fit or val. Roles never mix.

train is learned from; fit is labelled and never trained on (the drift part learns there); val measures.
Pure functions of paths: an archive and a folder with the same files give the same split. Of clips whole sources move.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

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


def assign_sources(
    images: Sequence[RawImage], sources: Mapping[str, str], val_fraction: float, fit_fraction: float
) -> list[str]:
    """Return the split of each clip: that of its source, so that no source is in two. `sources`: path -> source.

    Fractions are of the clips of a class and of its sources, met as nearly as whole sources can. Without a validation
    folder a class of two sources or more has one in `val`, if sources of several classes leave that open; one at least
    stays in `train`.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for image in images:
        if not image.in_val_folder:
            counts[sources[image.path]][image.class_name] += 1
    rest, split_of = {one: counts[one] for one in sorted(counts, key=_digest)}, dict[str, str]()
    if all(image.in_val_folder is None for image in images):
        split_of = dict.fromkeys(_taken(rest, val_fraction, every_class=True), "val")
        rest = {one: of_source for one, of_source in rest.items() if one not in split_of}
    split_of |= dict.fromkeys(_taken(rest, fit_fraction, every_class=False), "fit")
    return ["val" if image.in_val_folder else split_of.get(sources[image.path], "train") for image in images]


def _taken(counts: Mapping[str, Counter[str]], fraction: float, every_class: bool) -> list[str]:
    """Sources that make up about `fraction` of the clips and of the sources of each class.

    `counts`: source -> clips by class. Sources are tried in this order, each taken if that comes nearer to the
    fraction, a source counting as many clips as the class has in one on average; the last source of a class stays.
    every_class: then one of each class is taken where it can be, however far that is from `fraction`.
    """
    clips = sum(counts.values(), Counter[str]())
    left = Counter(name for of_source in counts.values() for name in of_source)
    usual = {name: clips[name] / left[name] for name in left}
    wanted = {name: (fraction * clips[name], fraction * clips[name]) for name in left}  # as clips, as sources
    taken = dict[str, None]()  # an ordered set

    def after(name: str, count: int) -> tuple[float, float]:
        return wanted[name][0] - count, wanted[name][1] - usual[name]

    def nearer(source: str) -> bool:
        pairs = [(wanted[name], after(name, count)) for name, count in counts[source].items()]
        return sum(abs(now) - abs(then) for pair in pairs for now, then in zip(*pair, strict=True)) > 0

    def spare(source: str) -> bool:
        return source not in taken and min(left[name] for name in counts[source]) > 1

    def take(source: str) -> None:
        taken[source] = None
        left.subtract(counts[source].keys())
        wanted.update({name: after(name, count) for name, count in counts[source].items()})

    for source in counts:
        if spare(source) and nearer(source):
            take(source)
    for name in sorted(wanted) if every_class else ():
        candidates = [source for source in counts if name in counts[source] and spare(source)]
        if candidates and not any(name in counts[source] for source in taken):
            take(min(candidates, key=lambda source: counts[source].total()))
    return list(taken)


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
