"""One trial of a sweep: a training in a process and a run folder of its own, and the record of how it ended.

In: a sweep's folder, the words of the training. Out: `trials/<k>/`, a run folder with `trial.json` beside the rest, and
from it a `TrialResult`. Read by __main__.py, plots.py and results.py.
"""

import ctypes
import itertools
import json
import math
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

from hydra.core.override_parser.types import Quote, QuotedString

from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import ResumeError
from drift_detector_pipeline.files import SEAL, is_as_sealed, sealed, write_json
from drift_detector_pipeline.json_files import read_json, typed
from drift_detector_pipeline.meant import for_make
from drift_detector_pipeline.modeling.interruption import Interruption
from drift_detector_pipeline.modeling.sweep.locks import POLL_SECONDS
from drift_detector_pipeline.modeling.sweep.plan import Plan
from drift_detector_pipeline.modeling.sweep.search import Choice, trial_words
from drift_detector_pipeline.runs.checkpoints import load_checkpoint
from drift_detector_pipeline.runs.facts import RECEIPT
from drift_detector_pipeline.runs.receipts import FINAL, read_receipt
from drift_detector_pipeline.stopped import held_back
from drift_detector_pipeline.tasks.headline import ACCURACY, Headline

RECORD, STARTED, FINISHED, FAILED = "trial.json", "started", "finished", "failed"
STOPPED = {128 + signal.SIGTERM, 128 + signal.SIGINT}  # how a training ends that was asked to stop


class Trial(NamedTuple):
    """What trial.json holds."""

    trial: int
    choice: Choice
    status: str
    message: str | None = None  # why it failed
    same_as: int | None = None  # the earlier trial of the same choice, whose result this is


class TrialResult(NamedTuple):
    """A trial as one row of the results: what it tried, how it ended, which bytes came out."""

    trial: int
    status: str
    values: dict[str, int | float | str]  # names without Hydra's plus, numbers as numbers
    folder: str  # its run folder
    command: str  # trains it again
    note: str  # empty, or why it failed, or whose result this is
    seed: int | None = None  # from here on None unless it finished
    score: float | None = None  # the headline of the final weights on `val`
    loss: float | None = None  # of the final weights on `val`, in nats
    minutes: float | None = None  # spent training
    weights_sha256: str | None = None
    headline: Headline = ACCURACY  # what `score` is of


def trial_folder(sweep_folder: Path, number: int) -> Path:
    """The run folder of a trial."""
    return sweep_folder / "trials" / str(number)


def read_trial(sweep_folder: Path, number: int) -> Trial | None:
    """Read a trial's record; None if it was never started. Raises ResumeError if it is damaged."""
    path = trial_folder(sweep_folder, number) / RECORD
    try:
        values = read_json(path)
        trial = typed(Trial, {name: values[name] for name in values if name != SEAL})
        if not is_as_sealed(values):
            raise ValueError("changed since it was written")
        return trial
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ResumeError(
            f"{path}: not the record of a trial ({error}); to try it again: rm -r {path.parent}"
        ) from error


def write_trial(sweep_folder: Path, trial: Trial) -> Trial:
    """Write a trial's record; return it."""
    folder = trial_folder(sweep_folder, trial.trial)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RECORD, sealed(trial._asdict()))
    return trial


def run_trial(folder: Path, trial: Trial, words: list[str], lock: int, interruption: Interruption) -> Trial | None:
    """Train a started trial in a process of its own, or continue it; None if asked to stop meanwhile.

    The process is the one that `make train` would be, so the bits are the same, and nothing it does, be it running
    out of memory, reaches the other trials. It inherits the file descriptor `lock`. Raises ResumeError if the trial
    cannot be continued on this machine.
    """
    place = trial_folder(folder, trial.trial)
    if not (place / RECEIPT).exists():
        continued = _has_checkpoint(place)
        where = QuotedString(str(place), Quote.single).with_quotes()
        status, said = _train([*words, f"{'run.resume' if continued else 'hydra.run.dir'}={where}"], lock, interruption)
        if (status in STOPPED or interruption.signal is not None) and not (place / RECEIPT).exists():
            return None
        if status:
            return write_trial(folder, trial._replace(status=FAILED, message=_message(place, status, said)))
    return write_trial(folder, trial._replace(status=FINISHED))


def end_trial(
    plan: Plan, trial: Trial, ended: Sequence[Trial], lock: int, interruption: Interruption
) -> Trial | None:  # fmt: skip
    """Train a trial, or take over what one of those that ended has of the same choice; None as `run_trial`."""
    if twins := [one for one in ended if one.choice == trial.choice]:
        first = twins[0] if twins[0].same_as is None else twins[0]._replace(trial=twins[0].same_as)
        return write_trial(plan.folder, first._replace(trial=trial.trial, same_as=first.trial))
    write_trial(plan.folder, trial)
    return run_trial(plan.folder, trial, trial_words(plan.search, trial.choice), lock, interruption)


