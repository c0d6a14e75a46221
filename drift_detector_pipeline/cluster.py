"""Work on many machines by Ray Data: what becomes of each unit of work, in the order of the units.

In: units, and a function of one. Out: its results, one at a time. Ray is an extra and is imported here alone. Read by
whatever has an `engine=ray`.

The head of a cluster has a process for Ray's pages and its reports of usage. With both switched off it still asks which
cloud it is in, and `ray start` tells Ray's makers that reports are off. Ray goes on without that process where its port
cannot be had, so it is given one that does not exist. A test listens whom all of Ray's processes ask.
"""

import os
import pickle
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, TypeVar

from drift_detector_pipeline.errors import ConfigError, PipelineError

ENGINES = ("local", "ray")  # values of `engine=`
STORE_BYTES = 128 << 20  # of Ray's shared memory, in a cluster that is started here
RETRIES = 3  # of a unit whose process was killed; one that always is would go on for ever
SETTINGS = {  # of the environment, before Ray is loaded or started
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray's reports of usage
    "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # which prints a stack at SIGTERM
    "RAY_worker_niceness": "0",  # of 15, beside anything else they hardly come to work
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # without a GPU variables stay as they are
}
NO_REPORTS = {"include_dashboard": False, "dashboard_port": -1}  # of whatever starts a cluster
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # read on Linux, too: all processes listen on 127.0.0.1 only
_Unit = TypeVar("_Unit")
_Result = TypeVar("_Result")


def check_engine(engine: str) -> None:
    """Raise ConfigError if it is Ray, which is not installed; asked before anything is imported that takes seconds."""
    if engine == "ray" and find_spec("ray") is None:
        raise ConfigError("engine=ray: Ray is not installed here: pip install -e '.[ray]'")


def spread(
    units: Sequence[_Unit], work: Callable[[_Unit], _Result], *, threads: int = 1, gpus: int = 0
) -> Iterator[_Result]:  # fmt: skip
    """Yield `work(unit)` of each unit, in their order, from the machines of RAY_ADDRESS, or from processes here.

    `work` is pickled, and so is a module's own or made of such; each call is given `threads` cores. A unit whose
    process or machine dies is done again elsewhere. The first PipelineError that `work` raises is raised here. Raises
    ConfigError if Ray is not installed, or no machine has so many cores.
    """
    if not units:
        return
    with _connected() as ray:
        _check_room(ray, threads, gpus)
        rows = [{"unit": pickle.dumps(unit)} for unit in units]
        with _quiet():
            found = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                _Done(work), batch_size=1, num_cpus=threads, num_gpus=gpus, max_retries=RETRIES
            )
        for row in found.iter_batches(batch_size=1, prefetch_batches=0):
            result = pickle.loads(row["result"][0])  # noqa: S301  (made a moment ago by `_Done`)
            if isinstance(result, PipelineError):
                raise result
            yield result


class _Done:
    """`work` as Ray Data calls it: a batch of one pickled unit to a batch of one pickled result."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        try:
            result = self._work(pickle.loads(batch["unit"][0]))  # noqa: S301  (made by `spread`)
        except PipelineError as error:
            result = error
        return {"result": [pickle.dumps(result)]}


@contextmanager
def _connected() -> Iterator[Any]:
    """Ray, connected to the cluster of RAY_ADDRESS or to a small one of this machine's own; left as it was found."""
    alone = os.environ.get("RAY_ADDRESS", "local") == "local"
    ray = _loaded(SETTINGS | (LOOPBACK if alone else {}))
    own = not ray.is_initialized()
    try:
        if own:
            with _quiet(), _own_answer_to_sigterm():
                small = {"address": "local", "object_store_memory": STORE_BYTES, **NO_REPORTS}
                ray.init(log_to_driver=False, logging_level="CRITICAL", **(small if alone else {}))
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        yield ray
    finally:
        if own:
            ray.shutdown()


def _loaded(settings: dict[str, str]) -> Any:
    """Ray, which reads its settings while it is imported."""
    os.environ.update(settings)
    try:
        with _quiet():
            import ray
            import ray.data
    except ImportError as error:
        raise ConfigError(f"engine=ray: needs Ray ({error}); pip install -e '.[ray]'") from error
    return ray


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings that Ray gives of Ray itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _own_answer_to_sigterm() -> Iterator[None]:
    """Keep this process's; Ray's, an exit without a word, is passed on to it if the signal comes meanwhile."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:
        signal.signal(signal.SIGTERM, before)
        signal.raise_signal(signal.SIGTERM)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_room(ray: Any, threads: int, gpus: int) -> None:
    """Raise ConfigError if no machine can do a unit: Ray would wait for one."""
    for key, wanted, word in (("CPU", threads, "run.threads"), ("GPU", gpus, "run.device=cuda")):
        most = max((node["Resources"].get(key, 0) for node in ray.nodes() if node["Alive"]), default=0)
        if wanted > most:
            raise ConfigError(
                f"engine=ray: no machine of the cluster has {wanted} {key} ({most:g} at most); see {word}"
            )
