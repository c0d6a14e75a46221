"""The same work on many things, in as many processes as there are cores; each sees what its parent had in memory.

In: a function and things. Out: its results, in their order. Read by the studies.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from threadpoolctl import threadpool_limits

from drift_detector_pipeline.console import progress_bar

_Thing = TypeVar("_Thing")
_Result = TypeVar("_Result")
_WORK: list[Callable[[Any], Any]] = []  # a closure cannot be sent, but it can be inherited


def in_processes(work: Callable[[_Thing], _Result], things: Sequence[_Thing], title: str) -> Iterator[_Result]:
    """Do `work` on each of the things; nothing it does to its memory comes back but the result.

    In one thread each, for there is a process for every core; and whoever waited for threads that OpenMP had started
    in the parent (torch does it by itself) would wait forever: they are not inherited.
    """
    _WORK.append(work)
    try:
        with (
            multiprocessing.get_context("fork").Pool(len(os.sched_getaffinity(0)), _use_one_thread) as pool,
            progress_bar(total=len(things), title=title, unit="") as bar,
        ):
            for result in pool.imap(_work, things):
                yield result
                bar.update()
    finally:
        _WORK.pop()


def _use_one_thread() -> None:
    torch.set_num_threads(1)  # with that, of the MKL inside it, which the next line does not find
    threadpool_limits(1)


def _work(thing: Any) -> Any:
    return _WORK[-1](thing)
