"""Which frames of a clip are looked at, and what is said of them together.

n frames that a clip has, k that a model is shown, K classes, D features. Pure NumPy: a service answers by the same.
Read by view.py, task.py and whatever answers about clips without torch.
"""

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Indices, Pixels
from drift_detector_pipeline.clip_cut import LEAST_VARIANCE
from drift_detector_pipeline.images.model_input import inference_crop


def middles(n: int, k: int) -> Indices:
    """Places of the middles of `k` equal parts of `n` frames, ascending, (k,): all frames once if there are fewer."""
    if n <= k:
        return np.arange(n)
    return ((np.arange(k) + 0.5) * n / k).astype(np.int64)


def looked_at(stored: Pixels, k: int, side_px: int) -> Pixels:
    """What a model is shown of a stored clip (T, H, W, 3): the middles of `k` parts, (k, S, S, 3), or all if fewer."""
    return np.stack([inference_crop(stored[place], side_px) for place in middles(len(stored), k).tolist()])


def drawn(n: int, k: int, rng: np.random.Generator) -> Indices:
    """A place in each of `k` equal parts of `n` frames, ascending: Temporal Segment Networks, arXiv 1608.00859."""
    if n <= k:
        return np.arange(n)
    return np.minimum(((np.arange(k) + rng.random(k)) * n / k).astype(np.int64), n - 1)


def padded(frames: Pixels, k: int) -> Pixels:
    """At most `k` frames (n, S, S, 3) with the last one again and again until there are: (k, S, S, 3)."""
    return np.concatenate([frames, np.repeat(frames[-1:], k - len(frames), axis=0)])


def said_together(
    logits: Float32s, frames: int | None = None, *, features: Float32s | None = None, deviation: Float32s | None = None
) -> Float32s:
    """Logits (K,) of a clip from those of its frames (k, K): the mean of the first `frames`, None: of all.

    With weights `deviation` (K, D) how much `features` (k, D) of these frames vary is added, as a network with the
    pooling "mean_and_deviation" does. Computed in float64 so that it depends on no order of adding up.
    """
    mean = logits[:frames].mean(axis=0, dtype=np.float64)
    if deviation is not None:
        assert features is not None
        variance = features[:frames].var(axis=0, dtype=np.float64)
        mean = mean + (deviation * np.sqrt(variance + LEAST_VARIANCE)).sum(axis=1)
    said: Float32s = mean.astype(np.float32)
    return said
