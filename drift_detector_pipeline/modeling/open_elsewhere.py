"""A model open in many processes or machines as it is open in this one, and the files that each of them works on.

In: a `Trained`, what a command's words name. Out: what a worker is given: it opens the weight file once, and computes
as this process would. Read by answers_elsewhere.py and drift/read_elsewhere.py.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from drift_detector_pipeline.cluster import spread
from drift_detector_pipeline.errors import ConfigError, ModelError
from drift_detector_pipeline.images.named_files import Source, image_files, sources_of, units_of
from drift_detector_pipeline.modeling.trained import Trained, open_trained
from drift_detector_pipeline.runs.machine import Machine, as_here, same_machine

_FILES = 64  # of a unit: some seconds of a large network, and what is done again when a process dies
_Unit = TypeVar("_Unit")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class AsHere:
    """Which model computes, and how."""

    file: Path  # of weights, at the same place everywhere
    sha256: str
    machine: Machine
    instruction_set: str

    @contextmanager
    def opened(self) -> Iterator[tuple[Trained, Machine]]:
        """The model in a worker. Raises ConfigError or ModelError where it would compute something else."""
        with same_machine(self.machine, self.instruction_set) as machine:
            yield _open_once(self.file, self.sha256, machine), machine

    def spread(self, units: Sequence[_Unit], work: Callable[[_Unit], _Result]) -> Iterator[_Result]:
        """`work` of each unit, by the machines of the cluster, each with the cores of this one."""
        gpus = int(self.machine.device.type == "cuda")
        return spread(units, work, threads=self.machine.threads, gpus=gpus)


def as_open_here(trained: Trained, machine: Machine) -> AsHere:
    """What a worker is given. Raises ConfigError for a model of clips."""
    if trained.clip is not None:
        raise ConfigError("engine=ray: is for images; clips are for engine=local")
    return AsHere(trained.file.resolve(), trained.sha256, *as_here(machine))


def files_for(engine: str, words: Sequence[str]) -> AbstractContextManager[list[Any]]:
    """The files that `words` name, for as long as the context is open; with Ray the `Source`s, opened by nobody yet."""
    return image_files(words) if engine == "local" else nullcontext(sources_of(words))


def units(sources: Sequence[Source]) -> list[list[Source]]:
    """The parts that workers open."""
    return units_of(sources, _FILES)


@lru_cache(maxsize=1)
def _open_once(file: Path, sha256: str, machine: Machine) -> Trained:
    trained = open_trained(file, machine)
    if trained.sha256 != sha256:
        raise ModelError(f"{file}: holds other weights on this machine; a folder that all machines share is needed")
    return trained
