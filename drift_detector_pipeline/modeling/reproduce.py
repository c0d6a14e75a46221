"""Do a finished run again and compare the bits: `python -m drift_detector_pipeline.modeling.reproduce [RUN]`.

In: a run's receipt. Out: a second run folder and a verdict: the weights agree, or which recorded fact differs.
Exit status 0 if they agree, 2 if not.
"""

import os
import sys
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from drift_detector_pipeline.config import Composed, Settings, load
from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import ResumeError, exit_status
from drift_detector_pipeline.modeling.runs import compare, newest_finished, read_receipt
from drift_detector_pipeline.modeling.train import train

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
    _check_processes(before)
    outcome = train(_composed(folder, before))
    if outcome.exit_status:
        raise ResumeError(f"the repetition was stopped; nothing can be said about {folder}")
    after = read_receipt(outcome.folder)
    differences = _differences(before, after)
    agree = bool(before["weights_sha256"] == after["weights_sha256"])
    for name, sha256 in before["weights_sha256"].items():
        log.info("%s %s\n%s %s", sha256, folder / name, after["weights_sha256"][name], outcome.folder / name)
    if agree:
        log.info("the same bits: %s is reproduced", folder)
    else:
        log.warning("the bits differ; recorded facts that differ: %s", "; ".join(differences) or "none")
    if agree and differences:
        log.info("the same although other facts differ: %s", "; ".join(differences))
    return agree


def _composed(folder: Path, receipt: dict[str, Any]) -> Composed:
    """The receipt's settings, with the resolved device, precision and threads, for a new run folder."""
    run = {
        "resume": None,
        "device": receipt["device"],
        "precision": receipt["precision"],
        "threads": receipt["threads"],
    }
    values = receipt["settings"] | {"run": receipt["settings"]["run"] | run}
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise ResumeError(f"{folder}: its receipt has settings this version does not know ({error})") from error
    new = load(["data=digits"])  # only for the new run's folder and file layout
    return new._replace(settings=settings, overrides=receipt["overrides"], run_folder_chosen=False)


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
            differences += [f"{fact}: {line}" for line in compare(old, new)]
        elif old != new:
            differences.append(f"{fact} was {old!r}, now {new!r}")
    return differences


if __name__ == "__main__":
    sys.exit(main())
