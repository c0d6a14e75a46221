"""Do the arrays of a reference fit one another? Asked before anything is computed from them.

In: arrays by name. Out: nothing, or ValueError. Read by reference_file.py and its like for boxes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

# The axes of each array, a letter an axis: axes with the same letter have one length in all arrays of a file. Images N,
# scores S, early maps M, features D, classes K, signals F, values V, twins T, looks Q, changes C, kinds B, windows that
# were taught P, sizes of windows E and U. A digit is that length.
AXES = {
    "phi": "NS", "predicted": "N", "scores.centre": "S", "scores.covariance": "SS", "scores.looks.centre": "M",
    "scores.features.centre": "D", "scores.late.centre": "D", "risk.centre": "F", "risk.weights": "F", "risk.at": "V",
    "risk.value": "V", "lookalikes.places": "TQ", "lookalikes.weights": "T", "lookalikes.inverse": "TT",
    "cause.kinds": "C", "cause.levels": "C", "cause.images": "C", "cause.moves": "CS", "cause.spreads": "CS",
    "cause.whitener": "SS", "cause.clean": "SS", "cause.classes": "KS", "cause.confusion": "KK", "cause.counts": "K",
    "moves.kinds": "B", "moves.means": "BS", "copy.recentring.centre": "D", "copy.recentring.spread": "D",
    "copy.process.places": "P3", "copy.process.weights": "P", "copy.process.inverse": "PP",
    "copy.errors.sizes": "E", "copy.errors.low": "E", "copy.errors.high": "E", "copy.usual.sizes": "U",
    "copy.usual.agreement": "U", "copy.usual.threshold": "U", "copy.usual.sureness": "U",
}  # fmt: skip
_WORDS = ("cause.kinds", "moves.kinds", "scores.share_names")


def check_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Raise ValueError for numbers that are not finite, for text in their place, and for shapes that do not fit."""
    lengths = dict[str, int]()
    for name, values in arrays.items():
        if (values.dtype.kind == "U") is not (name in _WORDS):
            raise ValueError(f"{name} is of {values.dtype}")
        if values.dtype.kind not in "biuU" and not np.isfinite(values).all():
            raise ValueError(f"{name} holds numbers that are not finite")
        if name not in AXES:
            continue
        axes = AXES[name]
        expected = [int(axis) if axis.isdecimal() else lengths.setdefault(axis, length)
                    for axis, length in zip(axes, values.shape, strict=False)]  # fmt: skip
        if len(axes) != values.ndim or list(values.shape) != expected:
            raise ValueError(f"{name} of shape {values.shape} does not fit the others")
