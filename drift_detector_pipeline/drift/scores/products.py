"""Rows times a matrix, so that a row's bits do not depend on how many others there are.

BLAS takes another kernel, and so another order of additions, for another number of rows. A service answers one image
alone or in a batch and must give the same scores for it. N rows, R columns in, T out. Read by whatever computes scores.
"""

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.arrays import Float64s


def row_products(rows: npt.NDArray[np.floating], matrix: npt.NDArray[np.floating]) -> Float64s:
    """Multiply (N, R) by (R, T) in float64: (N, T), each row by a call of its own."""
    alone = np.ascontiguousarray(rows, dtype=np.float64)[:, None, :]
    return np.asarray(np.matmul(alone, np.ascontiguousarray(matrix, dtype=np.float64))[:, 0])
