"""Labelled clips once more, as they may come one day: every frame of a clip is changed by the same kind and level.

In: clips, each uint8 (k, S, S, 3), and what signals.py reads them by. Out: a `Twin` per kind and level. Read by the
build. As for boxes every other level will do, and a few clips of each: a clip is k images to look at.
"""

from collections.abc import Sequence

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Pixels
from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.corruptions.faults import change, levels_of
from drift_detector_pipeline.drift.clips.signals import read_clip_signals
from drift_detector_pipeline.drift.scores.signals import Forward, Twin
from drift_detector_pipeline.drift.twins import CHANGES

CLIPS = 40  # of each kind and level
_FRAMES = 1000  # keys of a clip's frames lie below those of the next


def make_clip_twins(
    clips: Sequence[Pixels], forward: Forward, deviation: Float32s | None = None,
    *, kinds: Sequence[str] = CHANGES, count: int = CLIPS, seed: int = 0,
) -> list[Twin]:  # fmt: skip
    """Change at most `count` of the clips for each kind and every other of its levels, others each time."""
    rng, found = np.random.default_rng(seed), list[Twin]()
    cells = [(kind, level) for kind in kinds for level in levels_of(kind)[::2]]
    with progress_bar(total=len(cells), title="twins", unit=" cells") as bar:
        for kind, level in cells:
            rows = np.sort(rng.choice(len(clips), min(count, len(clips)), replace=False))
            changed = [_changed(clips[row], kind, level, row, seed) for row in rows.tolist()]
            found.append(Twin(kind, level, rows, read_clip_signals(changed, forward, deviation)))
            bar.update()
    return found


def _changed(clip: Pixels, kind: str, level: int, number: int, seed: int) -> Pixels:
    return change(clip, kind, level, keys=[number * _FRAMES + frame for frame in range(len(clip))], seed=seed)
