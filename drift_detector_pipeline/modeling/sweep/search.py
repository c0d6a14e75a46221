"""What a sweep tries: the values of some settings, listed as a grid or searched by Optuna.

In: words in Hydra's multirun grammar, such as `training.learning_rate=1e-3,1e-2`. Out: a `Search`, and from it one
`Choice` a trial. Fed by plan.py, read by the other modules of this folder.
"""

import itertools
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import optuna
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from drift_detector_pipeline.config import group_choices, load, parse
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.processed.manifest import deciding_settings
from drift_detector_pipeline.settings import Data
from drift_detector_pipeline.tasks.headline import Headline

SEED = 0  # of Optuna's suggestions
SEED_KEY = "run.seed"  # varied beside other settings, it makes repetitions
Choice = dict[str, str]  # what one trial tries: key, as on the command line, and value


class Search(NamedTuple):
    """The words of a sweep by their keys, and those among them that hold several values."""

    words: dict[str, str]
    swept: dict[str, Override]


def read_search(words: Sequence[str]) -> Search:
    """Read the words of a sweep; of a key given twice, the last counts, as in Hydra.

    Raises ConfigError if they cannot be read, hold nothing to vary, or name what every trial has of its own.
    """
    overrides = {override.get_key_element(): override for override in parse(words)}
    for override in overrides.values():
        if override.is_hydra_override() or override.key_or_group == "run.resume":
            raise ConfigError(
                f"{override.input_line}: a trial's folder is the sweep's to choose; name that of the sweep with "
                "sweep.dir=FOLDER"
            )
    swept = {key: override for key, override in overrides.items() if override.is_sweep_override()}
    if not swept:
        raise ConfigError("nothing to try: give a setting several values, such as training.learning_rate=1e-3,1e-2")
    search = Search({key: str(override.input_line) for key, override in overrides.items()}, swept)
    for key, override in swept.items():
        _check_values(key, override)
    return search


def trial_words(search: Search, choice: Choice) -> list[str]:
    """The words of the training that tries `choice`."""
    return [f"{key}={choice[key]}" if key in choice else word for key, word in search.words.items()]


def needed_data(search: Search) -> list[Data]:
    """Check each value beside the first ones of the other settings; return the data sets that the trials use.

    Of ranges and intervals both ends are checked. Raises ConfigError if a value cannot be used, or two data sets
    would be processed to one folder.
    """
    checked = {key: _ends(override) for key, override in search.swept.items()}
    first = {key: texts[0] for key, texts in checked.items()}
    choices = [first | {key: text} for key, texts in checked.items() for text in texts]
    needed: dict[Path, Data] = {}
    for choice in choices:
        data = load(trial_words(search, choice)).settings.data
        if deciding_settings(needed.setdefault(data.processed_path, data)) != deciding_settings(data):
            raise ConfigError(
                f"{data.processed_path}: the trials would process different data to this folder; make a sweep of each, "
                "with a data.processed_path=FOLDER of its own"
            )
    return list(needed.values())


def grid(search: Search) -> list[Choice]:
    """Every combination, the last setting's values changing fastest, as Hydra's own sweeper has them.

    Raises ConfigError if a setting has an interval.
    """
    for override in search.swept.values():
        if override.is_interval_sweep():
            raise ConfigError(
                f"{override.input_line}: an interval cannot be listed as a grid; let it be searched with "
                "sweep.sampler=optuna sweep.trials=20, or name its values, separated by commas"
            )
    values = [_texts(override) for override in search.swept.values()]
    return [dict(zip(search.swept, combination, strict=True)) for combination in itertools.product(*values)]


def suggest(search: Search, earlier: Sequence[tuple[Choice, float | None]], headline: Headline) -> Choice:
    """Optuna's suggestion after the `earlier` trials, each with its score (None: failed).

    It depends on SEED, how many trials there were and how they ended, and on nothing else: a sweep that was killed
    goes on as if it had not been. Method: tree-structured Parzen estimator (Bergstra et al. 2011), ten random trials
    first.
    """
    seed = int(np.random.SeedSequence([SEED, len(earlier)]).generate_state(1)[0])
    study = new_study(search, earlier, headline, optuna.samplers.TPESampler(seed=seed))
    return {key: word_of(value) for key, value in study.ask(search_space(search)).params.items()}


