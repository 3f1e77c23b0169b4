"""OpenTelemetry traces: a span for each sampled call and one below it for each request to a provider.

Nothing of OpenTelemetry runs while a call is under way. As it begins the sampling is decided; when its record is
written its spans are made from the call itself, with the record's times, and handed to a thread that sends them. A
stream's span therefore ends when the stream does.
"""

import logging
from collections.abc import Iterator
from random import getrandbits

from django.http import HttpRequest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from gateway.core.call import Attempt, Call
from gateway.telemetry.conventions import SCHEMA_URL, endpoint_of, of_attempt, of_call, operation_of
from gateway.telemetry.sampling import Trace, continued, fresh

log = logging.getLogger(__name__)
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
SCOPE = InstrumentationScope("tollgate", "1", SCHEMA_URL)
QUEUE_SPANS = 8192  # waiting to be sent; more are dropped
SEND_SECONDS = 1.0


class Traces:
    """This process's traces. `begin` and `note` are told of every call; `ratio` of them is traced.

    A caller with a valid key may ask for its call to be traced, or not, with the sampled flag of its traceparent.
    """

    def __init__(self, endpoint: str, ratio: float) -> None:
        self.below = int(ratio * 2**32)
        self.resource = Resource.create({"service.name": "tollgate"})
        self.processor = BatchSpanProcessor(
            OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces"),
            max_queue_size=QUEUE_SPANS,
            schedule_delay_millis=SEND_SECONDS * 1000,
        )
        self.provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(ratio)), resource=self.resource)
        self.provider.add_span_processor(self.processor)

    def begin(self, call: Call) -> None:
        """Decide whether this call is traced."""
        if (header := call.headers.get("traceparent")) is not None and call.key is not None:
            call.trace = continued(header)
        if call.trace is None and getrandbits(32) < self.below:
            call.trace = fresh()

    def note(self, call: Call) -> None:
        """Make the spans of a call that has ended, if it is traced. Never raises: a trace may be lost, a call not."""
        trace: Trace | None = call.trace
        if trace is None or not trace.is_sampled:
            return
        try:
            for span in spans(call, trace, self.resource):
                self.processor.on_end(span)
        except Exception:
            log.exception("the trace of call %s could not be made", call.id)

    def watch_pages(self) -> None:
        """Trace the control plane's requests too. They go through Django, as calls never do."""
        DjangoInstrumentor().instrument(tracer_provider=self.provider, request_hook=hide_query)

    def stop(self) -> None:
        """Send what waits, and end."""
        self.provider.shutdown()


def hide_query(span: Span, request: HttpRequest) -> None:
    """Keep what people search for out of the traces."""
    if span.is_recording():
        for name in ("http.target", "http.url", "url.full"):
            span.set_attribute(name, request.path)
        span.set_attribute("url.query", "")


def spans(call: Call, trace: Trace, resource: Resource) -> Iterator[ReadableSpan]:
    """The call's span, and below it one for each attempt."""
    own = context(trace, trace.span_id)
    above = context(trace, trace.parent_id, is_remote=True) if trace.parent_id else None
    yield ReadableSpan(
        name=f"POST {endpoint_of(call.form.name)}",
        context=own,
        parent=above,
        resource=resource,
        attributes=of_call(call),
        kind=SpanKind.SERVER,
        status=Status(StatusCode.ERROR) if call.status >= 500 else Status(),
        start_time=moment(call, 0.0),
        end_time=moment(call, call.elapsed),
        instrumentation_scope=SCOPE,
    )
    for number, attempt in enumerate(call.attempts, 1):
        yield ReadableSpan(
            name=f"{operation_of(call.form.name)} {attempt.target.upstream}",
            context=context(trace, trace.span_of(number)),
            parent=own,
            resource=resource,
            attributes=of_attempt(call, attempt),
            kind=SpanKind.CLIENT,
            status=Status() if attempt.outcome == "answered" else Status(StatusCode.ERROR),
            start_time=moment(call, attempt.started),
            end_time=moment(call, end_of(call, attempt)),
            instrumentation_scope=SCOPE,
        )


def context(trace: Trace, span_id: int, *, is_remote: bool = False) -> SpanContext:
    return SpanContext(trace.trace_id, span_id, is_remote=is_remote, trace_flags=SAMPLED)


def end_of(call: Call, attempt: Attempt) -> float:
    return attempt.ended if attempt.ended is not None else call.elapsed


def moment(call: Call, seconds: float) -> int:
    """Nanoseconds since 1970, that many seconds after the call began; exact to the record's microseconds."""
    return int(call.at * 1e6) * 1000 + int(seconds * 1e6) * 1000
