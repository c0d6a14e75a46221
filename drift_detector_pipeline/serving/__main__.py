"""`python -m drift_detector_pipeline.serving`, which `make serve` runs: an artefact behind HTTP until it is told to stop.

In: settings such as serving.port=8001, and export.path=FOLDER for another artefact than models/artefact. Out: answers,
the request log, and exit status 0 after SIGTERM or Ctrl+C: first "not ready", then no new connections, then all that
was begun is answered and logged.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import uvicorn
from threadpoolctl import threadpool_limits

from drift_detector_pipeline.commands import read_command, refuse_others
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.release.artefact import MANIFEST, MODELS
from drift_detector_pipeline.serving.admission import Admission
from drift_detector_pipeline.serving.app import build_app
from drift_detector_pipeline.serving.engine import open_engine
from drift_detector_pipeline.serving.keys import keys_of
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.service import Service
from drift_detector_pipeline.settings import Serving

_FINISH_S = 60  # after the door is closed; what is not answered by then is given up
_ALLOWED = [f"serving.{name}" for name in Serving.model_fields]


@exit_status
def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    set_up_logging()
    warnings.simplefilter("ignore")  # of image files; decoding in two threads would restore each other's filters
    settings, folder = _settings(sys.argv[1:])
    with _listening(settings) as door, threadpool_limits(1):
        service = _open(settings, folder)
        asyncio.run(_serve(build_app(service, keys_of(os.environ)), door, settings.drain_s))
    return 0


def _settings(words: Sequence[str]) -> tuple[Serving, Path]:
    """Settings, those of the environment in place, and the artefact's folder."""
    command = read_command(words)
    refuse_others(command.overrides, [*_ALLOWED, "export.path"], "no setting of the service")
    own = {"serving.port": os.environ.get("PORT"), "serving.database": os.environ.get("DATABASE_URL")}
    known = [f"{name}={value!r}" if name.endswith("database") else f"{name}={value}" for name, value in own.items() if value]
    settings = load_section(Serving, [*command.overrides, *known])
    return settings, command.target or MODELS / "artefact"
