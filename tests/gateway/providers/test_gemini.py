"""Gemini's adapter against what AI Studio and Vertex really answered."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import UpstreamBroken, UpstreamError, UpstreamRejected, UpstreamUnavailable
from gateway.providers.gemini import Gemini
from gateway.providers.gemini_answer import ChatReader
from tests.gateway.providers import replay
from tests.gateway.providers.replay import fed, read_stream, read_whole, target
from tests.recorded import exchanges

ALL = exchanges("gemini_generate")
WHOLE = [exchange for exchange in ALL if exchange["status"] == 200 and not exchange["streamed"]]
STREAMED = [exchange for exchange in ALL if exchange["streamed"]]
FAILED = [exchange for exchange in ALL if exchange["status"] != 200]
EMBEDDED = [
    exchange
    for exchange in exchanges("openai_embeddings")
    if exchange["path"].endswith(":batchEmbedContents") and exchange["status"] == 200
]
FINISH = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter", "UNEXPECTED_TOOL_CALL": "stop"}
FLASH = target("gemini", "gemini-2.5-flash", secret="key")


def assert_same(exchange: dict[str, Any], heard: replay.Heard) -> None:
    """Compares with the recorded parts, put together without the adapter."""
    body = exchange["response"]
    answers = replay.events(body) if exchange["streamed"] else [json.loads(body)]
    candidates = [one for answer in answers for one in answer.get("candidates", [])]
    parts = [part for one in candidates for part in one.get("content", {}).get("parts", [])]
    usage: dict[str, Any] = {}
    for answer in answers:
        usage = answer["usageMetadata"]
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    reasons = [one["finishReason"] for one in candidates if "finishReason" in one]
    expected = "content_filter" if not reasons else FINISH[reasons[0]]

    assert heard.text == "".join(part["text"] for part in parts if "text" in part and not part.get("thought"))
    assert heard.reasoning == "".join(part["text"] for part in parts if part.get("thought"))
    assert heard.named == [(call["name"], call["args"]) for call in calls]
    assert [call["id"] for call in heard.calls if call["id"][:5] != "call_"] == [c["id"] for c in calls if "id" in c]
    assert len({call["id"] for call in heard.calls}) == len(calls)
    assert heard.finish == ("tool_calls" if calls and expected == "stop" else expected)
    prompt = usage.get("promptTokenCount", 0) + usage.get("toolUsePromptTokenCount", 0)
    thoughts = usage.get("thoughtsTokenCount", 0)
    assert heard.shown["prompt_tokens"] == heard.usage.input == prompt
    assert heard.shown["completion_tokens"] == heard.usage.output == usage.get("candidatesTokenCount", 0) + thoughts
    assert heard.shown["total_tokens"] == usage.get("totalTokenCount", 0)
    assert heard.usage.reasoning == thoughts
    assert heard.usage.cached == usage.get("cachedContentTokenCount", 0)


@pytest.mark.parametrize("exchange", WHOLE, ids=replay.by_id)
def test_a_recorded_answer_keeps_everything(exchange):
    assert_same(exchange, read_whole(Gemini().answer(exchange["response"].encode(), "chat", FLASH)))


@pytest.mark.parametrize("exchange", STREAMED, ids=replay.by_id)
def test_a_recorded_stream_keeps_everything(exchange):
    body = exchange["response"].encode()
    assert_same(exchange, read_stream(fed(ChatReader(), [body])))
    assert_same(exchange, read_stream(fed(ChatReader(), (body[i : i + 1] for i in range(len(body))))))


@pytest.mark.parametrize("exchange", STREAMED, ids=replay.by_id)
def test_a_stream_without_its_last_event_never_looks_finished(exchange):
    body = exchange["response"].encode()
    last = body.rstrip().rindex(b"data:")
    for cut in (0, 1, last // 2, last):
        with pytest.raises(UpstreamBroken):
            fed(ChatReader(), [body[:cut]])


def test_a_stream_cut_at_any_byte_is_read_the_same():
    body = min((exchange["response"].encode() for exchange in STREAMED), key=len)
    expected = [(d.data["choices"], d.finish, d.usage) for d in fed(ChatReader(), [body])]
    for cut in range(1, len(body)):
        deltas = fed(ChatReader(), [body[:cut], body[cut:]])
        assert [(d.data["choices"], d.finish, d.usage) for d in deltas] == expected


@given(st.lists(st.binary(max_size=60) | st.sampled_from([b"data: {}\n\n", b'data: {"candidates":[{}]}\n\n', b"[]"])))
def test_nonsense_ends_in_an_upstream_error_and_nothing_else(chunks):
    with pytest.raises(UpstreamError):
        fed(ChatReader(), chunks)


def test_signatures_grounding_and_hosted_parts_stand_beside_the_text():
    exchange = next(
        one for one in WHOLE if "executableCode" in one["response"] and "thoughtSignature" in one["response"]
    )
    message = Gemini().answer(exchange["response"].encode(), "chat", FLASH).data["choices"][0]["message"]
    google = message["extra_content"]["google"]
    assert [next(iter(part)) for part in google["parts"] if "executableCode" in part] != []
    grounded = next(one for one in WHOLE if '"groundingSupports"' in one["response"])
    answer = Gemini().answer(grounded["response"].encode(), "chat", FLASH).data["choices"][0]["message"]
    support = json.loads(grounded["response"])["candidates"][0]["groundingMetadata"]["groundingSupports"][0]
    place = answer["annotations"][0]["url_citation"]
    assert answer["content"][place["start_index"] : place["end_index"]] == support["segment"]["text"]


def test_logprobs_come_in_openais_form():
    exchange = next(one for one in WHOLE if "logprobsResult" in one["response"])
    odds = Gemini().answer(exchange["response"].encode(), "chat", FLASH).data["choices"][0]["logprobs"]["content"]
    assert odds[0]["token"] == "2"
    assert odds[0]["bytes"] == [50]
    assert len(odds[0]["top_logprobs"]) == 5


def test_a_blocked_prompt_is_a_refusal_whole_and_streamed():
    exchange = next(one for one in ALL if "promptFeedback" in one["response"])
    body = exchange["response"].encode()
    whole = Gemini().answer(body, "chat", FLASH)
    message = whole.data["choices"][0]["message"]
    assert whole.finish == "content_filter"
    assert message["refusal"] == "The prompt violated Prompt Injection and Jailbreak filters."
    streamed = fed(ChatReader(), [b"data: " + json.dumps(json.loads(body)).encode() + b"\n\n"])
    assert streamed[0].data["choices"][0]["delta"]["refusal"] == message["refusal"]
    assert streamed[0].finish == "content_filter"


@pytest.mark.parametrize("exchange", FAILED, ids=replay.by_id)
def test_errors_keep_their_status_and_message(exchange):
    error = Gemini().error(exchange["status"], {}, exchange["response"].encode())
    recorded = json.loads(exchange["response"])["error"]
    assert (type(error), error.upstream_status, error.message) == (UpstreamRejected, 400, recorded["message"])


def test_a_wait_is_read_from_the_details_and_a_bad_key_is_no_fault_of_the_caller():
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s"}]
    busy = {"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": details}}
    error = Gemini().error(429, {}, json.dumps(busy).encode())
    assert (error.kind, error.retry_after) == ("rate_limit", 17.0)
    key = {"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID"}}
    refused = Gemini().error(400, {}, json.dumps([key]).encode())
    assert (type(refused), refused.kind) == (UpstreamUnavailable, "auth")


def test_a_character_that_is_cut_in_two_comes_together_again():
    parts = ['{"text":"so \\ud83d"}', '{"text":"\\ude42"}']
    bodies = [f'{{"candidates":[{{"content":{{"parts":[{part}]}}}}]}}' for part in parts]
    end = '{"candidates":[{"finishReason":"STOP"}]}'
    stream = "".join(f"data: {body}\n\n" for body in (*bodies, end)).encode()
    assert read_stream(fed(ChatReader(), [stream])).text == "so 🙂"


def test_an_error_inside_a_stream_is_raised_with_its_status():
    event = b'data: {"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}\n\n'
    with pytest.raises(UpstreamUnavailable) as raised:
        ChatReader().feed(event)
    assert (raised.value.upstream_status, raised.value.message) == (503, "overloaded")


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"candidates":[]}', b"[]", b'{"candidates":3}'])
def test_a_200_that_is_no_answer_is_a_bad_answer(body):
    with pytest.raises(UpstreamUnavailable) as raised:
        Gemini().answer(body, "chat", FLASH)
    assert raised.value.kind == "bad_answer"


@pytest.mark.parametrize("exchange", EMBEDDED, ids=replay.by_id)
def test_recorded_embeddings_come_in_openais_form(exchange):
    answer = json.loads(exchange["response"])
    entry = exchange["request"]["requests"][0]
    to = target("gemini", entry["model"].removeprefix("models/"))
    body = {"model": "x", "input": [one["content"]["parts"][0]["text"] for one in exchange["request"]["requests"]]}
    body |= {"task_type": entry["taskType"]} if "taskType" in entry else {}
    sent = Gemini().request(body, "embeddings", to, stream=False)
    assert json.loads(sent.body) == exchange["request"]
    assert sent.url == f"https://provider.example{exchange['path']}"
    delta = Gemini().answer(exchange["response"].encode(), "embeddings", to)
    assert [one["embedding"] for one in delta.data["data"]] == [one["values"] for one in answer["embeddings"]]
    reported = answer.get("usageMetadata")
    assert (delta.usage.input if delta.usage else None) == (reported["promptTokenCount"] if reported else None)
