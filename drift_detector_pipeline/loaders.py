"""Batches whose content is a function of (seed, epoch, position): nothing to save, nothing to restore.

Sample order = f(seed, epoch); augmentation = f(seed, epoch, image). Worker processes only share the work, so any
number of them gives the same batches. Fed by packing.py, read by modeling/train.py.
"""

import signal
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from drift_detector_pipeline.config import Data
from drift_detector_pipeline.packing import PackedImages
from drift_detector_pipeline.transforms import augment, inference_crop

_ORDER, _AUGMENTATION = 0, 1  # independent random streams


class Batch(NamedTuple):
    """Images and labels of one step."""

    images: torch.Tensor  # uint8 (B, 3, S, S), channels last in memory
    labels: torch.Tensor  # int64 (B,)


class Request(NamedTuple):
    """Which images a batch holds and how they are made."""

    indices: npt.NDArray[np.int64]
    side_px: int
    epoch: int | None  # None: the inference crop, nothing random


def epoch_order(indices: npt.NDArray[np.int64], seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return `indices` (N,) in the random order of an epoch."""
    return np.random.default_rng((_ORDER, seed, epoch)).permutation(indices)


def training_requests(
    indices: npt.NDArray[np.int64], *, seed: int, first_step: int, batch_size: int, sizes_px: list[int],
    rank: int = 0, processes: int = 1,
) -> Iterator[Request]:  # fmt: skip
    """Yield the batches from global step `first_step` to the end of the last epoch, `len(sizes_px)` epochs in all.

    A step takes `batch_size * processes` images of the epoch's order, and each process its own part of them; what
    does not fill a step is left out, other images each epoch.
    """
    per_step = batch_size * processes
    steps = len(indices) // per_step
    for epoch in range(first_step // steps, len(sizes_px)):
        order = epoch_order(indices, seed, epoch)
        for step in range(first_step % steps if epoch == first_step // steps else 0, steps):
            start = step * per_step + rank * batch_size
            yield Request(order[start : start + batch_size], sizes_px[epoch], epoch)


def evaluation_requests(
    indices: npt.NDArray[np.int64], *, batch_size: int, side_px: int, rank: int = 0, processes: int = 1
) -> Iterator[Request]:
    """Yield the batches of a split in its stored order; every `processes`-th batch belongs to this process."""
    for start in range(rank * batch_size, len(indices), batch_size * processes):
        yield Request(indices[start : start + batch_size], side_px, None)


def load_batches(
    images: PackedImages, requests: Iterator[Request], *, data: Data, seed: int, workers: int, pin: bool = False
) -> Iterator[Batch]:
    """Make the requested batches in order, ahead of time in `workers` processes (0: in this one, when asked)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores: as was asked for
        loader = DataLoader(
            _BatchMaker(images, data, seed),
            sampler=requests,  # an iterator is enough: it is read once
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            worker_init_fn=_leave_signals_to_parent,
            generator=torch.Generator(),  # keeps the loader's own draws out of the model's random stream
            pin_memory=pin,
        )
        return iter(loader)


class _BatchMaker(Dataset[Batch]):
    def __init__(self, images: PackedImages, data: Data, seed: int) -> None:
        self._images, self._augmentation, self._seed = images, data.augmentation, seed

    def __getitem__(self, request: Request) -> Batch:
        views = [self._view(int(index), request) for index in request.indices]
        labels = torch.from_numpy(self._images.labels[request.indices])
        # a worker's `default_collate` stacks in the memory that it shares with the training process: no second copy
        return Batch(default_collate(views).permute(0, 3, 1, 2), labels)

    def _view(self, index: int, request: Request) -> torch.Tensor:
        stored = self._images[index]
        if request.epoch is None:
            return torch.from_numpy(inference_crop(stored, request.side_px))
        rng = np.random.default_rng((_AUGMENTATION, self._seed, request.epoch, index))
        return augment(stored, request.side_px, self._augmentation, rng)


def _leave_signals_to_parent(worker: int) -> None:
    """Ctrl-C and SIGTERM reach the whole process group; only the training process may answer them."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
