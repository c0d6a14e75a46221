"""What a sweep was asked for: which values, how they are chosen, how many trials, in which folder.

In: the words of `make sweep`, or the folder of a sweep that goes on. Out: a `Plan`, and its `sweep.json`. Read by
the other modules of this folder.
"""

import datetime
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hydra.core.override_parser.types import Override
from pydantic import ValidationError

from drift_detector_pipeline.conf_files import conf_file
from drift_detector_pipeline.config import CONF, as_in_a_shell, parse
from drift_detector_pipeline.errors import ConfigError, ResumeError
from drift_detector_pipeline.files import SEAL, is_as_sealed, make_folder, sealed, write_json
from drift_detector_pipeline.json_files import read_json, typed
from drift_detector_pipeline.modeling.sweep.search import Choice, Search, grid, read_search, search_space
from drift_detector_pipeline.runs.folders import remove_made
from drift_detector_pipeline.settings import Sweep

SWEEPS = Path("outputs/sweeps")
PLAN, LOCK = "sweep.json", ".lock"


@dataclass(frozen=True)
class Plan:
    """A sweep to start or to go on with."""

    folder: Path  # where nobody chose one, the name of a new one
    sampler: str  # "grid" or "optuna"
    count: int  # trials, in all
    search: Search
    listed: list[Choice] | None  # the grid; None: Optuna suggests
    started: str  # ISO 8601, UTC
    folder_chosen: bool = True
    shared: bool = False  # by several machines


class _Written(NamedTuple):
    """What sweep.json holds."""

    started: str
    words: list[str]
    sampler: Literal["grid", "optuna"]
    trials: int
    grid: list[Choice] | None
    shared: bool = False


def open_plan(words: Sequence[str]) -> Plan:
    """Plan a new sweep, or read the plan of the one that `sweep.resume` or `sweep.dir` names.

    Nothing is written. Raises ConfigError or ResumeError if the words cannot be used, or the folder holds another
    sweep.
    """
    given, rest = _split(words)
    options = _options(given)
    if options.resume is not None:
        if superfluous := [*rest, *(f"sweep.{name}=..." for name in given if name not in ("resume", "trials"))]:
            raise ConfigError(
                f"sweep.resume={options.resume}: the sweep resumes as its {PLAN} says; leave out "
                f"{' '.join(superfluous)} (sweep.trials may be given)"
            )
        return _read(options.resume, options.trials)
    folder = options.dir or SWEEPS / datetime.datetime.now().strftime("%Y-%m-%d/%H-%M-%S")
    new = _new(folder, options, rest)
    if options.dir is None:
        return replace(new, folder_chosen=False)
    used = folder.exists() and any(path.name != LOCK for path in folder.iterdir())
    return _same(new, options.trials) if used else new


@contextmanager
def plan_folder(plan: Plan) -> Iterator[Plan]:
    """The plan with its folder made; of two sweeps that nobody named, started at once, each gets its own.

    One that nobody named is gone afterwards if no plan came into it.
    """
    if plan.folder_chosen:
        plan.folder.mkdir(parents=True, exist_ok=True)
        yield plan
        return
    plan = replace(plan, folder=make_folder(plan.folder))
    try:
        yield plan
    finally:
        if not (plan.folder / PLAN).exists():
            remove_made(plan.folder)


def write_plan(plan: Plan) -> Plan:
    """Write sweep.json, the first file of a sweep's folder; return the plan, or the one of the same search there.

    Raises ResumeError if the folder has come to hold another sweep; DataError if the disk is full.
    """
    if (plan.folder / PLAN).exists():
        plan = _same(plan, plan.count if plan.listed is None else None)
    write_json(plan.folder / PLAN, sealed(_facts(plan)))
    return plan


def _facts(plan: Plan) -> dict[str, Any]:
    return {
        "started": plan.started,
        "words": list(plan.search.words.values()),
        "sampler": plan.sampler,
        "trials": plan.count,
        "grid": plan.listed,
        "shared": plan.shared,
    }


