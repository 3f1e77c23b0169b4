"""Through a running gateway: nothing that was planted leaves, nothing is stored, and the caller gets it all back."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
import redis

from tests.gateway.redaction.echo import Echo
from tests.gateway.redaction.sample import ORIGINALS
from tests.gateway.telemetry.receiver import Receiver
from tests.installation import KEY, Installation

CONFIGURATION = """
version: 1
providers:
  - {{name: echo, kind: openai, base_url: "{url}/v1", credentials: [{{name: main, secret: {{env: UPSTREAM_SECRET}}}}]}}
  - {{name: claude, kind: anthropic, base_url: "{url}", credentials: [{{name: main, secret: {{env: UPSTREAM_SECRET}}}}]}}
  - {{name: ranks, kind: cohere, base_url: "{url}", credentials: [{{name: main, secret: {{env: UPSTREAM_SECRET}}}}]}}
models:
  - {{name: said, provider: echo, upstream: m, price: {{input: "1", output: "2"}}}}
  - {{name: claude, provider: claude, upstream: m, price: {{input: "1", output: "2"}}}}
  - {{name: embedded, provider: echo, upstream: m, kind: embedding, price: {{input: "1", output: "0"}}}}
  - {{name: judged, provider: echo, upstream: m, kind: moderation, price: {{input: "0", output: "0"}}}}
  - {{name: drawn, provider: echo, upstream: m, kind: image, price: {{input: "0", output: "0"}}}}
  - {{name: ranked, provider: ranks, upstream: m, kind: rerank, price: {{input: "0", output: "0"}}}}
routes:
  - {{name: kept, strategy: priority, targets: [{{model: said}}], cache: {{mode: exact, ttl_s: 600}}}}
workspaces:
  - name: acme
    on_unpriced: allow
    keys: [{{name: all, secret: {{env: KEY}}}}]
    redaction:
      detect: [email, phone, id_number, credit_card, iban, ip_address, person, secret]
      action: restore
    guardrails:
      - {{kind: blocked_words, words: [project-halberd], action: block}}
      - {{kind: blocked_words, words: [forbidden-echo], action: block, options: {{"on": [output]}}}}
    retention: {{records_days: 365, bodies_days: 30, store_bodies: true}}
"""
READ_BODIES = """
from audit.models import CallRecord
from audit.services.bodies import bodies_of
from audit.origin import Origin
for record in CallRecord.objects.all():
    for body in bodies_of(call=record, origin=Origin("", "test", "test")):
        print(body.kind, body.text)
"""
PLANTED = [*ORIGINALS.values(), "project-halberd"]
TEXT = (
    "Dear Thabo Mokoena: "
    + ", ".join(f"{kind} {value}" for kind, value in ORIGINALS.items())
    + ". Größe «5» <b> & <EMAIL_1>?"
)


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    with Echo() as server:
        yield server


@pytest.fixture(scope="module")
def traces() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def gateway(echo: Echo, traces: Receiver) -> Iterator[Installation]:
    tracing = {"OTEL_EXPORTER_OTLP_ENDPOINT": traces.url, "TRACES_SAMPLE_RATIO": "1"}
    with Installation(LOG_LEVEL="DEBUG", **tracing) as installation:
        installation.apply(CONFIGURATION.format(url=echo.url), KEY=KEY, UPSTREAM_SECRET="upstream-credential-1")
        yield installation.start()


@pytest.fixture(autouse=True)
def _empty(echo: Echo) -> None:
    echo.sent.clear()
    echo.cut = 7


@pytest.fixture(scope="module")
def client(gateway: Installation) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def post(gateway: Installation, path: str, body: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{gateway.url}{path}", json=body, headers={"authorization": f"Bearer {KEY}"}, timeout=20)


def leaked(raw: bytes | str) -> list[str]:
    """Which planted values a sink holds, as text or within JSON's escapes."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    return [value for value in PLANTED if value in text or json.dumps(value)[1:-1] in text]


def fields(text: str) -> dict[str, dict[str, Any]]:
    """A body for each endpoint with the text in every field that can hold one."""
    arguments = json.dumps({"q": text, text: [text]})
    part = {"type": "text", "text": text}
    plain_source = {"type": "text", "media_type": "text/plain"}
    schema = {"type": "object", "properties": {text: {"type": "string", "description": text}}}
    chat = [
        {"role": "system", "content": text},
        {"role": "developer", "content": [part]},
        {"role": "user", "name": "x", "content": [part, {"type": "file", "file": {"filename": text, "file_id": "f-1"}}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": arguments},
        {"role": "user", "content": text},
    ]  # fmt: skip
    tool = {"type": "function", "function": {"name": "f", "description": text, "parameters": schema}}
    labels = {"tags": [text[:200]], "note": text, "session_id": text[:60]}
    return {
        "/v1/chat/completions": {
            "model": "said", "messages": chat, "tools": [tool], "metadata": labels, "stop": [text], "user": "somebody",
            "prediction": {"type": "content", "content": text},
        },
        "/v1/responses": {
            "model": "said", "instructions": text,
            "tools": [{"type": "function", "name": "f", "description": text, "parameters": schema}],
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": text}]},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": arguments},
                {"type": "function_call_output", "call_id": "c", "output": arguments},
                {"role": "user", "content": text},
            ],
        },
        "/v1/messages": {
            "model": "claude", "max_tokens": 50, "system": [part],
            "tools": [{"name": "f", "description": text, "input_schema": schema}],
            "messages": [
                {"role": "user", "content": [part]},
                {"role": "assistant", "content": [
                    {"type": "tool_use", "id": "t", "name": "f", "input": {text: [text], "n": 8001015009087}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [part]}]},
                {"role": "user", "content": [
                    {"type": "document", "title": text, "source": {**plain_source, "data": text}}]},
                {"role": "user", "content": text},
            ],
        },
        "/v1/completions": {"model": "said", "prompt": text, "suffix": text},
        "/v1/embeddings": {"model": "embedded", "input": [text, text]},
        "/v1/moderations": {"model": "judged", "input": [text]},
        "/v1/images/generations": {"model": "drawn", "prompt": text},
        "/v1/rerank": {"model": "ranked", "query": text, "documents": [text, text]},
    }  # fmt: skip


