"""Frames -> the signals of clips: means over the frames of each, and as logits what is said of the clip.

In: clips, each uint8 (k, S, S, 3), k may differ; a way through the network of single frames; of the pooling
"mean_and_deviation" its weights (K, D). Out: `Signals`, a row a clip. A service joins frames by the same lines.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Pixels
from drift_detector_pipeline.drift.scores.signals import Forward, Signals, read_signals
from drift_detector_pipeline.tasks.clips.frames import said_together

_AT_ONCE = 32  # clips


def read_clip_signals(clips: Sequence[Pixels], forward: Forward, deviation: Float32s | None = None) -> Signals:
    """The signals of each clip; they do not depend on the others. Raises ValueError as `read_signals` does."""
    if not clips:
        raise ValueError("expected at least one clip")
    parts = [_part(clips[start : start + _AT_ONCE], forward, deviation) for start in range(0, len(clips), _AT_ONCE)]
    return Signals(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def over_frames(frames: Signals, deviation: Float32s | None = None) -> Signals:
    """The signals of one clip, a single row, from those of its frames."""
    means = [values.mean(axis=0, dtype=np.float64).astype(np.float32)[None] for values in frames]
    said = said_together(frames.logits, features=frames.features, deviation=deviation)
    return Signals(*means)._replace(logits=said[None])


def _part(clips: Sequence[Pixels], forward: Forward, deviation: Float32s | None) -> Signals:
    ends = np.cumsum([len(clip) for clip in clips]).tolist()
    frames = read_signals(np.concatenate(list(clips)), forward)
    each = [over_frames(frames.take(slice(*ends_of)), deviation) for ends_of in pairwise([0, *ends])]
    return Signals(*(np.concatenate(columns) for columns in zip(*each, strict=True)))
