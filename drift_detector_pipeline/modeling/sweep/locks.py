"""Locks of a sweep's folder, which end with the processes that hold them, also on a drive that machines share.

In: the folder of a sweep, or of one of its trials. Out: a file descriptor that trainings inherit. Read by __main__.py
and together.py.
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drift_detector_pipeline.console import log
from drift_detector_pipeline.modeling.interruption import Interruption
from drift_detector_pipeline.modeling.sweep.plan import LOCK

POLL_SECONDS = 0.2


@contextmanager
def taken(folder: Path) -> Iterator[int | None]:
    """Hold the lock of a trial's folder, which is made; None if another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file.fileno()


@contextmanager
def held(folder: Path, interruption: Interruption) -> Iterator[int | None]:
    """Hold the sweep's lock; None if asked to stop before it was free.

    A trial inherits it: while one that survived its sweep is still training, the next sweep waits.
    """
    with (folder / LOCK).open("w") as file:
        said = False
        while interruption.signal is None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not said:
                    log.info("%s: another process is at work there, a sweep or its last trial; waiting for it", folder)
                    said = True
                time.sleep(POLL_SECONDS)
            else:
                yield file.fileno()
                return
        yield None
