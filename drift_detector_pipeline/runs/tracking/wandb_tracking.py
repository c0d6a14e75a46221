"""W&B beside the files of a run: what the settings and the environment say of it, as a mirror's destination.

In: the settings. Out: a tracker that mirrors to wandb_writer.py, which leaves `<run>/wandb/` and, with a key and a
server that answers, the run's page.
"""

import os
from pathlib import Path

from drift_detector_pipeline.runs.tracking.mirror import Destination, mirror_to
from drift_detector_pipeline.runs.tracking.tracker import NoTracker, Tracker
from drift_detector_pipeline.settings import Settings

_NOT_PASSED_ON = {"WANDB_API_KEY", "WANDB_MODE", "WANDB_SERVICE"}  # what they say is said in another way


def wandb_tracker(settings: Settings, folder: Path, run_id: str, weight_bytes: int) -> Tracker:
    """The tracker `wandb.enabled` and `wandb.mode` ask for; `auto` is off in CI.

    `weight_bytes` is about the size of the model's file.
    """
    wanted = settings.wandb
    in_ci = os.environ.get("CI_MODE") == "true"
    if not wanted.enabled or wanted.mode == "disabled" or (wanted.mode == "auto" and in_ci):
        return NoTracker()
    destination = Destination(
        title="W&B", module="drift_detector_pipeline.runs.tracking.wandb_writer", folder=folder / "wandb",
        environment=_environment(folder / "wandb"), log_every=wanted.log_freq,
        options=wanted.model_dump(include={"mode", "project", "entity", "run_name", "tags"}),
    )  # fmt: skip
    return mirror_to(destination, settings, run_id, weight_bytes)


def _environment(folder: Path) -> dict[str, str]:
    """What the writer sees: W&B quiet, without reports to its makers, and with all its files in `folder`."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
    key = os.environ.get("WANDB_API_KEY", "").strip(" '\"")  # docker --env-file keeps quotes
    return kept | ({"WANDB_API_KEY": key} if key else {}) | {
        "WANDB_QUIET": "true",
        "WANDB_SHOW_INFO": "false",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_X_DISABLE_VIEWER": "true",  # one request less, which could hang
        "WANDB_HTTP_TIMEOUT": "5",
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_DATA_DIR": str(folder / "cache"),
        "WANDB_ARTIFACT_DIR": str(folder / "cache"),
    }  # fmt: skip
