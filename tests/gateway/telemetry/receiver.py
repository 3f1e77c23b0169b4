"""A receiver of OTLP over HTTP, as a collector is one: it decodes what comes and keeps the spans and the figures."""

import gzip
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def value_of(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(each) for each in value.array_value.values]
    return getattr(value, kind)


class Receiver:
    """`with Receiver() as receiver:` listens; `wait_for` gives the spans once there are as many as expected.

    `figures` holds the newest point of each series: (instance, name, attributes) -> the protocol's point.
    """

    def __init__(self) -> None:
        self.figures: dict[tuple[str, str, frozenset[tuple[str, Any]]], Any] = {}
        self.spans: list[dict[str, Any]] = []
        self.paths: set[str] = set()
        self.raw = b""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
                receiver.take(self.path, body)
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Nothing on the test's output."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> "Receiver":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def take(self, path: str, body: bytes) -> None:
        self.paths.add(path)
        self.raw += body
        if path == "/v1/metrics":
            self.take_figures(body)
            return
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = {each.key: value_of(each.value) for each in resource.resource.attributes}["service.name"]
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        {
                            "service": service,
                            "scope": scope.scope.name,
                            "schema_url": scope.schema_url,
                            "name": span.name,
                            "kind": span.kind,
                            "trace_id": span.trace_id.hex(),
                            "span_id": span.span_id.hex(),
                            "parent_id": span.parent_span_id.hex(),
                            "started": span.start_time_unix_nano,
                            "us": (span.end_time_unix_nano - span.start_time_unix_nano) // 1000,
                            "status": span.status.code,
                            "attributes": {each.key: value_of(each.value) for each in span.attributes},
                        }
                    )

    def take_figures(self, body: bytes) -> None:
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            instance = {each.key: value_of(each.value) for each in resource.resource.attributes}["service.instance.id"]
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in getattr(metric, metric.WhichOneof("data")).data_points:
                        said = frozenset((each.key, value_of(each.value)) for each in point.attributes)
                        self.figures[(instance, metric.name, said)] = point

    def figure(self, name: str, **attributes: Any) -> list[Any]:
        """The newest points of the series that have these attributes among theirs; `__` stands for a dot."""
        wanted = {(each.replace("__", "."), value) for each, value in attributes.items()}
        return [point for (_, told, said), point in list(self.figures.items()) if told == name and wanted <= said]

    def wait_for(self, count: int, fits: Callable[[dict[str, Any]], bool], seconds: float = 15.0) -> list[Any]:
        """The spans that fit, in the order of their beginning, once there are `count` of them."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = [span for span in list(self.spans) if fits(span)]
            if len(found) >= count:
                return sorted(found, key=lambda span: span["started"])
            time.sleep(0.05)
        raise AssertionError(f"{count} spans were expected; there are {[span['name'] for span in self.spans]}")