def _split(words: Sequence[str]) -> tuple[dict[str, Override], list[str]]:
    """Separate `sweep.*` from the words for the trainings."""
    overrides = parse([as_in_a_shell(word) if word.startswith("sweep.") else word for word in words])
    own = {override.key_or_group: override for override in overrides if override.key_or_group.split(".")[0] == "sweep"}
    rest = [str(override.input_line) for override in overrides if override.key_or_group not in own]
    return {key.removeprefix("sweep").removeprefix("."): override for key, override in own.items()}, rest


def _options(given: dict[str, Override]) -> Sweep:
    defaults: dict[str, Any] = dict(conf_file(CONF, "sweep.yaml"))
    for name, override in given.items():
        if name not in defaults:
            valid = ", ".join(f"sweep.{key}" for key in defaults)
            raise ConfigError(f"{override.input_line}: no such key in conf/sweep.yaml; valid keys: {valid}")
        if override.is_sweep_override():
            raise ConfigError(f"{override.input_line}: one value is expected")
    try:
        return Sweep.model_validate(defaults | {name: override.value() for name, override in given.items()})
    except ValidationError as error:
        lines = dict.fromkeys(f"sweep.{one['loc'][0]}: {one['msg']}, got {one['input']!r}" for one in error.errors())
        raise ConfigError("\n       ".join(lines)) from error


def _new(folder: Path, options: Sweep, words: list[str]) -> Plan:
    search = read_search(words)
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    if options.sampler == "grid":
        listed = grid(search)
        if options.trials is not None:
            raise ConfigError(
                f"sweep.trials={options.trials}: this grid has {len(listed)} trials; leave it out, or let Optuna "
                "choose with sweep.sampler=optuna"
            )
        return Plan(folder, "grid", len(listed), search, listed, started, shared=options.shared)
    if options.trials is None:
        raise ConfigError("sweep.sampler=optuna needs a number of trials: pass sweep.trials=20")
    search_space(search)
    return Plan(folder, "optuna", options.trials, search, None, started, shared=options.shared)


def _read(folder: Path, trials: int | None) -> Plan:
    """Read a plan; `trials` changes how many suggestions of Optuna's are tried in all."""
    try:
        values = read_json(folder / PLAN)
        written = typed(_Written, {name: values[name] for name in values if name != SEAL})
        if not is_as_sealed(values):
            raise ValueError("changed since it was written")
        if written.grid is not None and len(written.grid) != written.trials:
            raise ValueError(f"{written.trials} trials, and a grid of {len(written.grid)}")
        search = read_search(written.words)
        plan = Plan(
            folder, written.sampler, written.trials, search, written.grid, written.started, shared=written.shared
        )
    except FileNotFoundError as error:
        raise ResumeError(f"{folder}: no {PLAN}, so no sweep; choose an empty folder or one of {SWEEPS}/") from error
    except (ValueError, TypeError, ConfigError) as error:
        raise ResumeError(
            f"{folder / PLAN}: not the plan of a sweep ({error}); begin another: make sweep, with its words"
        ) from error
    if trials is None or trials == plan.count:
        return plan
    if plan.listed is not None:
        raise ConfigError(f"sweep.trials={trials}: this sweep is a grid of {plan.count} trials; leave it out")
    return replace(plan, count=trials)


def _same(new: Plan, trials: int | None) -> Plan:
    """The plan in the folder of `new`, for `trials` in all, which must be of the same search."""
    old = _read(new.folder, trials)
    if differences := _differences(old, new):
        raise ResumeError(
            f"{new.folder}: holds a different sweep ({'; '.join(differences)}); choose another sweep.dir=FOLDER"
        )
    return old


def _differences(old: Plan, new: Plan) -> list[str]:
    before, now = list(old.search.words.values()), list(new.search.words.values())
    texts = [f"it has {word}" for word in before if word not in now]
    texts += [f"it has no {word}" for word in now if word not in before]
    texts += [f"its sampler is {old.sampler}"] * (old.sampler != new.sampler)
    return texts + ["it is for one machine"] * (new.shared and not old.shared)
