"""What Prometheus may ask: names, meanings and units of the service's numbers.

In: events of the service. Out: text for `/metrics`, of a registry of its own. No label comes from a client, or their
number would have no bound. One process: to have more, start more services.
"""

from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LEVELS = {"quiet": 0, "notice": 1, "alert": 2}
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_IMAGES = (1, 2, 4, 8, 16)
_MILLISECONDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class Metrics:
    """The numbers of one service."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second number beside each, which nobody asks for
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter(
            "drift_requests_total", "Requests that were read, by the status of their answer", ("model", "status"), **own
        )
        self.seconds = Histogram(
            "drift_request_seconds", "From the first byte of a request to its answer", buckets=_SECONDS, **own
        )
        self.images = Counter("drift_images_total", "Images that were answered", ("model",), **own)
        self.batch = Histogram("drift_batch_size", "Images of a batch", buckets=_IMAGES, **own)
        self.refused = Counter(
            "drift_refused_total", "Requests refused before anything was decoded", ("reason",), **own
        )
        self.level = Gauge("drift_level", "Newest counted verdict: 0 quiet, 1 notice, 2 alert", ("model",), **own)
        self.p = Gauge("drift_p", "p of the newest counted verdict", ("model",), **own)
        self.worth = {
            measure: Gauge(
                f"drift_{measure}_estimate", f"Estimated {said} in 0..1, and its 90 % interval", ("bound",), **own
            )
            for measure, said in (("accuracy", "accuracy"), ("map50", "mAP50 of a model that finds boxes"))
        }
        self.verdicts = Counter("drift_verdicts_total", "Counted verdicts", ("level",), **own)
        self.info = Gauge("drift_model_info", "1 for the model that answers", ("model", "sha256"), **own)

    def watch(self, name: str, meaning: str, ask: Callable[[], float]) -> None:
        """Add a number that is asked for when somebody looks."""
        Gauge(name, meaning, registry=self.registry).set_function(ask)

    def count(self, name: str, meaning: str, ask: Callable[[], float]) -> None:
        """Add a total that somebody else counts."""
        self.registry.register(_Counted(name, meaning, ask))

    def serve(self, model: str, sha256: str) -> None:
        """Say which model answers from now on."""
        self.info.clear()
        self.info.labels(model, sha256).set(1)

    def show_verdict(self, model: str, level: str, p: float | None) -> None:
        """Say the newest counted verdict."""
        self.level.labels(model).set(LEVELS.get(level, 0))
        if p is not None:
            self.p.labels(model).set(p)

    def show_worth(self, measure: str, estimate: Sequence[float | None]) -> None:
        """Say how well the model does by that verdict: estimate, low, high in 0..1."""
        for bound, value in zip(("estimate", "low", "high"), estimate, strict=True):
            if value is not None:
                self.worth[measure].labels(bound).set(value)

    def forget_verdict(self) -> None:
        """Say nothing of drift until there is a verdict on the model that answers now."""
        for gauge in (self.level, self.p, *self.worth.values()):
            gauge.clear()

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)


class ShadowMetrics:
    """The numbers of a model in the shadow; they are there only while one is."""

    def __init__(self, metrics: Metrics, dropped: Callable[[], float]) -> None:
        own: dict[str, Any] = {"registry": metrics.registry}
        self._images = Counter(
            "drift_shadow_images_total",
            "Images answered in the shadow, and whether with the same label or boxes",
            ("agrees",),
            **own,
        )
        self._milliseconds = Histogram(
            "drift_shadow_milliseconds", "Of an image in the shadow, on the clock", buckets=_MILLISECONDS, **own
        )
        metrics.count("drift_shadow_dropped", "Images that the shadow was not asked about", dropped)

    def saw(self, milliseconds: float, *, agrees: bool) -> None:
        """Count an image."""
        self._images.labels("true" if agrees else "false").inc()
        self._milliseconds.observe(milliseconds)


class _Counted:
    """A counter whose value lies elsewhere."""

    def __init__(self, name: str, meaning: str, ask: Callable[[], float]) -> None:
        self._name, self._meaning, self._ask = name, meaning, ask

    def collect(self) -> Any:
        yield CounterMetricFamily(self._name, self._meaning, value=self._ask())
