"""Not a test: work for other processes, which import it from here; one of them dies in the middle."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from drift_detector_pipeline.errors import DataError


@dataclass
class KilledOnce:
    """Some work, whose first process dies when it has done one unit and has not said so."""

    work: object
    flag: Path
    at: object

    def __call__(self, unit):
        done = self.work(unit)
        if unit == self.at and not self.flag.exists():
            self.flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return done


def doubled(unit):
    """Twice the unit, and who says so."""
    if unit < 0:
        raise DataError(f"{unit}: is less than nothing")
    return 2 * unit, os.getpid()
