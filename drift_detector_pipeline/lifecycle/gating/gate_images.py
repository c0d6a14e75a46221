"""The images a gate asks about: worlds, each a random sample of labelled images that nothing was chosen on.

In: processed data, the cause of a change, labelled images. Out: `World`s. Read by gate.py. N images, S their side.

`pool`, the part of `val` that is not the reference, is nobody's: healing and retraining learn from `train` and `fit`,
what drift is measured from is `fit` and `ref`. Each image shows one change at one strength, drawn by its place in the
data: so images stay independent of each other, and a test of proportions is exact.
"""

import difflib
import hashlib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.arrays import Indices, Labels, Pixels
from drift_detector_pipeline.commands import values_of
from drift_detector_pipeline.corruptions.corrupt import KINDS, SEVERITIES
from drift_detector_pipeline.corruptions.faults import FAULTS, change, levels_of
from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.images.crops import read_crops
from drift_detector_pipeline.lifecycle.labelling.labels import Labelled
from drift_detector_pipeline.processed.manifest import Processed
from drift_detector_pipeline.processed.roles import crops_of, roles_of

CLEAN, OTHERS, LABELS = "clean", "other kinds", "labels"
NEED_TORCH = ("zoom_blur", "snow", "elastic")  # to be made; left out of OTHERS, where each family has others
_SEED = 1  # of changes; twins that references and healing learn from have 0


class World(NamedTuple):
    """Labelled images of one world."""

    name: str  # CLEAN, a kind of change, OTHERS or LABELS
    crops: Pixels  # uint8 (N, S, S, 3)
    labels: Labels  # (N,)
    kinds: npt.NDArray[np.str_]  # (N,): what was done to each image
    paths: list[str]  # (N,)


def cause_in(words: Sequence[str]) -> tuple[str | None, float | None, list[str]]:
    """Cause and severity among the words of a command, None where they are not, and all other words.

    Raises ConfigError for a severity that none has.
    """
    own = values_of([word for word in words if word.startswith(("cause=", "severity="))])
    others = [word for word in words if word.partition("=")[0] not in own]
    try:
        severity = float(own["severity"]) if own.get("severity") else None
        if severity is not None and not 0 < severity <= max(SEVERITIES):
            raise ValueError
    except ValueError as error:
        most = max(SEVERITIES)
        raise ConfigError(
            f"severity={own['severity']}: expected a number up to {most}, such as an alarm names: 3"
        ) from error
    return own.get("cause") or None, severity, others


def levels_near(cause: str, severity: float | None) -> tuple[int, ...]:
    """The levels of a change at and beside a severity; None: all. Raises ConfigError if there is no such change."""
    if cause not in (*KINDS, *FAULTS):
        nearest = difflib.get_close_matches(cause, (*KINDS, *FAULTS), n=len(KINDS) + len(FAULTS), cutoff=0.0)
        raise ConfigError(f"cause={cause}: no change that can be made; choose from {', '.join(nearest)}")
    if cause in NEED_TORCH and find_spec("torch") is None:
        raise ConfigError(f"cause={cause}: is made with PyTorch, which is not installed here; pip install -e .[train]")
    levels = levels_of(cause)
    if severity is None:
        return levels
    middle = min(levels, key=lambda level: abs(level - severity))
    return tuple(level for level in levels if abs(level - middle) <= 1)


def worlds(
    data: Processed, side_px: int, stored_side_px: int, cause: str | None, severity: float | None,
    labels: Sequence[Labelled], *, arrives: str | None = None,
) -> Iterator[World]:  # fmt: skip
    """Clean images, the named change, all other kinds, and labelled ones if there are any: one after another.

    `arrives`: a fault that images come with, which the champion undoes; labelled ones came so. Raises DataError if the
    data has no pool, ConfigError for a cause that is no change.
    """
    places = roles_of(data).pool
    crops, truth = crops_of(data, places, side_px), data.images.labels[places]
    if arrives is not None:
        crops = change(crops, arrives, 1, keys=places.tolist())
    paths = [data.images.paths[place] for place in places.tolist()]
    clean = World(CLEAN, crops, truth, np.full(len(places), CLEAN), paths)
    yield clean
    if cause is not None:
        yield _changed(clean, cause, [(cause, level) for level in levels_near(cause, severity)], places)
    others = [(kind, level) for kind in KINDS if kind not in (cause, *NEED_TORCH) for level in levels_of(kind)]
    yield _changed(clean, OTHERS, others, places)
    if labels:
        yield _labelled(labels, data.classes, side_px, stored_side_px)


def sample_hash(world: World) -> str:
    """SHA-256 over images and labels: which sample a gate has looked at."""
    return hashlib.sha256(world.crops.tobytes() + world.labels.astype(np.int64).tobytes()).hexdigest()


def changed_at_random(crops: Pixels, cells: Sequence[tuple[str, int]], keys: Indices, seed: int = _SEED) -> Pixels:
    """Change each of (N, S, S, 3) by one of `cells`, kind and level, drawn by its key."""
    changed, drawn = np.empty_like(crops), cells_of(len(cells), keys, seed)
    for number, (kind, level) in enumerate(cells):
        own = np.flatnonzero(drawn == number)
        if len(own):
            changed[own] = change(crops[own], kind, level, keys=keys[own].tolist(), seed=seed)
    return changed


def cells_of(count: int, keys: Indices, seed: int = _SEED) -> Indices:
    """Which of `count` cells each image is in, as its key alone decides: int64 (N,)."""
    drawn = [np.random.default_rng((seed, int(key))).integers(count) for key in keys]
    return np.array(drawn, dtype=np.int64)


def _changed(clean: World, name: str, cells: Sequence[tuple[str, int]], keys: Indices) -> World:
    kinds = np.array([kind for kind, _ in cells])[cells_of(len(cells), keys)]
    return clean._replace(name=name, crops=changed_at_random(clean.crops, cells, keys), kinds=kinds)


def _labelled(labels: Sequence[Labelled], classes: list[str], side_px: int, stored_side_px: int) -> World:
    """Labelled images of known classes. Raises DataError if a file cannot be read."""
    known = {one.sha256: one for one in labels if one.label in classes}
    unreadable = dict[str, str]()
    files = [(name, one.path) for name, one in sorted(known.items())]
    crops = dict(read_crops(files, stored_side_px, side_px, unreadable))
    if unreadable:
        name, why = next(iter(unreadable.items()))
        raise DataError(f"{known[name].path}: {why}; labelled images must stay where they are")
    stacked = np.stack(list(crops.values())) if crops else np.zeros((0, side_px, side_px, 3), np.uint8)
    truth = np.array([classes.index(known[name].label) for name in crops], dtype=np.int64)
    return World(LABELS, stacked, truth, np.full(len(crops), LABELS), [str(known[name].path) for name in crops])
