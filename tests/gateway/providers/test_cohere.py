"""Cohere's adapter against what Cohere really answered, and against streams in the shape that its reference gives."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import (
    InvalidRequest,
    Unsupported,
    UpstreamBroken,
    UpstreamError,
    UpstreamRejected,
    UpstreamUnavailable,
)
from gateway.providers.cohere import Cohere
from gateway.providers.cohere_answer import ChatReader
from tests.gateway.providers import replay
from tests.gateway.providers.conversations import conversations, essence
from tests.gateway.providers.replay import fed, read_stream, read_whole, target
from tests.recorded import exchanges

ALL = exchanges("cohere_v2")
CHATS = [exchange for exchange in ALL if exchange["path"] == "/v2/chat"]
FINISH = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "TOOL_CALL": "tool_calls"}
COMMAND = target("cohere", "command-a-03-2025", secret="key")


def sent(body: dict[str, Any], form: str = "chat") -> dict[str, Any]:
    return json.loads(Cohere().request(body, form, COMMAND, stream=False).body)


def say(**more: Any) -> dict[str, Any]:
    return {"model": "x", "messages": [{"role": "user", "content": "hi"}], **more}


def stream_of(answer: dict[str, Any], piece: int = 5) -> bytes:
    """A whole answer as the stream that would have carried it."""
    said = answer["message"]
    found: list[dict[str, Any]] = [
        {"type": "message-start", "id": answer["id"], "delta": {"message": {"role": "assistant"}}}
    ]

    def add(kind: str, **message: Any) -> None:
        found.append({"type": kind, "index": 0, "delta": {"message": message}})

    for at in range(0, len(said.get("tool_plan", "")), piece):
        add("tool-plan-delta", tool_plan=said["tool_plan"][at : at + piece])
    for call in said.get("tool_calls", []):
        text = call["function"]["arguments"]
        add("tool-call-start", tool_calls={**call, "function": {"name": call["function"]["name"], "arguments": ""}})
        for at in range(0, len(text), piece):
            add("tool-call-delta", tool_calls={"function": {"arguments": text[at : at + piece]}})
        found.append({"type": "tool-call-end", "index": 0})
    for block in said.get("content", []):
        add("content-start", content={"type": "text", "text": ""})
        for at in range(0, len(block["text"]), piece):
            add("content-delta", content={"text": block["text"][at : at + piece]})
        found.append({"type": "content-end", "index": 0})
    for citation in said.get("citations", []):
        add("citation-start", citations=citation)
    end = {"finish_reason": answer["finish_reason"], "usage": answer["usage"]}
    found.append({"type": "message-end", "delta": end})
    return b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in found)


def assert_same(exchange: dict[str, Any], heard: replay.Heard) -> None:
    answer = json.loads(exchange["response"])
    said, usage = answer["message"], answer["usage"]
    plan = said.get("tool_plan", "")
    assert heard.text == plan + "".join(block["text"] for block in said.get("content", []))
    calls = [
        (call["function"]["name"], json.loads(call["function"]["arguments"])) for call in said.get("tool_calls", [])
    ]
    assert heard.named == calls
    assert [call["id"] for call in heard.calls] == [call["id"] for call in said.get("tool_calls", [])]
    assert heard.finish == FINISH[answer["finish_reason"]]
    tokens = usage["tokens"]
    assert heard.shown["prompt_tokens"] == tokens["input_tokens"]
    assert heard.shown["completion_tokens"] == tokens["output_tokens"]
    assert heard.shown["prompt_tokens_details"]["cached_tokens"] == usage.get("cached_tokens", 0)
    assert heard.shown["billed_units"] == usage["billed_units"]
    assert (heard.usage.input, heard.usage.output) == tuple(usage["billed_units"].values())


@pytest.mark.parametrize("exchange", CHATS, ids=replay.by_id)
def test_a_recorded_answer_keeps_everything_whole_and_streamed(exchange):
    answer = json.loads(exchange["response"])
    whole = read_whole(Cohere().answer(exchange["response"].encode(), "chat", COMMAND))
    assert_same(exchange, whole)
    body = stream_of(answer)
    streamed = read_stream(fed(ChatReader("m"), [body]))
    assert_same(exchange, streamed)
    assert_same(exchange, read_stream(fed(ChatReader("m"), (body[i : i + 1] for i in range(len(body))))))


def test_citations_stand_beside_the_text():
    exchange = next(one for one in CHATS if "citations" in one["response"])
    message = Cohere().answer(exchange["response"].encode(), "chat", COMMAND).data["choices"][0]["message"]
    citations = message["extra_content"]["cohere"]["citations"]
    assert [message["content"][one["start"] : one["end"]].lower() for one in citations] == ["sunny", "22c."]
    document = {"type": "document", "document": {"url": "https://a.example", "title": "A"}}
    answer = {"message": {"citations": [{"start": 0, "end": 1, "sources": [document]}]}, "finish_reason": "COMPLETE"}
    found = Cohere().answer(json.dumps(answer).encode(), "chat", COMMAND).data["choices"][0]["message"]
    citation = {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 1}
    assert found["annotations"] == [{"type": "url_citation", "url_citation": citation}]


def test_a_stream_that_ends_early_or_in_an_error_never_looks_finished():
    body = stream_of(json.loads(CHATS[0]["response"]))
    last = body.index(b"event: message-end")
    for cut in (0, 1, last):
        with pytest.raises(UpstreamBroken):
            fed(ChatReader("m"), [body[:cut]])
    end = b'event: message-end\ndata: {"type":"message-end","delta":{"finish_reason":"ERROR","error":"gone"}}\n\n'
    with pytest.raises(UpstreamUnavailable, match="gone"):
        fed(ChatReader("m"), [body[:last] + end])


@given(st.lists(st.binary(max_size=40) | st.just(b'data: {"type":"content-delta","delta":3}\n\n')))
def test_nonsense_ends_in_an_upstream_error_and_nothing_else(chunks):
    with pytest.raises(UpstreamError):
        fed(ChatReader("m"), chunks)


def test_errors_keep_their_status_and_message():
    exchange = next(one for one in ALL if one["status"] == 404)
    error = Cohere().error(404, {}, exchange["response"].encode())
    recorded = json.loads(exchange["response"])["message"]
    assert (type(error), error.upstream_status, error.message) == (UpstreamRejected, 404, recorded)


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[]", b'{"message":{},"finish_reason":"ERROR"}'])
def test_a_200_that_is_no_answer_is_a_bad_answer(body):
    for form in ("chat", "embeddings", "rerank"):
        with pytest.raises(UpstreamUnavailable) as raised:
            Cohere().answer(body, form, COMMAND)
        assert raised.value.kind == "bad_answer"


# --- Requests -----------------------------------------------------------------------------------


def chat_messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Reads their messages as the chat messages that should have made them."""
    found = []
    for message in messages:
        plan = message.get("tool_plan")
        rest = {name: value for name, value in message.items() if name != "tool_plan"}
        found.append(rest | ({"content": plan} if plan else {}))
    return found


