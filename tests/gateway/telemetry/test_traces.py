"""A real receiver sees the traces of an installation, with the conventions' names and the record's own times."""

import json
import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.gateway.telemetry.receiver import Receiver
from tests.installation import KEY, Installation
from tests.upstream.server import Upstream

SERVER, CLIENT, ERROR = 2, 3, 2  # as the protocol numbers them
GIVEN = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
CONFIGURATION = """
version: 1
providers:
  - name: first
    kind: openai_compatible
    base_url: {url}
    credentials: [{{name: main, secret: {{env: FIRST_SECRET}}}}]
  - {{name: second, kind: openai_compatible, base_url: "{url}", credentials: []}}
models:
  - {{name: good, provider: first, upstream: gpt-good, price: {{input: "1.00", output: "2.00"}}}}
  - {{name: spare, provider: second, upstream: gpt-spare, price: {{input: "1.00", output: "2.00"}}}}
routes:
  - {{name: chat, strategy: priority, retries: 0, targets: [{{model: good}}, {{model: spare}}]}}
workspaces:
  - name: acme
    retention: {{store_bodies: true}}
    keys: [{{name: web, secret: {{env: KEY}}}}]
"""
PROVIDER_SECRET = "sk-canary-provider-0a1b2c3d4e5f"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as listening:
        yield listening


@pytest.fixture(scope="module")
def provider() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(receiver: Receiver, provider: Upstream) -> Iterator[Installation]:
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_METRIC_EXPORT_INTERVAL": "500"}
    with Installation(**told, TRACES_SAMPLE_RATIO="0") as installation:
        installation.apply(CONFIGURATION.format(url=provider.url), KEY=KEY, FIRST_SECRET=PROVIDER_SECRET)
        yield installation.start()


def ask(gateway: Installation, trace_id: str, *, key: str = KEY, **fields) -> httpx.Response:
    """One streamed call that belongs to this trace."""
    body = {"model": "chat", "messages": [{"role": "user", "content": "hello"}], "stream": True} | fields
    headers = {"authorization": f"Bearer {key}", "traceparent": f"00-{trace_id}-{PARENT}-01"}
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=30)


def record_of(gateway: Installation, answer: httpx.Response) -> dict:
    call_id = answer.headers["x-request-id"]
    return json.loads(gateway.manage("calls", "--jsonl", "--id", call_id).stdout)


def test_a_streamed_call_with_a_fallback_is_seen_whole(gateway, receiver, provider):
    provider.forget()
    provider.for_model("gpt-good", fault="status", status=503)
    provider.for_model("gpt-spare", tokens=5, token_delay_s=0.02)

    answer = ask(gateway, GIVEN, temperature=0.5, max_tokens=64)

    assert answer.text.endswith("data: [DONE]\n\n")
    call, first, second = receiver.wait_for(3, lambda span: span["trace_id"] == GIVEN)
    record = record_of(gateway, answer)
    assert receiver.paths <= {"/v1/traces", "/v1/metrics"}
    assert {(span["service"], span["scope"], span["schema_url"]) for span in (call, first, second)} == {
        ("tollgate", "tollgate", "https://opentelemetry.io/schemas/1.44.0")
    }
    assert [(span["name"], span["kind"], span["parent_id"], span["status"]) for span in (call, first, second)] == [
        ("POST /v1/chat/completions", SERVER, PARENT, 0),
        ("chat gpt-good", CLIENT, call["span_id"], ERROR),
        ("chat gpt-spare", CLIENT, call["span_id"], 0),
    ]
    assert (record["trace_id"], record["trace_sampled"]) == (GIVEN, True)
    assert call["us"] == round(record["ms"] * 1000)
    for span, each in zip((first, second), record["attempts"], strict=True):
        assert abs(span["us"] - each["ms"] * 1000) <= 1  # each end is cut to a microsecond
    check_attributes_of_call(call, record)
    check_attributes_of_attempts(first, second, record, provider.port)
    assert [reading.headers["traceparent"] for reading in provider.meter.readings] == [
        f"00-{GIVEN}-{span['span_id']}-01" for span in (first, second)
    ]


def check_attributes_of_call(call: dict, record: dict) -> None:
    first_token = call["attributes"].pop("tollgate.first_token_s")
    assert int(first_token * 1e6) == round(record["ttft_ms"] * 1000)
    assert call["attributes"] == {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "tollgate.call.id": record["call_id"],
        "tollgate.outcome": "answered",
        "tollgate.streamed": True,
        "tollgate.attempts": 2,
        "tollgate.cost_usd": record["cost_usd"],
        "tollgate.redacted": 0,
        "tollgate.route": "chat",
        "tollgate.cache": record["cache"],
        "tollgate.workspace": "acme",
        "tollgate.key": "web",
    }


def check_attributes_of_attempts(first: dict, second: dict, record: dict, port: int) -> None:
    shared = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai_compatible",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 64,
        "server.address": "127.0.0.1",
        "server.port": port,
    }
    assert first["attributes"] == shared | {
        "gen_ai.request.model": "gpt-good",
        "tollgate.model": "good",
        "tollgate.provider": "first",
        "tollgate.outcome": "failed",
        "tollgate.cost_usd": "0",
        "http.response.status_code": 503,
        "error.type": "server_error",
    }
    first_chunk = second["attributes"].pop("gen_ai.response.time_to_first_chunk")
    assert 0 < first_chunk < second["us"] / 1e6
    assert second["attributes"] == shared | {
        "gen_ai.request.model": "gpt-spare",
        "tollgate.model": "spare",
        "tollgate.provider": "second",
        "tollgate.outcome": "answered",
        "tollgate.cost_usd": record["cost_usd"],
        "http.response.status_code": 200,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": record["input_tokens"],
        "gen_ai.usage.output_tokens": 5,
    }


