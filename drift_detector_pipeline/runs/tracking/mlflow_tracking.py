"""MLflow beside the files of a run: what the settings say of it, as a mirror's destination.

In: the settings. Out: a tracker that mirrors to mlflow_writer.py: a run of a server, or of a file that needs none.
"""

import os
from importlib.util import find_spec
from pathlib import Path

from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.runs.tracking.mirror import Destination, mirror_to
from drift_detector_pipeline.runs.tracking.tracker import NoTracker, Tracker
from drift_detector_pipeline.settings import Settings

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


def mlflow_tracker(settings: Settings, folder: Path, run_id: str, weight_bytes: int) -> Tracker:
    """The tracker that `mlflow.enabled` asks for; `weight_bytes` is about the size of the model's file.

    Raises ConfigError if MLflow is not installed.
    """
    wanted = settings.mlflow
    if not wanted.enabled:
        return NoTracker()
    if find_spec("mlflow") is None:
        raise ConfigError("mlflow.enabled=true: MLflow is not installed here; pip install -e '.[mlflow]'")
    kept = {name: value for name, value in os.environ.items() if name != "MLFLOW_RUN_ID"}
    destination = Destination(
        title="MLflow", module="drift_detector_pipeline.runs.tracking.mlflow_writer", folder=folder / "mlflow",
        environment=kept | _QUIET, log_every=wanted.log_freq,
        options=wanted.model_dump(include={"tracking_uri", "project", "run_name", "registered_model"}),
    )  # fmt: skip
    return mirror_to(destination, settings, run_id, weight_bytes)
