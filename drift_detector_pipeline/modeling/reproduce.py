"""Do a finished run again and compare the bits: `python -m drift_detector_pipeline.modeling.reproduce [RUN]`.

In: a run's receipt. Out: a second run folder and a verdict: the weights agree, or which recorded fact differs.
Exit status 0 if they agree, 2 if not.
"""

import os
import sys
from pathlib import Path

import yaml

from drift_detector_pipeline.commands import read_command
from drift_detector_pipeline.config import Composed, load
from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import ResumeError, exit_status
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.runs.receipts import UNSEALED, Receipt, compare_facts, newest_finished, read_receipt
from drift_detector_pipeline.stopped import stopped_amid
from drift_detector_pipeline.takes import REPRODUCE, check_settings

FACTS = ("git", "where", "packages", "python", "instruction_set", "identity")  # beside the identity, what can matter


@exit_status
def main() -> int:
    """Repeat the run named on the command line, or the newest finished one."""
    command = read_command(sys.argv[1:])
    check_settings(command.overrides, REPRODUCE)
    return 0 if reproduce(command.target or newest_finished()) else 2


def reproduce(folder: Path) -> bool:
    """Train again as the receipt in `folder` says; return whether all weight files have the same SHA-256.

    Raises ResumeError if there is no receipt or it was written by a pipeline with other settings, Stopped if a signal
    ended the repetition.
    """
    before = read_receipt(folder)
    if before.facts_sha256 is None:
        log.info("%s: %s", before.file, UNSEALED)
    composed = _composed(before)
    _check_processes(before)
    outcome = train(composed)
    if outcome.exit_status:
        stopped_amid(outcome.exit_status, f"nothing can be said about {folder}; the same command repeats it anew")
    outcome.stop_if_asked()
    if int(os.environ.get("RANK", 0)):
        return True  # the first process writes the receipt and compares
    return _report(before, read_receipt(outcome.folder))


def _report(before: Receipt, after: Receipt) -> bool:
    """Say whether the weights of two runs agree, and what else differs."""
    for name, sha256 in after.weights_sha256.items():
        log.info("%s %s\n%s %s", before.weights_sha256.get(name), before.folder / name, sha256, after.folder / name)
    agree = before.weights_sha256 == after.weights_sha256
    differences = "; ".join(_differences(before, after))
    if agree:
        log.info("the same bits: %s is reproduced", before.folder)
    else:
        log.warning("the bits differ; recorded facts that differ: %s", differences or "none")
    if agree and differences:
        log.info("the same although other facts differ: %s", differences)
    return agree


def _composed(receipt: Receipt) -> Composed:
    """What the run was told, for a new run folder: where that lies, and what decides no bit, is as it is today."""
    today = load([])
    settings = receipt.settings(today.settings)
    config_yaml = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)
    return Composed(settings, receipt.overrides, config_yaml, today.run_folder, run_folder_chosen=False)


def _check_processes(receipt: Receipt) -> None:
    wanted, now = receipt.processes, int(os.environ.get("WORLD_SIZE", 1))
    if wanted != now:
        raise ResumeError(
            f"the run had {wanted} process(es), this command {now}: start it with "
            f"torchrun --nproc-per-node={wanted} -m drift_detector_pipeline.modeling.reproduce RUN"
        )


def _differences(before: Receipt, after: Receipt) -> list[str]:
    differences = list[str]()
    told = [receipt.model_dump(include=set(FACTS)) for receipt in (before, after)]
    for fact in FACTS:
        old, new = (facts[fact] for facts in told)
        if isinstance(old, dict) and isinstance(new, dict):
            differences += [f"{fact}: {line}" for line in compare_facts(old, new)]
        elif old != new:
            differences.append(f"{fact} was {old!r}, now {new!r}")
    return differences


if __name__ == "__main__":
    sys.exit(main())
