"""Pictures of a sweep: Optuna's own, drawn of a study that is made from the results, for grids and searches alike.

In: the search and the results so far. Out: matplotlib figures with captions, readable without colour. Of our own are a
table of shades where two settings have few values each, since Optuna draws contours there, between names, too; and the
crosses for what failed, which Optuna leaves out. Fed by results.py.
"""

import statistics
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import optuna
from hydra.core.override_parser.types import Override
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator, PercentFormatter
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator
from optuna.visualization import matplotlib as optuna_plots

from drift_detector_pipeline.modeling.sweep.search import SEED, SEED_KEY, Search, is_log
from drift_detector_pipeline.modeling.sweep.trials import TrialResult, headline_of
from drift_detector_pipeline.tasks.headline import Headline

SIZE = (5, 3.2)  # inches: readable on a phone, where it is shrunk to half
MANY = 10  # more distinct values than this are no ticks and no cells
TRIALS_PER_SETTING = 6  # fewer finished trials say nothing about which setting matters


class Picture(NamedTuple):
    """A figure and what it shows."""

    caption: str
    figure: Figure


def sweep_pictures(search: Search, results: Sequence[TrialResult]) -> list[Picture]:
    """Draw the trials of a sweep; nothing as long as those that finished do not differ in any setting.

    Seeds are repetitions, drawn over each other, where other settings vary as well.
    """
    overrides = {key.lstrip("+"): override for key, override in search.swept.items()}
    names = [name for name in overrides if name != SEED_KEY] or [SEED_KEY]
    finished = [one for one in results if one.score is not None]
    columns = {name: _distinct(results, name) for name in names}
    varied = [name for name in names if len(_distinct(finished, name)) > 1]
    if not varied:
        return []
    study = _study({name: overrides[name] for name in names}, results)
    if len(names) == 2 and all(len(column) <= MANY for column in columns.values()):
        pictures = [_shades(columns, results)]
    else:
        pictures = [_slice(study, name, overrides[name], results) for name in varied]
        pictures += _together(study, {name: columns[name] for name in varied}, headline_of(results))
    if len(varied) > 1 and len(finished) >= TRIALS_PER_SETTING * len(varied):
        pictures.append(_importances(study, varied, headline_of(results)))
    if any(override.is_interval_sweep() for override in overrides.values()):
        pictures.append(_history(study, headline_of(results)))
    return pictures


def value_text(value: object) -> str:
    """A value for people: numbers with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _study(overrides: dict[str, Override], results: Sequence[TrialResult]) -> optuna.Study:
    """The trials as Optuna knows them, with their own numbers.

    What is a number is one there, too, also where it was listed, so that values lie in order and to scale.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space: dict[str, BaseDistribution] = {}
    for name, override in overrides.items():
        column = _distinct(results, name)
        if _are_numbers(column):
            space[name] = FloatDistribution(min(column), max(column), log=_wants_log(override, column))
        else:
            space[name] = CategoricalDistribution(column)
    study = optuna.create_study(direction=headline_of(results).direction)
    for one in sorted(results, key=lambda one: one.trial):
        state = optuna.trial.TrialState.FAIL if one.score is None else optuna.trial.TrialState.COMPLETE
        params = {name: one.values[name] for name in space}
        study.add_trial(optuna.trial.create_trial(state=state, params=params, distributions=space, value=one.score))
    return study


def _slice(study: optuna.Study, name: str, override: Override, results: Sequence[TrialResult]) -> Picture:
    """The score against one setting: a circle a trial, a cross for a failed trial."""
    headline = headline_of(results)
    figure, axes = _drawn(optuna_plots.plot_slice, study, headline, params=[name])
    failed, values = [one.values[name] for one in results if one.score is None], _distinct(results, name)
    numbers = _are_numbers(values)
    places = failed if numbers else [repr(value) for value in failed]  # repr: how Optuna calls a word on this axis
    axes.plot(places, [0.03] * len(places), "x", color="#555555", transform=axes.get_xaxis_transform(), markersize=8)
    axes.autoscale(axis="x")  # Optuna's limits know of no failed trial
    axes.margins(x=0.06, y=0.15)
    _name_scores(axes, headline)
    if numbers and not override.is_interval_sweep() and len(values) <= MANY:
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        _name_ticks(axes, values)
    crosses = " Crosses at the bottom are failed trials." if failed else ""
    what = f"{headline.name.capitalize()} against {name}, a circle a trial, the later, the darker."
    return Picture(what + crosses, figure)


