"""Not a test: a real training that notes each step done in a file and, after one of them, sends itself a signal.

usage: python interrupted_training.py STEPS_FILE SIGNAL STEP [OVERRIDE ...]      (STEP 0: undisturbed)
"""

import os
import signal
import sys
from pathlib import Path

from drift_detector_pipeline.config import load
from drift_detector_pipeline.modeling.train import train


def main() -> int:
    steps, name, at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

    def note(step: int) -> None:
        with steps.open("a") as file:
            print(step, file=file, flush=True)
        if step == at:
            os.kill(os.getpid(), signal.Signals[name])

    return train(load(sys.argv[4:]), note).exit_status


if __name__ == "__main__":
    sys.exit(main())
