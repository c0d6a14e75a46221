"""Do a finished run again and compare the bits: `python -m drift_detector_pipeline.modeling.reproduce [RUN]`.

In: a run's receipt. Out: a second run folder and a verdict: the weights agree, or which recorded fact differs.
Exit status 0 if they agree, 2 if not.
"""

import os
import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from drift_detector_pipeline.config import Composed, load
from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import ResumeError, exit_status
from drift_detector_pipeline.modeling.train import train
from drift_detector_pipeline.runs.receipts import RECEIPT, compare_facts, newest_finished, read_receipt
from drift_detector_pipeline.settings import Settings

FACTS = ("git", "where", "packages", "python", "instruction_set", "identity")  # beside the identity, what can matter


@exit_status
def main() -> int:
    """Repeat the run named on the command line, or the newest finished one."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else newest_finished()
    return 0 if reproduce(folder) else 2


def reproduce(folder: Path) -> bool:
    """Train again as the receipt in `folder` says; return whether all weight files have the same SHA-256.

    Raises ResumeError if there is no receipt or it was written by a pipeline with other settings.
    """
    before = read_receipt(folder)
    composed = _composed(folder, before)
    _check_processes(before)
    outcome = train(composed)
    if outcome.exit_status:
        raise ResumeError(f"the repetition was stopped; nothing can be said about {folder}")
    if int(os.environ.get("RANK", 0)):
        return True  # the first process writes the receipt and compares
    return _report(folder, before, outcome.folder, read_receipt(outcome.folder))


def _report(folder: Path, before: dict[str, Any], new_folder: Path, after: dict[str, Any]) -> bool:
    """Say whether the weights of two runs agree, and what else differs."""
    for name, sha256 in after["weights_sha256"].items():
        log.info("%s %s\n%s %s", before["weights_sha256"].get(name), folder / name, sha256, new_folder / name)
    agree = bool(before["weights_sha256"] == after["weights_sha256"])
    differences = "; ".join(_differences(before, after))
    if agree:
        log.info("the same bits: %s is reproduced", folder)
    else:
        log.warning("the bits differ; recorded facts that differ: %s", differences or "none")
    if agree and differences:
        log.info("the same although other facts differ: %s", differences)
    return agree


def _composed(folder: Path, receipt: Any) -> Composed:
    """The receipt's settings, with the resolved device, precision and threads, for a new run folder."""
    new = load(["data=digits"])  # only for the new run's folder, and where it is tracked
    try:
        resolved = {key: receipt[key] for key in ("device", "precision", "threads")} | {"resume": None}
        now = {"wandb": new.settings.wandb.model_dump(mode="json")}  # where it is tracked decides nothing
        values = receipt["settings"] | {"run": receipt["settings"]["run"] | resolved} | now
        profiler = {"profiler": new.settings.training.profiler.model_dump(mode="json")}  # nor does what is recorded
        values["training"] = values["training"] | profiler
        overrides = [*receipt["overrides"]]
        _ = receipt["processes"], receipt["weights_sha256"].items()
    except (KeyError, TypeError, AttributeError) as error:
        raise ResumeError(f"{folder / RECEIPT}: no whole receipt ({type(error).__name__}: {error})") from error
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ResumeError(f"{folder}: its receipt has settings this version does not know ({problems})") from error
    config_yaml = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)
    return Composed(settings, overrides, config_yaml, new.run_folder, run_folder_chosen=False)


def _check_processes(receipt: dict[str, Any]) -> None:
    wanted, now = receipt["processes"], int(os.environ.get("WORLD_SIZE", 1))
    if wanted != now:
        raise ResumeError(
            f"the run had {wanted} process(es), this command {now}: start it with "
            f"torchrun --nproc-per-node={wanted} -m drift_detector_pipeline.modeling.reproduce RUN"
        )


def _differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    differences: list[str] = []
    for fact in FACTS:
        old, new = before.get(fact), after.get(fact)
        if isinstance(old, dict) and isinstance(new, dict):
            differences += [f"{fact}: {line}" for line in compare_facts(old, new)]
        elif old != new:
            differences.append(f"{fact} was {old!r}, now {new!r}")
    return differences


if __name__ == "__main__":
    sys.exit(main())