def _together(study: optuna.Study, columns: dict[str, list[Any]], headline: Headline) -> list[Picture]:
    """What makes a trial good in several settings at once."""
    names = list(columns)
    if len(names) == 2 and all(map(_are_numbers, columns.values())):
        figure, _ = _drawn(optuna_plots.plot_contour, study, headline, params=names)
        by = f"{headline.name.capitalize()} by {names[0]} and {names[1]}"
        return [Picture(f"{by}: darker is better, a point a trial.", figure)]
    if len(names) > 2:
        figure, _ = _drawn(optuna_plots.plot_parallel_coordinate, study, headline, params=names)
        return [Picture("A line a trial, through what it tried: darker is better.", figure)]
    return []


def _importances(study: optuna.Study, names: list[str], headline: Headline) -> Picture:
    """How much of the differences each setting explains, by analysis of variance over a forest (Hutter et al. 2014).

    Optuna's default, PED-ANOVA, looks at the best tenth only and misleads where trials are few.
    """
    evaluator = FanovaImportanceEvaluator(seed=SEED)
    figure, _ = _drawn(optuna_plots.plot_param_importances, study, headline, params=names, evaluator=evaluator)
    return Picture(f"How much of the differences in {headline.name} each setting explains.", figure)


def _history(study: optuna.Study, headline: Headline) -> Picture:
    """The score by trial, with the best so far: a flat end means that nothing better is found."""
    figure, axes = _drawn(optuna_plots.plot_optimization_history, study, headline)
    _name_scores(axes, headline)
    return Picture(f"{headline.name.capitalize()} by finished trial; the line is the best so far.", figure)


def _drawn(plot: Callable[..., Any], study: optuna.Study, headline: Headline, **options: Any) -> tuple[Figure, Axes]:
    """Have Optuna draw, leaving pyplot as it was: Optuna's plots are marked experimental and set a style for all."""
    plt.switch_backend("agg")  # files only, no window
    with warnings.catch_warnings(), matplotlib.rc_context({"figure.figsize": SIZE}):
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        axes: Axes = np.ravel(plot(study, target_name=headline.name, **options))[0]
    figure = plt.gcf()
    plt.close(figure)
    axes.set_title("")  # the caption says it
    axes.set_title("", loc="left")
    return figure, axes


def _shades(columns: dict[str, list[Any]], results: Sequence[TrialResult]) -> Picture:
    """The score of each combination of two settings, as number and shade; the mean where there are several."""
    headline, ((down, ys), (across, xs)) = headline_of(results), columns.items()
    means = np.full((len(ys), len(xs)), np.nan)
    texts = np.full(means.shape, "-", dtype=object)
    for place in np.ndindex(means.shape):
        wanted = (ys[place[0]], xs[place[1]])
        cell = [one.score for one in results if (one.values[down], one.values[across]) == wanted]
        known = [score for score in cell if score is not None]
        means[place] = statistics.mean(known) if known else np.nan
        texts[place] = headline.text(float(means[place])) if known else "failed" if cell else "-"
    figure = Figure(figsize=(max(4.5, 1.6 + 1.0 * len(xs)), max(2.4, 1.2 + 0.6 * len(ys))))
    axes = figure.subplots()
    shades = means if headline.larger_is_better else -means
    low, high = np.nanmin(shades), np.nanmax(shades)
    axes.imshow(shades, cmap="Greys", vmin=low - 0.1 * (high - low), vmax=high + 0.9 * (high - low), aspect="auto")
    for (row, column), text in np.ndenumerate(texts):
        weight = "bold" if shades[row, column] == high else "normal"
        axes.text(column, row, text, ha="center", va="center", weight=weight, color="black")
    _name_ticks(axes, xs, range(len(xs)))
    axes.set_yticks(range(len(ys)), [value_text(value) for value in ys])
    axes.set_xlabel(across)
    axes.set_ylabel(down)
    return Picture(f"{headline.name.capitalize()} by {down} and {across}: darker is better, the best is bold.", figure)


def _name_scores(axes: Axes, headline: Headline) -> None:
    if headline.is_share:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def _name_ticks(axes: Axes, values: Sequence[Any], places: Sequence[Any] | None = None) -> None:
    names = [value_text(value) for value in values]
    crowded = sum(map(len, names)) > 40
    axes.set_xticks(places or values, names, rotation=30 if crowded else 0, ha="right" if crowded else "center")


def _distinct(results: Sequence[TrialResult], name: str) -> list[Any]:
    """The distinct values of a setting: numbers by size, others as they came."""
    values = list(dict.fromkeys(one.values[name] for one in results))
    return sorted(values) if _are_numbers(values) else values


def _are_numbers(column: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) for value in column)


def _wants_log(override: Override, column: Sequence[float]) -> bool:
    """As tagged; values that were listed also where they span a factor of ten."""
    wide = not override.is_interval_sweep() and max(column) >= 10 * min(column)
    return min(column) > 0 and (is_log(override) or wide)
