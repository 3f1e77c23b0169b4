"""Whatever stands where something else is meant: a clear refusal that names the place, never an accident of ours."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.core import bounds
from gateway.core.call import Call, Target
from gateway.core.errors import GatewayError, InvalidRequest
from gateway.edge.app import fill
from gateway.edge.endpoints import FORMS
from gateway.providers import PROVIDERS, provider_of, speaks
from gateway.providers.capabilities import rules_out
from gateway.routing.facts import Facts

ASK = [{"role": "user", "content": "hi"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
PIXEL = "data:image/png;base64,aGk="
FUNCTION = {"name": "get_weather", "description": "d", "parameters": SCHEMA, "strict": True}
CALL = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}
RICH: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "messages": [
            {"role": "system", "content": "be kind"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
                ],
            },
            {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "sunny"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "no"}]},
            {"role": "user", "content": "go on", "name": "ann"},
        ],
        "tools": [{"type": "function", "function": FUNCTION}],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": True}},
        "reasoning_effort": "low",
        "stop": ["x"],
        "temperature": 0.5,
        "max_completion_tokens": 100,
        "stream_options": {"include_usage": True},
        "metadata": {"tags": ["a"], "session_id": "s"},
    },
    "/v1/messages": {
        "max_tokens": 100,
        "system": [{"type": "text", "text": "be kind", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                    {"type": "document", "source": {"type": "text", "data": "words"}, "title": "t"},
                    {"type": "search_result", "title": "t", "source": "s", "content": [{"type": "text", "text": "x"}]},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "tool_use", "id": "c1", "name": "get_weather", "input": {"city": "Rome"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "sunny"}]},
                ],
            },
        ],
        "tools": [{"name": "get_weather", "description": "d", "input_schema": SCHEMA}],
        "tool_choice": {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True},
        "stop_sequences": ["x"],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "low"},
        "metadata": {"user_id": "u"},
    },
    "/v1/responses": {
        "instructions": "be kind",
        "input": [
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": PIXEL}],
            },
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "x"},
            {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "sunny"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
        ],
        "tools": [{"type": "function", "name": "get_weather", "parameters": SCHEMA}],
        "tool_choice": {"type": "function", "name": "get_weather"},
        "text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}, "verbosity": "low"},
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "max_output_tokens": 100,
        "top_logprobs": 2,
    },
    "/v1/completions": {"prompt": "hi", "stop": ["x"], "logprobs": 2, "max_tokens": 5, "best_of": 1},
    "/v1/embeddings": {"input": ["a", "b"], "dimensions": 4, "encoding_format": "float"},
    "/v1/rerank": {"query": "a", "documents": ["a", {"text": "b"}], "top_n": 1, "return_documents": True},
    "/v1/moderations": {"input": [{"type": "text", "text": "a"}]},
    "/v1/images/generations": {"prompt": "a cat", "n": 1, "size": "512x512"},
    "/v1/audio/speech": {"input": "a", "voice": "alloy"},
}
JUNK: list[Any] = [None, True, 7, -1, 0.5, "", "junk", [], {}, [None], [7], ["junk"], [[]], [{}], {"junk": 1}]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in it but itself."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield (*path, name)
        yield from places(each, (*path, name))


def put(body: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    body = copy.deepcopy(body)
    at: Any = body
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = copy.deepcopy(value)
    return body


def carried(path: str, body: dict[str, Any], kind: str) -> None:
    """What happens to a body on its way to a provider of this kind, all that reads it and needs no configuration."""
    call = Call("call-1", FORMS[path], {})
    fill(call, {"model": "m", **body})
    target = Target("m", kind, kind, "http://p.example/v1", "upstream", secret=SECRETS.get(kind, "s"), region="r")
    facts = Facts(call)
    for name in ("complexity", "context_tokens", "has_image", "has_tools", "wants_json", "output_tokens"):
        facts.get(name)
    rules_out(call.body, Target("m", kind, kind, "", "", capabilities=frozenset(), context_tokens=10))
    form = call.form.name if speaks(target, call.form.name) else "chat"
    asked = call.body if form == call.form.name else call.canonical()
    bounds.measured(call)
    provider_of(target).request(asked, form, target, stream=call.stream)


SECRETS = {"bedrock": "AK:SK"}


@pytest.mark.parametrize("path", RICH)
@pytest.mark.parametrize("kind", PROVIDERS)
def test_junk_anywhere_is_refused_or_passed_on_and_breaks_nothing(path: str, kind: str) -> None:
    broken = []
    for place in [*places(RICH[path])]:
        for junk in JUNK:
            try:
                carried(path, put(RICH[path], place, junk), kind)
            except GatewayError:
                continue
            except Exception as error:
                broken.append((place, junk, repr(error)))
    assert broken == []


CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
EMBEDDINGS, RERANK = "/v1/embeddings", "/v1/rerank"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (CHAT, {}, "messages"),
        (CHAT, {"messages": None}, "messages"),
        (CHAT, {"messages": []}, "messages"),
        (CHAT, {"messages": "hi"}, "messages"),
        (CHAT, {"messages": [1]}, "messages[0]"),
        (CHAT, {"messages": [{"content": "hi"}]}, "messages[0].role"),
        (CHAT, {"messages": [{"role": "user", "content": {}}]}, "messages[0].content"),
        (CHAT, {"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type"),
        (CHAT, {"messages": ASK, "stop": 5}, "stop"),
        (CHAT, {"messages": ASK, "temperature": "hot"}, "temperature"),
        (CHAT, {"messages": ASK, "tools": "all"}, "tools"),
        (CHAT, {"messages": ASK, "tools": [{"type": "function", "function": {}}]}, "tools[0].function"),
        (CHAT, {"messages": ASK, "response_format": "json"}, "response_format"),
        (MESSAGES, {"max_tokens": 5}, "messages"),
        (MESSAGES, {"max_tokens": 5, "messages": []}, "messages"),
        (MESSAGES, {"messages": ASK, "stop_sequences": "x"}, "stop_sequences"),
        (MESSAGES, {"messages": ASK, "system": 5}, "system"),
        (RESPONSES, {}, "input"),
        (RESPONSES, {"input": []}, "input"),
        (RESPONSES, {"input": "hi", "text": "short"}, "text"),
        (RESPONSES, {"input": "hi", "reasoning": {"effort": 5}}, "reasoning.effort"),
        ("/v1/completions", {}, "prompt"),
        (EMBEDDINGS, {}, "input"),
        (EMBEDDINGS, {"input": []}, "input"),
        (EMBEDDINGS, {"input": ""}, "input"),
        (EMBEDDINGS, {"input": ["a", 5]}, "input"),
        (EMBEDDINGS, {"input": [None]}, "input[0]"),
        (EMBEDDINGS, {"input": "a", "dimensions": 0}, "dimensions"),
        (EMBEDDINGS, {"input": "a", "stream": True}, "stream"),
        (RERANK, {"documents": ["a"]}, "query"),
        (RERANK, {"query": "a", "documents": []}, "documents"),
        ("/v1/moderations", {}, "input"),
        ("/v1/images/generations", {}, "prompt"),
    ],
)
def test_what_is_wrong_with_a_body_is_named(path: str, body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        fill(Call("call-1", FORMS[path], {}), {"model": "m", **body})
    assert (refused.value.param, refused.value.code) == (param, "invalid_request")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        *RICH.items(),
        (CHAT, {"prompt": "summary", "inputs": {}}),
        (CHAT, {"prompt": "summary", "messages": []}),
        (CHAT, {"messages": ASK, "stop": "x", "unknown": {"a": [5]}, "logprobs": 1, "tools": []}),
        (CHAT, {"messages": [{"role": "ipython", "content": None}]}),
        (RESPONSES, {"previous_response_id": "r"}),
        (EMBEDDINGS, {"input": [1, 2]}),
        (EMBEDDINGS, {"input": [[1], [2, 3]]}),
        (EMBEDDINGS, {"input": "a", "stream": False}),
    ],
)
def test_what_a_provider_may_understand_passes(path: str, body: dict[str, Any]) -> None:
    fill(Call("call-1", FORMS[path], {}), {"model": "m", **body})
