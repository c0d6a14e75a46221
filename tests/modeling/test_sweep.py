"""`make sweep`: what is tried, how it ends, and that a killed sweep goes on to the same table."""

import csv
import json
import math
import os
import re
import shutil
import signal
import statistics
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import optuna
import pytest
from conftest import ROOT, Said, called, ci_environment, module_command, needs_clone
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from matplotlib.image import imread
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from drift_detector_pipeline.config import load
from drift_detector_pipeline.dataset import process
from drift_detector_pipeline.errors import ConfigError, DataError, PipelineError, ResumeError
from drift_detector_pipeline.files import sealed
from drift_detector_pipeline.modeling.sweep.__main__ import sweep
from drift_detector_pipeline.modeling.sweep.plan import open_plan, plan_folder, write_plan
from drift_detector_pipeline.modeling.sweep.plots import TRIALS_PER_SETTING, sweep_pictures
from drift_detector_pipeline.modeling.sweep.results import over_seeds, trials_table, write_results
from drift_detector_pipeline.modeling.sweep.search import (
    grid,
    needed_data,
    read_search,
    search_space,
    suggest,
    trial_words,
)
from drift_detector_pipeline.modeling.sweep.trials import Trial, TrialResult, read_trial, write_trial
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.runs.receipts import read_receipt
from drift_detector_pipeline.tasks.headline import ACCURACY

LEARNING_RATES = "training.learning_rate=1e-3,1e-2"
SEARCHED = "training.learning_rate=tag(log,interval(1e-4,1e-1))"
OPTUNA = ["sweep.sampler=optuna", "sweep.trials=2"]


# what is tried


@pytest.mark.parametrize(
    "words",
    [
        [LEARNING_RATES],
        ["data=digits", LEARNING_RATES, "model.name=choice(mlp,resnet18)", "training.epochs=3"],
        ["run.seed=range(1,4)", "training.weight_decay=range(0,0.3,0.1)"],
        ["training.sizes_px=[8,16],[16,16]", "+experiment=quickstart,cifar10"],
        ["training.epochs=1,2", "training.epochs=3,4", "training.batch_size=8"],
        ["training.learning_rate=sort(3,1,2)", "model.options={a: 1},{a: 2}"],
        ["model.pretrained_path='a b','it\\'s',null", "model.pretrained=true,false"],
    ],
)
def test_a_grid_has_the_trainings_of_hydras_own_sweeper_in_its_order(words):
    search = read_search(words)
    [reference] = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(words), None)
    assert [parsed(trial_words(search, choice)) for choice in grid(search)] == [parsed(one) for one in reference]


def parsed(words):
    overrides = OverridesParser.create().parse_overrides(words)
    return [(override.get_key_element(), override.value()) for override in overrides]


def test_a_glob_stands_for_the_files_of_a_group():
    search = read_search(["data=glob(*,exclude=[folder,imagenette,boxes,bccd,coco,kitti,clips])"])
    assert [trial_words(search, choice) for choice in grid(search)] == [["data=cifar10"], ["data=digits"]]


