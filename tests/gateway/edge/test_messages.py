import json

import anthropic
import pytest

from gateway.core.call import Delta, Usage
from gateway.core.errors import InvalidRequest, RateLimited, Unsupported
from gateway.edge.messages import Messages
from gateway.edge.messages_answer import STOP_REASONS
from tests.gateway.edge.answers import held, recorded
from tests.gateway.edge.through import Gateway, call_of, sse
from tests.recorded import exchanges

ASK = {"model": "public", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}


def arguments(text: str):
    try:
        value = (json.loads(text) if text.strip() else None) or {}
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"input": text}


def read(message) -> tuple:
    text = "".join(block.text for block in message.content if block.type == "text")
    thought = "".join(block.thinking for block in message.content if block.type == "thinking")
    calls = [(block.name, block.input) for block in message.content if block.type == "tool_use"]
    usage = message.usage
    cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    return text, thought, calls, message.stop_reason, usage.input_tokens + cached, usage.output_tokens


def expected(exchange) -> tuple:
    text, thought, calls, finish, asked, said = held(exchange)
    return (
        text,
        thought,
        [(name, arguments(given)) for name, given in calls],
        STOP_REASONS.get(finish, "end_turn"),
        asked,
        said,
    )


@pytest.mark.parametrize("exchange", recorded(streamed=False), ids=lambda each: each["id"])
def test_anthropics_sdk_reads_everything_that_an_openai_server_answered(exchange):
    gateway = Gateway(exchange["response"], kind="openai_compatible")
    assert read(gateway.anthropic.messages.create(**ASK)) == expected(exchange)


@pytest.mark.parametrize("exchange", recorded(streamed=True), ids=lambda each: each["id"])
def test_anthropics_sdk_streams_everything_that_an_openai_server_answered(exchange):
    gateway = Gateway(exchange["response"], kind="openai_compatible")
    with gateway.anthropic.messages.stream(**ASK) as stream:
        message = stream.get_final_message()
    assert read(message) == expected(exchange)
    assert gateway.written.count(b'"cost_usd":"1.5"') == 1


def anthropics(*, streamed: bool) -> list:
    found = [each for each in exchanges("anthropic_messages") if each["path"].endswith("/v1/messages")]
    return [each for each in found if (each["status"], each["streamed"]) == (200, streamed)]


@pytest.mark.parametrize("exchange", anthropics(streamed=True), ids=lambda each: each["id"])
def test_anthropics_own_stream_passes_with_nothing_but_the_cost_added(exchange):
    gateway = Gateway(exchange["response"], kind="anthropic")
    with gateway.anthropic.messages.create(**ASK, stream=True) as stream:
        for _ in stream:
            pass
    written = [json.loads(line[5:]) for line in gateway.written.decode().splitlines() if line.startswith("data:")]
    came = [json.loads(line[5:]) for line in exchange["response"].splitlines() if line.startswith("data:")]
    last = next(event for event in written if event["type"] == "message_delta")
    assert last["usage"].pop("cost_usd") == "1.5"
    assert written == came


@pytest.mark.parametrize("exchange", anthropics(streamed=False)[:20], ids=lambda each: each["id"])
def test_anthropics_own_answer_passes_as_it_came(exchange):
    gateway = Gateway(exchange["response"], kind="anthropic")
    raw = gateway.anthropic.messages.with_raw_response.create(**ASK)
    assert raw.http_response.content == exchange["response"].encode()


MARK = {"type": "ephemeral"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
PDF = {
    "type": "document",
    "title": "a.pdf",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
}
NOTE = {
    "type": "document",
    "title": "Note",
    "source": {"type": "text", "media_type": "text/plain", "data": "words"},
}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "sig"}
EVERYTHING = {
    "model": "m",
    "max_tokens": 9,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": MARK}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "look"}, IMAGE, PDF, NOTE]},
        {
            "role": "assistant",
            "content": [
                THOUGHT,
                {"type": "text", "text": "I'll check."},
                {"type": "tool_use", "id": "t1", "name": "a", "input": {"x": 1}},
                {"type": "tool_use", "id": "t2", "name": "b", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "one"},
                {
                    "type": "tool_result",
                    "tool_use_id": "t2",
                    "is_error": True,
                    "content": [{"type": "text", "text": "bad"}],
                    "cache_control": MARK,
                },
                {"type": "text", "text": "and now?"},
            ],
        },
    ],
    "tools": [{"name": "a", "description": "does", "input_schema": {"type": "object"}, "cache_control": MARK}],
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    "stop_sequences": ["END"],
    "temperature": 0.5,
    "top_k": 3,
    "thinking": {"type": "enabled", "budget_tokens": 4096},
    "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
    "service_tier": "standard_only",
}
URL = "data:image/png;base64,aGk="
AS_CHAT = {
    "model": "m",
    "max_completion_tokens": 9,
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "Be brief.", "cache_control": MARK}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": URL}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
                {"type": "text", "text": "Note\n\nwords"},
            ],
        },
        {
            "role": "assistant",
            "content": "I'll check.",
            "reasoning_content": "hm",
            "thinking_blocks": [THOUGHT],
            "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "a", "arguments": '{"x":1}'}},
                {"id": "t2", "type": "function", "function": {"name": "b", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "one"},
        {
            "role": "tool",
            "tool_call_id": "t2",
            "content": [{"type": "text", "text": "bad"}],
            "is_error": True,
            "cache_control": MARK,
        },
        {"role": "user", "content": [{"type": "text", "text": "and now?"}]},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "a", "description": "does", "parameters": {"type": "object"}},
            "cache_control": MARK,
        }
    ],
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "stop": ["END"],
    "temperature": 0.5,
    "top_k": 3,
    "reasoning_effort": "medium",
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
    },
    "service_tier": "default",
}


