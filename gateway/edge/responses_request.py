"""OpenAI's responses request written as chat completions.

    theirs                                   becomes
    instructions                             the first system message
    input: a string; messages                messages; their parts become chat's parts
    function_call, custom_tool_call          tool_calls of the assistant's message before them
    function_call_output, custom_…_output    tool messages
    reasoning                                reasoning_content of the next assistant's message, and thinking_blocks where
                                             the item was made by this gateway (see responses_answer.sealed)
    text.format, text.verbosity              response_format, verbosity
    reasoning.effort                         reasoning_effort
    max_output_tokens, top_logprobs          max_completion_tokens, logprobs

State that a server would have to keep (previous_response_id, conversation, item_reference, background) and tools that
OpenAI hosts are refused by name; they work where the provider speaks the form itself.
"""

from collections.abc import Iterator
from typing import Any

from gateway.core.errors import InvalidRequest, Unsupported
from gateway.edge.responses_answer import unsealed

SAME = frozenset(
    {"model", "stream", "temperature", "top_p", "parallel_tool_calls", "service_tier"}
    | {"prompt_cache_key", "prompt_cache_retention"}
)
HANDLED = frozenset(
    {"input", "instructions", "tools", "tool_choice", "text", "reasoning", "max_output_tokens", "top_logprobs"}
    | {"include", "store", "truncation", "stream_options", "metadata", "background"}
)
STATE = {
    "previous_response_id": "send the whole conversation as input",
    "conversation": "send the whole conversation as input",
    "background": "send the call without background and wait for it",
}
ROLES = frozenset({"user", "assistant", "system", "developer"})
CALLS = {"function_call": "function", "custom_tool_call": "custom"}
OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})


def chat(body: dict[str, Any]) -> dict[str, Any]:
    """The request in canonical form. Raises InvalidRequest and Unsupported, naming the field."""
    for name, what_to_do in STATE.items():
        if body.get(name):
            raise Unsupported(f"{name}: this model's provider keeps no state; {what_to_do}", param=name)
    for name, value in body.items():
        if name not in SAME and name not in HANDLED and value not in (None, [], {}) and name not in STATE:
            raise Unsupported(f"{name} only works where the provider speaks the responses form itself", param=name)
    sent: dict[str, Any] = {name: body[name] for name in body if name in SAME and body[name] is not None}
    instructions = body.get("instructions")
    first = [{"role": "system", "content": instructions}] if instructions else []
    sent["messages"] = [*first, *conversation(body.get("input"))]
    if body.get("max_output_tokens") is not None:
        sent["max_completion_tokens"] = body["max_output_tokens"]
    if body.get("tools"):
        sent["tools"] = [tool(each, f"tools[{at}]") for at, each in enumerate(listed(body["tools"], "tools"))]
    if (choice := body.get("tool_choice")) is not None and "tools" in sent:
        sent["tool_choice"] = tool_choice(choice)
    put_text(sent, body.get("text") or {})
    if effort := (body.get("reasoning") or {}).get("effort"):
        sent["reasoning_effort"] = effort
    if body.get("top_logprobs") or "message.output_text.logprobs" in (body.get("include") or ()):
        sent["logprobs"] = True
        if body.get("top_logprobs"):
            sent["top_logprobs"] = body["top_logprobs"]
    if body.get("truncation") not in (None, "disabled"):
        raise Unsupported("truncation: this model's provider does not shorten a conversation", param="truncation")
    return sent


