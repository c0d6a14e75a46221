"""What one forward pass of a network of boxes says of an image, before anything is learned from it.

In: uint8 (N, S, S, 3) letterboxed views and a way through a network: a function of them, whatever runs the network.
Out: `BoxSignals`. NumPy only. Read by phi.py, and by whoever fits it. What the letterbox fills is no part of the image:
it is neither measured nor changed.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Indices, Pixels
from drift_detector_pipeline.drift.scores.pixels import PIXELS, pixel_names, pixel_scores
from drift_detector_pipeline.images.letterbox import without_border
from drift_detector_pipeline.networks.boxes.found import Found

BATCH = 8  # images of every forward pass: with another number some kernels give other last bits
_SMALLEST = 24  # px of a side; a narrower image is measured together with what fills its view


class BoxOutputs(NamedTuple):
    """What a network says about a batch of N images."""

    found: Sequence[Found]  # N
    early: Float32s  # (N, C) means over space of its finest features
    features: Float32s  # (N, D) means over space of its coarsest ones


class BoxSignals(NamedTuple):
    """Raw signals of N images, in their order."""

    pixels: Float32s  # (N, P), see drift/scores/pixels.py
    early: Float32s  # (N, C)
    features: Float32s  # (N, D)
    found: list[Found]  # N
    sides: list[tuple[int, int]]  # N, height and width of the image in px of its view

    def take(self, chosen: Indices) -> "BoxSignals":
        """The signals of some images."""
        found, sides = ([one[place] for place in chosen.tolist()] for one in (self.found, self.sides))
        return BoxSignals(self.pixels[chosen], self.early[chosen], self.features[chosen], found, sides)


class BoxTwin(NamedTuple):
    """Labelled images once more, changed: drift made by hand, to learn from."""

    kind: str
    severity: int
    rows: Indices  # (n,) which of the clean images these are
    signals: BoxSignals  # n


BoxForward = Callable[[Pixels], BoxOutputs]  # uint8 (N, S, S, 3), at most BATCH images


def read_box_signals(views: Pixels, forward: BoxForward) -> BoxSignals:
    """Run uint8 (N, S, S, 3) forward; an image's signals do not depend on the others.

    Raises ValueError if a value is not finite, or there is no image.
    """
    parts = [_part(views[start : start + BATCH], forward) for start in range(0, len(views), BATCH)]
    if not parts:
        raise ValueError("expected at least one image")
    early, features = (np.concatenate([part[place] for part in parts]) for place in (1, 2))
    return box_signals(views, BoxOutputs([one for part in parts for one in part.found], early, features))


def box_signals(views: Pixels, said: BoxOutputs) -> BoxSignals:
    """The signals of views of which all is said. Raises ValueError if a value is not finite."""
    if not (np.isfinite(said.early).all() and np.isfinite(said.features).all()):
        raise ValueError("the model gives values that are not finite (nan or inf); its training may have diverged")
    sides = sides_of(views)
    return BoxSignals(_pixels(views, sides), said.early, said.features, list(said.found), sides)


def find_boxes(views: Pixels, forward: BoxForward) -> list[Found]:
    """Only what is found in uint8 (N, S, S, 3)."""
    return [one for start in range(0, len(views), BATCH) for one in _part(views[start : start + BATCH], forward).found]


def sides_of(views: Pixels) -> list[tuple[int, int]]:
    """Height and width of the image in each view."""
    return [without_border(view).shape[:2] for view in views]


def by_sides(sides: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Indices]:
    """Places of the images of each height and width."""
    return {one: np.flatnonzero([other == one for other in sides]) for one in dict.fromkeys(sides)}


def _pixels(views: Pixels, sides: Sequence[tuple[int, int]]) -> Float32s:
    names = pixel_names(_SMALLEST)
    assert names == list(PIXELS)
    found = np.empty((len(views), len(names)), np.float32)
    for (height, width), places in by_sides(sides).items():
        high, wide = max(height, _SMALLEST), max(width, _SMALLEST)
        found[places] = pixel_scores(views[places, :high, :wide])
    return found


def _part(views: Pixels, forward: BoxForward) -> BoxOutputs:
    """Of at most BATCH images; the network sees BATCH always, black ones last."""
    missing = BATCH - len(views)
    given = forward(np.concatenate([views, np.zeros((missing, *views.shape[1:]), np.uint8)]) if missing else views)
    found, early, features = given
    return BoxOutputs(found[: len(views)], early[: len(views)], features[: len(views)])
