import json

import pytest

from gateway.core.call import Target
from gateway.core.errors import Unsupported
from gateway.providers.mistral import Mistral, legal_id
from tests.recorded import exchanges

TARGET = Target("public", "mistral", "mistral", "https://api.mistral.ai/v1", "theirs", secret="s3cret")
RECORDED = exchanges("mistral_chat")


def sent(body: dict, form: str = "chat", *, stream: bool = False) -> dict:
    return json.loads(Mistral().request(body, form, TARGET, stream=stream).body)


def parts(content) -> tuple[str, str]:
    """(text, thinking) of recorded content."""
    if not isinstance(content, list):
        return content or "", ""
    text = "".join(part["text"] for part in content if part["type"] == "text")
    return text, "".join(inner["text"] for part in content if part["type"] == "thinking" for inner in part["thinking"])


@pytest.mark.parametrize("exchange", RECORDED, ids=lambda each: each["id"])
def test_a_recorded_request_reaches_mistral_unchanged(exchange):
    request = exchange["request"]
    stream = bool(request.get("stream"))
    assert sent(request, stream=stream) == request | {"model": "theirs", "stream": stream}


@pytest.mark.parametrize("exchange", [each for each in RECORDED if not each["streamed"]], ids=lambda each: each["id"])
def test_a_recorded_answer_comes_in_openais_shape(exchange):
    delta = Mistral().answer(exchange["response"].encode(), "chat", TARGET)
    answer = json.loads(exchange["response"])
    shown = delta.data if delta.raw is None else json.loads(delta.raw)
    [choice], [got] = answer["choices"], shown["choices"]
    text, thought = parts(choice["message"]["content"])
    assert (got["message"]["content"], got["message"].get("reasoning_content", "")) == (text, thought)
    assert (delta.text, delta.finish) == (text, choice["finish_reason"])
    for call, theirs in zip(
        got["message"].get("tool_calls") or (), choice["message"].get("tool_calls") or (), strict=True
    ):
        assert call == {"type": "function"} | theirs
    usage = answer["usage"]
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or usage.get("num_cached_tokens") or 0
    assert (delta.usage.input, delta.usage.output, delta.usage.cached) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
        cached,
    )


def test_the_recorded_stream_of_a_reasoning_model_comes_in_openais_shape_however_it_is_cut():
    [exchange] = [each for each in RECORDED if each["streamed"]]
    raw = exchange["response"].encode()
    chunks = [json.loads(line[6:]) for line in exchange["response"].splitlines() if line.startswith("data: {")]
    texts = [parts(chunk["choices"][0]["delta"].get("content")) for chunk in chunks]
    for size in (len(raw), 1000, 7):
        reader = Mistral().reader("chat", TARGET)
        deltas = [delta for at in range(0, len(raw), size) for delta in reader.feed(raw[at : at + size])] + reader.end()
        assert "".join(delta.text for delta in deltas) == "".join(text for text, _ in texts)
        assert "".join(delta.hidden for delta in deltas) == "".join(thought for _, thought in texts)
        assert [delta.finish for delta in deltas if delta.finish] == ["stop"]
        said = [delta.data["choices"][0]["delta"] for delta in deltas if delta.data]
        assert "".join(each.get("reasoning_content", "") for each in said) == "".join(thought for _, thought in texts)


OPENAIS = {
    "model": "m",
    "max_completion_tokens": 5,
    "seed": 7,
    "tool_choice": "required",
    "stream_options": {"include_usage": True},
    "store": False,
    "tools": [{"type": "function", "function": {"name": "f"}, "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "developer", "content": "brief"},
        {
            "role": "user",
            "name": "kim",
            "content": [
                {"type": "text", "text": "a", "cache_control": {}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
                {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
            ],
        },
        {
            "role": "assistant",
            "content": "b",
            "reasoning_content": "hm",
            "tool_calls": [{"id": "call_abc", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "call_abc", "content": "c"},
    ],
}
MADE = legal_id("call_abc")
MISTRALS = {
    "model": "theirs",
    "stream": True,
    "max_tokens": 5,
    "random_seed": 7,
    "tool_choice": "any",
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "messages": [
        {"role": "system", "content": "brief"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a"},
                {
                    "type": "document_url",
                    "document_url": "data:application/pdf;base64,aGk=",
                    "document_name": "a.pdf",
                },
                {"type": "input_audio", "input_audio": "aGk="},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": "b"},
            ],
            "tool_calls": [{"id": MADE, "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": MADE, "content": "c"},
    ],
}


def test_openais_words_become_mistrals():
    assert sent(OPENAIS, stream=True) == MISTRALS
    assert len(MADE) == 9
    assert legal_id("Ab1Ab1Ab1") == "Ab1Ab1Ab1"


def test_what_mistral_does_not_have_is_refused_by_name():
    with pytest.raises(Unsupported) as refused:
        sent({"messages": [], "logprobs": True})
    assert refused.value.param == "logprobs"
    assert sent({"messages": [], "logprobs": False}) == {"model": "theirs", "stream": False, "messages": []}


def test_the_width_of_embeddings_has_mistrals_name():
    assert sent({"model": "m", "input": "a", "dimensions": 8}, "embeddings") == {
        "model": "theirs", "input": "a", "output_dimension": 8,
    }  # fmt: skip


def test_a_validation_error_says_where_it_was():
    detail = [{"loc": ["body", "messages", 0], "msg": "Extra inputs are not permitted", "type": "extra_forbidden"}]
    error = Mistral().error(422, {}, json.dumps({"detail": detail}).encode())
    assert (error.status, error.message) == (422, "body.messages.0: Extra inputs are not permitted")
