"""What a person sees while a command runs: log lines and progress bars.

`CI_MODE=true`, or output that is no terminal, shows no bars.
"""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from drift_detector_pipeline.errors import visible

log = logging.getLogger("drift_detector_pipeline")


class _BesideBars(logging.Handler):
    """Print log lines above a progress bar instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr if record.levelno >= logging.WARNING else sys.stdout)
        sys.stdout.flush()


def set_up_logging(file: Path | None = None, *, quiet: bool = False) -> None:
    """Send the package's log lines to the console (unless `quiet`) and, appended, to `file`."""
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    log.setLevel(logging.INFO)
    log.propagate = False
    if not quiet:
        console = _BesideBars()
        console.setFormatter(_Plain())
        log.addHandler(console)
    if file is not None:
        written = logging.FileHandler(file, encoding="utf-8")
        written.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(written)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        problem = record.levelno >= logging.WARNING
        prefix = f"{record.levelname.lower()}: " if problem else ""
        text = record.msg == "%s" or "\n" in str(record.msg)  # a table or a page, whose lines are meant
        return prefix + visible(record.getMessage(), names_only=problem or not text)


def progress_bar(
    *, total: int | None, title: str, unit: str, done: int = 0, hidden: bool = False, **options: Any
) -> "tqdm[Any]":
    """Open a tqdm bar with rate and time left; hidden also in CI and when the output is no terminal."""
    disable = hidden or not progress_wanted()
    return tqdm(
        total=total,
        initial=done,
        desc=visible(title),
        unit=unit,
        disable=disable,
        leave=False,
        dynamic_ncols=True,
        **options,
    )


def progress_wanted() -> bool:
    """Whether somebody watches: a terminal, and not `CI_MODE=true`."""
    return sys.stderr.isatty() and os.environ.get("CI_MODE") != "true"


def tell(text: object, *, beside: bool = False) -> None:
    """Print a result that may hold names of files, classes or sources; `beside` what others read: to stderr.

    What acts on a terminal is shown as an escape, and so is a line break of a name: further lines are indented.
    """
    print(visible(str(text), names_only=True), file=sys.stderr if beside else sys.stdout)


def in_columns(lines: Sequence[Sequence[str]]) -> str:
    """Lines of equally many cells as a table for a terminal; the first line is its head. Cells are as `tell` has it."""
    shown = [[visible(cell).replace("\n", "\\n") for cell in line] for line in lines]
    widths = [max(map(len, cells)) for cells in zip(*shown, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in shown)
