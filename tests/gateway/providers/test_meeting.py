"""Where two forms meet: any conversation in messages or responses, sent to any kind of provider, arrives whole.

The tests write a conversation in the caller's form; the gateway reads it and writes it for the provider; what then
stands on the wire is read back by the inverse functions of each provider's own tests.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings

from gateway.edge import messages_request, responses_request
from gateway.providers import PROVIDERS
from tests.gateway.providers import (
    test_anthropic_request,
    test_bedrock_request,
    test_cohere,
    test_gemini_request,
)
from tests.gateway.providers.conversations import conversations, essence
from tests.gateway.providers.replay import target

Turns = list[dict[str, Any]]


def as_messages(turns: Turns) -> dict[str, Any]:
    """The conversation as a caller of /v1/messages writes it."""
    system = [turn["content"] for turn in turns if turn["role"] == "system"]
    found: Turns = []
    for turn in turns:
        if turn["role"] == "tool":
            blocks = [{"type": "tool_result", "tool_use_id": turn["tool_call_id"], "content": turn["content"]}]
            if found and found[-1]["role"] == "user":
                found[-1]["content"] += blocks
            else:
                found.append({"role": "user", "content": blocks})
        elif turn["role"] != "system":
            blocks = [anthropic_block(part) for part in parts_of(turn)]
            blocks += [tool_use(call) for call in turn.get("tool_calls") or ()]
            found.append({"role": turn["role"], "content": blocks})
    return {"max_tokens": 9, "messages": found} | ({"system": system[0]} if system else {})


def parts_of(turn: dict[str, Any]) -> Turns:
    content = turn.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def anthropic_block(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return part
    url = part["image_url"]["url"] if part["type"] == "image_url" else part["file"]["file_data"]
    head, data = url.removeprefix("data:").split(";base64,")
    source = {"type": "base64", "media_type": head, "data": data}
    return {"type": "image" if part["type"] == "image_url" else "document", "source": source}


def tool_use(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {"type": "tool_use", "id": call["id"], "name": function["name"], "input": json.loads(function["arguments"])}


def as_responses(turns: Turns) -> dict[str, Any]:
    """The conversation as a caller of /v1/responses writes it."""
    found: Turns = []
    for turn in turns:
        if turn["role"] == "tool":
            found.append({"type": "function_call_output", "call_id": turn["tool_call_id"], "output": turn["content"]})
            continue
        if turn.get("content") is not None:
            word = "output_text" if turn["role"] == "assistant" else "input_text"
            said = [responses_part(part, word) for part in parts_of(turn)]
            found.append({"type": "message", "role": turn["role"], "content": said})
        for call in turn.get("tool_calls") or ():
            found.append({"type": "function_call", "call_id": call["id"], **call["function"]})
    return {"input": found}


def responses_part(part: dict[str, Any], word: str) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": word, "text": part["text"]}
    if part["type"] == "image_url":
        return {"type": "input_image", "image_url": part["image_url"]["url"]}
    return {"type": "input_file", **part["file"]}


FORMS: dict[str, Callable[[Turns], dict[str, Any]]] = {
    "messages": lambda turns: messages_request.chat(as_messages(turns)),
    "responses": lambda turns: responses_request.chat(as_responses(turns)),
}
forms = pytest.mark.parametrize("form", FORMS)


def wire(kind: str, upstream: str, body: dict[str, Any]) -> dict[str, Any]:
    to = target(kind, upstream, secret="AK:SK" if kind == "bedrock" else "s", region="eu-west-1")
    found: dict[str, Any] = json.loads(PROVIDERS[kind].request(body, "chat", to, stream=False).body)
    return found


WIRES: dict[str, Callable[[dict[str, Any]], Turns]] = {
    "anthropic": lambda body: test_anthropic_request.chat_messages(wire("anthropic", "claude-sonnet-4-5", body)),
    "gemini": lambda body: test_gemini_request.chat_messages(wire("gemini", "gemini-2.5-flash", body)),
    "bedrock": lambda body: test_bedrock_request.chat_messages(
        wire("bedrock", "anthropic.claude-3-5-sonnet-20241022-v2:0", body)
    ),
    "openai": lambda body: wire("openai", "gpt-4o-mini", body)["messages"],
}


@forms
@settings(max_examples=40)
@given(turns=conversations())
def test_any_conversation_in_the_callers_form_is_read_whole(form: str, turns: Turns) -> None:
    assert essence(FORMS[form](turns)["messages"]) == essence(turns)


@forms
@pytest.mark.parametrize("kind", WIRES)
@settings(max_examples=40)
@given(turns=conversations())
def test_any_conversation_arrives_whole_at_another_makers_server(form: str, kind: str, turns: Turns) -> None:
    assert essence(WIRES[kind](FORMS[form](turns))) == essence(turns)


@forms
@settings(max_examples=40)
@given(turns=conversations(media=False))
def test_any_conversation_in_words_arrives_whole_at_cohere(form: str, turns: Turns) -> None:
    sent = test_cohere.chat_messages(wire("cohere", "command-a-03-2025", FORMS[form](turns))["messages"])
    assert essence(sent) == essence(turns)


@forms
@settings(max_examples=40)
@given(turns=conversations(media=False))
def test_any_conversation_in_words_arrives_whole_at_mistral(form: str, turns: Turns) -> None:
    sent = wire("mistral", "mistral-small", FORMS[form](turns))["messages"]
    assert essence(sent, ids=False) == essence(turns, ids=False)
    called = [call["id"] for turn in sent for call in turn.get("tool_calls") or ()]
    assert called == [turn["tool_call_id"] for turn in sent if turn["role"] == "tool"]  # each of nine characters
    assert {len(name) for name in called} <= {9}