def read_result(plan: Plan, trial: Trial) -> TrialResult:
    """Read what came out of a trial that has ended. Raises ResumeError if its run folder is damaged."""
    folder = trial_folder(plan.folder, trial.trial if trial.same_as is None else trial.same_as)
    note = f"same as trial {trial.same_as}, not trained again" if trial.same_as is not None else None
    failure = f"failed: {trial.message}" if trial.message else None
    result = TrialResult(
        trial.trial, trial.status, shown_values(trial.choice), str(folder),
        train_command(trial_words(plan.search, trial.choice)), "; ".join(text for text in (note, failure) if text),
    )  # fmt: skip
    if trial.status != FINISHED:
        return result
    receipt = read_receipt(folder)
    return result._replace(
        seed=receipt.seed,
        score=receipt.score,
        loss=receipt.final.val_loss,
        minutes=0.0 if trial.same_as is not None else round(_training_seconds(folder) / 60, 4),
        weights_sha256=receipt.weights_sha256[FINAL],
        headline=receipt.headline,
    )


def headline_of(results: Sequence[TrialResult]) -> Headline:
    """What the trials that finished are judged by."""
    return next((result.headline for result in results if result.score is not None), ACCURACY)


def earlier_scores(plan: Plan, trials: Sequence[Trial]) -> tuple[list[tuple[Choice, float | None]], Headline]:
    """What a search may learn from: each choice with its score, None if it failed, and what the scores are of."""
    results = [read_result(plan, trial) for trial in trials]
    scores = [(trial.choice, result.score) for trial, result in zip(trials, results, strict=True)]
    return scores, headline_of(results)


def shown_values(choice: Choice) -> dict[str, int | float | str]:
    """A choice for people: names without Hydra's plus, and numbers as numbers."""
    return {key.lstrip("+"): _number(text) for key, text in choice.items()}


def train_command(words: list[str]) -> str:
    """The make command of a training with these words."""
    return "make train " + for_make(words)


def _number(text: str) -> int | float | str:
    for read in (int, float):
        try:
            number = read(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else text
    return text


def _training_seconds(folder: Path) -> float:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return sum(float(json.loads(line)["seconds"]) for line in lines)


def _has_checkpoint(place: Path) -> bool:
    """Whether a trial can go on; if not, it is cleared to start again, which gives the same bits."""
    if not (place / "checkpoints").exists():
        return False
    try:
        load_checkpoint(place / "checkpoints")
    except ResumeError as error:
        log.warning("%s; this trial starts again", str(error).partition(" Start anew")[0])
        shutil.rmtree(place / "checkpoints")
        return False
    return True


def _train(words: list[str], lock: int, interruption: Interruption) -> tuple[int, list[str]]:
    """Run a training, showing what it says and passing the first signal on; return exit status and last lines."""
    with held_back():  # a signal before it hears any is a trial that stopped, none that failed
        process = subprocess.Popen(
            [sys.executable, "-m", "drift_detector_pipeline.modeling.train", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            pass_fds=[lock], preexec_fn=_end_with_parent, process_group=0,
        )  # fmt: skip
    assert process.stdout is not None
    said: deque[str] = deque(maxlen=100)
    reader = threading.Thread(target=_show, args=(process.stdout, said, interruption), daemon=True)
    reader.start()
    try:
        status = _wait(process, interruption)
    except BaseException:  # a second Ctrl-C
        process.kill()
        raise
    reader.join()
    process.stdout.close()
    return status, list(said)


def _wait(process: "subprocess.Popen[str]", interruption: Interruption) -> int:
    told = False
    while True:
        try:
            return process.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if interruption.signal is not None and not told:  # once: a second one would end it without a checkpoint
                process.send_signal(interruption.signal)
                told = True


def _show(stream: IO[str], said: deque[str], interruption: Interruption) -> None:
    for line in stream:
        said.append(line.rstrip())
        if interruption.signal is None:  # then it says how to continue the trial alone; the sweep says it for all
            log.info("  %s", said[-1])


def _end_with_parent() -> None:
    """Have the kernel ask this process to stop when the sweep is killed; elsewhere than on Linux it trains on."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1: PR_SET_PDEATHSIG


def _message(place: Path, status: int, said: list[str]) -> str:
    """Why a training failed. Raises ResumeError if it did not because it was another machine or program before."""
    reason = _reason(status, said)
    if reason.startswith(f"run.resume={place}: "):
        raise ResumeError(f"{reason}\n       To start this trial anew, with what is there now: rm -r {place}")
    return reason


def _reason(status: int, said: list[str]) -> str:
    """The error message of a training, or the last it said."""
    if status < 0:
        name = signal.Signals(-status).name
        return f"ended by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"
    starts = [number for number, line in enumerate(said) if line.startswith("error: ")]
    if not starts:
        return next((line for line in reversed(said) if line), f"exit status {status}")
    more = itertools.takewhile(lambda line: line.startswith(" "), said[starts[-1] + 1 :])
    return "\n".join([said[starts[-1]].removeprefix("error: "), *(line.strip() for line in more)])
