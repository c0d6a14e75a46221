"""`make runs`: finished runs side by side, from their receipts: all, or ARGS="RUN RUN".

In: receipts below outputs/, or of the runs that are named. Out: a table on stdout, the newest run first, with what it
came to, how long it took, which data it saw and in which settings it differs from the others; or JSON with --json.
"""

import datetime
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from drift_detector_pipeline.commands import read_command, refuse_others
from drift_detector_pipeline.console import in_columns, log, set_up_logging
from drift_detector_pipeline.errors import ResumeError, exit_status
from drift_detector_pipeline.runs.facts import RECEIPT
from drift_detector_pipeline.runs.receipts import OUTPUTS, Receipt, read_receipt

_HEAD = ("run", "ended (UTC)", "result", "best", "s", "data", "differs in")
_FINGERPRINT_LETTERS = 8


class Listed(NamedTuple):
    """A run, as the table shows it."""

    run: str
    end: str  # ISO 8601, UTC
    metric: str
    result: float  # of the final weights, on `val`
    best: float
    seconds: float  # from start to end
    data_fingerprint: str
    differs: dict[str, Any]  # settings that decide the bits and are not the same in all runs


@exit_status
def main() -> int:
    """Print the runs that are named, or all finished ones."""
    words = [word for word in sys.argv[1:] if word]
    given = read_command([word for word in words if word != "--json"], takes_images=True)
    refuse_others(given.overrides, (), "make runs", "name runs by their folders; --json prints it for programs")
    names = [Path(name) for name in (given.target, *given.images) if name]
    set_up_logging()
    receipts = [read_receipt(folder) for folder in names] if names else finished(OUTPUTS)
    if not receipts:
        raise ResumeError(f"no finished run under {OUTPUTS}/; train one first: make train")
    found = compared(receipts)
    if "--json" in words:
        print(json.dumps([one._asdict() for one in found], indent=2))
    else:
        print(in_columns([_HEAD, *[_cells(one, receipt) for one, receipt in zip(found, receipts, strict=True)]]))
    return 0


def finished(place: Path) -> list[Receipt]:
    """Receipts of all finished runs below `place`, the newest first; one that is damaged is named and left out."""
    found = list[Receipt]()
    for path in place.glob(f"**/{RECEIPT}"):
        try:
            found.append(read_receipt(path.parent))
        except ResumeError as error:
            log.warning("%s", error)
    return sorted(found, key=lambda receipt: receipt.end, reverse=True)


def compared(receipts: Sequence[Receipt]) -> list[Listed]:
    """Runs in their order, each with those of its settings that another one has otherwise."""
    known = {key for receipt in receipts for key in receipt.identity}
    first = receipts[0].identity
    other = sorted(key for key in known if any(one.identity.get(key) != first.get(key) for one in receipts))
    return [_listed(receipt, {key: receipt.identity.get(key) for key in other}) for receipt in receipts]


def _listed(receipt: Receipt, differs: dict[str, Any]) -> Listed:
    started, ended = map(datetime.datetime.fromisoformat, (receipt.start, receipt.end))
    best = receipt.best.value(receipt.headline)
    return Listed(
        str(receipt.folder), receipt.end, receipt.headline.name, receipt.score, best,
        (ended - started).total_seconds(), receipt.data_fingerprint, differs,
    )  # fmt: skip


def _cells(one: Listed, receipt: Receipt) -> list[str]:
    values = [receipt.headline.text(value, 2) for value in (one.result, one.best)]
    differs = " ".join(f"{key}={_short(value)}" for key, value in one.differs.items())
    data = one.data_fingerprint[:_FINGERPRINT_LETTERS]
    return [one.run, one.end[:16].replace("T", " "), *values, f"{one.seconds:.0f}", data, differs]


def _short(value: object) -> str:
    return str(value) if isinstance(value, str) else json.dumps(value)


if __name__ == "__main__":
    sys.exit(main())
