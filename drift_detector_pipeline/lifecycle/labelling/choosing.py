"""Which images a person should label: some at random, so that accuracy can be told, and those that matter most.

In: rows of the log, different images all, whose pictures are there. Out: places of the chosen ones, and why. Read by
basket.py. m: rows, S: scores.

The random ones are drawn first and from all rows, each with the same chance: the share of them that was answered
rightly estimates the accuracy of all without bias, whatever else is chosen. Carriers lie furthest along the change,
strangers are likeliest to be of no known class; both are worth a label and say nothing about the others.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence, Set
from math import ceil
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float32s
from drift_detector_pipeline.drift.decision import scale_for
from drift_detector_pipeline.drift.reference import Reference
from drift_detector_pipeline.drift.verdict import along_change, strangeness_of
from drift_detector_pipeline.lifecycle.labelling.basket_file import Why

_APART = 4  # times as many stretches of time as images wanted; of each stretch one at most, while there are others


class Choice(NamedTuple):
    """One of the rows."""

    place: int
    why: Why


def choose(
    scores: Float32s | None, reference: Reference | None, count: int, images: int, share: float, *, seed: int,
    known: Set[int] = frozenset(),
) -> list[Choice]:  # fmt: skip
    """Choose `images` of `count` rows in the order of time, or all, a `share` of them at random.

    `scores`: (count, S); without scores or reference all are drawn at random. `known`: places of rows that were chosen
    before; they may be drawn again, as chance has it, but are no carriers or strangers again.
    """
    images = min(images, count)
    drawn = images if scores is None or reference is None else min(images, ceil(share * images))
    order = np.random.default_rng(seed).permutation(count).tolist()
    found = {place: Choice(place, "random") for place in order[:drawn]}
    if scores is not None and reference is not None:
        along = along_change(reference, scale_for(reference.learned), scores)
        half = (images - drawn + 1) // 2
        parts: list[tuple[Why, Float32s, int]] = [
            ("carrier", along, half), ("stranger", strangeness_of(scores), images - drawn - half)
        ]  # fmt: skip
        for why, values, most in parts:
            taken = known | found.keys()
            ranked = [place for place in np.argsort(-values, kind="stable").tolist() if place not in taken]
            found |= {place: Choice(place, why) for place in _spread(ranked, most, count)}
    return list(found.values())


def _spread(ranked: Sequence[int], most: int, count: int) -> list[int]:
    """The first `most` of the ranked places that are not of one moment, or, if these are too few, others of them.

    A scene of a hundred frames would otherwise be all that a person sees.
    """
    stretch = max(1, count // (_APART * max(1, most)))
    apart = list(itertools.islice(_one_of_each(ranked, stretch), most))
    chosen = set(apart)
    others = (place for place in ranked if place not in chosen)
    return [*apart, *itertools.islice(others, most - len(apart))]


def _one_of_each(ranked: Iterable[int], stretch: int) -> Iterator[int]:
    taken = set[int]()
    for place in ranked:
        if place // stretch not in taken:
            taken.add(place // stretch)
            yield place
