"""Batches whose content is a function of (seed, epoch, position): nothing to save, nothing to restore.

Sample order = f(seed, epoch); augmentation = f(seed, epoch, image). Worker processes only share the work, so any
number of them gives the same batches. Fed by processed/packing.py, read by modeling/train.py.
"""

import atexit
import itertools
import multiprocessing
import signal
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images.transforms import augment, inference_crop
from drift_detector_pipeline.processed.packing import PackedImages
from drift_detector_pipeline.settings import Data

_ORDER, _AUGMENTATION = 0, 1  # independent random streams
_PREFETCH = 4  # batches ahead of time, for each worker


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
    """Make the requested batches in order, ahead of time in `workers` processes (0: in this one, when asked).

    `pin`: in memory a GPU reads directly. Raises DataError if the memory to hand batches over in is not there.
    """
    first = next(requests, None)
    if first is None:
        return iter(())
    places = None
    if workers and not pin:
        side_px = max(first.side_px, data.img_size)
        places = _shared(_PREFETCH * workers + 1, len(first.indices) * side_px**2 * 3)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores: as was asked for
        loader = DataLoader(
            _BatchMaker(images, data, seed, places),
            sampler=enumerate(itertools.chain([first], requests)),  # an iterator is enough: it is read once
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=workers,
            prefetch_factor=_PREFETCH if workers else None,
            worker_init_fn=_leave_signals_to_parent,
            generator=torch.Generator(),  # keeps the loader's own draws out of the model's random stream
            pin_memory=pin,
        )
        made = iter(loader)
    if workers:
        atexit.unregister(_end_workers)
        atexit.register(_end_workers)  # after the loader's own, so that it is called before
    return _received(made, places)


class _Placed(NamedTuple):
    """A batch whose images lie in the memory that worker processes share with this one."""

    number: int
    side_px: int
    labels: npt.NDArray[np.int64]


class _BatchMaker(Dataset[Batch | _Placed]):
    def __init__(self, images: PackedImages, data: Data, seed: int, places: torch.Tensor | None) -> None:
        self._images, self._augmentation, self._seed, self._places = images, data.augmentation, seed, places

    def __getitem__(self, numbered: tuple[int, Request]) -> Batch | _Placed:
        number, request = numbered
        views = [self._view(int(index), request) for index in request.indices]
        labels = self._images.labels[request.indices]
        if self._places is None or len(views) * request.side_px**2 * 3 > self._places.shape[1]:
            return Batch(default_collate(views).permute(0, 3, 1, 2), torch.from_numpy(labels))
        torch.stack(views, out=_place(self._places, number, len(views), request.side_px))
        return _Placed(number, request.side_px, labels)

    def _view(self, index: int, request: Request) -> torch.Tensor:
        stored = self._images[index]
        if request.epoch is None:
            return torch.from_numpy(inference_crop(stored, request.side_px))
        rng = np.random.default_rng((_AUGMENTATION, self._seed, request.epoch, index))
        return augment(stored, request.side_px, self._augmentation, rng)


def _shared(places: int, size: int) -> torch.Tensor:
    """Room for some batches: uint8 (places, size), mapped once and shared with the worker processes to come.

    Memory of a batch's own would be mapped, zeroed and unmapped for each one, which costs more than to fill it. There
    are as many places as batches can be asked for, and one that is being read, so none is filled too early.
    """
    room = torch.empty((places, size), dtype=torch.uint8)
    try:
        room.share_memory_()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise DataError(
            f"no {places * size / 1e6:.0f} MB of shared memory for batches ({str(error).splitlines()[0]}); pass "
            "data.dataloader_workers=0, a smaller training.batch_size, or in a container a larger --shm-size"
        ) from error
    return room


def _place(places: torch.Tensor, number: int, count: int, side_px: int) -> torch.Tensor:
    """Where the images of a batch lie: uint8 (count, S, S, 3)."""
    return places[number % len(places), : count * side_px**2 * 3].view(count, side_px, side_px, 3)


def _received(made: Iterator[Batch | _Placed], places: torch.Tensor | None) -> Iterator[Batch]:
    """Take images out of the shared memory, where they stay no longer than until the next batch is asked for."""
    for batch in made:
        if isinstance(batch, Batch) or places is None:
            yield cast(Batch, batch)
            continue
        images = _place(places, batch.number, len(batch.labels), batch.side_px).clone()
        yield Batch(images.permute(0, 3, 1, 2), torch.from_numpy(batch.labels))


def _as_it_is(batch: Any) -> Any:
    return batch


def _leave_signals_to_parent(worker: int) -> None:
    """Ctrl-C and SIGTERM reach the whole process group; only the training process may answer them."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _end_workers() -> None:
    """End workers that are left at exit, as after an error: Python would wait for ever for them to hear SIGTERM."""
    if left := [process for process in multiprocessing.active_children() if process.daemon]:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's handler takes their end for a fault
        for process in left:
            process.kill()
