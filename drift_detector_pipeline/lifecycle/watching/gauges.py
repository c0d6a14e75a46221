"""What Prometheus may ask a monitor. No label comes from a client, or their number would have no bound.

In: what the monitor has done. Out: text at /metrics of a port of its own. Read by deploy/prometheus.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, start_http_server

from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.lifecycle.watching.alarms import open_counts
from drift_detector_pipeline.lifecycle.watching.streams import Step
from drift_detector_pipeline.serving.request_log import RequestLog

_LEVELS = ("notice", "alert")


class Gauges:
    """The numbers of one monitor."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = own = CollectorRegistry()
        self._open = Gauge("drift_monitor_open_alarms", "Alarms that nobody acknowledged", ("level",), registry=own)
        self.behind = Gauge("drift_monitor_rows_behind", "Rows of the log that may not be watched yet", registry=own)
        self._failing = Gauge("drift_monitor_deliveries_failing", "News of alarms that nobody took yet", registry=own)
        self._missing = Gauge("drift_monitor_models_missing", "Models whose artefact is not here", registry=own)
        self.refused = Counter(
            "drift_monitor_sources_refused_total", "Looks at sources beyond monitor.max_sources", registry=own
        )
        self.rows = Counter(
            "drift_monitor_rows_total", "Rows that were watched, or left out and why", ("what",), registry=own
        )
        self._newest_at, self._looked_at = 0.0, time.monotonic()
        age = Gauge("drift_monitor_row_age_seconds", "Since the newest watched row was answered", registry=own)
        age.set_function(lambda: max(0.0, time.time() - self._newest_at) if self._newest_at else float("nan"))
        look = Gauge("drift_monitor_look_age_seconds", "Since the log was last looked at", registry=own)
        look.set_function(lambda: time.monotonic() - self._looked_at)
        for what in ("counted", "repeated", "unusable"):
            self.rows.labels(what)

    def count(self, step: Step, rows: int, newest_at: float) -> None:
        """Add what some rows came to; the newest was answered at `newest_at`, in seconds since 1970."""
        self.rows.labels("counted").inc(rows - step.repeated - step.unusable)
        self.rows.labels("repeated").inc(step.repeated)
        self.rows.labels("unusable").inc(step.unusable)
        self._newest_at = max(self._newest_at, newest_at)

    def looked(self, log: RequestLog, failing: int, missing: int) -> None:
        """Say that the log was read to its end, and which alarms stand."""
        self._failing.set(failing)
        self._missing.set(missing)
        self._looked_at = time.monotonic()
        counts = open_counts(log)
        for level in _LEVELS:
            self._open.labels(level).set(counts.get(level, 0))


@contextmanager
def answering(gauges: Gauges, host: str, port: int | None) -> Iterator[None]:
    """Answer Prometheus meanwhile, if there is a port. Raises ConfigError if that cannot be opened."""
    if port is None:
        yield
        return
    try:
        server, thread = start_http_server(port, host, gauges.registry)
    except OSError as error:
        raise ConfigError(f"monitor.metrics_port={port}: {error.strerror}; name another one") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