def test_recorded_requests_are_what_chat_requests_become():
    names = {"stop_sequences": "stop"}
    for exchange in CHATS:
        request = exchange["request"]
        body = {names.get(name, name): value for name, value in request.items()}
        if "tool_choice" in body:
            body["tool_choice"] = body["tool_choice"].lower()
        outgoing = Cohere().request(body, "chat", target("cohere", request["model"]), stream=False)
        assert json.loads(outgoing.body) == request
        assert outgoing.url == "https://provider.example/v2/chat"


def test_recorded_embeddings_come_in_openais_form():
    exchange = next(one for one in ALL if one["path"] == "/v2/embed" and one["status"] == 200)
    request = {name: value for name, value in exchange["request"].items() if value is not None}
    body = {"input": request["texts"], "input_type": request["input_type"], "truncate": request["truncate"]}
    assert sent(body, "embeddings") == request | {"model": COMMAND.upstream}
    delta = Cohere().answer(exchange["response"].encode(), "embeddings", COMMAND)
    assert [one["embedding"] for one in delta.data["data"]] == json.loads(exchange["response"])["embeddings"]["float"]
    assert delta.usage.input == 4


def test_options_have_their_names():
    shape = {"type": "object", "properties": {}}
    made = sent(
        say(
            top_p=0.5,
            top_k=7,
            max_completion_tokens=9,
            stop="x",
            reasoning_effort="low",
            response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": shape}},
        )
    )
    expected = {"p": 0.5, "k": 7, "max_tokens": 9, "stop_sequences": ["x"]}
    expected["thinking"] = {"type": "enabled", "token_budget": 1024}
    expected["response_format"] = {"type": "json_object", "json_schema": shape}
    assert {name: made[name] for name in expected} == expected


def test_what_they_have_not_is_refused_by_name():
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    named = {"type": "function", "function": {"name": "f"}}
    for field, body in (("n", say(n=2)), ("logit_bias", say(logit_bias={"1": 1}))):
        with pytest.raises(Unsupported) as raised:
            sent(body)
        assert raised.value.param == field
    with pytest.raises(Unsupported) as raised:
        sent(say(tools=tools, tool_choice=named))
    assert raised.value.param == "tool_choice"


@given(conversations(media=False))
def test_any_conversation_keeps_its_content(messages):
    assert essence(chat_messages(sent({"messages": messages})["messages"])) == essence(messages)


# --- Rerank -------------------------------------------------------------------------------------


def test_rerank_passes_with_documents_as_texts():
    body = {
        "model": "x",
        "query": "q",
        "documents": ["a", {"text": "b"}, {"t": 1}],
        "top_n": 2,
        "return_documents": True,
    }
    made = sent(body, "rerank")
    assert made == {"model": COMMAND.upstream, "query": "q", "documents": ["a", "b", '{"t":1}'], "top_n": 2}
    answer = b'{"id":"r","results":[{"index":1,"relevance_score":0.9}],"meta":{"billed_units":{"search_units":3}}}'
    delta = Cohere().answer(answer, "rerank", COMMAND)
    assert (delta.raw, delta.form, delta.usage.tool_uses) == (answer, "rerank", 3)


@pytest.mark.parametrize(("field", "body"), [("query", {"documents": ["a"]}), ("documents", {"query": "q"})])
def test_a_rerank_request_that_nobody_could_rank_is_refused(field, body):
    with pytest.raises(InvalidRequest) as raised:
        sent(body, "rerank")
    assert raised.value.param == field
