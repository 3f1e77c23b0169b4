"""What Gemini is sent, against what it was really sent, and what it can't be sent."""

import json
import re
from typing import Any

import pytest
from hypothesis import given

from gateway.core.errors import Unsupported
from gateway.providers.gemini import Gemini
from gateway.providers.gemini_request import NO_SIGNATURE
from tests.gateway.providers.conversations import conversations, essence
from tests.gateway.providers.replay import target
from tests.recorded import exchanges

ALL = exchanges("gemini_generate")
FLASH = target("gemini", "gemini-2.5-flash", secret="key")
HOSTED = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")


def sent(body: dict[str, Any], to: Any = FLASH) -> dict[str, Any]:
    return json.loads(Gemini().request(body, "chat", to, stream=False).body)


def say(**more: Any) -> dict[str, Any]:
    return {"model": "x", "messages": [{"role": "user", "content": "hi"}], **more}


def camel(value: Any, *, schema: bool = False) -> Any:
    """Their request with both of their spellings made one: camelCase, and base64 of the ordinary alphabet."""
    if isinstance(value, list):
        return [camel(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, inner in value.items():
        name = re.sub(r"_([a-z])", lambda match: match[1].upper(), key)
        opaque = name in (
            "args",
            "response",
            "parametersJsonSchema",
            "responseJsonSchema",
            "responseSchema",
            "parameters",
        )
        found[name] = inner if opaque else camel(inner)
        if name in ("data", "thoughtSignature") and isinstance(inner, str):
            found[name] = inner.replace("-", "+").replace("_", "/")
    return found


def chat_messages(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Reads their turns as the chat messages that should have made them."""
    found: list[dict[str, Any]] = []
    if "systemInstruction" in request:
        parts = request["systemInstruction"]["parts"]
        found += [{"role": "system", "content": part["text"]} for part in parts]
    for turn in request["contents"]:
        if turn["role"] == "model":
            found.append(model_message(turn["parts"]))
            continue
        said: list[dict[str, Any]] = []
        for part in turn["parts"]:
            if "functionResponse" in part:
                given = part["functionResponse"]
                if "parts" in given:
                    raise LookupError("media in a function's response")
                text = given["response"]["result"] if list(given["response"]) == ["result"] else given["response"]
                text = text if isinstance(text, str) else json.dumps(text)
                found.append({"role": "tool", "tool_call_id": given.get("id"), "name": given["name"], "content": text})
            elif "text" in part:
                said.append({"type": "text", "text": part["text"]})
            elif "inlineData" in part:
                url = f"data:{part['inlineData']['mimeType']};base64,{part['inlineData']['data']}"
                said.append(medium(part["inlineData"]["mimeType"], url))
            else:
                said.append(medium(part["fileData"]["mimeType"], part["fileData"]["fileUri"]))
        if said:
            found.append({"role": "user", "content": said})
    return found


def medium(kind: str, url: str) -> dict[str, Any]:
    if kind.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url}}
    if url.startswith("data:"):
        return {"type": "file", "file": {"file_data": url, "filename": "a.pdf"}}
    return {"type": "file", "file": {"file_url": url, "format": kind}}


def model_message(parts: list[dict[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    google: dict[str, Any] = {}
    for part in parts:
        if part.get("thought"):
            raise LookupError("thoughts are not sent back")
        if "functionCall" in part:
            given = part["functionCall"]
            function = {"name": given["name"], "arguments": json.dumps(given["args"])}
            call = {"id": given.get("id"), "type": "function", "function": function}
            if part.get("thoughtSignature") not in (None, NO_SIGNATURE):
                call["extra_content"] = {"google": {"thought_signature": part["thoughtSignature"]}}
            message.setdefault("tool_calls", []).append(call)
        elif "text" in part:
            message["content"] = (message["content"] or "") + part["text"]
            if "thoughtSignature" in part:
                google["thought_signature"] = part["thoughtSignature"]
        else:
            google.setdefault("parts", []).append(part)
    return message | ({"extra_content": {"google": google}} if google else {})


def chat_request(request: dict[str, Any]) -> dict[str, Any]:
    """Reads their request as the chat request that should have made it. LookupError where chat has no such thing."""
    body: dict[str, Any] = {"messages": chat_messages(request)}
    config = dict(request.get("generationConfig", {}))
    if config.pop("responseModalities", ["TEXT"]) != ["TEXT"]:
        raise LookupError("modalities")
    if "responseSchema" in config:
        raise LookupError("their older schemas")
    if config.pop("responseMimeType", None):
        schema = config.pop("responseJsonSchema", None)
        body["response_format"] = {"type": "json_object"}
        if schema:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    names = {"temperature": "temperature", "maxOutputTokens": "max_tokens", "responseLogprobs": "logprobs"}
    for theirs, ours in names.items():
        if theirs in config:
            body[ours] = config.pop(theirs)
    if "logprobs" in config:
        body["top_logprobs"] = config.pop("logprobs")
    if "thinkingConfig" in config:
        body["extra_body"] = {"google": {"thinking_config": config.pop("thinkingConfig")}}
    assert config == {}
    for theirs, ours in (("safetySettings", "safety_settings"), ("modelArmorConfig", "model_armor_config")):
        if theirs in request:
            body[ours] = request[theirs]
    for tool in request.get("tools", []):
        put_tool(body, tool)
    asked = request.get("toolConfig", {}).get("functionCallingConfig")
    if request.get("toolConfig") and (not asked or len(asked.get("allowedFunctionNames", [])) > 1):
        raise LookupError("several allowed functions")
    if asked and asked["mode"] == "ANY":
        body["tool_choice"] = {"type": "function", "function": {"name": asked["allowedFunctionNames"][0]}}
    elif asked:
        body["tool_choice"] = "auto"
    if asked and asked["mode"] == "VALIDATED":
        body["tools"][0]["function"]["strict"] = True
    return body


def put_tool(body: dict[str, Any], tool: Any) -> None:
    if not isinstance(tool, dict):
        raise LookupError("a tool that is a string")
    tools = body.setdefault("tools", [])
    if "functionDeclarations" not in tool:
        tools.append(tool)
        return
    for declared in tool["functionDeclarations"]:
        if "parameters" in declared:
            raise LookupError("their older schemas")
        function = {"name": declared["name"], "description": declared.get("description")}
        function["parameters"] = declared["parametersJsonSchema"]
        tools.append({"type": "function", "function": function})


def plain(request: dict[str, Any]) -> dict[str, Any]:
    """Without what says nothing: a text modality, a role on the system's turn, empty texts beside others."""
    found = json.loads(json.dumps(request))
    config = found.get("generationConfig", {})
    config.pop("responseModalities", None)
    if not config:
        found.pop("generationConfig", None)
    if "systemInstruction" in found:
        found["systemInstruction"].pop("role", None)
    turns: list[dict[str, Any]] = []
    for turn in found["contents"]:
        parts = turn["parts"]
        if turn["role"] == "model":
            parts = sorted(parts, key=lambda part: 2 if "functionCall" in part else 1 if "text" in part else 0)
        if turns and turns[-1]["role"] == turn["role"]:
            turns[-1]["parts"] += parts
        else:
            turns.append({"role": turn["role"], "parts": parts})
    if "tools" in found:
        found["tools"] = sorted(found["tools"], key=lambda tool: "functionDeclarations" not in tool)
    return found | {"contents": turns}


def test_recorded_requests_are_what_chat_requests_become():
    compared = 0
    for exchange in ALL:
        request = camel(exchange["request"])
        try:
            body = chat_request(request)
        except LookupError:
            continue
        upstream = exchange["path"].split("models/")[1].split(":")[0]
        made = camel(sent(body, target("gemini", upstream)))
        assert plain(made) == plain(request), exchange["id"]
        compared += 1
    assert compared == 157


def test_streams_and_keys_go_where_they_belong():
    whole = Gemini().request(say(), "chat", FLASH, stream=False)
    streamed = Gemini().request(say(), "chat", FLASH, stream=True)
    assert whole.url == "https://provider.example/v1beta/models/gemini-2.5-flash:generateContent"
    assert streamed.url == "https://provider.example/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    assert streamed.headers["x-goog-api-key"] == "key"


def test_reasoning_effort_is_a_budget_or_from_gemini_3_on_a_level():
    config = sent(say(reasoning_effort="medium"))["generationConfig"]
    assert config["thinkingConfig"] == {"thinkingBudget": 8192, "includeThoughts": True}
    later = sent(say(reasoning_effort="none"), target("gemini", "gemini-3-pro-preview"))["generationConfig"]
    assert later["thinkingConfig"] == {"thinkingLevel": "low", "includeThoughts": False}


def test_a_call_that_another_provider_made_gets_the_stand_in_signature_where_one_is_required():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turn = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": '{"a": 1}'},
    ]
    made = sent({"messages": turn}, target("gemini", "gemini-3-flash-preview"))["contents"]
    assert made[1]["parts"][0]["thoughtSignature"] == NO_SIGNATURE
    assert made[2]["parts"][0]["functionResponse"] == {"name": "f", "id": "c1", "response": {"a": 1}}
    assert "thoughtSignature" not in sent({"messages": turn})["contents"][1]["parts"][0]


@pytest.mark.parametrize(
    ("field", "value"),
    [("parallel_tool_calls", False), ("logit_bias", {"1": 2}), ("modalities", ["text", "audio"]), ("verbosity", "low")],
)
def test_what_they_have_not_is_refused_by_name(field, value):
    with pytest.raises(Unsupported) as raised:
        sent(say(**{field: value}))
    assert raised.value.param == field


def test_a_result_without_its_call_is_refused():
    with pytest.raises(Unsupported) as raised:
        sent({"messages": [{"role": "tool", "tool_call_id": "c9", "content": "x"}]})
    assert raised.value.param == "messages[0]"


@given(conversations())
def test_any_conversation_keeps_its_content(messages):
    made = chat_messages(sent({"messages": messages}))
    assert essence(made) == essence(messages)
