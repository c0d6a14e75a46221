"""Watch the request log: `python -m drift_detector_pipeline.lifecycle.watching.monitor`, which `make monitor` runs.

In: rows that services write; the artefacts of the models that answered. Out: rows of the tables watch and alarm, causes
of alarms, news to who is to be told, numbers for Prometheus. Ends when it is interrupted or terminated, goes on where
it was when it is called again; with monitor.once=true it ends at the end of the log. Status 0, 1 after an error.
"""

import os
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from functools import partial

from drift_detector_pipeline.commands import read_command, refuse_others, stopping
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log as console
from drift_detector_pipeline.console import set_up_logging
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.lifecycle.watching.gauges import Gauges, answering
from drift_detector_pipeline.lifecycle.watching.notify import SECRET, Notifier
from drift_detector_pipeline.lifecycle.watching.watched import still_there, the_only_one
from drift_detector_pipeline.lifecycle.watching.watcher import Watcher
from drift_detector_pipeline.serving.database import is_missing
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.settings_in_use import Monitor

_ALLOWED = [f"monitor.{name}" for name in Monitor.model_fields]
_AGAIN_S = 2.0  # between two tries to reach a log, or to be its only monitor


@exit_status
def main() -> int:
    """Watch until stopped, or until the end of the log."""
    set_up_logging()
    settings = settings_from(sys.argv[1:])
    with stopping() as stop:
        return watch_log(settings, os.environ.get(SECRET, ""), stop)


def settings_from(words: Sequence[str]) -> Monitor:
    """The settings; DATABASE_URL wins, as for the service. Raises ConfigError for a word that is none of them."""
    command = read_command(words)
    if command.target is not None:
        raise ConfigError(
            f"{command.target}: the log is given as monitor.database=..., models as monitor.models_path=..."
        )
    refuse_others(command.overrides, _ALLOWED, "make monitor")
    own = [f"monitor.database={address!r}"] if (address := os.environ.get("DATABASE_URL")) else []
    return load_section(Monitor, [*command.overrides, *own])


def watch_log(settings: Monitor, secret: str, stop: threading.Event) -> int:
    """Watch until `stop` is set, or the log's end if `monitor.once`; return the exit status.

    A database that is away is waited for, but for `once`. Raises DataError if it cannot be opened at the start.
    """
    if is_missing(settings.database):
        console.warning(
            "%s: no log there yet; make serve writes one, monitor.database names another", settings.database
        )
    gauges = Gauges()
    with closing(RequestLog(settings.database)) as log, answering(gauges, settings.metrics_host, settings.metrics_port):
        watcher, said = Watcher(log, settings, Notifier(log, settings, secret), gauges, stop), ""
        while not stop.is_set():
            problem = _watch(watcher, log, settings)
            if settings.once:
                return 0
            if problem and problem != said:
                console.warning("%s", problem)
            said = problem
            stop.wait(_AGAIN_S)
    console.info("stopped; the same command goes on from here")
    return 0


def _watch(watcher: Watcher, log: RequestLog, settings: Monitor) -> str:
    """Follow the log until stopped; return what stands in the way."""
    try:
        with the_only_one(log) as held:
            if held is None:
                busy = "another monitor watches this log"
                if settings.once:
                    console.info("%s; nothing to do", busy)
                return f"{busy}; this one waits for it to end"
            watcher.follow(partial(still_there, held))
    except DataError as error:
        if settings.once:
            raise
        return str(error)
    return ""


if __name__ == "__main__":
    sys.exit(main())
