"""Anthropic's adapter against what Anthropic really answered."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import UpstreamBroken, UpstreamError, UpstreamRejected, UpstreamUnavailable
from gateway.providers.anthropic import Anthropic
from gateway.providers.anthropic_stream import ChatReader, MessagesReader
from tests.gateway.providers import replay
from tests.gateway.providers.replay import fed, read_stream, read_whole, target
from tests.recorded import exchanges

ALL = exchanges("anthropic_messages")
WHOLE = [exchange for exchange in ALL if exchange["status"] == 200 and not exchange["streamed"]]
STREAMED = [exchange for exchange in ALL if exchange["streamed"]]
FINISH = {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length", "refusal": "content_filter"}
SONNET = target("anthropic", "claude-sonnet-4-5", secret="sk-ant-x")


def blocks_of(exchange: dict[str, Any]) -> tuple[list[dict[str, Any]], str, dict[str, Any]]:
    """A recorded answer's content blocks, stop reason and usage, put together without the adapter."""
    if not exchange["streamed"]:
        answer = json.loads(exchange["response"])
        return answer["content"], answer["stop_reason"], answer["usage"]
    blocks: list[dict[str, Any]] = []
    usage: dict[str, Any] = {}
    reason = ""
    for event in replay.events(exchange["response"]):
        match event["type"]:
            case "message_start":
                usage |= event["message"]["usage"]
            case "content_block_start":
                blocks.append(event["content_block"] | {"json": ""})
            case "content_block_delta":
                for name in ("text", "thinking", "signature"):
                    if name in event["delta"]:
                        blocks[-1][name] += event["delta"][name]
                blocks[-1]["json"] += event["delta"].get("partial_json", "")
            case "message_delta":
                reason = event["delta"]["stop_reason"]
                usage |= event["usage"]
    for block in blocks:
        if block["type"] == "tool_use":
            block["input"] = json.loads(block["json"] or "{}")
    return blocks, reason, usage


def assert_same(exchange: dict[str, Any], heard: replay.Heard) -> None:
    blocks, reason, usage = blocks_of(exchange)
    assert heard.text == "".join(block["text"] for block in blocks if block["type"] == "text")
    assert heard.reasoning == "".join(block["thinking"] for block in blocks if block["type"] == "thinking")
    assert [block["signature"] for block in heard.thinking] == [b["signature"] for b in blocks if "signature" in b]
    assert heard.named == [(b["name"], b["input"]) for b in blocks if b["type"] == "tool_use"]
    assert heard.finish == FINISH[reason]
    assert heard.shown["completion_tokens"] == usage["output_tokens"]
    cached, written = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
    assert heard.shown["prompt_tokens"] == usage["input_tokens"] + cached + written
    assert heard.shown["prompt_tokens_details"]["cached_tokens"] == cached
    if not usage.get("iterations"):
        assert (heard.usage.input, heard.usage.output) == (heard.shown["prompt_tokens"], usage["output_tokens"])
        assert heard.usage.cache_write + heard.usage.cache_write_long == written


@pytest.mark.parametrize("exchange", WHOLE, ids=replay.by_id)
def test_a_recorded_answer_keeps_everything_in_chat_form(exchange):
    assert_same(exchange, read_whole(Anthropic().answer(exchange["response"].encode(), "chat", SONNET)))


@pytest.mark.parametrize("exchange", WHOLE, ids=replay.by_id)
def test_a_recorded_answer_passes_through_as_the_bytes_that_came(exchange):
    body = exchange["response"].encode()
    delta = Anthropic().answer(body, "messages", SONNET)
    blocks, reason, _ = blocks_of(exchange)
    assert (delta.raw, delta.form, delta.finish) == (body, "messages", FINISH[reason])
    assert delta.text == "".join(block["text"] for block in blocks if block["type"] == "text")


@pytest.mark.parametrize("exchange", STREAMED, ids=replay.by_id)
def test_a_recorded_stream_keeps_everything_in_chat_form(exchange):
    body = exchange["response"].encode()
    heard = read_stream(fed(ChatReader(), [body]))
    assert_same(exchange, heard)
    assert heard.deltas[0].data["choices"][0]["delta"]["role"] == "assistant"
    assert heard.deltas[-1].usage_only
    byte_by_byte = read_stream(fed(ChatReader(), (body[i : i + 1] for i in range(len(body)))))
    assert_same(exchange, byte_by_byte)


