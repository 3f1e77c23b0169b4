"""What Anthropic is sent, against what it was really sent, and what it can't be sent."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given

from gateway.core.errors import Unsupported
from gateway.providers import fields
from gateway.providers.anthropic import Anthropic
from gateway.providers.anthropic_answer import ANSWER_TOOL
from tests.gateway.providers import replay
from tests.gateway.providers.conversations import conversations, essence
from tests.gateway.providers.replay import read_whole, target
from tests.recorded import exchanges

ALL = exchanges("anthropic_messages")
SONNET = target("anthropic", "claude-sonnet-4-5", secret="sk-ant-x")


def sent(body: dict[str, Any], to: Any = SONNET, form: str = "chat", stream: bool = False) -> dict[str, Any]:
    return json.loads(Anthropic().request(body, form, to, stream=stream).body)


def say(**more: Any) -> dict[str, Any]:
    return {"model": "x", "messages": [{"role": "user", "content": "hi"}], **more}


def chat_part(block: dict[str, Any]) -> dict[str, Any]:
    """Reads one of their blocks as the chat part that should have made it."""
    part: dict[str, Any]
    match block:
        case {"type": "text", "text": text}:
            part = {"type": "text", "text": text}
        case {"type": "image", "source": {"type": "url", "url": url}}:
            part = {"type": "image_url", "image_url": {"url": url}}
        case {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}:
            part = {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}
        case {"type": "document", "source": {"type": "base64", "media_type": kind, "data": data}}:
            part = {"type": "file", "file": {"file_data": f"data:{kind};base64,{data}"}}
        case {"type": "document", "source": {"type": "url", "url": url}}:
            part = {"type": "file", "file": {"file_url": url}}
        case {"type": "document", "source": {"type": "text", "data": text}}:
            data = base64.b64encode(text.encode()).decode()
            part = {"type": "file", "file": {"file_data": f"data:text/plain;base64,{data}"}}
        case {"type": "document", "source": {"type": "file", "file_id": file_id}}:
            part = {"type": "file", "file": {"file_id": file_id}}
        case _:
            raise LookupError(block["type"])
    return part | {key: block[key] for key in ("cache_control",) if key in block}


def as_list(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def chat_messages(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Reads their turns as the chat messages that should have made them."""
    found: list[dict[str, Any]] = []
    system = request.get("system")
    if system is not None:
        found.append(
            {"role": "system", "content": [chat_part(b) for b in system] if isinstance(system, list) else system}
        )
    for turn in request["messages"]:
        blocks = turn["content"]
        blocks = as_list(blocks)
        if turn["role"] == "user":
            for block in blocks:
                if block["type"] == "tool_result":
                    inner = [chat_part(part) for part in as_list(block.get("content", []))]
                    message = {"role": "tool", "tool_call_id": block["tool_use_id"], "content": inner}
                    found.append(message | ({"is_error": block["is_error"]} if "is_error" in block else {}))
            if rest := [chat_part(block) for block in blocks if block["type"] != "tool_result"]:
                found.append({"role": "user", "content": rest})
        elif turn["role"] == "assistant":
            message = {"role": "assistant", "content": [chat_part(b) for b in blocks if b["type"] == "text"]}
            if thinking := [block for block in blocks if block["type"] == "thinking"]:
                message["thinking_blocks"] = thinking
            calls = [
                {
                    "id": b["id"],
                    "type": "function",
                    "function": {"name": b["name"], "arguments": json.dumps(b["input"])},
                }
                for b in blocks
                if b["type"] == "tool_use"
            ]
            if calls:
                message["tool_calls"] = calls
            if hosted := [b for b in blocks if b["type"] not in ("text", "tool_use", "thinking")]:
                message["extra_content"] = {"anthropic": {"blocks": hosted}}
            found.append(message)
        else:
            raise LookupError(turn["role"])
    return found


def chat_request(request: dict[str, Any]) -> dict[str, Any]:
    """Reads their request as the chat request that should have made it. LookupError where chat has no such thing."""
    body: dict[str, Any] = {"model": "x", "max_tokens": request["max_tokens"], "messages": chat_messages(request)}
    for name in ("thinking", "top_k", "temperature", "cache_control", "container", "mcp_servers", "context_management"):
        if name in request:
            body[name] = request[name]
    if "tools" in request:
        body["tools"] = [chat_tool(tool) for tool in request["tools"]]
    if "tool_choice" in request:
        body["tool_choice"] = {"auto": "auto", "any": "required"}[request["tool_choice"]["type"]]
    if "metadata" in request:
        body["user"] = request["metadata"]["user_id"]
    config = dict(request.get("output_config") or {})
    if "format" in config:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": config.pop("format")["schema"]},
        }
    return body | ({"output_config": config} if config else {})


def chat_tool(tool: dict[str, Any]) -> dict[str, Any]:
    if "input_schema" not in tool or "type" in tool:
        return tool
    names = {"name", "description", "strict"}
    function = {key: value for key, value in tool.items() if key in names} | {"parameters": tool["input_schema"]}
    rest = {key: value for key, value in tool.items() if key not in names | {"input_schema"}}
    return {"type": "function", "function": function, **rest}


