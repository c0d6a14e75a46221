"""A stored clip -> what a model is shown of it: k frames, all cut and changed alike.

T: stored frames; H, W: their sides; S: side of the model input; k: frames a view has. Everything is uint8. Read by
task.py.
"""

from typing import NamedTuple

import numpy as np
import torch

from drift_detector_pipeline.arrays import ClipTruth
from drift_detector_pipeline.images.augmentation import augment
from drift_detector_pipeline.images.stored_jpeg import Packed, pixels_of
from drift_detector_pipeline.tasks.clips.frames import drawn, looked_at, padded
from drift_detector_pipeline.tasks.task import View


class ClipTarget(NamedTuple):
    """The truth about a view of a clip, and how much of the view is the clip."""

    label: int | None  # an index into the classes; None: nobody knows
    frames: int  # of the view's k, the first so many weigh; the others fill it up
    source: str | None = None  # the video that the clip comes from


def view(
    packed: Packed, target: ClipTruth | None, how: View, rng: np.random.Generator | None
) -> tuple[torch.Tensor, ClipTarget]:
    """(T, H, W, 3) -> (k, S, S, 3): in training a frame of each k-th part, one augmentation for all; else the middles.

    Of fewer than k frames all are shown, the last one again until there are k.
    """
    assert how.frames is not None
    stored = pixels_of(packed)  # frames of clips are never stored as JPEG
    label, source = (None, None) if target is None else target
    if how.augmentation is None or rng is None:
        shown = looked_at(stored, how.frames, how.side_px)
    else:
        places = drawn(len(stored), how.frames, rng)
        key = int(rng.integers(2**63))  # each frame draws the same numbers
        views = [augment(stored[at], how.side_px, how.augmentation, np.random.default_rng(key)) for at in places]
        shown = torch.stack(views).numpy()
    return torch.from_numpy(padded(shown, how.frames)), ClipTarget(label, len(shown), source)