def new_study(
    search: Search,
    earlier: Sequence[tuple[Choice, float | None]],
    headline: Headline,
    sampler: optuna.samplers.BaseSampler | None = None,
    storage: optuna.storages.BaseStorage | None = None,
) -> optuna.Study:
    """An Optuna study, in memory unless there is a `storage`, that has seen the `earlier` trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=storage, sampler=sampler, study_name="sweep", direction=headline.direction)
    space = search_space(search)
    for choice, score in earlier:
        params = {key: _param(distribution, choice[key]) for key, distribution in space.items()}
        state = optuna.trial.TrialState.FAIL if score is None else optuna.trial.TrialState.COMPLETE
        study.add_trial(
            optuna.trial.create_trial(state=state, params=params, distributions=space, value=score),
        )
    return study


def search_space(search: Search) -> dict[str, BaseDistribution]:
    """The settings as Optuna knows them: choices in no order, ranges and intervals as numbers, `log` if tagged so.

    Raises ConfigError if Optuna cannot search such a range.
    """
    space: dict[str, BaseDistribution] = {}
    for key, override in search.swept.items():
        try:
            space[key] = _distribution(override)
        except ValueError as error:
            raise ConfigError(f"{override.input_line}: Optuna cannot search this ({error})") from error
    return space


def is_log(override: Override) -> bool:
    """Whether the values were tagged `log`."""
    return "log" in getattr(override.value(), "tags", ())


def _check_values(key: str, override: Override) -> None:
    value = override.value()
    if unknown := sorted(set(getattr(value, "tags", ())) - {"log"}):
        raise ConfigError(f"{override.input_line}: there is no tag {unknown[0]}; the only one is log")
    if isinstance(value, IntervalSweep):
        assert value.start is not None and value.end is not None
        if value.start >= value.end:
            raise ConfigError(f"{override.input_line}: an interval goes from a smaller to a larger number")
    elif not _texts(override):
        raise ConfigError(f"{override.input_line}: these are no values; name some, such as {key}=A,B")


def _texts(override: Override) -> list[str]:
    """The values of a choice or range as words for the command line."""
    value = override.value()
    if isinstance(value, Glob):
        return value.filter(group_choices().get(override.key_or_group, []))
    try:
        return list(override.sweep_string_iterator())
    except ValueError as error:  # a range whose step is 0
        raise ConfigError(f"{override.input_line}: {error}") from error


def _ends(override: Override) -> list[str]:
    value = override.value()
    if isinstance(value, IntervalSweep):
        return [word_of(value.start), word_of(value.end)]
    texts = _texts(override)
    return [texts[0], texts[-1]] if isinstance(value, RangeSweep) else texts


def _distribution(override: Override) -> BaseDistribution:
    value, log = override.value(), is_log(override)
    if isinstance(value, IntervalSweep):
        if isinstance(value.start, int) and isinstance(value.end, int):
            return IntDistribution(value.start, value.end, log=log)
        assert value.start is not None and value.end is not None
        return FloatDistribution(value.start, value.end, log=log)
    texts = _texts(override)
    if not isinstance(value, RangeSweep):
        return CategoricalDistribution(sorted(set(texts)))  # in one order, also where the values are shuffled
    low, high = min(map(Decimal, texts)), max(map(Decimal, texts))
    if all(isinstance(number, int) for number in (value.start, value.stop, value.step)):
        return IntDistribution(int(low), int(high), step=abs(int(value.step)), log=log)
    step = abs(float(value.step))
    steps = round(float(high - low) / step)
    return FloatDistribution(float(low), float(low + steps * Decimal(str(step))), step=None if log else step, log=log)


def _param(distribution: BaseDistribution, text: str) -> int | float | str:
    if isinstance(distribution, IntDistribution):
        return int(text)
    return float(text) if isinstance(distribution, FloatDistribution) else text


def word_of(value: object) -> str:
    """A value as a word of the command line that reads as this value again."""
    return repr(value) if isinstance(value, float) else str(value)
