"""Not a test: interrupted_training.py, mirrored to toy_writer.py in the place of W&B.

usage: python toy_training.py STEPS_FILE SIGNAL STEP [OVERRIDE ...]
"""

import os
import sys
from pathlib import Path

import interrupted_training

from drift_detector_pipeline.modeling import session
from drift_detector_pipeline.runs.tracking.mirror import Destination, mirror_to
from drift_detector_pipeline.runs.tracking.tracker import Tracker
from drift_detector_pipeline.settings import Settings

TESTS = Path(__file__).resolve().parent
LOG_EVERY = 2


def toy_tracker(
    settings: Settings, folder: Path, run_id: str, weight_bytes: int, *, mood: str = "", at: str = ""
) -> Tracker:
    """What a tracker adds to its writer: where the program is, and what it is told."""
    destination = Destination(
        title="Toy", module="toy_writer", folder=folder / "toy",
        environment=os.environ | {"PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
        options={"mood": mood, "at": at}, log_every=LOG_EVERY,
    )  # fmt: skip
    return mirror_to(destination, settings, run_id, weight_bytes)


if __name__ == "__main__":
    session.wandb_tracker = toy_tracker
    sys.exit(interrupted_training.main())
