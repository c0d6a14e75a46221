"""The kinds of arrays that stages hand each other."""

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # (H, W, 3) or (N, H, W, 3), RGB in 0..255
Labels = npt.NDArray[np.int64]  # (N,) numbers of classes
Indices = npt.NDArray[np.int64]  # (N,) places of images among others
Float32s = npt.NDArray[np.float32]  # what is kept: scores, features, logits, images as values in 0..1
Float64s = npt.NDArray[np.float64]  # what is computed from them: sums, distances, probabilities
