"""The same work on many things, in as many processes as there are cores; each sees what its parent had in memory.

In: a function and things. Out: its results, in their order. Read by the studies.
"""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import torch
from threadpoolctl import threadpool_limits

from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.images.decode_many import cores, end_if_asked, follow_parent
from drift_detector_pipeline.stopped import held_back

_Thing = TypeVar("_Thing")
_Result = TypeVar("_Result")
_WORK: list[Callable[[Any], Any]] = []  # a closure cannot be sent, but it can be inherited


def in_processes(work: Callable[[_Thing], _Result], things: Sequence[_Thing], title: str) -> Iterator[_Result]:
    """Do `work` on each of the things; nothing it does to its memory comes back but the result.

    In one thread each, for there is a process for every core; and whoever waited for threads that OpenMP had started
    in the parent (torch does it by itself) would wait forever: they are not inherited. Raises DataError if one of the
    processes is killed. Whoever stops gives them time to hand over their results: of one that ends amid its own, Python
    would wait for the rest.
    """
    _WORK.append(work)
    before = set(multiprocessing.active_children())
    try:
        with (
            ProcessPoolExecutor(cores(), multiprocessing.get_context("fork"), _get_ready) as pool,
            progress_bar(total=len(things), title=title, unit="") as bar,
        ):
            try:
                with held_back():  # amid handing over the work a signal would leave a lock behind that nobody opens
                    results = pool.map(_work, things)
                for result in results:
                    yield result
                    bar.update()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in set(multiprocessing.active_children()) - before:
                    process.terminate()
                raise
    except BrokenProcessPool as error:
        raise DataError(f"{title}: one of its processes was killed, most likely because memory ran out") from error
    finally:
        _WORK.pop()


def _get_ready() -> None:
    follow_parent()
    torch.set_num_threads(1)  # with that, of the MKL inside it, which the next line does not find
    threadpool_limits(1)


def _work(thing: Any) -> Any:
    end_if_asked()
    return _WORK[-1](thing)
