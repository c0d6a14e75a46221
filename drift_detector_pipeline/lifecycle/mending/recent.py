"""Recent images of a changed world, from which healing takes statistics and a drift reference.

In: paths of images, and the champion with its run. Out: a `Recent`, and which of it is for what. Read by heal.py and
retrain.py.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Indices, Pixels
from drift_detector_pipeline.console import log
from drift_detector_pipeline.drift.decision import CHANGED, EXPLAINING, scale_for
from drift_detector_pipeline.drift.parts import parts_of
from drift_detector_pipeline.drift.permutation import appearance
from drift_detector_pipeline.drift.preparation import Preparation, open_images
from drift_detector_pipeline.drift.reference import Reference
from drift_detector_pipeline.drift.reference_file import FILE, load_reference
from drift_detector_pipeline.drift.scores.module_forward import through
from drift_detector_pipeline.drift.scores.phi import phi
from drift_detector_pipeline.drift.scores.signals import Signals, read_signals
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.lifecycle.mending.healable import LEAST, TooFewImagesError
from drift_detector_pipeline.processed.roles import MOST_REFERENCE
from drift_detector_pipeline.release.artefact import Artefact
from drift_detector_pipeline.release.source import Source

LEAST_CHANGED = 0.75  # share of the images; those that have not changed may be a few from before the change


class Recent(NamedTuple):
    """Recent images of the changed world, each once."""

    crops: Pixels  # uint8 (N, S, S, 3)
    paths: list[Path]
    left_out: int  # copies, unreadable files, and those that have not changed


def open_recent(images: Sequence[Path], preparation: Preparation, more: int = 0) -> Recent:
    """The images as crops, each once; at most as many as a drift reference has and `more`, drawn at random.

    Raises TooFewImagesError for fewer than LEAST.
    """
    most = more + MOST_REFERENCE
    order = np.random.default_rng(0).permutation(len(images))[:most]
    paths = [images[place] for place in np.sort(order).tolist()]
    window = open_images(paths, preparation, [str(path) for path in paths])
    first = {hashlib.sha256(crop.tobytes()).digest(): place for place, crop in reversed(list(enumerate(window.crops)))}
    kept = np.sort(list(first.values()))
    if len(kept) < LEAST:
        raise TooFewImagesError(f"{len(kept)} different readable images of {len(images)}; at least {LEAST} are needed")
    return Recent(window.crops[kept], [Path(window.names[place]) for place in kept.tolist()], len(paths) - len(kept))


def changed(recent: Recent, artefact: Artefact, source: Source) -> Recent:
    """Recent images without those that lie apart and look as usual, which may be a few from before the change.

    Raises ConfigError if they are more than a few: a healed version would answer them, too, and is at home elsewhere.
    Raises TooFewImagesError if too few are left.
    """
    if FILE not in artefact.sha256:
        return recent
    signals = read_signals(recent.crops, through(source.trained.network.module, *source.scale))
    places = _changed_places(load_reference(artefact.folder)[0], signals)
    said = f"{len(places)} of {len(recent.crops)} recent images have changed"
    if len(places) < LEAST_CHANGED * len(recent.crops):
        raise ConfigError(f"{said}, and a healed version would be worse on the others; name the changed ones alone")
    if len(places) < LEAST:
        raise TooFewImagesError(f"{said}; at least {LEAST} are needed")
    if len(places) < len(recent.crops):
        log.info("%s: statistics are taken of them alone", said)
    left_out = recent.left_out + len(recent.crops) - len(places)
    return Recent(recent.crops[places], [recent.paths[place] for place in places.tolist()], left_out)


def divided(count: int) -> tuple[Indices, Indices]:
    """Places, at random, of the half whose statistics are taken, and of the half that drift is measured from.

    Answers to the very images that statistics were taken of differ from answers to later ones, and so do answers to
    imitated changes: with either as a reference, a healed version would give notice of the world it was made for.
    """
    order = np.random.default_rng(1).permutation(count)
    own, others = order[: count // 2], order[count // 2 :]
    return np.sort(own), np.sort(others[:MOST_REFERENCE])


def _changed_places(reference: Reference, signals: Signals) -> Indices:
    """Places (n,) of the images, in order, but for those of parts that look as the reference does."""
    scores, predicted = phi(signals, reference.learned.parameters), signals.logits.argmax(axis=1)
    parts = parts_of(reference, scores)
    if len(parts) == 1:
        return parts[0]
    usual, scale = (reference.scores, reference.predicted), scale_for(reference.learned)
    looks = [appearance(usual, (scores[part], predicted[part]), scale, EXPLAINING)[0] for part in parts]
    kept = [part for part, p in zip(parts, looks, strict=True) if p is None or p <= CHANGED]
    return np.sort(np.concatenate([np.zeros(0, np.int64), *kept]))
