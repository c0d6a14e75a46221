"""Batches whose content is a function of (seed, epoch, image): nothing to save, nothing to restore.

Sample order = f(seed, epoch); augmentation and twins = f(seed, epoch, image); partners to mix with = f(seed, epoch).
Worker processes only share the work, so any number of them gives the same batches. B: images of a batch. Fed by
processed/packing.py and a task, read by modeling/session.py and evaluation.py.
"""

import atexit
import itertools
import multiprocessing
import signal
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.corruptions.faults import change
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images.augmentation import mirrored
from drift_detector_pipeline.images.mixing import cutmix, mixup
from drift_detector_pipeline.processed.class_balance import balanced_draw
from drift_detector_pipeline.processed.packing import PackedImages
from drift_detector_pipeline.settings import Data, Twins
from drift_detector_pipeline.tasks.task import Target, Task, View

_ORDER, _AUGMENTATION, _PARTNERS, _MIXING, _TWINS, _MOSAIC, _SIDES = 0, 1, 2, 3, 4, 5, 6  # independent random streams
_MIX = {"mixup": mixup, "cutmix": cutmix}
_PREFETCH = 4  # batches ahead of time, for each worker


class Batch(NamedTuple):
    """Images of one step and the truth about them."""

    images: torch.Tensor  # uint8 (B, 3, S, S), channels last in memory
    targets: list[Target] | None = None  # plain JSON, one each; None: nobody knows the truth


def batch_of(crops: Sequence[Pixels]) -> Batch:
    """A batch of images (S, S, 3) of which nobody knows the truth."""
    return Batch(torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2))


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


def load_batches(
    images: PackedImages, requests: Iterator[Request], task: Task,
    *, data: Data, seed: int, workers: int, pin: bool = False,
) -> Iterator[Batch]:  # fmt: skip
    """Make the requested batches in order: ahead of time in `workers` processes, or with 0 here, when they are taken.

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
            _BatchMaker(images, task, data, seed, places),
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


class _Made(NamedTuple):
    """A batch on its way, most often from a worker process."""

    images: torch.Tensor | None  # uint8 (B, S, S, 3); None: they lie in the memory that is shared with this process
    targets: list[Target]
    number: int
    side_px: int


class _BatchMaker(Dataset[_Made]):
    def __init__(self, images: PackedImages, task: Task, data: Data, seed: int, places: torch.Tensor | None) -> None:
        self._images, self._task, self._augmentation = images, task, data.augmentation
        self._seed, self._places = seed, places

    def __getitem__(self, numbered: tuple[int, Request]) -> _Made:
        number, request = numbered
        made = self._items(request)
        views, targets = [view for view, _ in made], [target for _, target in made]
        if self._places is None or len(views) * request.side_px**2 * 3 > self._places.shape[1]:
            return _Made(default_collate(views), targets, number, request.side_px)
        torch.stack(views, out=_place(self._places, number, len(views), request.side_px))
        return _Made(None, targets, number, request.side_px)

    def _items(self, request: Request) -> list[tuple[torch.Tensor, Target]]:
        """The images of a batch as uint8 (S, S, 3), each with the truth about it."""
        if request.epoch is None:
            how = View(request.side_px, None)
            return [self._task.view(*self._stored(int(index)), how, None) for index in request.indices]
        drawn = [_key(index, repeat) for index, repeat in zip(request.indices, request.repeats, strict=True)]
        items = [
            self._view(key, request.epoch, request.side_px, partners)
            for key, partners in zip(drawn, request.partners, strict=True)
        ]
        if self._augmentation.mix is None:
            return items
        return [
            self._mixed(item, partners, np.random.default_rng((_MIXING, self._seed, request.epoch, *key)), request)
            for key, item, partners in zip(drawn, items, request.partners, strict=True)
        ]

    def _mixed(
        self, item: tuple[torch.Tensor, Target], partners: npt.NDArray[np.int64], rng: np.random.Generator,
        request: Request,
    ) -> tuple[torch.Tensor, Target]:  # fmt: skip
        assert self._augmentation.mix is not None
        assert self._task.blend is not None
        assert request.epoch is not None
        (own, target), (other, other_target) = (
            item,
            self._view(_key(partners[0]), request.epoch, request.side_px, partners),
        )
        image, share = _MIX[self._augmentation.mix](own, other, self._augmentation.mix_alpha, rng)
        return image, self._task.blend(target, other_target, share)

    def _view(
        self, key: tuple[int, ...], epoch: int, side_px: int, partners: npt.NDArray[np.int64]
    ) -> tuple[torch.Tensor, Target]:
        rng, how = np.random.default_rng((_AUGMENTATION, self._seed, epoch, *key)), View(side_px, self._augmentation)
        if self._shows_four(key, epoch):
            assert self._task.assemble is not None
            view, target = self._task.assemble([self._stored(int(one)) for one in (key[0], *partners)], how, rng)
        else:
            view, target = self._task.view(*self._stored(key[0]), how, rng)
        if self._augmentation.flip == "alternating" and mirrored(
            np.random.default_rng((_SIDES, self._seed, *key)), epoch
        ):
            view = view.flip(-2)
        if self._augmentation.twins.kind is None:
            return view, target
        return drawn_twin(
            view, self._augmentation.twins, np.random.default_rng((_TWINS, self._seed, epoch, *key))
        ), target

    def _shows_four(self, key: tuple[int, ...], epoch: int) -> bool:
        share = self._augmentation.mosaic
        return share > 0 and np.random.default_rng((_MOSAIC, self._seed, epoch, *key)).random() < share

    def _stored(self, index: int) -> tuple[Pixels, Target]:
        return self._images[index], self._images.target(index)


def drawn_twin(view: torch.Tensor, twins: Twins, rng: np.random.Generator) -> torch.Tensor:
    """A training view, uint8 (S, S, 3), or with the settings' share its twin at one of their levels: by `rng` alone."""
    assert twins.kind is not None
    if rng.random() >= twins.share:
        return view
    level, key = int(rng.choice(twins.levels)), int(rng.integers(2**31))
    return torch.from_numpy(change(view.numpy()[None], twins.kind, level, keys=[key], seed=_TWINS)[0])


def _key(index: np.int64, repeat: np.int64 | int = 0) -> tuple[int, ...]:
    """What an image's random numbers in an epoch depend on; an image that is shown again looks different."""
    return (int(index), int(repeat)) if repeat else (int(index),)


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


def _received(made: Iterator[_Made], places: torch.Tensor | None) -> Iterator[Batch]:
    """Take images out of the shared memory, where they stay no longer than until the next batch is asked for."""
    for batch in made:
        images = batch.images
        if images is None:
            assert places is not None
            images = _place(places, batch.number, len(batch.targets), batch.side_px).clone()
        yield Batch(images.permute(0, 3, 1, 2), batch.targets)


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
