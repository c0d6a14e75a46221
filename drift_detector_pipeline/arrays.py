"""The kinds of arrays that stages hand each other."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # (H, W, 3) or (N, H, W, 3), RGB in 0..255
Labels = npt.NDArray[np.int64]  # (N,) numbers of classes
Indices = npt.NDArray[np.int64]  # (N,) places of images among others
Float32s = npt.NDArray[np.float32]  # what is kept: scores, features, logits, images as values in 0..1
Float64s = npt.NDArray[np.float64]  # what is computed from them: sums, distances, probabilities
Flags = npt.NDArray[np.bool_]


class Boxes(NamedTuple):
    """Boxes of one image; there may be none."""

    boxes: Float32s  # (M, 4) x0 y0 x1 y1 in px, half-open: the last column of pixels inside is x1 - 1
    labels: Labels  # (M,)
    ignore: Flags  # (M,): neither to be found nor wrong to find; nothing is learned there


class ClipTruth(NamedTuple):
    """What is known of a clip."""

    label: int  # number of its class
    source: str  # the video that it comes from; clips of one are alike