def listed(value: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise InvalidRequest(f"{name} must be a list of objects", param=name)
    return value


def conversation(given: Any) -> list[dict[str, Any]]:
    """The input as messages. Raises InvalidRequest where it is neither a string nor a list of items."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    messages: list[dict[str, Any]] = []
    thoughts: dict[str, Any] = {}  # of the assistant's message that is to come
    for index, item in enumerate(listed(given, "input")):
        where = f"input[{index}]"
        kind = item.get("type") or ("message" if "role" in item else None)
        if kind == "reasoning":
            thoughts = thinking(item, thoughts)
        elif kind in OUTPUTS:
            messages.append(output(item, where))
        elif kind == "message" and item.get("role") != "assistant":
            messages.append(message(item, where))
        elif kind == "message":
            messages.append(message(item, where) | thoughts)
            thoughts = {}
        elif kind in CALLS:
            last = messages[-1] if messages and messages[-1]["role"] == "assistant" and not thoughts else None
            if last is None:
                last = {"role": "assistant", "content": None} | thoughts
                messages.append(last)
                thoughts = {}
            last.setdefault("tool_calls", []).append(call(item, CALLS[kind]))
        else:
            raise Unsupported(f"{where}: an item of type {kind!r} can only go to OpenAI itself", param=where)
    return messages


def thinking(item: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """What a reasoning item adds to the assistant's message after it."""
    texts = [part.get("text") or "" for part in (item.get("content") or item.get("summary") or ())]
    blocks = [*before.get("thinking_blocks", ()), *unsealed(item.get("encrypted_content"))]
    found: dict[str, Any] = {}
    if said := before.get("reasoning_content", "") + "".join(texts):
        found["reasoning_content"] = said
    if blocks:
        found["thinking_blocks"] = blocks
    return found


def message(item: dict[str, Any], where: str) -> dict[str, Any]:
    role, content = item.get("role"), item.get("content")
    if role not in ROLES:
        raise InvalidRequest(f"{where}.role must be one of {', '.join(sorted(ROLES))}", param=f"{where}.role")
    if isinstance(content, str):
        return {"role": role, "content": content}
    parts = list(parts_of(content, f"{where}.content"))
    if role == "assistant" and len(parts) == 1 and set(parts[0]) == {"type", "text"}:
        return {"role": role, "content": parts[0]["text"]}
    return {"role": role, "content": parts}


def parts_of(content: Any, where: str) -> Iterator[dict[str, Any]]:
    for index, each in enumerate(listed(content, where)):
        yield part(each, f"{where}[{index}]")


def part(given: dict[str, Any], where: str) -> dict[str, Any]:
    match given.get("type"):
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": given.get("text") or ""}
        case "refusal":
            return {"type": "refusal", "refusal": given.get("refusal") or ""}
        case "input_image" if given.get("image_url"):
            image = {"url": given["image_url"]}
            if given.get("detail") is not None:
                image["detail"] = given["detail"]
            return {"type": "image_url", "image_url": image}
        case "input_file":
            names = ("filename", "file_data", "file_id", "file_url")
            return {"type": "file", "file": {name: given[name] for name in names if given.get(name) is not None}}
        case "input_audio":
            return {"type": "input_audio", "input_audio": given.get("input_audio")}
    raise Unsupported(f"{where}: a part of type {given.get('type')!r} can only go to OpenAI itself", param=where)


def call(item: dict[str, Any], kind: str) -> dict[str, Any]:
    field = "arguments" if kind == "function" else "input"
    return {"id": item.get("call_id"), "type": kind, kind: {"name": item.get("name"), field: item.get(field) or ""}}


def output(item: dict[str, Any], where: str) -> dict[str, Any]:
    said = item.get("output")
    if not isinstance(said, str):
        said = list(parts_of(said or [], f"{where}.output"))
    return {"role": "tool", "tool_call_id": item.get("call_id"), "content": said}


def tool(given: dict[str, Any], where: str) -> dict[str, Any]:
    kind = given.get("type")
    if kind == "function":
        names = ("name", "description", "parameters", "strict")
        return {"type": "function", "function": {name: given[name] for name in names if given.get(name) is not None}}
    if kind == "custom":
        custom = {name: given[name] for name in ("name", "description") if given.get(name) is not None}
        wanted = given.get("format")
        if isinstance(wanted, dict) and wanted.get("type") == "grammar":
            grammar = {"syntax": wanted.get("syntax"), "definition": wanted.get("definition")}
            custom["format"] = {"type": "grammar", "grammar": grammar}
        elif wanted is not None:
            custom["format"] = wanted
        return {"type": "custom", "custom": custom}
    raise Unsupported(f"{where}: {kind} is a tool that only OpenAI hosts", param=where)


def tool_choice(choice: Any) -> Any:
    if isinstance(choice, str):
        return choice
    if isinstance(choice, dict):
        if choice.get("type") in ("function", "custom"):
            return {"type": choice["type"], choice["type"]: {"name": choice.get("name")}}
        if choice.get("type") == "allowed_tools":
            tools = [tool_choice(each) for each in listed(choice.get("tools"), "tool_choice.tools")]
            return {"type": "allowed_tools", "allowed_tools": {"mode": choice.get("mode"), "tools": tools}}
    raise Unsupported("tool_choice names a tool that only OpenAI hosts", param="tool_choice")


def put_text(sent: dict[str, Any], text: dict[str, Any]) -> None:
    """Structured output and verbosity."""
    if text.get("verbosity") is not None:
        sent["verbosity"] = text["verbosity"]
    wanted = text.get("format") or {}
    if wanted.get("type") == "json_schema":
        names = ("name", "description", "schema", "strict")
        schema = {name: wanted[name] for name in names if wanted.get(name) is not None}
        sent["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif wanted.get("type") == "json_object":
        sent["response_format"] = {"type": "json_object"}
