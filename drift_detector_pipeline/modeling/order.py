"""Which images a batch holds, in an order that is a function of (seed, epoch).

In: places of images. Out: `Request`s, one a batch. B: images of a batch. Read by loaders.py, session.py and
evaluation.py.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from drift_detector_pipeline.processed.class_balance import balanced_draw

_ORDER, _PARTNERS = 0, 2  # independent random streams; loaders.py has the others


class Request(NamedTuple):
    """Which images a batch holds and how they are made."""

    indices: npt.NDArray[np.int64]  # (B,)
    side_px: int
    epoch: int | None  # None: the inference crop, nothing random
    repeats: npt.NDArray[np.int64]  # (B,): how often each image was drawn before in this epoch
    partners: npt.NDArray[np.int64]  # (B, 3): the image to mix with, and two more where a view shows four


def epoch_order(indices: npt.NDArray[np.int64], seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return `indices` (N,) in the random order of an epoch."""
    return np.random.default_rng((_ORDER, seed, epoch)).permutation(indices)


def training_requests(
    indices: npt.NDArray[np.int64], *, seed: int, first_step: int, batch_size: int, sizes_px: list[int],
    rank: int = 0, processes: int = 1, balance_by: npt.NDArray[np.int64] | None = None,
) -> Iterator[Request]:  # fmt: skip
    """Yield the batches from global step `first_step` to the end of the last epoch, `len(sizes_px)` epochs in all.

    A step takes `batch_size * processes` images of the epoch's order, and each process its own part of them; what
    does not fill a step is left out, other images each epoch. `balance_by`: labels of `indices`, to show each class
    equally often; None: each image once.
    """
    per_step = batch_size * processes
    steps = len(indices) // per_step
    for epoch in range(first_step // steps, len(sizes_px)):
        drawn, repeats, partners = _epoch(indices, seed, epoch, balance_by)
        for step in range(first_step % steps if epoch == first_step // steps else 0, steps):
            start = step * per_step + rank * batch_size
            part = slice(start, start + batch_size)
            yield Request(drawn[part], sizes_px[epoch], epoch, repeats[part], partners[part])


def in_parts(requests: Iterable[Request], parts: int) -> Iterator[Request]:
    """Yield each batch as `parts` smaller ones of equal size."""
    for request in requests:
        size = len(request.indices) // parts
        for start in range(0, size * parts, size):
            part = slice(start, start + size)
            yield request._replace(
                indices=request.indices[part], repeats=request.repeats[part], partners=request.partners[part]
            )


def evaluation_requests(
    indices: npt.NDArray[np.int64], *, batch_size: int, side_px: int, rank: int = 0, processes: int = 1
) -> Iterator[Request]:
    """Yield the batches of a split in its stored order; every `processes`-th batch belongs to this process."""
    for start in range(rank * batch_size, len(indices), batch_size * processes):
        part = indices[start : start + batch_size]
        yield Request(part, side_px, None, np.zeros_like(part), np.stack([part] * 3, axis=1))


def _epoch(
    indices: npt.NDArray[np.int64], seed: int, epoch: int, balance_by: npt.NDArray[np.int64] | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Images in an epoch's order, how often each was drawn before, and three partners: the same in other orders."""
    if balance_by is None:
        drawn, repeats = epoch_order(indices, seed, epoch), np.zeros_like(indices)
    else:
        positions, repeats = balanced_draw(balance_by, np.random.default_rng((_ORDER, seed, epoch)))
        drawn = indices[positions]
    partners = np.random.default_rng((_PARTNERS, seed, epoch)).permutation(drawn)
    third = len(partners) // 3
    return drawn, repeats, np.stack([np.roll(partners, -shift) for shift in (0, third, 2 * third)], axis=1)
