"""Images nobody trained on, day by day, as the world changes.

In: processed data. Out: a raw folder for the pipeline, of some of its images, and a `World` of others; what comes on
each day. Read by life.py. N: images, S: side in px.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Labels, Pixels
from drift_detector_pipeline.corruptions.faults import change
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.pages import image_png
from drift_detector_pipeline.processed.manifest import Processed

MIX, STRANGERS, ORDER = "class mix", "unseen content", "class order"
NOBODY = -1  # the label of an image of a class that the model does not know
_SHARE = 0.25  # of strangers, while there are some
_FACTOR = 6.0  # how much more often one class comes while the mix is another


class Spell(NamedTuple):
    """Days on which the world is not as in training."""

    first: int
    last: int  # included
    cause: str  # a kind of corruption, a fault, MIX, STRANGERS or ORDER
    levels: tuple[int, ...] = (0,)  # one after another, each for an equal part of the spell

    def level(self, day: int) -> int:
        """How strong it is on one of its days."""
        place = (day - self.first) * len(self.levels) // (self.last - self.first + 1)
        return self.levels[place]


# Fog, a release that turns images, a season, a sensor that is worn out, visitors, a delivery sorted by class.
YEAR = (
    Spell(20, 41, "fog", (4,)), Spell(56, 77, "turned_180", (1,)), Spell(90, 99, MIX),
    Spell(112, 133, "gaussian_noise", (3,)), Spell(146, 153, STRANGERS), Spell(162, 166, ORDER),
)  # fmt: skip
MONTH = (Spell(8, 15, "contrast", (4,)),)


class World(NamedTuple):
    """What the service will be asked about, and the truth, which only people who label are told."""

    images: Pixels  # (N, S, S, 3), in the order in which they come within their class
    labels: Labels  # (N,) places in `classes`, or NOBODY
    classes: list[str]


class Day(NamedTuple):
    """What comes on one day."""

    number: int
    images: Pixels
    labels: Labels
    cause: str  # "" as in training
    level: int


def divide(processed: Processed, pipeline: int, raw: Path, seed: int) -> World:
    """Write `pipeline` images of all classes but the last into `raw`, a folder a class; return all others as a world.

    Raises ConfigError if there are too few images.
    """
    labels, classes = np.asarray(processed.images.labels), processed.manifest.classes
    order = np.random.default_rng(seed).permutation(len(labels))
    known = order[labels[order] < len(classes) - 1]
    if len(known) < 2 * pipeline / 1.5:
        raise ConfigError(f"{processed.folder}: {len(known)} images of known classes, too few for a year")
    for name in classes[:-1]:
        (raw / name).mkdir(parents=True)
    for place in known[:pipeline].tolist():
        (raw / classes[labels[place]] / f"{place}.png").write_bytes(image_png(processed.images[place]))
    rest = np.concatenate([known[pipeline:], order[labels[order] == len(classes) - 1]])
    own = np.where(labels[rest] == len(classes) - 1, NOBODY, labels[rest])
    return World(np.stack([processed.images[place] for place in rest.tolist()]), own, classes[:-1])


def days(world: World, spells: Sequence[Spell], count: int, a_day: int, seed: int) -> Iterator[Day]:
    """What comes on each of `count` days, every image once. Raises ConfigError at once if a class has too few."""
    coming = _places(world, spells, count, a_day, seed)
    return (_day(world, number, _spell_of(spells, number), places, seed) for number, places in enumerate(coming))


def _places(world: World, spells: Sequence[Spell], count: int, a_day: int, seed: int) -> list[list[int]]:
    """Which images come on each day."""
    rng, found = np.random.default_rng((seed, 1)), list[list[int]]()
    waiting = {
        label: np.flatnonzero(world.labels == label).tolist()[::-1] for label in np.unique(world.labels).tolist()
    }
    for number in range(count):
        spell = _spell_of(spells, number)
        drawn = _drawn(rng, len(world.classes), a_day, spell.cause if spell else "")
        if spell and spell.cause == ORDER:  # one class a day: labels hang together as nowhere else
            drawn = [(number - spell.first) % len(world.classes)] * a_day
        if short := [label for label in set(drawn) if len(waiting[label]) < drawn.count(label)]:
            raise ConfigError(
                f"day {number}: too few images of class {short[0]} are left for a year as long as this. Those come "
                "that a run has not learned from, so begin with a run on fewer, such as one with data.fit_fraction=0.5"
            )
        found.append([waiting[label].pop() for label in drawn])
    return found


def _spell_of(spells: Sequence[Spell], number: int) -> Spell | None:
    return next((one for one in spells if one.first <= number <= one.last), None)


def _day(world: World, number: int, spell: Spell | None, places: list[int], seed: int) -> Day:
    images, level = world.images[places], spell.level(number) if spell else 0
    if spell and spell.cause not in (MIX, STRANGERS, ORDER):
        images = change(images, spell.cause, level, keys=places, seed=seed)
    return Day(number, images, world.labels[places], spell.cause if spell else "", level)


def _drawn(rng: np.random.Generator, classes: int, count: int, cause: str) -> list[int]:
    """The class of each image of a day."""
    weights = np.ones(classes)
    if cause == MIX:
        weights[0] = _FACTOR
    drawn = rng.choice(classes, count, p=weights / weights.sum())
    if cause == STRANGERS:
        drawn[rng.random(count) < _SHARE] = NOBODY
    return [int(label) for label in drawn]
