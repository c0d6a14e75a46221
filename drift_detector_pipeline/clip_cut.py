"""How clips come about, as a model's files say it. Imports nothing: registries of models are read without NumPy."""

from typing import NamedTuple

LEAST_VARIANCE = 1e-6  # added to that of a feature over time: a clip that stands still has a gradient all the same


class ClipCut(NamedTuple):
    """How a video becomes clips, and a clip what a model is shown."""

    clip_seconds: float  # longer videos are cut into such
    stored_frames: int  # most frames of a clip that are kept, evenly spread in time
    k_frames: int  # of these, as many as a model sees at once
