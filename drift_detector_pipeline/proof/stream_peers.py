"""What people watch a stream with today, on the same images and at the same rate of false alarms.

In: channels and features of a reference, of clean images and of cells. Out: images to an alarm, by method and cell.
Read by the study of streams. Every method's limit is set such that the same clean streams, drawn from images that
nothing was learned from, raise one false alarm in 1,000 images on average; so is ours for this comparison, which
promises far fewer. alibi-detect is no dependency: see alibi_streams.py.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Float64s, Indices
from drift_detector_pipeline.drift.stream.bets import Bets
from drift_detector_pipeline.drift.stream.ranks import bins_of, noise, places
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.proof import alibi_streams
from drift_detector_pipeline.proof.alibi_streams import first_over, limit_for

SMOOTHING = 0.1  # the weight of the newest image in an EWMA chart (Roberts 1959)
CLEAN, LENGTH = 20, 2000  # clean streams by which limits are set, and images of each
LONGEST = 3000  # images in which a change must be noticed; else it counts as that many
HOW = "python3.11 -m venv build/alibi && build/alibi/bin/pip install alibi-detect==0.11.4 torch 'scipy<1.12'"


class Watched(NamedTuple):
    """The same images in two forms: as we watch them, and as features of the network."""

    channels: Float32s  # (N, K)
    features: Float32s  # (N, D)


class Streams(NamedTuple):
    """Which images come, in which order."""

    clean: Indices  # (CLEAN, LENGTH) places in the pool
    changed: Indices  # (cells, runs, LONGEST) places in each cell


def streams_of(pool: int, cells: Sequence[int], runs: int, seed: int = 0) -> Streams:
    """Draw streams from so many images: clean ones with repetition, changed ones none twice before all were there."""
    rng = np.random.default_rng((seed, 3))
    changed = [[endless(images, rng) for _ in range(runs)] for images in cells]
    return Streams(rng.integers(0, pool, (CLEAN, LENGTH)), np.array(changed))


def compare(
    reference: Watched, pool: Watched, cells: Mapping[str, Watched], streams: Streams, alibi: str = ""
) -> dict[str, Any]:
    """Images to an alarm, of every method; `alibi`: a Python that has alibi-detect, or "" to leave that out."""
    found = _of_alibi(alibi, reference, pool, cells, streams) if alibi else {}
    for name, statistic in (("ours", _evidence), ("EWMA chart", _average)):
        clean = [np.fromiter(statistic(reference.channels, pool.channels[rows]), float) for rows in streams.clean]
        limit = limit_for(clean)
        delays = {
            cell: [
                first_over(statistic(reference.channels, seen.channels[rows]), limit) or LONGEST for rows in runs
            ]
            for (cell, seen), runs in zip(cells.items(), streams.changed, strict=True)
        }  # fmt: skip
        found[name] = {"limit": limit, "delays": {cell: {"delays": runs} for cell, runs in delays.items()}}
    return found


def _evidence(reference: Float32s, stream: Float32s) -> Iterator[float]:
    """The largest evidence of a channel after each image."""
    bins = bins_of(reference, 0)
    bets = Bets(bins.gaps, reference.shape[1])
    for row in places(stream, noise(1, np.arange(len(stream)), reference.shape[1]), bins):
        yield float(bets.step(row).max())


def _average(reference: Float32s, stream: Float32s) -> Iterator[float]:
    """The largest moving average of a channel after each image, in standard deviations of an image."""
    centre, spread = reference.mean(axis=0, dtype=np.float64), np.maximum(reference.std(axis=0), 1e-9)
    average: Float64s = np.zeros(stream.shape[1])
    for row in (stream - centre) / spread:
        average += SMOOTHING * (row - average)
        yield float(np.abs(average).max())


def _of_alibi(
    python: str, reference: Watched, pool: Watched, cells: Mapping[str, Watched], streams: Streams
) -> dict[str, Any]:
    """Let another Python run alibi-detect on features. Raises ConfigError if it cannot."""
    with tempfile.TemporaryDirectory() as folder:
        given, said = Path(folder) / "given.npz", Path(folder) / "said.json"
        np.savez(
            given, reference=reference.features, pool=pool.features, clean=streams.clean,
            cells=np.stack([cell.features for cell in cells.values()]), places=streams.changed,
        )  # fmt: skip
        try:
            subprocess.run([python, alibi_streams.__file__, str(given), str(said)], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise ConfigError(f"alibi={python}: expected a Python with alibi-detect ({error}); {HOW}") from error
        found = json.loads(said.read_text())
    return {f"alibi-detect {name}": _by_cell(one, list(cells)) for name, one in found.items()}


def _by_cell(said: dict[str, Any], cells: Sequence[str]) -> dict[str, Any]:
    delays = {
        cell: {"delays": [delay or LONGEST for delay in runs]} for cell, runs in zip(cells, said["delays"], strict=True)
    }
    return {"limit": said["limit"], "images_to_a_false_alarm_by_default": said["asked"], "delays": delays}


def endless(images: int, rng: np.random.Generator) -> Indices:
    """LONGEST places of images in random order, none twice before all were there."""
    return np.concatenate([rng.permutation(images) for _ in range(-(-LONGEST // images))])[:LONGEST]
