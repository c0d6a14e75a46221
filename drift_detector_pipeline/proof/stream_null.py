"""How often a stream in which nothing changes raises a notice, over many references.

In: channels (N, K) of clean images. Out: shares of streams by alpha, as plain numbers. N: images, K: channels. Read by
the study of streams.
"""

from typing import Any

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Float64s, Indices
from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.drift.stream.bets import Bets
from drift_detector_pipeline.drift.stream.ranks import bins_of, gaps_of, noise, places

ALPHAS = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
_CHUNK = 5000  # images whose bins are in memory
_LUCK = 2**33


def of_splits(values: Float32s, reference: int, splits: int, seed: int = 0) -> dict[str, Any]:
    """Divide the images at random into a reference and a stream of all others, each image once."""
    orders = [np.random.default_rng((seed, split)).permutation(len(values)) for split in range(splits)]
    refs = [values[order[:reference]] for order in orders]
    streams = np.stack([order[reference:] for order in orders], axis=1)
    return _found(values, refs, [streams], streams.shape[0])


def of_draws(values: Float32s, reference: int, images: int, streams: int, seed: int = 0) -> dict[str, Any]:
    """Take the images for the world: draw references and endless streams from it, with repetition.

    Such draws are exchangeable, so the promise holds for them, ties broken at random.
    """
    rng = np.random.default_rng((seed, 1))
    refs = [values[rng.integers(0, len(values), reference)] for _ in range(streams)]
    sizes = [min(_CHUNK, images - start) for start in range(0, images, _CHUNK)]
    return _found(values, refs, (rng.integers(0, len(values), (size, streams)) for size in sizes), images)


def of_normal_numbers(channels: int, reference: int, images: int, streams: int, seed: int = 0) -> dict[str, Any]:
    """The same with independent channels, for which the bound over channels is tightest."""
    values = np.random.default_rng((seed, 2)).normal(size=(20_000, channels)).astype(np.float32)
    return of_draws(values, reference, images, streams, seed)


def _found(values: Float32s, refs: list[Float32s], chunks: Any, images: int) -> dict[str, Any]:
    """Run all streams side by side; `chunks` holds images (m, streams) as places in `values`."""
    channels = values.shape[1]
    bins = [bins_of(ref, seed) for seed, ref in enumerate(refs)]
    bets = Bets(gaps_of(len(refs[0])), len(refs) * channels)
    highest, seen = np.zeros((len(refs), channels)), 0
    with progress_bar(total=images, title="clean streams", unit=" images") as bar:
        for chunk in chunks:
            for start in range(0, len(chunk), _CHUNK):
                for row in _rows(values, chunk[start : start + _CHUNK], bins, seen):
                    np.maximum(highest, bets.step(row).reshape(highest.shape), out=highest)
                seen += len(chunk[start : start + _CHUNK])
                bar.update(len(chunk[start : start + _CHUNK]))
    return {"images": images, "streams": len(refs), "reference": len(refs[0]), "noticed": rates(highest, images)}


def rates(highest: Float64s, images: int) -> dict[str, float]:
    """The share of streams whose highest evidence (streams, K) reaches the threshold, by alpha."""
    channels = highest.shape[1]
    return {str(alpha): float((highest.max(axis=1) >= channels * images / alpha).mean()) for alpha in ALPHAS}


def _rows(values: Float32s, chunk: Indices, bins: Any, seen: int) -> Any:
    numbers = seen + np.arange(len(chunk))
    fallen = [
        places(values[column], noise(_LUCK + stream, numbers, values.shape[1]), bins[stream]).astype(np.int8)
        for stream, column in enumerate(chunk.T)
    ]
    return np.stack(fallen, axis=1).reshape(len(chunk), -1).astype(np.int64)
