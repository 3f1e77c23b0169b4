"""What Bedrock is sent, against what it was really sent, and what it can't be sent."""

import json
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given

from gateway.core.errors import InvalidRequest, Unsupported, UpstreamUnavailable
from gateway.providers.anthropic_answer import ANSWER_TOOL
from gateway.providers.bedrock import Bedrock
from gateway.providers.bedrock_request import DOCUMENTS, IMAGES, VIDEOS
from tests.gateway.providers.conversations import conversations, essence
from tests.gateway.providers.replay import read_whole, target
from tests.recorded import exchanges

ALL = exchanges("bedrock_converse")
SONNET = target("bedrock", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0")
TYPES = {kind: media for formats in (IMAGES, DOCUMENTS, VIDEOS) for media, kind in reversed(formats.items())}


def sent(body: dict[str, Any], to: Any = SONNET) -> dict[str, Any]:
    return json.loads(Bedrock().request(body, "chat", to, stream=False).body)


def say(**more: Any) -> dict[str, Any]:
    return {"model": "x", "messages": [{"role": "user", "content": "hi"}], **more}


def chat_part(block: dict[str, Any]) -> dict[str, Any]:
    if "text" in block:
        return {"type": "text", "text": block["text"]}
    (kind, inner), *_ = block.items()
    media = TYPES[inner["format"]]
    source = inner["source"]
    url = f"data:{media};base64,{source['bytes']}" if "bytes" in source else source["s3Location"]["uri"]
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": url}}
    if kind == "video":
        return {"type": "video_url", "video_url": {"url": url}}
    name = {} if inner["name"] == "Document 1" else {"filename": f"{inner['name']}.pdf"}
    return {"type": "file", "file": name | ({"file_data": url} if "bytes" in source else {"file_url": url})}


def chat_parts(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Their blocks as parts; a cachePoint is a mark on the part before it."""
    found: list[dict[str, Any]] = []
    for block in blocks:
        if "cachePoint" in block:
            ttl = {"ttl": block["cachePoint"]["ttl"]} if "ttl" in block["cachePoint"] else {}
            found[-1]["cache_control"] = {"type": "ephemeral"} | ttl
        else:
            found.append(chat_part(block))
    return found


def chat_messages(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Reads their turns as the chat messages that should have made them."""
    found: list[dict[str, Any]] = []
    if system := chat_parts(request.get("system", [])):
        found.append({"role": "system", "content": system})
    for turn in request["messages"]:
        blocks = turn["content"]
        if turn["role"] == "user":
            for block in blocks:
                if "toolResult" in block:
                    inner = block["toolResult"]
                    message = {"role": "tool", "tool_call_id": inner["toolUseId"]}
                    message["content"] = chat_parts(inner["content"])
                    found.append(message | ({"is_error": inner["status"] == "error"} if "status" in inner else {}))
            if said := chat_parts([block for block in blocks if "toolResult" not in block]):
                found.append({"role": "user", "content": said})
            continue
        message = {"role": "assistant", "content": [chat_part(block) for block in blocks if "text" in block]}
        for block in blocks:
            if "reasoningContent" in block:
                text = block["reasoningContent"]["reasoningText"]
                thought = {"type": "thinking", "thinking": text["text"]}
                thought |= {"signature": text["signature"]} if "signature" in text else {}
                message.setdefault("thinking_blocks", []).append(thought)
            if "toolUse" in block:
                used = block["toolUse"]
                function = {"name": used["name"], "arguments": json.dumps(used["input"])}
                call = {"id": used["toolUseId"], "type": "function", "function": function}
                message.setdefault("tool_calls", []).append(call)
        found.append(message)
    return found


def chat_request(request: dict[str, Any]) -> dict[str, Any]:
    """Reads their request as the chat request that should have made it."""
    body: dict[str, Any] = {"messages": chat_messages(request)}
    body |= {name: request[name] for name in ("guardrailConfig", "additionalModelRequestFields") if name in request}
    if "temperature" in request["inferenceConfig"]:
        body["temperature"] = request["inferenceConfig"]["temperature"]
    for tool in request.get("toolConfig", {}).get("tools", []):
        spec = tool["toolSpec"]
        function = {key: value for key, value in spec.items() if key != "inputSchema"}
        function["parameters"] = spec["inputSchema"]["json"]
        body.setdefault("tools", []).append({"type": "function", "function": function})
    choice = request.get("toolConfig", {}).get("toolChoice")
    if choice:
        (mode, inner), *_ = choice.items()
        named = {"type": "function", "function": {"name": inner.get("name")}}
        body["tool_choice"] = {"auto": "auto", "any": "required"}.get(mode, named)
    if "outputConfig" in request:
        shape = request["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
        inner = {**shape, "schema": json.loads(shape["schema"])}
        body["response_format"] = {"type": "json_schema", "json_schema": inner}
    return body


def plain(request: dict[str, Any]) -> dict[str, Any]:
    """Without what says nothing, the schema's text read, and neighbours of one role as one turn."""
    found = json.loads(json.dumps(request))
    for name in ("system", "inferenceConfig"):
        if not found.get(name):
            found.pop(name, None)
    if "outputConfig" in found:
        shape = found["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
        shape["schema"] = json.loads(shape["schema"])
    turns: list[dict[str, Any]] = []
    for turn in found["messages"]:
        if turns and turns[-1]["role"] == turn["role"]:
            turns[-1]["content"] += turn["content"]
        else:
            turns.append(turn)
    return found | {"messages": turns}


def test_recorded_requests_are_what_chat_requests_become():
    for exchange in ALL:
        upstream = unquote(exchange["path"].split("/")[2])
        outgoing = Bedrock().request(
            chat_request(exchange["request"]), "chat", target("bedrock", upstream), stream=False
        )
        assert outgoing.url == f"https://provider.example{exchange['path']}"
        assert plain(json.loads(outgoing.body)) == plain(exchange["request"]), exchange["id"]


def test_the_credential_signs_or_bears_and_the_region_is_the_host():
    to = target("bedrock", "amazon.nova-lite-v1:0", base_url="", region="eu-west-1", secret="AK:SK:TOK")
    outgoing = Bedrock().request(say(), "chat", to, stream=True)
    assert outgoing.url == (
        "https://bedrock-runtime.eu-west-1.amazonaws.com/model/amazon.nova-lite-v1%3A0/converse-stream"
    )
    assert outgoing.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AK/")
    assert outgoing.headers["x-amz-security-token"] == "TOK"
    bearer = Bedrock().request(
        say(), "chat", target("bedrock", "m", region="eu-west-1", secret="ABSKkey"), stream=False
    )
    assert bearer.headers["authorization"] == "Bearer ABSKkey"
    with pytest.raises(UpstreamUnavailable) as raised:
        Bedrock().request(say(), "chat", target("bedrock", "m", secret="AK:"), stream=False)
    assert (raised.value.kind, raised.value.sent) == ("auth", False)
    with pytest.raises(InvalidRequest):
        Bedrock().request(say(), "chat", target("bedrock", "m", base_url=""), stream=False)


def test_reasoning_effort_is_each_makers_own():
    made = sent(say(reasoning_effort="low"))
    assert made["additionalModelRequestFields"] == {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    assert made["inferenceConfig"] == {"maxTokens": 5120}
    nova = sent(say(reasoning_effort="high"), target("bedrock", "us.amazon.nova-2-lite-v1:0"))
    config = {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}
    assert nova["additionalModelRequestFields"] == config
    with pytest.raises(Unsupported) as raised:
        sent(say(reasoning_effort="low"), target("bedrock", "us.meta.llama4-maverick-17b-instruct-v1:0"))
    assert raised.value.param == "reasoning_effort"


def test_structured_output_is_a_forced_tool_on_models_without_and_its_use_is_the_answer():
    shape = {"type": "object", "properties": {"a": {"type": "integer"}}}
    asked = {"type": "json_schema", "json_schema": {"name": "n", "schema": shape}}
    made = sent(say(response_format=asked), target("bedrock", "us.amazon.nova-pro-v1:0"))["toolConfig"]
    assert made["toolChoice"] == {"tool": {"name": ANSWER_TOOL}}
    assert made["tools"][0]["toolSpec"]["inputSchema"] == {"json": shape}
    block = {"toolUse": {"toolUseId": "t", "name": ANSWER_TOOL, "input": {"a": 1}}}
    answer = {"output": {"message": {"content": [block]}}, "stopReason": "tool_use", "usage": {}}
    delta = Bedrock().answer(json.dumps(answer).encode(), "chat", SONNET)
    assert (delta.text, delta.finish, read_whole(delta).calls) == ('{"a":1}', "stop", [])


def test_tools_of_the_history_are_declared_where_the_request_has_none():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turn = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": ""},
    ]
    made = sent({"messages": turn})
    assert made["toolConfig"] == {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}}]}
    assert made["messages"][2]["content"][0]["toolResult"]["content"] == [{"text": " "}]


def test_cache_marks_become_cache_points():
    mark = {"type": "ephemeral", "ttl": "1h"}
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}]},
        {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": mark}]},
    ]
    made = sent({"messages": messages})
    assert made["system"] == [{"text": "long"}, {"cachePoint": {"type": "default"}}]
    assert made["messages"][0]["content"] == [{"text": "hi"}, {"cachePoint": {"type": "default", "ttl": "1h"}}]


@pytest.mark.parametrize(
    ("field", "value"), [("n", 2), ("logprobs", True), ("seed", 1), ("parallel_tool_calls", False), ("top_logprobs", 3)]
)
def test_what_they_have_not_is_refused_by_name(field, value):
    with pytest.raises(Unsupported) as raised:
        sent(say(**{field: value}))
    assert raised.value.param == field


def test_a_picture_elsewhere_is_refused_because_nothing_is_fetched():
    part = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    with pytest.raises(Unsupported) as raised:
        sent({"messages": [{"role": "user", "content": [part]}]})
    assert raised.value.param == "messages[0].content[0]"


@given(conversations())
def test_any_conversation_keeps_its_content(messages):
    assert essence(chat_messages(sent({"messages": messages}))) == essence(messages)