def test_optuna_gets_the_values_as_its_own_kinds():
    words = [SEARCHED, "training.weight_decay=interval(0,0.1)", "run.seed=int(interval(1,9))", "model.name=b,a,b"]
    words += ["training.epochs=range(2,9,3)", "training.label_smoothing=shuffle(range(0.1,0.35,0.1))"]
    assert search_space(read_search(words)) == {
        "training.learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
        "training.weight_decay": FloatDistribution(0, 0.1),
        "run.seed": IntDistribution(1, 9),
        "model.name": CategoricalDistribution(["a", "b"]),
        "training.epochs": IntDistribution(2, 8, step=3),
        "training.label_smoothing": FloatDistribution(0.1, 0.3, step=0.1),
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["training.epochs=3"], "nothing to try: give a setting several values"),
        ([SEARCHED], r"training.learning_rate=tag\(log,interval.*an interval cannot be listed .*sweep.sampler=optuna"),
        ([LEARNING_RATES, "sweep.sampler=optuna"], "needs a number of trials: pass sweep.trials=20"),
        ([LEARNING_RATES, "sweep.trials=3"], "sweep.trials=3: this grid has 2 trials"),
        ([LEARNING_RATES, "sweep.trails=3"], "sweep.trails=3: no such key in conf/sweep.yaml; valid .*sweep.trials"),
        ([LEARNING_RATES, "sweep=3"], "sweep=3: no such key in conf/sweep.yaml"),
        ([LEARNING_RATES, "sweep.trials=0"], "sweep.trials: Input should be greater than or equal to 1, got 0"),
        ([LEARNING_RATES, "sweep.trials=many"], "sweep.trials: .*integer, got 'many'"),
        ([LEARNING_RATES, "sweep.trials=1,2"], "sweep.trials=1,2: one value is expected"),
        ([LEARNING_RATES, "sweep.sampler=tpe"], "sweep.sampler: .*'grid' or 'optuna', got 'tpe'"),
        ([LEARNING_RATES, "hydra.run.dir=x"], "hydra.run.dir=x: a trial's folder is the sweep's to choose"),
        ([LEARNING_RATES, "run.resume=auto"], "run.resume=auto: a trial's folder is the sweep's to choose"),
        (["training.epochs=tag(lgo,interval(1,2))", *OPTUNA], "there is no tag lgo; the only one is log"),
        (["training.epochs=interval(2,2)", *OPTUNA], "from a smaller to a larger number"),
        (["training.epochs=tag(log,interval(0,2))", *OPTUNA], r"Optuna cannot search this \(.*low"),
        (["training.epochs=tag(log,range(1,9,2))", *OPTUNA], r"Optuna cannot search this \(.*step"),
        (["training.epochs=range(3,9,0)"], "must not be zero"),
        (["training.epochs=range(3,3)"], "these are no values; name some, such as training.epochs=A,B"),
        (["data=glob(nothing)"], "these are no values"),
        (["training.epochs=choice("], "cannot be read"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_and_says_why(words, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        open_plan([*words, f"sweep.dir={tmp_path}/sweep"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["training.learning_rat=1e-3,1e-2"], "training.learning_rat: no such key; did you mean training.learning_r"),
        (["training.learning_rate=1e-3,-1"], "training.learning_rate: .*greater than 0, got -1"),
        (["training.epochs=2,3", "training.batch_size=8,x"], "training.batch_size: .*integer, got 'x'"),
        (["training.label_smoothing=interval(0.1,2)"], "training.label_smoothing: .*less than 1, got 2.0"),
        (["data=digits,digitz"], "data=digitz: no such file in conf/data/"),
        (["data=digits", "data.val_fraction=0.2,0.3"], "data/processed/digits: the trials would process different"),
    ],
)
def test_every_value_is_checked_before_anything_is_trained(words, said):
    with pytest.raises(ConfigError, match=said):
        needed_data(read_search(words))


def test_a_sweep_on_data_that_is_not_there_names_the_command_and_leaves_nothing(tmp_path):
    words = ["data=digits", f"data.processed_path={tmp_path}/digits", LEARNING_RATES, f"sweep.dir={tmp_path}/sweep"]
    with pytest.raises(DataError, match="make process_data ARGS"):
        sweep(open_plan(words))
    assert not (tmp_path / "sweep").exists()


# Optuna's suggestions


def goodness(choice):
    """1 at a learning rate of 10^-2.5 with optimizer b, less the further away."""
    distance = (math.log10(float(choice["training.learning_rate"])) + 2.5) ** 2
    return 1 - distance / 4 - (0.2 if choice["training.optimizer"] == "a" else 0)


def searched(count, history=()):
    search, trials = read_search([SEARCHED, "training.optimizer=a,b"]), list(history)
    while len(trials) < count:
        choice = suggest(search, trials, ACCURACY)
        trials.append((choice, None if len(trials) % 7 == 3 else goodness(choice)))
    return trials


def test_suggestions_stay_in_their_range_and_become_better():
    trials = searched(40)
    assert all(1e-4 <= float(choice["training.learning_rate"]) <= 1e-1 for choice, _ in trials)
    values = [goodness(choice) for choice, _ in trials]
    assert statistics.median(values[20:]) > statistics.median(values[:10]) + 0.1
    assert len({choice["training.learning_rate"] for choice, _ in trials}) == 40


@pytest.mark.parametrize("known", [1, 9, 11, 25])
def test_suggestions_are_the_same_for_a_sweep_that_was_read_back_from_its_records(known):
    trials = searched(30)
    assert searched(30, json.loads(json.dumps(trials[:known]))) == [*map(list, trials[:known]), *trials[known:]]


def test_other_results_lead_to_other_suggestions():
    trials = searched(20)
    others = [(choice, None if accuracy is None else 1 - accuracy) for choice, accuracy in trials]
    search = read_search([SEARCHED, "training.optimizer=a,b"])
    assert suggest(search, trials, ACCURACY) != suggest(search, others, ACCURACY)


# which sweep goes on


def written(planned):
    with plan_folder(planned) as plan:
        return write_plan(plan)


def test_the_same_words_in_the_same_folder_go_on_and_other_words_are_refused(tmp_path):
    words = [LEARNING_RATES, "training.epochs=2", f"sweep.dir={tmp_path}/sweep"]
    plan = open_plan(words)
    written(plan)
    again = open_plan(words)
    assert (again.started, again.listed, again.count) == (plan.started, plan.listed, 2)
    assert open_plan([f"sweep.resume={tmp_path}/sweep"]).listed == plan.listed
    with pytest.raises(ResumeError, match=r"different sweep \(it has training.epochs=2; it has no training.epochs=3\)"):
        open_plan([LEARNING_RATES, "training.epochs=3", f"sweep.dir={tmp_path}/sweep"])
    with pytest.raises(ResumeError, match="its sampler is grid"):
        open_plan([*words, "sweep.sampler=optuna", "sweep.trials=2"])
    with pytest.raises(ConfigError, match=r"leave out training\.epochs=2"):
        open_plan([f"sweep.resume={tmp_path}/sweep", "training.epochs=2"])
    with pytest.raises(ConfigError, match="this sweep is a grid of 2 trials"):
        open_plan([f"sweep.resume={tmp_path}/sweep", "sweep.trials=5"])


def test_a_shuffled_grid_keeps_its_order_when_it_goes_on(tmp_path):
    words = ["run.seed=shuffle(range(0,50))", f"sweep.dir={tmp_path}/sweep"]
    plan = open_plan(words)
    written(plan)
    assert open_plan(words).listed == plan.listed
    assert sorted(int(choice["run.seed"]) for choice in plan.listed) == list(range(50))


def test_sweeps_that_nobody_named_have_folders_of_their_own_also_within_a_second(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plans = [replace(open_plan([words]), folder=Path("sweeps/now")) for words in (LEARNING_RATES, "run.seed=1,2")]
    made = [written(plan) for plan in plans]
    assert [plan.folder.name for plan in made] == ["now", "now_2"]
    assert [open_plan([f"sweep.resume={plan.folder}"]).listed for plan in made] == [plan.listed for plan in plans]


def test_a_sweep_whose_first_file_cannot_be_written_leaves_no_folder(tmp_path, monkeypatch):
    """As on a full disk."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match=r"sweep\.json"), plan_folder(open_plan([LEARNING_RATES])) as plan:
        (plan.folder / ".sweep.json.partial").mkdir()
        write_plan(plan)
    assert list(Path("outputs/sweeps").iterdir()) == []


def test_of_two_sweeps_that_want_a_folder_at_once_the_second_goes_on_with_the_same_search_or_is_refused(tmp_path):
    """Both were planned while the folder was empty; the lock lets one after the other write."""
    where, seeds = f"sweep.dir={tmp_path}/sweep", "run.seed=shuffle(range(0,50))"
    first, second, other = (open_plan([words, where]) for words in (seeds, seeds, LEARNING_RATES))
    first.folder.mkdir()
    assert first.listed != second.listed
    assert write_plan(first) == first
    assert write_plan(second).listed == first.listed
    with pytest.raises(ResumeError, match="holds a different sweep"):
        write_plan(other)
    assert open_plan([seeds, where]).listed == first.listed


def test_a_search_may_be_given_more_trials(tmp_path):
    written(open_plan([SEARCHED, *OPTUNA, f"sweep.dir={tmp_path}/sweep"]))
    assert open_plan([f"sweep.resume={tmp_path}/sweep"]).count == 2
    assert open_plan([f"sweep.resume={tmp_path}/sweep", "sweep.trials=9"]).count == 9


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"words": ["training.epochs=1,2"]}'])
def test_a_folder_without_a_whole_plan_is_no_sweep(content, tmp_path):
    (tmp_path / "file").write_text("x")
    if content is not None:
        (tmp_path / "sweep.json").write_text(content)
    for word in ("resume", "dir"):
        with pytest.raises(ResumeError, match=r"no sweep\.json|not the plan of a sweep"):
            open_plan([f"sweep.{word}={tmp_path}", *([LEARNING_RATES] if word == "dir" else [])])


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("1e-2", "1e-3"),  # a digit that could be
        lambda text: "[" * 100_000,
        lambda text: json.dumps(json.loads(text) | {"trials": None}),
        lambda text: json.dumps(json.loads(text) | {"grid": [["training.epochs", "1"]]}),
        lambda text: json.dumps(json.loads(text) | {"words": "training.epochs=1,2"}),
    ],
)
def test_a_plan_that_was_changed_is_none(change, tmp_path):
    written(open_plan([LEARNING_RATES, f"sweep.dir={tmp_path}/sweep"]))
    file = tmp_path / "sweep" / "sweep.json"
    whole = file.read_text()
    file.write_text(change(whole))
    assert file.read_text() != whole
    with pytest.raises(ResumeError, match=r"sweep\.json: not the plan of a sweep \(.*make sweep"):
        open_plan([f"sweep.resume={tmp_path}/sweep"])


@pytest.mark.parametrize("name", ["3", "true", "a,b (c)"])
def test_a_folder_may_be_called_what_hydra_would_read_as_something_else(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = written(open_plan([LEARNING_RATES, f"sweep.dir={name}"]))
    assert plan.folder == Path(name) and open_plan([f"sweep.resume={name}"]) == plan


def test_a_plan_and_a_record_of_an_older_version_are_read(tmp_path):
    plan = written(open_plan([LEARNING_RATES, f"sweep.dir={tmp_path}/sweep"]))
    trial = write_trial(plan.folder, Trial(0, {"training.learning_rate": "1e-3"}, "started"))
    for file in (plan.folder / "sweep.json", plan.folder / "trials" / "0" / "trial.json"):
        file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != "facts_sha256"}))
    assert open_plan([f"sweep.resume={plan.folder}"]) == plan
    assert read_trial(plan.folder, 0) == trial


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("1e-3", "1e-4"),
        lambda text: "[" * 100_000,
        lambda text: json.dumps(json.loads(text) | {"choice": None}),
        lambda text: json.dumps(json.loads(text) | {"trial": "0"}),
    ],
)
def test_a_record_that_was_changed_is_none(change, tmp_path):
    write_trial(tmp_path, Trial(0, {"training.learning_rate": "1e-3"}, "started"))
    file = tmp_path / "trials" / "0" / "trial.json"
    file.write_text(change(file.read_text()))
    with pytest.raises(ResumeError, match=r"trial\.json: not the record of a trial .*rm -r"):
        read_trial(tmp_path, 0)


def test_a_record_that_cannot_be_read_is_not_called_damaged(tmp_path):
    (tmp_path / "trials" / "0" / "trial.json").mkdir(parents=True)  # EISDIR, as well as EACCES or EIO
    with pytest.raises(OSError, match=r"trial\.json"):
        read_trial(tmp_path, 0)


# what is shown


def ended(trial, accuracy, seed=1, note="", **values):
    """A trial's result; without accuracy it has failed."""
    named = {name.replace("__", "."): value for name, value in values.items()}
    failed = TrialResult(trial, "failed", named, "folder", "command", note)
    if accuracy is None:
        return failed
    return failed._replace(
        status="finished", seed=seed, score=accuracy, loss=1.0, minutes=1.0, weights_sha256="ab" * 32
    )


@pytest.mark.parametrize(
    ("words", "values", "kinds"),
    [
        ([LEARNING_RATES], [{"training__learning_rate": 1e-3}, {"training__learning_rate": 1e-2}], ["against"]),
        (["model.name=mlp,resnet18"], [{"model__name": "mlp"}, {"model__name": "resnet18"}], ["against"]),
        (["run.seed=1,2"], [{"run__seed": 1}, {"run__seed": 2}], ["against"]),
        (
            ["training.gradient_clip_norm=null,1"],
            [{"training__gradient_clip_norm": text} for text in ("null", 1)],
            ["against"],
        ),
        (
            [LEARNING_RATES, "run.seed=1,2"],
            [{"training__learning_rate": rate, "run__seed": seed} for rate in (1e-3, 1e-2) for seed in (1, 2)],
            ["against"],
        ),
        (
            [LEARNING_RATES, "model.name=mlp,resnet18"],
            [{"training__learning_rate": 1e-3, "model__name": name} for name in ("mlp", "resnet18")],
            ["the best is bold"],
        ),
        (
            [SEARCHED, "training.weight_decay=interval(0,1)"],
            [{"training__learning_rate": 10**-k, "training__weight_decay": k / 20} for k in range(1, 14)],
            ["against", "against", "a point a trial", "differences", "best so far"],
        ),
        (
            [LEARNING_RATES, "model.name=mlp,resnet18", "training.epochs=1,2"],
            [
                {"training__learning_rate": 1e-3, "model__name": name, "training__epochs": epochs}
                for name in ("mlp", "resnet18") for epochs in (1, 2)
            ],
            ["against", "against"],
        ),
        (
            [LEARNING_RATES, "model.name=mlp,resnet18", "training.epochs=1,2"],
            [
                {"training__learning_rate": rate, "model__name": name, "training__epochs": epochs}
                for rate in (1e-3, 1e-2) for name in ("mlp", "resnet18") for epochs in (1, 2)
            ],
            ["against", "against", "against", "A line a trial"],
        ),
    ],
)  # fmt: skip
def test_every_kind_of_sweep_has_its_pictures_also_with_failed_trials(words, values, kinds):
    results = [ended(number, 0.5 + number / 100, **one) for number, one in enumerate(values)]
    search = read_search(words)
    for some in (results, [*results, ended(len(results), None, **values[0])]):
        captions = [picture.caption for picture in sweep_pictures(search, some)]
        assert [kind in caption for kind, caption in zip(kinds, captions, strict=True)] == [True] * len(kinds)
    assert sweep_pictures(search, results[:1]) == []  # nothing to compare
    assert sweep_pictures(search, [ended(0, None, **values[0])]) == []


def test_drawing_leaves_pyplots_style_and_figures_as_they_were():
    results = [ended(number, 0.5, training__learning_rate=rate) for number, rate in enumerate((1e-3, 1e-2))]
    before = dict(matplotlib.rcParams)
    sweep_pictures(read_search([LEARNING_RATES]), results)
    assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("word", "values", "scale"),
    [
        ("training.learning_rate=1e-4,1e-3,1e-2", [1e-4, 1e-3, 1e-2], "log"),
        ("training.learning_rate=1,2,3", [1, 2, 3], "linear"),
        ("training.learning_rate=tag(log,choice(1,2,3))", [1, 2, 3], "log"),
        ("training.learning_rate=0,1,100", [0, 1, 100], "linear"),
        (SEARCHED, [0.01, 0.02], "log"),
        ("training.learning_rate=interval(1e-4,1e-1)", [1e-4, 1e-1], "linear"),
    ],
)
def test_the_axis_is_logarithmic_where_the_values_are(word, values, scale):
    results = [ended(number, 0.5, training__learning_rate=value) for number, value in enumerate(values)]
    axes = sweep_pictures(read_search([word]), results)[0].figure.axes[0]
    assert axes.get_xscale() == scale
    assert axes.get_xlabel() == "training.learning_rate"
    if word != SEARCHED and "interval" not in word:
        assert list(axes.get_xticks()) == values


@pytest.mark.parametrize(
    ("word", "values"),
    [("training.learning_rate=1e-3,1e-2,1e-1", [1e-3, 1e-2, 1e-1]), ("model.name=b,a,c", ["b", "a", "c"])],
)
def test_what_failed_is_a_cross_inside_the_picture(word, values):
    name = word.partition("=")[0]
    results = [ended(number, accuracy, **{name: value})
               for number, (accuracy, value) in enumerate(zip((0.5, 0.7, None), values, strict=True))]  # fmt: skip
    [picture] = sweep_pictures(read_search([word]), results)
    axes = picture.figure.axes[0]
    [crosses] = axes.lines
    [place] = axes.convert_xunits(crosses.get_xdata())
    assert place == (0.1 if name == "training.learning_rate" else 2)
    assert axes.get_xlim()[0] < place < axes.get_xlim()[1]
    assert "Crosses at the bottom are failed trials" in picture.caption


def test_trials_keep_their_numbers_in_the_pictures_where_some_failed():
    results = [ended(number, None if number == 1 else 0.5 + number / 10, training__learning_rate=10**-number)
               for number in (1, 2, 3)]  # fmt: skip
    results = [one._replace(trial=one.trial - 1) for one in results]
    history = sweep_pictures(read_search([SEARCHED]), results[::-1])[-1].figure.axes[0]
    assert history.collections[0].get_offsets().tolist() == [[1, 0.7], [2, 0.8]]


def test_of_many_settings_the_one_that_matters_explains_most_of_the_differences():
    choices = [(rate, name) for rate in (1e-4, 1e-3, 1e-2) for name in "abcd"]
    assert len(choices) == 2 * TRIALS_PER_SETTING
    search = read_search(["training.learning_rate=1e-4,1e-3,1e-2", "model.name=a,b,c,d"])
    results = [ended(number, 0.5 + (0.3 if name == "b" else 0) + rate, training__learning_rate=rate, model__name=name)
               for number, (rate, name) in enumerate(choices)]  # fmt: skip
    bars = sweep_pictures(search, results)[-1].figure.axes[0]
    shares = {
        label.get_text(): bar.get_width() for label, bar in zip(bars.get_yticklabels(), bars.patches, strict=True)
    }
    assert shares["model.name"] > 0.9 > 0.1 > shares["training.learning_rate"]
    assert sum(shares.values()) == pytest.approx(1)


def test_a_table_of_two_settings_shows_means_over_seeds_and_what_failed():
    words = [LEARNING_RATES, "model.name=a,b", "run.seed=1,2"]
    results = [ended(seed, accuracy, training__learning_rate=rate, model__name="a", run__seed=seed)
               for rate, seed, accuracy in ((1e-3, 1, 0.5), (1e-3, 2, 0.7))]  # fmt: skip
    results.append(ended(3, None, training__learning_rate=1e-2, model__name="b", run__seed=1))
    results.append(ended(4, 0.4, training__learning_rate=1e-2, model__name="a", run__seed=1))
    [picture] = sweep_pictures(read_search(words), results)
    [axes] = picture.figure.axes
    assert [text.get_text() for text in axes.texts] == ["60.0 %", "-", "40.0 %", "failed"]


def test_means_over_seeds_are_those_of_numpy_and_the_best_comes_first():
    accuracies = {1e-3: [0.5, 0.6, 0.7], 1e-2: [0.65, 0.66, 0.61]}
    results = [ended(seed, accuracy, seed=seed, training__learning_rate=rate, run__seed=seed)
               for rate, some in accuracies.items() for seed, accuracy in enumerate(some)]  # fmt: skip
    first, second = over_seeds(results)
    assert [one.values for one in (first, second)] == [{"training.learning_rate": rate} for rate in (1e-2, 1e-3)]
    assert np.allclose([first.mean, first.sd], [np.mean(accuracies[1e-2]), np.std(accuracies[1e-2], ddof=1)])
    assert over_seeds([ended(0, 0.5, run__seed=1)]) == []


def test_the_table_for_the_console_has_a_line_a_trial_and_cuts_long_notes():
    failed = ended(1, None, note="failed: " + "word " * 50, model__name="b")
    lines = trials_table([ended(0, 0.51234, model__name="a"), failed]).splitlines()
    assert lines[0].split() == ["trial", "model.name", "seed", "accuracy", "loss", "minutes", "weights", "note"]
    assert lines[1].split() == ["0", "a", "1", "0.5123", "1.0000", "1.00", "abababababab"]
    assert lines[2].startswith("1      b") and lines[2].endswith("...") and len(lines[2]) < 130


@needs_clone
@pytest.mark.parametrize(
    ("given", "shell"),
    [
        ("a=tag(log,interval(1,2))", r"a=tag\(log,interval\(1,2\)\)"),
        ("a=1,2 b=x", "a=1,2 b=x"),
        ("'a=interval(1,2)'", "'a=interval(1,2)'"),
        (r"a=interval\(1,2\)", r"a=interval\(1,2\)"),
    ],
)
def test_make_hands_parentheses_to_the_program_and_not_to_the_shell(given, shell):
    command = ["make", "--no-print-directory", "-n", "sweep", f"ARGS={given}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.rstrip().endswith(f"drift_detector_pipeline.modeling.sweep {shell}")


# whole sweeps, each trial a process


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Overrides for tiny trainings on digits that are processed."""
    overrides = [
        "data=digits", f"data.processed_path={tmp_path_factory.mktemp('data')}/digits", "data.stored_side_px=8",
        "data.img_size=8", "data.dataloader_workers=0", "model.name=mlp", "model.options.width=16",
        "training.batch_size=32", "wandb.mode=disabled",
    ]  # fmt: skip
    process(load(overrides).settings.data)
    return overrides


GRID = ["training.learning_rate=1e-2,1e30,1e-3,1e-2", "training.optimizer=SGD", "training.epochs=2"]


def swept(*words: str) -> Said:
    """A sweep within this process; its trials are processes as ever."""
    return called("modeling.sweep.__main__", *words)


@pytest.fixture(scope="module")
def listed(digits, tmp_path_factory):
    """A finished grid with a trial that fails and one that is there twice, and what the command said."""
    folder = tmp_path_factory.mktemp("grid") / "sweep"
    done = swept(*digits, *GRID, f"sweep.dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.mark.slow
def test_a_trial_has_the_bits_of_the_same_command_alone_and_the_best_is_first(listed, digits, tmp_path):
    folder, done = listed
    rows = json.loads((folder / "results.json").read_text())
    assert [one["trial"] for one in rows] == [0, 3, 2, 1]
    words = re.search(r'make train ARGS="(.*)"', rows[0]["command"]).group(1).split()
    assert words == [*digits, "training.learning_rate=0.01", *GRID[1:]]
    assert rows[0]["command"] in done.stdout
    alone = read_receipt(train(load([*words, f"hydra.run.dir={tmp_path}/alone"])).folder)
    assert rows[0]["weights_sha256"] == alone.weights_sha256["final_model.safetensors"]
    assert rows[0]["val_accuracy"] == alone.score
    assert rows[0]["val_loss"] == alone.final.val_loss
    assert rows[0]["seed"] == 42
    assert rows[0]["minutes"] > 0


@pytest.mark.slow
def test_a_failed_trial_is_recorded_with_its_message_and_the_sweep_goes_on(listed):
    folder, done = listed
    failed = json.loads((folder / "results.json").read_text())[-1]
    assert (failed["status"], failed["values"]) == ("failed", {"training.learning_rate": 1e30})
    assert re.match(r"failed: the loss is nan at step \d+ .*run\.precision=fp32$", failed["note"])
    assert failed["val_accuracy"] is None
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
def test_the_same_choice_is_not_trained_twice(listed):
    folder, _ = listed
    first, again = json.loads((folder / "results.json").read_text())[:2]
    assert again["note"] == "same as trial 0, not trained again"
    assert {key: again[key] for key in ("weights_sha256", "folder", "val_loss")} == {
        key: first[key] for key in ("weights_sha256", "folder", "val_loss")
    }
    assert [path.name for path in (folder / "trials" / "3").iterdir()] == ["trial.json"]


@pytest.mark.slow
def test_the_results_are_a_csv_a_picture_and_a_page_that_needs_nothing_else(listed):
    folder, _ = listed
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [one["training.learning_rate"] for one in rows] == ["0.01", "0.01", "0.001", "1e+30"]
    assert {"seed", "val_accuracy", "val_loss", "minutes", "weights_sha256"} <= rows[0].keys()
    height, width, _ = imread(folder / "plot_1.png").shape
    assert min(height, width) > 300
    page = (folder / "report.html").read_text()
    assert "data:image/png;base64," in page and "the loss is nan" in page and rows[0]["weights_sha256"] in page
    assert not re.search(r"https?://|<script|<link(?! rel=\"icon\")", page)


def test_no_cell_of_the_results_is_a_formula(tmp_path):
    plan = open_plan(["model.options.kind=-x,+y,plain", "model.name='=1',mlp", f"sweep.dir={tmp_path}"])
    trials = [Trial(number, choice, "failed", "=it failed") for number, choice in enumerate(plan.listed)]
    write_results(plan, trials)
    with (tmp_path / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["model.options.kind"] for row in rows} == {"'-x", "'+y", "plain"}
    assert not [cell for row in rows for cell in row.values() if cell[:1] in set("=+-@")]


@pytest.mark.slow
def test_a_finished_sweep_has_nothing_left_to_do(listed):
    folder, done = listed
    before = {path: path.stat().st_mtime_ns for path in (folder / "trials").rglob("*")}
    again = swept(f"sweep.resume={folder}")
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in (folder / "trials").rglob("*")} == before
    assert again.stdout.strip() == done.stdout[done.stdout.index("\ntrial  ") :].strip()


@pytest.mark.slow
def test_a_sweep_of_which_no_trial_finishes_is_an_error(digits, tmp_path):
    where = f"sweep.dir='{tmp_path}/it\\'s'"
    done = swept(*digits, "training.learning_rate=1e30,1e30", *GRID[1:], where)  # the second is the first's twin
    assert done.returncode == 1
    assert "error: none of the 2 trials finished" in done.stderr
    assert not list((tmp_path / "it's").glob("*.png"))
    assert "No trial has finished" in (tmp_path / "it's" / "report.html").read_text()


LONG = [SEARCHED, "training.optimizer=AdamW,SGD", "training.epochs=10", "run.checkpoint_every=7", *OPTUNA]


@pytest.fixture(scope="module")
def undisturbed(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "sweep"
    done = swept(*digits, *LONG, f"sweep.dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder


def results(folder):
    """The rows without what says when and where."""
    rows = json.loads((folder / "results.json").read_text())
    assert [Path(one.pop("folder")).is_relative_to(folder) for one in rows] == [True] * len(rows)
    assert all(one.pop("minutes") > 0 for one in rows)
    return rows


def started(words, trial):
    """Start a sweep and wait until that trial has done an epoch; return the process and its trial's number."""
    process = subprocess.Popen(
        module_command("modeling.sweep", *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=ci_environment(),
    )  # fmt: skip
    metrics = trial / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    [training] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return process, int(training)


def disturbed(words, folder, how):
    """Start the sweep, wait until its second trial is at work, and end it: by its exit status and what it said."""
    process, training = started(words, folder / "trials" / "1")
    if how == "SIGKILL both":
        os.kill(training, signal.SIGSTOP)  # or it would be asked to stop, when the sweep goes, and save
    process.send_signal(signal.SIGKILL if how.startswith("SIGKILL") else signal.Signals[how])
    if how == "SIGKILL both":
        os.kill(training, signal.SIGKILL)
    said, _ = process.communicate(timeout=600)
    return process.returncode, said


def assert_goes_on(folder, undisturbed):
    """Continue a sweep that ended in its second trial; it ends as an undisturbed one."""
    again = swept(f"sweep.resume={folder}")
    assert again.returncode == 0, again.stderr
    assert re.search(rf"continuing {folder}/trials/1 from step [1-9]", again.stdout)
    assert results(folder) == results(undisturbed)
    study = optuna.load_study(
        study_name="sweep",
        storage=optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(folder / "optuna.journal"))
        ),
    )
    assert study.best_value == results(undisturbed)[0]["val_accuracy"]


def assert_says_how_to_go_on(folder, said):
    assert len(json.loads((folder / "results.json").read_text())) == 1
    assert said.rstrip().endswith(f'make sweep ARGS="sweep.resume={folder}"')
    assert "make train" not in said


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGKILL", "SIGKILL both"])
def test_a_sweep_that_is_killed_in_a_trial_goes_on_to_the_same_table(how, undisturbed, tmp_path):
    folder = Path(shutil.copytree(undisturbed, tmp_path / "sweep"))
    shutil.rmtree(folder / "trials" / "1")
    assert disturbed([f"sweep.resume={folder}"], folder, how)[0] == -signal.SIGKILL
    assert not (folder / "trials" / "1" / "run.json").exists()
    assert_goes_on(folder, undisturbed)


@pytest.fixture(scope="module")
def stopped(digits, tmp_path_factory):
    """A sweep that SIGTERM stopped in its second trial; do not change it."""
    folder = tmp_path_factory.mktemp("stopped") / "sweep"
    status, said = disturbed([*digits, *LONG, f"sweep.dir={folder}"], folder, "SIGTERM")
    assert status == 143
    assert_says_how_to_go_on(folder, said)
    return folder


@pytest.mark.slow
def test_a_sweep_that_is_stopped_in_a_trial_goes_on_to_the_same_table(stopped, undisturbed, tmp_path):
    assert_goes_on(Path(shutil.copytree(stopped, tmp_path / "sweep")), undisturbed)


@pytest.mark.slow
def test_more_trials_leave_the_first_ones_as_they_are(undisturbed, tmp_path):
    folder = Path(shutil.copytree(undisturbed, tmp_path / "sweep"))
    done = swept(f"sweep.resume={folder}", "sweep.trials=3")
    assert done.returncode == 0, done.stderr
    rows = results(folder)
    assert len(rows) == 3
    assert [one for one in rows if one["trial"] < 2] == results(undisturbed)


@pytest.mark.slow
def test_a_trial_that_finished_just_before_the_kill_is_kept(undisturbed, tmp_path):
    folder = Path(shutil.copytree(undisturbed, tmp_path / "sweep"))
    record = folder / "trials" / "1" / "trial.json"
    record.write_text(json.dumps(sealed(json.loads(record.read_text()) | {"status": "started"})))
    done = swept(f"sweep.resume={folder}")
    assert done.returncode == 0, done.stderr
    assert results(folder) == results(undisturbed)
    assert "epoch 1/" not in done.stdout


@pytest.mark.slow
def test_a_trial_that_is_killed_by_others_has_failed_and_the_sweep_goes_on(digits, tmp_path):
    folder = tmp_path / "sweep"
    words = [*digits, LEARNING_RATES, "training.epochs=10", f"sweep.dir={folder}"]
    process, training = started(words, folder / "trials" / "0")
    os.kill(training, signal.SIGKILL)
    process.communicate(timeout=600)
    assert process.returncode == 0
    results = json.loads((folder / "results.json").read_text())
    assert [(one["trial"], one["status"], one["note"]) for one in results] == [
        (1, "finished", ""), (0, "failed", "failed: ended by SIGKILL (out of memory?)"),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(os.cpu_count() == 1, reason="needs a machine on which another number of threads is possible")
def test_a_trial_that_would_get_other_bits_stops_the_sweep_and_is_not_recorded_as_failed(
    stopped, tmp_path, monkeypatch
):
    folder = Path(shutil.copytree(stopped, tmp_path / "sweep"))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    done = swept(f"sweep.resume={folder}")
    assert done.returncode == 1
    assert "different settings that decide its weights: run.threads was" in done.stderr
    assert f"To start this trial anew, with what is there now: rm -r {folder}/trials/1" in done.stderr
    assert json.loads((folder / "trials" / "1" / "trial.json").read_text())["status"] == "started"


@pytest.mark.slow
def test_a_trial_with_damaged_checkpoints_starts_again_and_says_so(stopped, undisturbed, tmp_path):
    folder = Path(shutil.copytree(stopped, tmp_path / "sweep"))
    for path in (folder / "trials" / "1" / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:-10] + b"0123456789")
    done = swept(f"sweep.resume={folder}")
    assert done.returncode == 0, done.stderr
    assert re.search(r"trials/1/checkpoints: no usable checkpoint .*; this trial starts again", done.stderr)
    assert results(folder) == results(undisturbed)


@pytest.mark.slow
def test_the_data_of_all_trials_is_processed_before_a_sweep(tmp_path):
    words = ["data=digits", "data.stored_side_px=8", "data.val_fraction=0.3,0.5"]
    words.append(f"data.processed_path={tmp_path}/" + "digits_${data.val_fraction}")
    done = called("modeling.sweep.data", *words)
    assert done.returncode == 0, done.stderr
    assert sorted(path.parent.name for path in tmp_path.glob("*/manifest.json")) == ["digits_0.3", "digits_0.5"]


@pytest.mark.parametrize("module", ["modeling.sweep.__main__", "modeling.sweep.data"])
def test_bad_words_are_one_message_without_a_traceback(module, call_main):
    done = call_main(module, "training.learning_rat=1e-3,1e-2")
    assert done.returncode == 1
    assert done.stderr.startswith("error: training.learning_rat: no such key")
    assert "Traceback" not in done.stderr + done.stdout


def test_all_refusals_are_errors_a_person_can_act_on():
    with pytest.raises(PipelineError):
        open_plan([])


# several machines


@pytest.mark.slow
@pytest.mark.parametrize("search", [LONG, [LEARNING_RATES, *LONG[2:-2]]])
def test_two_processes_share_a_sweep_and_one_goes_on_with_the_trial_of_the_other_that_was_killed(
    search, digits, tmp_path
):
    folder = tmp_path / "sweep"
    words = [*digits, *search, f"sweep.dir={folder}", "sweep.shared=true"]
    first, training = started(words, folder / "trials" / "0")
    os.kill(training, signal.SIGSTOP)  # so that it is still at its trial when the other one is at the next
    second, _ = started(words, folder / "trials" / "1")
    first.kill()
    os.kill(training, signal.SIGKILL)
    first.communicate()
    said, errors = second.communicate(timeout=600)
    assert second.returncode == 0, errors
    assert re.search(rf"continuing {folder}/trials/0 from step [1-9]", said)
    rows = results(folder)
    assert sorted(one["trial"] for one in rows) == list(range(len(rows)))
    assert len(rows) == 2
    assert {one["status"] for one in rows} == {"finished"}
    assert said.count("trial 1 of") == 1  # nobody did it again
    assert_study_knows(folder, rows)
    assert swept(f"sweep.resume={folder}").returncode == 0  # nothing is left to do
    assert results(folder) == rows


def assert_study_knows(folder, rows):
    """Optuna's own file holds each trial once, as it ended."""
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "optuna.journal"))
    study = optuna.load_study(study_name="sweep", storage=optuna.storages.JournalStorage(backend))
    assert [one.number for one in study.trials] == list(range(len(rows)))
    known = {one["trial"]: one["val_accuracy"] for one in rows}
    assert {one.number: one.value for one in study.trials if one.state.is_finished()}.items() <= known.items()
    assert sum(one.state.is_finished() for one in study.trials) >= len(rows) - 1


def test_a_sweep_for_one_machine_is_not_shared_later(tmp_path):
    words = [LEARNING_RATES, f"sweep.dir={tmp_path / 'sweep'}"]
    with plan_folder(open_plan(words)) as plan:
        write_plan(plan)
    with pytest.raises(ResumeError, match="it is for one machine"):
        open_plan([*words, "sweep.shared=true"])
