"""Bedrock's adapter against what Bedrock really answered, whole and as the stream that would have carried it."""

import json
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import UpstreamBroken, UpstreamError, UpstreamRejected, UpstreamUnavailable
from gateway.providers.bedrock import Bedrock
from gateway.providers.bedrock_answer import ChatReader
from tests.gateway.providers import replay
from tests.gateway.providers.frames import converse, event, exception, frame
from tests.gateway.providers.replay import fed, read_stream, read_whole, target
from tests.recorded import exchanges

ALL = exchanges("bedrock_converse")
GOOD = [exchange for exchange in ALL if exchange["status"] == 200]
FAILED = [exchange for exchange in ALL if exchange["status"] != 200]
EMBEDDED = [exchange for exchange in exchanges("openai_embeddings") if exchange["path"].endswith("/invoke")]
NOVA = target("bedrock", "eu.amazon.nova-lite-v1:0", base_url="", region="eu-west-1", secret="AK:SK:TOKEN")
FINISH = {"end_turn": "stop", "tool_use": "tool_calls"}


def assert_same(exchange: dict[str, Any], heard: replay.Heard) -> None:
    answer = json.loads(exchange["response"])
    blocks = answer["output"]["message"]["content"]
    thoughts = [block["reasoningContent"]["reasoningText"] for block in blocks if "reasoningContent" in block]
    usage = answer["usage"]
    read, wrote = usage.get("cacheReadInputTokens", 0), usage.get("cacheWriteInputTokens", 0)
    assert heard.text == "".join(block["text"] for block in blocks if "text" in block)
    assert heard.reasoning == "".join(thought["text"] for thought in thoughts)
    assert [b.get("signature") for b in heard.thinking] == [thought.get("signature") for thought in thoughts]
    used = [block["toolUse"] for block in blocks if "toolUse" in block]
    assert heard.named == [(one["name"], one["input"]) for one in used]
    assert [call["id"] for call in heard.calls] == [one["toolUseId"] for one in used]
    assert heard.finish == FINISH[answer["stopReason"]]
    assert heard.shown["total_tokens"] == usage["totalTokens"]
    assert (heard.usage.input, heard.usage.output) == (usage["inputTokens"] + read + wrote, usage["outputTokens"])
    assert (heard.usage.cached, heard.usage.cache_write) == (read, wrote)


@pytest.mark.parametrize("exchange", GOOD, ids=replay.by_id)
def test_a_recorded_answer_keeps_everything_whole_and_streamed(exchange):
    assert_same(exchange, read_whole(Bedrock().answer(exchange["response"].encode(), "chat", NOVA)))
    stream = converse(json.loads(exchange["response"]))
    assert_same(exchange, read_stream(fed(ChatReader("m"), [stream])))
    assert_same(exchange, read_stream(fed(ChatReader("m"), (stream[i : i + 1] for i in range(len(stream))))))


def test_a_stream_that_ends_early_never_looks_finished():
    start, word = event("messageStart", {"role": "assistant"}), {"contentBlockIndex": 0, "delta": {"text": "half"}}
    stream = start + event("contentBlockDelta", word)
    stop = event("messageStop", {"stopReason": "end_turn"})
    for cut in (b"", stream, stream + stop[:-1], stream + stop + b"\x00\x00"):
        with pytest.raises(UpstreamBroken):
            fed(ChatReader("m"), [cut])
    assert read_stream(fed(ChatReader("m"), [stream, stop])).finish == "stop"


def test_an_exception_inside_a_stream_comes_after_what_was_said_before_it():
    word = event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "half"}})
    reader = ChatReader("m")
    assert [delta.text for delta in reader.feed(word + exception("throttlingException", "Too many tokens"))] == ["half"]
    with pytest.raises(UpstreamUnavailable) as raised:
        reader.end()
    assert (raised.value.upstream_status, raised.value.kind, raised.value.message) == (
        429,
        "rate_limit",
        "Too many tokens",
    )
    with pytest.raises(UpstreamRejected):
        ChatReader("m").feed(exception("validationException", "no"))
    with pytest.raises(UpstreamUnavailable):
        ChatReader("m").feed(frame(b"", message_type="error", error_code="InternalError", error_message="x"))


@given(st.lists(st.binary(max_size=40) | st.just(frame(b"[]", message_type="event", event_type="messageStop"))))
def test_nonsense_ends_in_an_upstream_error_and_nothing_else(chunks):
    with pytest.raises(UpstreamError):
        fed(ChatReader("m"), chunks)


@pytest.mark.parametrize("exchange", FAILED, ids=replay.by_id)
def test_errors_keep_their_status_and_message(exchange):
    error = Bedrock().error(400, {"x-amzn-errortype": "ValidationException:http://x/"}, exchange["response"].encode())
    recorded = json.loads(exchange["response"])["message"]
    assert (type(error), error.upstream_status, error.message) == (UpstreamRejected, 400, recorded)
    assert error.body["type"] == "ValidationException"


def test_a_failing_model_is_no_fault_of_the_request():
    assert type(Bedrock().error(424, {}, b'{"message":"model error"}')) is UpstreamUnavailable
    assert Bedrock().error(403, {}, b'{"message":"The security token is expired"}').kind == "auth"
    assert Bedrock().error(400, {}, b'{"message":"Input is too long for requested model."}').kind == "context_too_long"
    assert Bedrock().error(503, {}, b"<html>").message == "<html>"


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[]", b'{"output":{"message":{}}}'])
def test_a_200_that_is_no_answer_is_a_bad_answer(body):
    with pytest.raises(UpstreamUnavailable) as raised:
        Bedrock().answer(body, "chat", NOVA)
    assert raised.value.kind == "bad_answer"


def embedding_body(request: dict[str, Any]) -> dict[str, Any]:
    """Reads their request as the OpenAI request that should have made it."""
    if "texts" in request:
        return {"input": request["texts"], "input_type": request["input_type"], "truncate": request["truncate"]}
    if "inputText" in request:
        return {"input": request["inputText"]} | ({"normalize": request["normalize"]} if "normalize" in request else {})
    params = request["singleEmbeddingParams"]
    found = {"input": [params["text"]["value"]], "truncate": params["text"]["truncationMode"]}
    return found | {"embedding_purpose": params["embeddingPurpose"]}


def vectors(answer: dict[str, Any]) -> list[list[float]]:
    """A recorded answer's vectors, found without the adapter: the lists that hold nothing but numbers."""
    found: list[list[float]] = []

    def look(value: Any) -> None:
        if isinstance(value, list) and value and all(isinstance(one, int | float) for one in value):
            found.append(value)
        elif isinstance(value, list | dict):
            for one in value.values() if isinstance(value, dict) else value:
                look(one)

    look(answer)
    return found[:1]  # Titan gives its vector twice; each recorded request has one text


@pytest.mark.parametrize("exchange", EMBEDDED, ids=replay.by_id)
def test_recorded_embeddings_come_in_openais_form(exchange):
    to = target("bedrock", unquote(exchange["path"].split("/")[2]))
    sent = Bedrock().request(embedding_body(exchange["request"]), "embeddings", to, stream=False)
    assert (sent.url, json.loads(sent.body)) == (f"https://provider.example{exchange['path']}", exchange["request"])
    delta = Bedrock().answer(exchange["response"].encode(), "embeddings", to)
    assert [one["embedding"] for one in delta.data["data"]] == vectors(json.loads(exchange["response"]))
    count = json.loads(exchange["response"]).get("inputTextTokenCount")
    assert (delta.usage.input if delta.usage else None) == count
