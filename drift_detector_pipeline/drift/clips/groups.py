"""Rows of clips -> one row for each source that they were taken from.

Clips of one video, frames of one scene, the recordings of one camera on one day are alike: a test that takes them for
independent finds a change in every quiet afternoon. So a source counts once, by the mean of its clips, in the
reference as in a window, and the test shuffles whole sources. n clips, G sources, S scores.
"""

from collections.abc import Sequence

import numpy as np

from drift_detector_pipeline.drift.detecting import Rows
from drift_detector_pipeline.errors import DataError

LEAST = 8  # sources, in a reference and in a window: of fewer chance alone makes any difference
EXACT = 100  # sources of a reference, of fewer only what holds averaged over references can be promised


def of_sources(rows: Rows, sources: Sequence[str]) -> tuple[list[str], Rows]:
    """The sources of n clips in the order of their first clips, and their rows: mean scores, the class of most clips.

    Where two classes are as frequent the first one counts.
    """
    names = list(dict.fromkeys(sources))
    own = [[place for place, one in enumerate(sources) if one == name] for name in names]
    scores = np.stack([rows.scores[places].mean(axis=0, dtype=np.float64) for places in own]).astype(np.float32)
    predicted = np.array([np.bincount(rows.predicted[places]).argmax() for places in own], dtype=np.int64)
    return names, Rows(scores, predicted)


def refuse_few(sources: Sequence[str], whose: str, remedy: str) -> None:
    """Raise DataError if the clips of `whose` come from fewer than LEAST sources; how many, and what to do."""
    if (count := len(set(sources))) < LEAST:
        some = ", ".join(sorted(set(sources))[:3]) + ", ..." * (count > 3)
        raise DataError(
            f"{whose}: {len(sources)} clips from {count} source{'s' * (count != 1)} ({some}), and clips of one source "
            f"are alike: drift of clips is told from {LEAST} sources or more. {remedy}"
        )
