"""trackio beside the files of a run: what the settings say of it, as a mirror's destination.

In: the settings. Out: a tracker that mirrors to trackio_writer.py: a folder on this machine, or a server of one's own.
"""

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import drift_detector_pipeline
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.runs.tracking.mirror import Destination, mirror_to
from drift_detector_pipeline.runs.tracking.tracker import NoTracker, Tracker
from drift_detector_pipeline.settings import Settings

# With a token in its environment trackio asks the hub whose it is, also of a run that stays here.
_HUB = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "TRACKIO_SPACE_ID", "TRACKIO_BUCKET_ID", "TRACKIO_WEBHOOK_URL")
_APART = "python3 -m venv ENVIRONMENT && ENVIRONMENT/bin/pip install trackio"
_QUIET = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "GRADIO_ANALYTICS_ENABLED": "False"}


def trackio_tracker(settings: Settings, folder: Path, run_id: str, weight_bytes: int) -> Tracker:
    """The tracker that `trackio.enabled` asks for; `weight_bytes` is about the size of the model's file.

    Raises ConfigError if trackio, or the Python that has it, is not there.
    """
    wanted = settings.trackio
    if not wanted.enabled:
        return NoTracker()
    python = _python(wanted.python)
    store = wanted.folder.resolve()
    store.mkdir(parents=True, exist_ok=True)
    root = Path(drift_detector_pipeline.__file__).parents[1]
    kept = {name: value for name, value in os.environ.items() if name not in _HUB}
    destination = Destination(
        title="trackio", module="drift_detector_pipeline.runs.tracking.trackio_writer", folder=folder / "trackio",
        environment=kept | _QUIET | {"TRACKIO_DIR": str(store), "PYTHONPATH": str(root)},
        log_every=wanted.log_freq, python=python,
        options=wanted.model_dump(mode="json", include={"project", "run_name", "server_url"}) | {"folder": str(store)},
    )  # fmt: skip
    return mirror_to(destination, settings, run_id, weight_bytes)


def _python(wanted: Path | None) -> str:
    if wanted is not None:
        if (found := shutil.which(wanted)) is None:
            raise ConfigError(
                f"trackio.python={wanted}: no such program; make an environment that has trackio: {_APART}"
            )
        return found
    if find_spec("trackio") is None:
        raise ConfigError(
            "trackio.enabled=true: not installed here, and it wants an older Pillow than this project has; "
            f"{_APART}, and pass trackio.python=ENVIRONMENT/bin/python"
        )
    return sys.executable