@pytest.mark.parametrize("path", sorted(fields("")))
def test_nothing_planted_in_any_field_of_any_form_reaches_the_provider(
    gateway: Installation, echo: Echo, path: str
) -> None:
    answer = post(gateway, path, fields(TEXT)[path])
    assert (answer.status_code, len(echo.sent)) == (200, 1), answer.text
    assert leaked(echo.sent[0]) == []
    assert int(answer.headers["x-tollgate-redacted"]) >= len(ORIGINALS)


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 8, 13, 1000])
def test_a_streamed_answer_gives_the_originals_back_byte_for_byte(client: openai.OpenAI, echo: Echo, cut: int) -> None:
    echo.cut = cut
    asked: Any = [{"role": "user", "content": TEXT}]
    stream = client.chat.completions.create(model="said", messages=asked, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == TEXT
    texts = client.completions.create(model="said", prompt=TEXT, stream=True)
    assert "".join(chunk.choices[0].text or "" for chunk in texts if chunk.choices) == TEXT
    assert [leaked(raw) for raw in echo.sent] == [[], []]


def test_a_whole_answer_gives_the_originals_back(client: openai.OpenAI) -> None:
    asked: Any = [{"role": "user", "content": TEXT}]
    assert client.chat.completions.create(model="said", messages=asked).choices[0].message.content == TEXT


@pytest.mark.parametrize("cut", [1, 4, 9, 50])
@pytest.mark.parametrize("stream", [True, False])
def test_tool_arguments_come_back_as_valid_json_with_the_originals(
    client: openai.OpenAI, echo: Echo, cut: int, stream: bool
) -> None:
    echo.cut = cut
    asked: Any = [{"role": "user", "content": TEXT}]
    tools: Any = [{"type": "function", "function": {"name": "say", "parameters": {"type": "object"}}}]
    answer: Any = client.chat.completions.create(model="said", messages=asked, tools=tools, stream=stream)
    if stream:
        calls = [call for chunk in answer if chunk.choices for call in chunk.choices[0].delta.tool_calls or ()]
        arguments = "".join(call.function.arguments or "" for call in calls)
    else:
        arguments = answer.choices[0].message.tool_calls[0].function.arguments
    assert json.loads(arguments) == {"text": TEXT}


@pytest.mark.parametrize("cut", [1, 6, 11])
@pytest.mark.parametrize("model", ["claude", "said"])
def test_messages_give_the_originals_back_whoever_answers(
    gateway: Installation, echo: Echo, cut: int, model: str
) -> None:
    echo.cut = cut
    asked: Any = [{"role": "user", "content": TEXT}]
    with anthropic.Anthropic(base_url=gateway.url, api_key=KEY, max_retries=0) as client:
        with client.messages.stream(model=model, max_tokens=99, messages=asked) as stream:
            assert "".join(stream.text_stream) == TEXT
        whole = client.messages.create(model=model, max_tokens=99, messages=asked)
    assert [block.text for block in whole.content if block.type == "text"] == [TEXT]
    assert [leaked(raw) for raw in echo.sent] == [[], []]


@pytest.mark.parametrize("cut", [1, 6, 11])
def test_responses_give_the_originals_back(client: openai.OpenAI, echo: Echo, cut: int) -> None:
    echo.cut = cut
    with client.responses.stream(model="said", input=TEXT) as stream:
        events = list(stream)
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    numbers = [event.sequence_number for event in events]
    assert said == TEXT
    assert [event.text for event in events if event.type == "response.output_text.done"] == [TEXT]
    assert events[-1].response.output_text == TEXT  # type: ignore[union-attr]
    assert numbers == sorted(set(numbers))


def test_a_blocked_answer_is_refused_whole_and_broken_off_with_an_error_event_when_streamed(
    gateway: Installation, echo: Echo
) -> None:
    asked = {"model": "said", "messages": [{"role": "user", "content": "one two three forbidden-echo four five"}]}
    whole = post(gateway, "/v1/chat/completions", asked)
    assert (whole.status_code, whole.json()["error"]["code"]) == (403, "guardrail_blocked")
    assert "forbidden-echo" not in whole.text
    lines = post(gateway, "/v1/chat/completions", {**asked, "stream": True}).text.split("\n\n")
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line]
    said = "".join(event["choices"][0]["delta"].get("content", "") for event in events[:-1])
    assert said == "one two three forbidd"  # three pieces of seven; the next one would have completed the word
    assert "forbidden-echo" not in said
    assert events[-1]["error"]["code"] == "guardrail_blocked"


