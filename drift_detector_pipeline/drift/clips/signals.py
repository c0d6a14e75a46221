"""Frames -> the signals of clips: means over the frames of each, of all that is measured of an image.

In: clips, each uint8 (k, S, S, 3), k may differ; a way through the network of single frames. Out: `Signals`, a row a
clip. The mean of the logits is what a network with the pooling "mean" says of a clip. A service
means frames by the same lines.
"""

from collections.abc import Sequence

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Indices, Pixels
from drift_detector_pipeline.drift.scores.signals import Forward, Signals, read_signals

_AT_ONCE = 32  # clips


def read_clip_signals(clips: Sequence[Pixels], forward: Forward) -> Signals:
    """The signals of each clip; they do not depend on the others. Raises ValueError as `read_signals` does."""
    if not clips:
        raise ValueError("expected at least one clip")
    parts = [_part(clips[start : start + _AT_ONCE], forward) for start in range(0, len(clips), _AT_ONCE)]
    return Signals(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def over_frames(frames: Signals) -> Signals:
    """The signals of one clip, a single row, from those of its frames."""
    return Signals(*(_means(values, np.array([len(values)])) for values in frames))


def _part(clips: Sequence[Pixels], forward: Forward) -> Signals:
    counts = np.array([len(clip) for clip in clips])
    return Signals(*(_means(values, counts) for values in read_signals(np.concatenate(list(clips)), forward)))


def _means(values: Float32s, counts: Indices) -> Float32s:
    each = np.split(values, np.cumsum(counts)[:-1])
    return np.stack([one.mean(axis=0, dtype=np.float64) for one in each]).astype(np.float32)
