"""Are the images of a stream as independent as the promise needs? Frames of a video, bursts and copies are not.

In: the bins of each image and the bins of those before it. Out: how often neighbours resemble each other. Read by the
detector.

Of three exchangeable images the second is as often closer to the first as to the third: so the share of channels in
which an image is closer to the one before it than to one FAR places back is a half on average, whatever the channels
are. A change of the stream disturbs that for FAR images only, dependence for good.
"""

import zlib
from collections import deque
from typing import Any

import numpy as np

from drift_detector_pipeline.arrays import Labels

FAR = 16
ALIKE, VERY_ALIKE = 0.6, 0.8  # shares from which images count as dependent
_MEMORY, _LEAST = 256, 128  # images
_KEPT = 256  # checksums of so many images find copies


class Dependence:
    """What has been seen of it in one stream."""

    def __init__(self) -> None:
        self.alike, self.counted, self.copies = 0.5, 0, 0
        self._sums = deque[int](maxlen=_KEPT)

    def step(self, bins: Labels, before: Labels, far: Labels) -> None:
        """Compare an image's bins (K,) with those of the image before it and of one FAR back."""
        to_far, to_before = np.abs(bins - far), np.abs(bins - before)
        nearer = float(np.count_nonzero(to_far > to_before) - np.count_nonzero(to_far < to_before)) / len(bins)
        self.counted += 1
        self.alike += (0.5 + 0.5 * nearer - self.alike) / min(self.counted + _LEAST // 2, _MEMORY)

    def see(self, values: bytes) -> None:
        """Count an image whose numbers are those of one of the last images as a copy."""
        checksum = zlib.crc32(values)
        self.copies += checksum in self._sums
        self._sums.append(checksum)

    def block(self) -> int:
        """How many neighbours to take together."""
        if self.counted < _LEAST or self.alike < ALIKE:
            return 1
        return 16 if self.alike < VERY_ALIKE else 64

    def state(self) -> dict[str, Any]:
        """All that changes, as plain values."""
        return {"alike": self.alike, "counted": self.counted, "copies": self.copies, "sums": list(self._sums)}

    def restore(self, state: dict[str, Any]) -> None:
        """Undo `state`."""
        self.alike, self.counted, self.copies = state["alike"], state["counted"], state["copies"]
        self._sums = deque(state["sums"], maxlen=_KEPT)