def test_calls_that_are_not_sampled_leave_no_span_and_send_no_header(gateway, receiver, provider):
    provider.forget()
    answers = [gateway.chat("one"), gateway.chat("two")]
    told = ask(gateway, marker := uuid.uuid4().hex)
    receiver.wait_for(2, lambda span: span["trace_id"] == marker)
    seen = {span["attributes"].get("tollgate.call.id") for span in receiver.spans}
    assert [answer.status_code for answer in (*answers, told)] == [200, 200, 200]
    assert [answer.headers["x-request-id"] in seen for answer in (*answers, told)] == [False, False, True]
    assert ["traceparent" in reading.headers for reading in provider.meter.readings] == [False, False, True]


def test_a_refused_call_has_one_span_that_says_why(gateway, receiver):
    trace_id = uuid.uuid4().hex
    assert ask(gateway, trace_id, model="nobody-knows").status_code == 404
    [span] = receiver.wait_for(1, lambda span: span["trace_id"] == trace_id)
    assert (span["attributes"]["error.type"], span["attributes"]["http.response.status_code"], span["status"]) == (
        "model_not_found",
        404,
        0,
    )


def test_the_pages_are_traced_without_what_people_search_for(receiver, provider):
    with Installation(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, TRACES_SAMPLE_RATIO="1") as installation:
        installation.start()
        trace_id = uuid.uuid4().hex
        headers = {"traceparent": f"00-{trace_id}-{PARENT}-01"}
        httpx.get(f"{installation.url}/admin/login/?next=/canary-searched-for/", headers=headers)
        [span] = receiver.wait_for(1, lambda span: span["trace_id"] == trace_id)
    assert (span["kind"], span["parent_id"]) == (SERVER, PARENT)
    assert "canary-searched-for" not in json.dumps(receiver.spans)


# Each place a secret can come in by, and one secret for each. None may leave by a log, a trace or a figure.
BODY = {
    "user": "canary-person@example.com",
    "metadata": {"order": "canary-metadata-77"},
    "tags": ["canary-tag-78"],
    "session_id": "canary-session-79",
    "stop": ["canary-stop-80"],
}
TEXTS = {
    "system": "canary-system-81",
    "user": "canary ann.canary@example.com, +27 82 555 0182, 4111 1111 1111 1111, sk-canary-in-body-83abcdef",
    "assistant": "canary-assistant-84",
}
HEADERS = {
    "x-tollgate-user": "canary-header-85",
    "cookie": "sessionid=canary-cookie-86",
    "tracestate": "canary=state-87",
    "baggage": "user=canary-baggage-88",
    "user-agent": "canary-agent-89",
    "x-forwarded-for": "203.0.113.90",
}
CANARIES = [
    KEY,
    PROVIDER_SECRET,
    "sk-canary-unknown-key-91abcdef",
    "canary-model-92",
    "canary-answer-93",
    "canary-error-94",
    "canary-path-95",
    "canary-broken-96",
    BODY["user"],
    "canary-metadata-77",
    "canary-tag-78",
    "canary-session-79",
    "canary-stop-80",
    *TEXTS.values(),
    "ann.canary@example.com",
    "555 0182",
    "4111 1111 1111 1111",
    "sk-canary-in-body-83abcdef",
    "canary-header-85",
    "canary-cookie-86",
    "state-87",
    "canary-baggage-88",
    "canary-agent-89",
    "203.0.113.90",
]


def test_no_secret_of_any_origin_leaves_by_logs_traces_or_metrics(gateway, receiver, provider):
    provider.forget()
    trace_id = uuid.uuid4().hex
    traced = {"traceparent": f"00-{trace_id}-{PARENT}-01"}
    said = [{"role": role, "content": text} for role, text in TEXTS.items()]
    url = f"{gateway.url}/v1/chat/completions"
    known = {"authorization": f"Bearer {KEY}", **HEADERS, **traced}
    provider.once(text="canary-answer-93")
    provider.once(fault="status", status=400, code="bad", message=f"canary-error-94 {PROVIDER_SECRET}")
    answers = [
        httpx.post(url, json={"model": "chat", "messages": said, **BODY}, headers=known),
        httpx.post(url, json={"model": "chat", "messages": said}, headers=known),
        httpx.post(url, json={"model": "canary-model-92", "messages": said}, headers=known),
        httpx.post(url, content=b'{"model": "canary-broken-96"', headers=known),
        httpx.post(f"{gateway.url}/v1/canary-path-95", json={}, headers=known),
        httpx.post(url, json={"model": "chat"}, headers={**traced, "x-api-key": "sk-canary-unknown-key-91abcdef"}),
    ]
    receiver.wait_for(4 + 2, lambda span: span["trace_id"] == trace_id)
    sinks = {
        "logs": gateway.log.read_text(),
        "traces": receiver.raw.decode("latin-1"),
        "metrics": httpx.get(f"{gateway.url}/metrics").text,
    }

    assert [answer.status_code for answer in answers] == [200, 400, 404, 400, 404, 401]
    assert len(CANARIES) >= 20
    assert sinks["traces"].count("tollgate.call.id") >= 4
    assert 'tollgate_calls_total{code=""' in sinks["metrics"]
    assert [(sink, secret) for sink, text in sinks.items() for secret in CANARIES if secret in text] == []
