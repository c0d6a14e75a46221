"""The kinds of arrays that stages hand each other."""

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # (H, W, 3) or (N, H, W, 3), RGB in 0..255
