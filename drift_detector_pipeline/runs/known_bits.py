"""Which bits the quick start came to on which processors: reports/known_bits.json.

In: a run's receipt. Out: a sentence; `python -m drift_detector_pipeline.runs.known_bits [RUN]` adds the run's row. Runs
are compared that had the same settings and the same PyTorch. Read by quickstart.py.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from drift_detector_pipeline.commands import read_command, refuse_others
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.errors import DataError, exit_status
from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.runs.facts import processor
from drift_detector_pipeline.runs.receipts import FINAL, Receipt, newest_finished, read_receipt

KNOWN = Path(__file__).resolve().parents[2] / "reports/known_bits.json"
ADD = "make known_bits"


class Row(NamedTuple):
    """What a run came to, and on what."""

    processor: str
    instruction_set: str
    bits: str  # run.bits
    precision: str
    threads: int
    torch: str
    settings: str  # all else that decides the bits, as the first digits of a SHA-256
    weights_sha256: str
    when: str


@exit_status
def main() -> int:
    """Add the row of the run named on the command line, or of the newest finished one."""
    command = read_command(sys.argv[1:])
    refuse_others(command.overrides, (), "make known_bits", "all of it comes from the run's receipt")
    set_up_logging()
    receipt = read_receipt(command.target or newest_finished())
    row, rows = row_of(receipt), known()
    log.info("%s: %s\n%s", receipt.folder, standing(receipt), json.dumps(row._asdict()))
    if row[:-1] not in [one[:-1] for one in rows]:  # whenever it was
        write_json(KNOWN, [one._asdict() for one in [*rows, row]])
    return 0


def known() -> list[Row]:
    """All rows; none where the file is not there. Raises DataError if it is damaged."""
    try:
        return TypeAdapter(list[Row]).validate_json(KNOWN.read_bytes())
    except FileNotFoundError:
        return []
    except ValidationError as error:
        raise DataError(f"{KNOWN}: not whole ({error.errors()[0]['msg']}); fetch it again: git checkout") from error


def row_of(receipt: Receipt) -> Row:
    """The row of a run of this machine."""
    own = ("run.precision", "run.threads", "run.bits")
    deciding = {name: value for name, value in receipt.identity.items() if name not in own}
    digest = hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()
    return Row(
        processor(), receipt.instruction_set, str(receipt.identity.get("run.bits", "default")), receipt.precision,
        receipt.threads, receipt.packages["torch"], digest[:16], receipt.weights_sha256[FINAL], receipt.end,
    )  # fmt: skip


def standing(receipt: Receipt) -> str:
    """One sentence: whether this machine is known, and whether the weights are those it gave before."""
    row = row_of(receipt)
    alike = [one for one in known() if one[2:7] == row[2:7]]  # bits, precision, threads, PyTorch, settings
    here = [one for one in alike if one[:2] == row[:2]]
    if here and row.weights_sha256 == here[-1].weights_sha256:
        return f"the same bits as on {here[-1].when[:10]} on this kind of processor ({row.processor})"
    if here:
        return f"other bits than {here[-1].weights_sha256[:16]}... of {here[-1].when[:10]} on this kind of processor"
    if same := [one.processor for one in alike if one.weights_sha256 == row.weights_sha256]:
        return f"this kind of processor is new, its bits are those of {same[0]}; `{ADD}` keeps them"
    if alike:
        return f"this kind of processor is new, and its bits are its own; `{ADD}` keeps them"
    return f"no known run is like this one; `{ADD}` keeps its bits"


if __name__ == "__main__":
    sys.exit(main())