def plain(request: dict[str, Any]) -> dict[str, Any]:
    """Their request with the spellings that mean the same made one; hosted blocks' place in a turn is not kept."""
    turns: list[dict[str, Any]] = []
    for turn in request["messages"]:
        blocks = turn["content"]
        blocks = [dict(block) for block in as_list(blocks)]
        for block in blocks:
            if "content" in block:
                block["content"] = as_list(block["content"])
        if turn["role"] == "assistant":
            order = {"thinking": 0, "text": 2, "tool_use": 3}
            blocks = sorted(blocks, key=lambda block: order.get(block["type"], 1))
        if turns and turns[-1]["role"] == turn["role"]:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": turn["role"], "content": blocks})
    system = request.get("system")
    if system is not None:
        request = request | {"system": as_list(system)}
    return {"stream": False, **request, "messages": turns}


def test_recorded_requests_are_what_chat_requests_become():
    compared = 0
    for exchange in ALL:
        request = exchange["request"]
        try:
            body = chat_request(request)
        except LookupError:
            continue  # mid-conversation system turns, container uploads, tool references
        made = sent(body, target("anthropic", request["model"]), stream=request.get("stream", False))
        assert plain(made) == plain(request), exchange["id"]
        compared += 1
    assert compared == 120


@pytest.mark.parametrize("exchange", ALL, ids=replay.by_id)
def test_a_request_in_their_own_form_is_sent_unchanged(exchange):
    request = exchange["request"]
    to = target("anthropic", request["model"])
    assert sent(request, to, form="messages", stream=request.get("stream", False)) == {"stream": False, **request}


def test_their_form_gets_the_required_max_tokens_and_the_key_in_their_header():
    outgoing = Anthropic().request(say(anthropic_beta=["a", "b"]), "messages", SONNET, stream=True)
    assert outgoing.url == "https://provider.example/v1/messages"
    assert outgoing.headers["x-api-key"] == "sk-ant-x"
    assert outgoing.headers["anthropic-beta"] == "a,b"
    assert json.loads(outgoing.body)["max_tokens"] == 4096
    assert "anthropic_beta" not in json.loads(outgoing.body)


def test_reasoning_effort_becomes_a_budget_or_adaptive_thinking():
    made = sent(say(reasoning_effort="high"))
    assert (made["thinking"], made["max_tokens"]) == ({"type": "enabled", "budget_tokens": 16384}, 20480)
    tight = sent(say(reasoning_effort="high", max_tokens=3000))
    assert (tight["thinking"]["budget_tokens"], tight["max_tokens"]) == (2999, 3000)
    later = sent(say(reasoning_effort="high"), target("anthropic", "claude-opus-4-7"))
    assert (later["thinking"], later["output_config"]) == ({"type": "adaptive"}, {"effort": "high"})
    with pytest.raises(Unsupported) as raised:
        sent(say(reasoning_effort="low", max_tokens=500))
    assert raised.value.param == "reasoning_effort"


def test_thinking_is_left_out_where_a_tool_call_came_without_it():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turn = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "ok"},
    ]
    assert "thinking" not in sent({"messages": turn, "reasoning_effort": "low"})


def test_structured_output_is_a_forced_tool_on_older_models_and_its_use_is_the_answer():
    shape = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    asked = {"type": "json_schema", "json_schema": {"name": "n", "schema": shape}}
    made = sent(say(response_format=asked), target("anthropic", "claude-3-5-haiku-latest"))
    assert made["tool_choice"] == {"type": "tool", "name": ANSWER_TOOL}
    assert made["tools"][0]["input_schema"] == shape
    block = {"type": "tool_use", "id": "t", "name": ANSWER_TOOL, "input": {"a": 1}}
    answer = {"type": "message", "content": [block], "stop_reason": "tool_use", "usage": {}}
    delta = Anthropic().answer(json.dumps(answer).encode(), "chat", SONNET)
    assert (delta.text, delta.finish, read_whole(delta).calls) == ('{"a":1}', "stop", [])


@pytest.mark.parametrize(
    ("field", "value"),
    [("n", 2), ("logprobs", True), ("seed", 1), ("frequency_penalty", 0.5), ("logit_bias", {"1": 2}), ("audio", {})],
)
def test_what_they_have_not_is_refused_by_name_and_dropped_on_request(field, value):
    body = say(**{field: value})
    with pytest.raises(Unsupported) as raised:
        fields.outgoing(Anthropic(), body, "chat", SONNET, stream=False)
    assert raised.value.param == field
    made, dropped = fields.outgoing(Anthropic(), body, "chat", SONNET, stream=False, drop_unsupported=True)
    assert dropped == (field,)
    assert json.loads(made.body)["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]


def test_a_part_they_can_not_take_is_refused_even_when_fields_may_be_dropped():
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    body = {"messages": [{"role": "user", "content": [sound]}]}
    with pytest.raises(Unsupported) as raised:
        fields.outgoing(Anthropic(), body, "chat", SONNET, stream=False, drop_unsupported=True)
    assert raised.value.param == "messages[0].content[0]"


def test_neutral_values_and_hints_pass():
    made = sent(say(n=1, logprobs=False, store=True, user="u1", presence_penalty=0, response_format={"type": "text"}))
    assert made["metadata"] == {"user_id": "u1"}


@given(conversations())
def test_any_conversation_keeps_its_content(messages):
    made = sent({"messages": messages})
    assert essence(chat_messages(made)) == essence(messages)