@pytest.mark.parametrize("exchange", STREAMED, ids=replay.by_id)
def test_a_recorded_stream_passes_through_as_the_bytes_that_came(exchange):
    body = exchange["response"].encode()
    deltas = fed(MessagesReader(), [body])
    blocks, reason, usage = blocks_of(exchange)
    assert b"".join(delta.raw for delta in deltas).strip() == body.strip()
    assert "".join(delta.text for delta in deltas) == "".join(b["text"] for b in blocks if b["type"] == "text")
    assert [delta.finish for delta in deltas if delta.finish] == [FINISH[reason]]
    assert [d.usage for d in deltas if d.usage][-1].output == usage["output_tokens"]


def test_a_stream_cut_at_any_byte_is_read_the_same():
    body = min((exchange["response"].encode() for exchange in STREAMED), key=len)
    shape = [(d.data["choices"], d.finish, d.usage) for d in fed(ChatReader(), [body])]
    for cut in range(1, len(body)):
        deltas = fed(ChatReader(), [body[:cut], body[cut:]])
        assert [(d.data["choices"], d.finish, d.usage) for d in deltas] == shape


@pytest.mark.parametrize("reader", [ChatReader, MessagesReader])
def test_a_stream_that_ends_early_never_looks_finished(reader):
    body = STREAMED[0]["response"].encode()
    stop = body.index(b"event: message_stop")
    for cut in (0, 1, stop // 2, stop):
        with pytest.raises(UpstreamBroken):
            fed(reader(), [body[:cut]])


@given(st.lists(st.binary(max_size=60) | st.sampled_from([b"data: {}\n\n", b'data: {"type":"message_delta"}\n\n'])))
def test_nonsense_ends_in_an_upstream_error_and_nothing_else(chunks):
    for reader in (ChatReader(), MessagesReader()):
        with pytest.raises(UpstreamError):
            fed(reader, chunks)


@given(st.data())
def test_a_damaged_stream_ends_in_an_upstream_error_or_is_read(data):
    body = bytearray(STREAMED[3]["response"].encode()[:3000])
    for place in data.draw(st.lists(st.integers(0, len(body) - 1), max_size=8)):
        body[place] = data.draw(st.integers(0, 255))
    for reader in (ChatReader(), MessagesReader()):
        with pytest.raises(UpstreamError):
            fed(reader, [bytes(body)])


def test_an_error_inside_a_stream_comes_after_what_was_said_before_it():
    start = '{"type":"message_start","message":{"id":"m","model":"c","usage":{"input_tokens":3}}}'
    block = '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}'
    word = '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"half"}}'
    error = '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    body = "".join(f"data: {line}\n\n" for line in (start, block, word, error)).encode()
    reader = ChatReader()
    assert "".join(delta.text for delta in reader.feed(body)) == "half"
    with pytest.raises(UpstreamUnavailable) as raised:
        reader.end()
    assert (raised.value.upstream_status, raised.value.message, raised.value.kind) == (
        529,
        "Overloaded",
        "server_error",
    )


def test_a_character_that_is_cut_in_two_comes_together_again():
    lines = [
        '{"type":"message_start","message":{"id":"m","model":"c","usage":{"input_tokens":3}}}',
        '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
        '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"so \\ud83d"}}',
        '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\ude42"}}',
        '{"type":"content_block_stop","index":0}',
        '{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}',
        '{"type":"message_stop"}',
    ]
    body = "".join(f"data: {line}\n\n" for line in lines).encode()
    assert read_stream(fed(ChatReader(), [body])).text == "so 🙂"
    passed = b"".join(delta.raw for delta in fed(MessagesReader(), [body]))
    assert "".join(event.get("delta", {}).get("text", "") for event in replay.events(passed.decode())) == "so 🙂"


def test_errors_keep_their_status_and_message():
    recorded = next(exchange for exchange in ALL if exchange["status"] != 200)
    error = Anthropic().error(404, {}, recorded["response"].encode())
    assert isinstance(error, UpstreamRejected)
    assert (error.upstream_status, error.message, error.type) == (404, "model: claude-sonet-4-5", "not_found_error")

    busy = Anthropic().error(429, {"retry-after": "7"}, b'{"type":"error","error":{"message":"slow down"}}')
    assert (type(busy), busy.kind, busy.retry_after) == (UpstreamUnavailable, "rate_limit", 7.0)
    full = b'{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens"}}'
    assert Anthropic().error(400, {}, full).kind == "context_too_long"
    assert Anthropic().error(502, {}, b"<html>Bad gateway").message == "<html>Bad gateway"
    assert type(Anthropic().error(401, {}, b"{}")) is UpstreamUnavailable


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[]", b'{"type":"error"}', b'{"type":"message","content":3}'])
def test_a_200_that_is_no_message_is_a_bad_answer(body):
    with pytest.raises(UpstreamUnavailable) as raised:
        Anthropic().answer(body, "chat", SONNET)
    assert raised.value.kind == "bad_answer"