def test_a_policy_with_a_pattern_that_can_not_run_is_refused_by_name_when_it_is_applied(
    gateway: Installation, echo: Echo
) -> None:
    wrong = CONFIGURATION.format(url=echo.url).replace(
        "action: restore", 'action: restore\n      options: {patterns: {p: "(a)\\\\1"}}'
    )
    refused = gateway.manage(
        "apply", str(_file(gateway, wrong)), check=False, KEY=KEY, UPSTREAM_SECRET="upstream-credential-1"
    )
    assert refused.returncode != 0
    assert "patterns.p" in refused.stdout + refused.stderr


def _file(gateway: Installation, text: str) -> Path:
    file = gateway.data_dir / "wrong.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("stream", [False, True])
def test_a_kept_answer_holds_placeholders_and_gives_each_caller_the_own_originals(
    gateway: Installation, echo: Echo, stream: bool
) -> None:
    """The provider is asked once, so what is kept is what it saw; another person's call gets that person's data back."""
    said: list[str] = []
    for address in ("thabo.mokoena@example.co.za", "someone.else@example.org"):
        text = f"Write to {address}, please. {'streamed' if stream else 'whole'}"
        asked = {"model": "kept", "messages": [{"role": "user", "content": text}], "stream": stream}
        answer = post(gateway, "/v1/chat/completions", asked)
        said.append(answer.headers["x-tollgate-cache"])
        if stream:
            events = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line.startswith("data: {")]
            pieces = [event["choices"][0]["delta"].get("content") or "" for event in events if event["choices"]]
            assert "".join(pieces) == text
        else:
            assert answer.json()["choices"][0]["message"]["content"] == text
    assert (said, len(echo.sent)) == (["miss", "hit-exact"], 1)
    assert leaked(echo.sent[0]) == []


def everything_in(url: str) -> str:
    """Every key of a Redis with all that it holds."""
    with redis.Redis.from_url(url) as client:
        reads = {
            b"string": client.get,
            b"hash": client.hgetall,
            b"set": client.smembers,
            b"list": lambda key: client.lrange(key, 0, -1),
            b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
            b"stream": client.xrange,
        }
        held = [(key, reads[client.type(key)](key)) for key in client.scan_iter() if client.exists(key)]
    return repr(held)


def test_neither_records_nor_log_nor_journal_nor_database_nor_traces_hold_what_was_planted(
    gateway: Installation, echo: Echo, traces: Receiver
) -> None:
    for path, body in fields(TEXT).items():
        assert post(gateway, path, body).status_code == 200
    refused = post(gateway, "/v1/chat/completions", {
        "model": "said", "messages": [{"role": "user", "content": TEXT + " project-halberd"}],
        "metadata": {"note": TEXT, "tags": ["082 123 4567"], "session_id": "thabo.mokoena@example.co.za"},
    })  # fmt: skip
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "guardrail_blocked")
    said = [{"role": "user", "content": TEXT}]
    wrong = post(gateway, "/v1/chat/completions", {"model": "nowhere", "messages": said, "metadata": {"note": TEXT}})
    assert wrong.status_code == 404
    for stream in (False, True):
        kept = {"model": "kept", "messages": said, "stream": stream, "temperature": 0.25}
        assert post(gateway, "/v1/chat/completions", kept).status_code == 200
    if gateway.environment.get("REDIS_URL"):
        held = everything_in(gateway.environment["REDIS_URL"])
        assert "tgc:" in held  # the answers that were just kept
        assert leaked(held) == []
    printed = gateway.manage("calls", "--jsonl").stdout
    assert len(printed.splitlines()) >= 10
    assert leaked(printed) == []
    bodies = gateway.manage("shell", "--verbosity", "0", "-c", READ_BODIES).stdout
    assert "<EMAIL_1>" in bodies  # the request as it went out, and the answer as it came
    assert bodies.count("answer ") >= len(fields(""))
    assert leaked(bodies) == []
    gateway.stop()  # sends what traces are left
    assert len(traces.spans) >= len(fields(""))
    assert leaked(traces.raw) == []
    for file in sorted(gateway.data_dir.rglob("*")):
        if file.is_file() and file.suffix != ".yaml" and ".sqlite3" not in file.name:
            assert (file.name, leaked(file.read_bytes())) == (file.name, [])
    if (database := gateway.data_dir / "tollgate.sqlite3").exists():
        with sqlite3.connect(database) as connection:
            dump = "\n".join(connection.iterdump())
        held = leaked(dump)
        assert [
            value for value in held if value != "project-halberd"
        ] == []  # the word stands in the guardrail's own row
    gateway.start()
