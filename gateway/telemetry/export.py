"""This worker's figures sent to an OpenTelemetry collector, beside what Prometheus scrapes.

The figures are the same numbers: a thread of its own reads them every so often, puts them into the SDK's shapes and
sends them. Each worker sends its own and says which it is, so nobody adds them up here. A collector that is away costs
nothing: sums go on, and the next time tells all.
"""

import logging
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from gateway.telemetry.conventions import FIGURES, OPERATIONS, SCHEMA_URL, Value, of_operation
from gateway.telemetry.metrics import COUNTERS, GAUGES, HISTOGRAMS, NANOS, Metrics
from gateway.telemetry.operations import TOKENS, Operations

log = logging.getLogger(__name__)
SCOPE = InstrumentationScope("tollgate", "1", SCHEMA_URL)
TOTAL = AggregationTemporality.CUMULATIVE
SEND_SECONDS = 3.0  # for one sending, its retries included; stopping waits as long


class Export:
    """One per worker: `note` is told of every call that ends; from `start` to `stop` its figures are sent."""

    def __init__(self, metrics: Metrics, endpoint: str, *, every_s: float) -> None:
        self.metrics, self.operations, self.every_s = metrics, Operations(), every_s
        self.note = self.operations.note
        self.resource = Resource.create({"service.name": "tollgate", "service.instance.id": str(uuid.uuid4())})
        self.began_ns = time.time_ns()
        self._exporter = OTLPMetricExporter(endpoint=endpoint.rstrip("/") + "/v1/metrics", timeout=SEND_SECONDS)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send_on, name="metrics export", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Send what was counted to the end."""
        self._stop.set()
        self._thread.join(SEND_SECONDS)
        self.send()
        self._exporter.shutdown()

    def send(self) -> None:
        """Send everything counted so far. Never raises."""
        try:
            self._exporter.export(self.data(time.time_ns()))
        except Exception:
            log.warning("can't send this worker's metrics", exc_info=True)

    def _send_on(self) -> None:
        while not self._stop.wait(self.every_s):
            self.send()

    def data(self, now_ns: int) -> MetricsData:
        """Everything counted so far, in the SDK's shapes."""
        told = [*self._figures(now_ns), *self._operations(now_ns)]
        scope = ScopeMetrics(SCOPE, told, SCHEMA_URL)
        return MetricsData([ResourceMetrics(self.resource, [scope], self.resource.schema_url)])

    def _figures(self, now_ns: int) -> Iterator[Metric]:
        for own, series in self.metrics.figures().items():
            if not series:
                continue
            name, unit = FIGURES[own]
            points: list[Any]
            if own in HISTOGRAMS:
                text, labels, bounds = HISTOGRAMS[own]
                points = [self._spread(attributes(labels, key), bounds, counts, now_ns) for key, counts in series]
                yield Metric(name, text, unit, Histogram(points, TOTAL))
                continue
            text, labels = COUNTERS[own] if own in COUNTERS else GAUGES[own]
            scale = NANOS if own == "tollgate_cost_usd" else 1
            points = [
                NumberDataPoint(attributes(labels, key), self.began_ns, now_ns, value / scale if scale > 1 else value)
                for key, value in series
            ]
            yield Metric(name, text, unit, Sum(points, TOTAL, True) if own in COUNTERS else Gauge(points))

    def _operations(self, now_ns: int) -> Iterator[Metric]:
        for name, series in self.operations.histograms.items():
            text, unit, bounds = OPERATIONS[name]
            points = [
                self._spread(described(name, key), bounds, counts, now_ns) for key, counts in list(series.items())
            ]
            if points:
                yield Metric(name, text, unit, Histogram(points, TOTAL))

    def _spread(
        self, of: Mapping[str, Value], bounds: tuple[float, ...], counts: list[Any], now_ns: int
    ) -> HistogramDataPoint:
        total, *buckets = counts
        least: Any = None  # not kept: of a sum since the start they would tell of one odd call long ago
        return HistogramDataPoint(
            of, self.began_ns, now_ns, sum(buckets), total, tuple(buckets), bounds, min=least, max=least
        )


def attributes(labels: tuple[str, ...], key: list[str]) -> dict[str, Value]:
    """Our own labels as attributes; what is empty is left out."""
    return {f"tollgate.{label}": value for label, value in zip(labels, key, strict=True) if value}


def described(name: str, key: tuple[str, ...]) -> dict[str, Value]:
    """The conventions' attributes of one series of an operation's figure."""
    form, kind, base_url, upstream, last = key
    if name == TOKENS:
        return of_operation(form, kind, base_url, upstream) | {"gen_ai.token.type": last}
    return of_operation(form, kind, base_url, upstream, last)
