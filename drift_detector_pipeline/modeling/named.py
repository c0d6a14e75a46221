"""Is what a command names there? Asked before anything is imported that takes seconds, PyTorch above all.

In: the names of a run, a weight file, a drift reference, images. Out: nothing, or the error of whoever would look for
them later. Read by evaluate.py, predict.py and cli.py.
"""

from collections.abc import Sequence
from pathlib import Path

from drift_detector_pipeline.errors import DataError, ModelError, ResumeError
from drift_detector_pipeline.files import is_there
from drift_detector_pipeline.images.named_files import leads_somewhere
from drift_detector_pipeline.runs.facts import RECEIPT

WEIGHTS = ("final", "best")  # best: of the best headline on `val`, so chosen by what it is measured on
VIEWS = ("1", "2", "6")  # of an image, whose outputs are averaged: as it is; mirrored, too; both also moved both ways


def check_run(folder: Path) -> None:
    """Raise ResumeError unless a run has ended in `folder`."""
    if not is_there(folder / RECEIPT):
        raise ResumeError(f"{folder}: no {RECEIPT}, so no finished run; pass RUN=outputs/DATE/TIME")


def check_weights(file: Path) -> None:
    """Raise ModelError unless `file` is there and is a file."""
    if not is_there(file):
        raise ModelError(f"{file}: no such weight file; train one first: make train")
    if not file.is_file():
        raise ModelError(f"{file}: a folder, a pipe or a device; a weight file is expected")


def check_reference(folder: Path) -> None:
    """Raise DataError unless the run in `folder` has a drift reference."""
    if not is_there(folder / "reference.json"):
        raise DataError(f"{folder}: no drift reference in it; build it: make drift_reference RUN={folder}")


def check_images(words: Sequence[str]) -> None:
    """Raise DataError if not one of `words` leads to a file, or a folder that holds one."""
    if broken := next((word for word in words if Path(word).is_symlink() and not is_there(Path(word))), None):
        raise DataError(f"{broken}: a link that leads nowhere; name what it should lead to, or mend it")
    if not any(map(leads_somewhere, words)):
        raise DataError(f"{' '.join(words)}: no files there; name a folder, a pattern, files or an archive")
