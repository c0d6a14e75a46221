"""Batches whose content is a function of (seed, epoch, image): nothing to save, nothing to restore.

Augmentation, frames of a clip and twins = f(seed, epoch, image); sample order and partners to mix with: order.py.
Worker processes only share the work, so any number of them gives the same batches. B: images of a batch. Fed by
processed/packing.py, order.py and a task, read by modeling/session.py and evaluation.py.
"""

import atexit
import itertools
import math
import multiprocessing
import signal
import warnings
from collections.abc import Iterator, Sequence
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
from drift_detector_pipeline.images.stored_jpeg import Packed
from drift_detector_pipeline.modeling.order import Request
from drift_detector_pipeline.processed.packing import PackedImages
from drift_detector_pipeline.settings import Data, Twins
from drift_detector_pipeline.tasks.task import Target, Task

_AUGMENTATION, _MIXING, _TWINS, _MOSAIC, _SIDES = 1, 3, 4, 5, 6  # independent random streams; order.py has 0 and 2
_MIX = {"mixup": mixup, "cutmix": cutmix}
_PREFETCH = 4  # batches ahead of time, for each worker


class Batch(NamedTuple):
    """Images of one step and the truth about them."""

    images: torch.Tensor  # uint8 (B, 3, S, S), of clips (B, k, 3, S, S), channels last in memory
    targets: list[Target] | None = None  # plain JSON, one each; None: nobody knows the truth


def batch_of(crops: Sequence[Pixels], targets: Sequence[Target] | None = None) -> Batch:
    """A batch of images (S, S, 3) or clips (k, S, S, 3), and what is known of them; None: nobody knows the truth."""
    return Batch(_channels_first(torch.from_numpy(np.stack(crops))), None if targets is None else list(targets))


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
        largest = task.look(data, max(first.side_px, data.img_size)).shape
        places = _shared(_PREFETCH * workers + 1, len(first.indices) * math.prod(largest))
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


class _Made(NamedTuple):
    """A batch on its way, most often from a worker process."""

    images: torch.Tensor | None  # uint8 (B, *shape); None: they lie in the memory that is shared with this process
    targets: list[Target]
    number: int
    shape: tuple[int, ...]  # of one view


class _BatchMaker(Dataset[_Made]):
    def __init__(self, images: PackedImages, task: Task, data: Data, seed: int, places: torch.Tensor | None) -> None:
        self._images, self._task, self._data, self._augmentation = images, task, data, data.augmentation
        self._seed, self._places = seed, places

    def __getitem__(self, numbered: tuple[int, Request]) -> _Made:
        number, request = numbered
        made = self._items(request)
        views, targets = [view for view, _ in made], [target for _, target in made]
        shape = tuple(views[0].shape)
        if self._places is None or len(views) * math.prod(shape) > self._places.shape[1]:
            return _Made(default_collate(views), targets, number, shape)
        torch.stack(views, out=_place(self._places, number, len(views), shape))
        return _Made(None, targets, number, shape)

    def _items(self, request: Request) -> list[tuple[torch.Tensor, Target]]:
        """The views of a batch, each with the truth about it."""
        if request.epoch is None:
            how = self._task.look(self._data, request.side_px)
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
        rng = np.random.default_rng((_AUGMENTATION, self._seed, epoch, *key))
        how = self._task.look(self._data, side_px, self._augmentation)
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

    def _stored(self, index: int) -> tuple[Packed, Target]:
        return self._images.packed(index), self._images.target(index)


def drawn_twin(view: torch.Tensor, twins: Twins, rng: np.random.Generator) -> torch.Tensor:
    """A training view, uint8 (S, S, 3), or with the settings' share its twin at one of their levels: by `rng` alone.

    Of a clip (k, S, S, 3) all frames are changed alike.
    """
    assert twins.kind is not None
    if rng.random() >= twins.share:
        return view
    level, key = int(rng.choice(twins.levels)), int(rng.integers(2**31))
    frames = view.numpy().reshape(-1, *view.shape[-3:])
    changed = change(frames, twins.kind, level, keys=[key] * len(frames), seed=_TWINS)
    return torch.from_numpy(changed.reshape(view.shape))


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


def _place(places: torch.Tensor, number: int, count: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Where the views of a batch lie: uint8 (count, *shape)."""
    return places[number % len(places), : count * math.prod(shape)].view(count, *shape)


def _channels_first(views: torch.Tensor) -> torch.Tensor:
    """(B, S, S, 3) -> (B, 3, S, S) and (B, k, S, S, 3) -> (B, k, 3, S, S), nothing moved in memory."""
    return views.movedim(-1, -3)


def _received(made: Iterator[_Made], places: torch.Tensor | None) -> Iterator[Batch]:
    """Take images out of the shared memory, where they stay no longer than until the next batch is asked for."""
    for batch in _without_traceback(made):
        images = batch.images
        if images is None:
            assert places is not None
            images = _place(places, batch.number, len(batch.targets), batch.shape).clone()
        yield Batch(_channels_first(images), batch.targets)


def _without_traceback(made: Iterator[_Made]) -> Iterator[_Made]:
    """What people can act on, as a worker said it: torch puts the worker's traceback around it."""
    try:
        yield from made
    except DataError as error:
        raise DataError(str(error).rstrip().rpartition(f"{DataError.__name__}: ")[2]) from error


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
