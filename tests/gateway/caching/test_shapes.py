"""Kept answers in the other shape: what a whole answer says as a stream, and the way back."""

import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.caching.entry import Entry, kept, shown
from gateway.caching.exact import exact_key
from gateway.caching.shapes import fitting
from gateway.core.call import Delta, Usage
from gateway.providers.openai_answers import read_choices, read_whole
from tests.gateway.caching.sample import call, entry, routes

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
TOOLS = [
    {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Cape Town"}'}},
    {"id": "call_2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
]
RECORDED = Path(__file__).parents[2] / "recordings" / "openai_chat.jsonl.gz"


def whole(*messages: dict[str, Any], finish: str = "stop", **fields: Any) -> dict[str, Any]:
    choices = [
        {"index": at, "message": {"role": "assistant", "content": None, "refusal": None, **each}, "logprobs": None,
         "finish_reason": finish}
        for at, each in enumerate(messages)
    ]  # fmt: skip
    head = {"object": "chat.completion", "id": "a", "created": 7, "model": "gpt"}
    return {**head, "choices": choices, "usage": USAGE, **fields}


def of_whole(answer: dict[str, Any]) -> Entry:
    delta = Delta(raw=msgspec.json.encode(answer))
    read_whole(answer, delta)
    return entry(deltas=[kept(delta)])


def of_stream(*chunks: dict[str, Any]) -> Entry:
    deltas = []
    for chunk in chunks:
        delta = Delta(raw=b"data: " + msgspec.json.encode(chunk) + b"\n\n")
        read_choices(chunk, delta)
        if chunk.get("usage"):
            delta.usage, delta.usage_only = Usage(input=3, output=2), not chunk["choices"]
        deltas.append(kept(delta))
    return entry(deltas=deltas, streamed=True)


def there_and_back(answer: dict[str, Any]) -> Any:
    streamed = fitting(of_whole(answer), call(stream=True))
    assert streamed is not None
    assert streamed.streamed
    back = fitting(streamed, call())
    assert back is not None
    [delta] = [shown(each) for each in back.deltas]
    return delta


@pytest.mark.parametrize(
    "answer",
    [
        whole({"content": "Good day"}),
        whole({"content": "one"}, {"content": "two"}),
        whole({"tool_calls": TOOLS}, finish="tool_calls"),
        whole({"content": "Ω", "reasoning_content": "thought"}, system_fingerprint="fp"),
        whole({"refusal": "No."}),
        whole({"content": ""}),
    ],
)
def test_a_whole_answer_says_the_same_as_a_stream(answer: dict[str, Any]) -> None:
    delta = there_and_back(answer)
    for choice in answer["choices"]:
        choice["message"] = {**choice["message"], "content": choice["message"]["content"] or None}
    assert delta.data == answer
    first = of_whole(answer).deltas[0]
    assert (delta.text, delta.hidden, delta.finish, delta.usage) == (
        first.text,
        first.hidden,
        first.finish,
        first.usage,
    )


def test_the_stream_of_a_whole_answer_has_a_streams_events() -> None:
    streamed = fitting(of_whole(whole({"tool_calls": TOOLS}, finish="tool_calls")), call(stream=True))
    assert streamed is not None
    said, ended, usage = [shown(delta) for delta in streamed.deltas]
    assert {chunk.data["object"] for chunk in (said, ended, usage)} == {"chat.completion.chunk"}
    assert said.data["choices"][0]["delta"]["tool_calls"] == [{"index": at, **each} for at, each in enumerate(TOOLS)]
    assert (ended.finish, ended.data["choices"][0]["delta"]) == ("tool_calls", {})
    assert (usage.usage_only, usage.data["choices"], usage.data["usage"]) == (True, [], USAGE)


def test_a_stream_is_put_together_whatever_its_pieces() -> None:
    def chunk(usage: Any = None, **delta: Any) -> dict[str, Any]:
        finish = delta.pop("finish", None)
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        head = {"id": "a", "object": "chat.completion.chunk", "created": 7, "model": "gpt"}
        return {**head, "choices": [] if usage else [choice], "usage": usage}

    made = fitting(
        of_stream(
            chunk(role="assistant", content=""),
            chunk(content="Good "),
            chunk(content="day"),
            chunk(tool_calls=[{**TOOLS[0], "index": 0, "function": {"name": "weather", "arguments": ""}}]),
            chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"city":'}}]),
            chunk(tool_calls=[{"index": 0, "function": {"arguments": '"Cape Town"}'}}]),
            chunk(finish="tool_calls"),
            chunk(usage=USAGE),
        ),
        call(),
    )
    assert made is not None
    delta = shown(made.deltas[0])
    assert delta.data == whole({"content": "Good day", "tool_calls": TOOLS[:1]}, finish="tool_calls")
    assert (delta.text, delta.finish, delta.usage) == ("Good day", "tool_calls", Usage(input=3, output=2))


@pytest.mark.parametrize(
    "made",
    [
        of_whole(whole({"content": "x", "audio": {"data": "AA"}})),
        of_whole(whole({"content": "x", "annotations": [{"type": "url_citation"}]})),
        of_whole(whole({"content": [{"type": "text", "text": "x"}]})),
        entry(deltas=[kept(Delta(raw=b"{}", form="messages"))]),
        entry(deltas=[kept(Delta(raw=b'{"choices": "none"}'))]),
    ],
)
def test_an_answer_with_anything_else_keeps_to_its_own_shape(made: Entry) -> None:
    assert fitting(made, call(stream=True)) is None
    assert fitting(made, call()) is made


def test_a_stream_that_never_said_why_it_ended_is_no_whole_answer() -> None:
    assert fitting(of_stream({"choices": [{"index": 0, "delta": {"content": "x"}}]}), call()) is None
    assert fitting(entry(deltas=[], streamed=True), call()) is None


def test_recorded_answers_come_back_as_they_were() -> None:
    with gzip.open(RECORDED, "rt") as lines:
        exchanges = [json.loads(line) for line in lines]
    tried = 0
    for exchange in exchanges:
        if exchange["streamed"] or exchange["status"] != 200:
            continue
        answer = json.loads(exchange["response"])
        if (streamed := fitting(of_whole(answer), call(stream=True))) is None:
            continue
        back = fitting(streamed, call())
        assert back is not None
        delta, tried = shown(back.deltas[0]), tried + 1
        assert (delta.data["id"], delta.data["usage"]) == (answer["id"], answer["usage"])
        for choice, made in zip(answer["choices"], delta.data["choices"], strict=True):
            message = choice["message"]
            assert made["message"]["content"] == (message.get("content") or None)
            assert made["message"].get("tool_calls") == (message.get("tool_calls") or None)
            assert made["finish_reason"] == choice["finish_reason"]
    assert tried > 50


@pytest.mark.parametrize(("body", "is_shared"), [({}, True), ({"logprobs": True}, False), ({"audio": {}}, False)])
def test_whole_and_streamed_calls_have_one_key_where_their_answers_can_be_shared(body: Any, is_shared: bool) -> None:
    one = exact_key(call(body=body), routes())
    other = exact_key(
        call(body={**body, "stream": True, "stream_options": {"include_usage": True}}, stream=True), routes()
    )
    assert (one == other) is is_shared
