"""A sweep that several machines work on: Optuna's storage in their shared folder says who tries what.

In: a plan whose folder all machines see. Out: its trials, each of which one of them has done. Read by __main__.py.

optuna.journal is Optuna's file for this, also on a network drive: it numbers the trials and chooses values after what
all machines found. Optuna does not notice there when a machine dies, so a file that is locked as long as a trial is
at work says that: whoever finds a trial begun and its lock free goes on with it, from its last checkpoint.
"""

import time

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from drift_detector_pipeline.console import log
from drift_detector_pipeline.modeling.interruption import Interruption
from drift_detector_pipeline.modeling.sweep.locks import held, taken
from drift_detector_pipeline.modeling.sweep.plan import Plan
from drift_detector_pipeline.modeling.sweep.results import write_results
from drift_detector_pipeline.modeling.sweep.search import Choice, search_space, word_of
from drift_detector_pipeline.modeling.sweep.trials import (
    STARTED,
    Trial,
    end_trial,
    read_result,
    read_trial,
    trial_folder,
)
from drift_detector_pipeline.tasks.headline import ACCURACY

STUDY = "sweep"
_WAIT_S = 2.0  # for trials that others are at


def run_together(plan: Plan, interruption: Interruption) -> list[Trial]:
    """Take part until all trials have ended or this process is asked to stop; return those that ended."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage, said = JournalStorage(JournalFileBackend(str(plan.folder / "optuna.journal"))), False
    study = optuna.create_study(
        storage=storage, sampler=optuna.samplers.TPESampler(constant_liar=True), study_name=STUDY,
        direction=ACCURACY.direction, load_if_exists=True,
    )  # fmt: skip
    while interruption.signal is None and len(ended := ended_trials(plan)) < plan.count:
        _tell(plan, study, ended)
        if _do_one(plan, study, storage, ended, interruption):
            with held(plan.folder, interruption) as lock:
                if lock is not None:
                    write_results(plan, ended_trials(plan))
        elif len(study.trials) < plan.count:
            study.ask()
        elif interruption.signal is None:
            if not said:
                log.info("%s: other machines are at the last trials; waiting for them", plan.folder)
            said = True
            time.sleep(_WAIT_S)
    return ended_trials(plan)


def ended_trials(plan: Plan) -> list[Trial]:
    """The trials of all machines that have ended, by number."""
    found = [read_trial(plan.folder, number) for number in range(plan.count)]
    return [trial for trial in found if trial is not None and trial.status != STARTED]


def _tell(plan: Plan, study: optuna.Study, ended: list[Trial]) -> None:
    """Tell Optuna how trials ended, where that has not been done: a machine may die before it has."""
    known = {one.number: one.state.is_finished() for one in study.trials}
    for trial in ended:
        if known.get(trial.trial) is False:
            score = read_result(plan, trial).score
            state = optuna.trial.TrialState.FAIL if score is None else None
            study.tell(trial.trial, score, state=state, skip_if_finished=True)


def _do_one(
    plan: Plan, study: optuna.Study, storage: JournalStorage, ended: list[Trial], interruption: Interruption
) -> bool:  # fmt: skip
    """Do a trial that Optuna has numbered, that has not ended and that nobody is at; False if there is none."""
    over = {trial.trial for trial in ended}
    for number in range(min(plan.count, len(study.trials))):
        if number in over:
            continue
        with taken(trial_folder(plan.folder, number)) as lock:
            found = read_trial(plan.folder, number)  # once more: it may have ended meanwhile
            if lock is None or (found is not None and found.status != STARTED):
                continue
            trial = found or Trial(number, _choice(plan, study, storage, number), STARTED)
            tried = " ".join(f"{key}={value}" for key, value in trial.choice.items())
            log.info("trial %d of %d: %s", number, plan.count, tried)
            done = end_trial(plan, trial, ended, lock, interruption)
            if done is not None and done.message:
                log.warning("trial %d: %s", number, read_result(plan, done).note)
            return True
    return False


def _choice(plan: Plan, study: optuna.Study, storage: JournalStorage, number: int) -> Choice:
    """What a trial tries. Asked again, as by the next machine after a kill, Optuna says the same."""
    if plan.listed is not None:
        return plan.listed[number]
    place = storage.get_trial_id_from_study_id_trial_number(storage.get_study_id_from_name(STUDY), number)
    trial = optuna.trial.Trial(study, place)
    choice = Choice()
    for key, space in search_space(plan.search).items():
        if isinstance(space, IntDistribution):
            value: object = trial.suggest_int(key, space.low, space.high, step=space.step, log=space.log)
        elif isinstance(space, FloatDistribution):
            value = trial.suggest_float(key, space.low, space.high, step=space.step, log=space.log)
        else:
            assert isinstance(space, CategoricalDistribution)
            value = trial.suggest_categorical(key, space.choices)
        choice[key] = word_of(value)
    return choice
