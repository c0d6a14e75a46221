"""Try several settings: `python -m drift_detector_pipeline.modeling.sweep training.learning_rate=1e-3,1e-2`.

In: processed data, words in Hydra's multirun grammar and `sweep.*` (conf/sweep.yaml). Out: a folder with sweep.json,
a run folder a trial in trials/, and the results (results.py). Killed anywhere, it goes on to the same table.
"""

import sys

from drift_detector_pipeline.console import log, progress_bar, set_up_logging
from drift_detector_pipeline.errors import TrainingError, exit_status
from drift_detector_pipeline.modeling.interruption import Interruption, caught
from drift_detector_pipeline.modeling.sweep.locks import held
from drift_detector_pipeline.modeling.sweep.plan import Plan, open_plan, plan_folder, write_plan
from drift_detector_pipeline.modeling.sweep.results import resume_command, seeds_table, trials_table, write_results
from drift_detector_pipeline.modeling.sweep.search import Choice, needed_data, suggest
from drift_detector_pipeline.modeling.sweep.together import run_together
from drift_detector_pipeline.modeling.sweep.trials import (
    STARTED,
    Trial,
    TrialResult,
    earlier_scores,
    end_trial,
    read_result,
    read_trial,
)
from drift_detector_pipeline.processed.manifest import open_processed


@exit_status
def main() -> int:
    """Try what the words on the command line say."""
    return sweep(open_plan(sys.argv[1:]))


def sweep(plan: Plan) -> int:
    """Run, or go on with, a sweep; return the exit status: 0 finished, 143 after SIGTERM, 130 after Ctrl-C.

    Raises a PipelineError if values or data cannot be used, or no trial finished. A trial that fails is a row of the
    results, with its message.
    """
    set_up_logging()
    for data in needed_data(plan.search):
        open_processed(data)
    trials = list[Trial]()
    with plan_folder(plan) as plan, caught() as interruption:
        with held(plan.folder, interruption) as lock:
            if lock is not None:
                plan = write_plan(plan)
                trials = [] if plan.shared else _run(plan, lock, interruption)
        if plan.shared:
            trials = run_together(plan, interruption)
        if len(trials) == plan.count:
            with held(plan.folder, interruption):  # others may end at the same time
                results = write_results(plan, trials)
    if not plan.folder.exists():
        log.info("stopped before anything was made; the same command begins again")
        return interruption.exit_status
    if len(trials) < plan.count:
        log.info("stopped after %d of %d trials; go on with:\n  %s", len(trials), plan.count, resume_command(plan))
        return interruption.exit_status
    _report(plan, results)
    return 0


def _run(plan: Plan, lock: int, interruption: Interruption) -> list[Trial]:
    """Do what is left of the trials; return those that have ended, in their order."""
    trials: list[Trial] = []
    with progress_bar(total=plan.count, title="sweep", unit=" trials") as bar:
        while len(trials) < plan.count and interruption.signal is None:
            trial = _next(plan, trials, lock, interruption)
            if trial is None:
                break
            trials.append(trial)
            bar.update()
    return trials


def _next(plan: Plan, trials: list[Trial], lock: int, interruption: Interruption) -> Trial | None:
    """Read, take over, continue or run the trial after `trials`; None if asked to stop meanwhile."""
    number = len(trials)
    found = read_trial(plan.folder, number)
    if found is not None and found.status != STARTED:
        return found
    trial = found or Trial(number, _choice(plan, trials), STARTED)
    tried = " ".join(f"{key}={value}" for key, value in trial.choice.items())
    log.info("trial %d (%d of %d): %s", number, number + 1, plan.count, tried)
    ended = end_trial(plan, trial, trials, lock, interruption)
    if ended is not None:
        if ended.message or ended.same_as is not None:
            log.warning("trial %d: %s", number, read_result(plan, ended).note)
        write_results(plan, [*trials, ended])
    return ended


def _choice(plan: Plan, trials: list[Trial]) -> Choice:
    if plan.listed is not None:
        return plan.listed[len(trials)]
    return suggest(plan.search, *earlier_scores(plan, trials))


def _report(plan: Plan, results: list[TrialResult]) -> None:
    """Print the table and what to do next."""
    log.info("\n%s\n", trials_table(results))
    if means := seeds_table(results):
        log.info("over seeds:\n%s\n", means)
    best = results[0]
    if best.score is None:
        raise TrainingError(
            f"none of the {plan.count} trials finished; their messages stand above and in {plan.folder}/results.csv"
        )
    log.info("repeat the best one, with the same result:\n  %s", best.command)
    log.info("its run folder: %s\nthe report:     %s", best.folder, plan.folder / "report.html")


if __name__ == "__main__":
    sys.exit(main())