def test_a_request_with_everything_in_it_becomes_chat_completions():
    assert Messages().chat(EVERYTHING) == AS_CHAT


@pytest.mark.parametrize(
    ("fields", "kind", "param"),
    [
        ({"mcp_servers": [{}]}, Unsupported, "mcp_servers"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, Unsupported, "tools[0]"),
        ({"messages": "hi"}, InvalidRequest, "messages"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, InvalidRequest, "messages[0].role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "container_upload"}]}]},
            Unsupported,
            "messages[0].content[0]",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file"}}]}]},
            Unsupported,
            "messages[0].content[0].source",
        ),
        ({"tool_choice": {"type": "maybe"}}, InvalidRequest, "tool_choice"),
    ],
)
def test_what_cannot_be_said_in_chat_completions_is_refused_by_name(fields, kind, param):
    with pytest.raises(kind) as refused:
        Messages().chat(ASK | fields)
    assert refused.value.param == param


def test_thinking_with_its_signature_and_tools_stream_as_blocks():
    answer = sse(
        {"id": "x", "choices": [{"delta": {"reasoning_content": "let me "}}]},
        {"id": "x", "choices": [{"delta": {"reasoning_content": "see"}}]},
        {
            "choices": [
                {"delta": {"thinking_blocks": [{"type": "thinking", "thinking": "let me see", "signature": "s"}]}}
            ]
        },
        {"choices": [{"delta": {"thinking_blocks": [{"type": "redacted_thinking", "data": "zzz"}]}}]},
        {"choices": [{"delta": {"content": "Right"}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"x":'}}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}}]},
        {
            "choices": [
                {"delta": {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}}]}}
            ]
        },
        {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
    )
    with Gateway(answer, kind="openai_compatible").anthropic.messages.stream(**ASK) as stream:
        message = stream.get_final_message()
    assert [block.model_dump(exclude_none=True) for block in message.content] == [
        {"type": "thinking", "thinking": "let me see", "signature": "s"},
        {"type": "redacted_thinking", "data": "zzz"},
        {"type": "text", "text": "Right"},
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "g", "input": {}},
    ]
    assert message.stop_reason == "tool_use"


def test_errors_come_in_anthropics_shape_and_the_sdk_reads_them():
    refused = Gateway('{"error":{"message":"bad","code":"x","param":"temperature"}}', status=400)
    with pytest.raises(anthropic.BadRequestError) as bad:
        refused.anthropic.messages.create(**ASK)
    assert bad.value.body["error"]["message"] == "bad"
    assert json.loads(Messages().error(RateLimited("slow"), "call-1")) == {
        "type": "error",
        "error": {
            "type": "rate_limit_error", "message": "slow", "code": "rate_limit_exceeded", "hint": RateLimited.hint,
        },
        "request_id": "call-1",
    }  # fmt: skip


def test_a_stream_that_breaks_off_ends_with_an_error_event():
    answer = sse({"id": "x", "choices": [{"delta": {"content": "Hi"}}]}, done=False)
    gateway = Gateway(answer)
    with (
        pytest.raises(anthropic.APIStatusError, match="ended before its end"),
        gateway.anthropic.messages.stream(**ASK) as stream,
    ):
        stream.get_final_message()
    assert b"message_stop" not in gateway.written


def test_usage_keeps_anthropics_three_kinds_of_input_apart():
    answer = {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}
    usage = Usage(input=100, cached=30, cache_write=20, cache_write_long=10, output=5, tool_uses=2)
    call = call_of("/v1/messages", usage)
    shown = json.loads(call.form.whole(call, Delta(data=answer)))["usage"]
    assert shown == {
        "input_tokens": 40,
        "cache_creation_input_tokens": 30,
        "cache_read_input_tokens": 30,
        "output_tokens": 5,
        "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
        "server_tool_use": {"web_search_requests": 2},
    }
