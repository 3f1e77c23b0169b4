"""Anthropic's messages request written as chat completions.

    theirs                             becomes
    system                             the first message; blocks stay parts
    text, image, document              text; image_url (data URL or URL); file, and text documents as text
    tool_use, tool_result              tool_calls; tool messages, with is_error beside them
    thinking, redacted_thinking        thinking_blocks beside the message, and reasoning_content
    blocks of tools that they host     extra_content.anthropic.blocks, which only Anthropic's models read
    tools, tool_choice                 tools, tool_choice, parallel_tool_calls
    thinking.budget_tokens             reasoning_effort, by the size of the budget
    output_config                      response_format, reasoning_effort
    cache_control                      the same, on the part, tool or message that it becomes

What chat completions have no word for is refused by name.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.core.errors import InvalidRequest, Unsupported

SAME = frozenset({"model", "stream", "temperature", "top_p", "top_k"})
HANDLED = frozenset(
    {"system", "messages", "max_tokens", "stop_sequences", "tools", "tool_choice", "thinking", "output_config"}
    | {"output_format", "service_tier", "metadata", "anthropic_beta", "cache_control"}
)
HOSTED = frozenset({"server_tool_use", "mcp_tool_use", "mcp_tool_result", "container_upload", "compaction"})
THINKING = frozenset({"thinking", "redacted_thinking"})
TIERS = {"auto": "auto", "standard_only": "default"}
EFFORTS = ((2_048, "low"), (12_288, "medium"))  # budgets below these; above them "high"


def chat(body: dict[str, Any]) -> dict[str, Any]:
    """The request in canonical form. Raises InvalidRequest and Unsupported, naming the field."""
    for name, value in body.items():
        if name not in SAME and name not in HANDLED and value is not None:
            raise Unsupported(f"{name} has no meaning outside Anthropic's own models", param=name)
    sent: dict[str, Any] = {name: body[name] for name in body if name in SAME and body[name] is not None}
    sent["messages"] = [*system(body.get("system")), *conversation(body.get("messages"))]
    if body.get("max_tokens") is not None:
        sent["max_completion_tokens"] = body["max_tokens"]
    if body.get("stop_sequences"):
        sent["stop"] = body["stop_sequences"]
    if body.get("tools"):
        sent["tools"] = [tool(each, f"tools[{index}]") for index, each in enumerate(listed(body["tools"], "tools"))]
    put_tool_choice(sent, body.get("tool_choice"))
    put_thinking(sent, body.get("thinking"))
    put_output(sent, body)
    if (tier := body.get("service_tier")) is not None:
        sent["service_tier"] = TIERS.get(tier, tier)
    return sent


def listed(value: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise InvalidRequest(f"{name} must be a list of objects", param=name)
    return value


def system(value: Any) -> Iterator[dict[str, Any]]:
    """The system prompt as a message; nothing where there is none."""
    if isinstance(value, str) and value:
        yield {"role": "system", "content": value}
    elif value:
        parts = [part(block, f"system[{index}]") for index, block in enumerate(listed(value, "system"))]
        yield {"role": "system", "content": parts}


def conversation(messages: Any) -> Iterator[dict[str, Any]]:
    for index, message in enumerate(listed(messages, "messages")):
        where, content = f"messages[{index}]", message.get("content")
        role = message.get("role")
        if role not in ("user", "assistant", "system"):
            raise InvalidRequest(f"{where}.role must be user or assistant", param=f"{where}.role")
        if isinstance(content, str):
            yield {"role": role, "content": content}
        elif role == "assistant":
            yield assistant(listed(content, f"{where}.content"), f"{where}.content")
        else:
            yield from user(role, listed(content, f"{where}.content"), f"{where}.content")


def user(role: str, blocks: list[dict[str, Any]], where: str) -> Iterator[dict[str, Any]]:
    """A user's turn: each tool result becomes a message of its own, in the order in which they stand."""
    parts: list[dict[str, Any]] = []
    for index, block in enumerate(blocks):
        path = f"{where}[{index}]"
        if block.get("type") != "tool_result":
            parts.append(part(block, path))
            continue
        if parts:
            yield {"role": role, "content": parts}
            parts = []
        yield tool_result(block, path)
    if parts:
        yield {"role": role, "content": parts}
    elif not blocks:
        yield {"role": role, "content": ""}


def tool_result(block: dict[str, Any], where: str) -> dict[str, Any]:
    content = block.get("content")
    if not isinstance(content, str):
        inner = listed(content or [], f"{where}.content")
        content = [part(each, f"{where}.content[{index}]") for index, each in enumerate(inner)]
    message = {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": content or ""}
    for mark in ("is_error", "cache_control"):
        if block.get(mark) is not None:
            message[mark] = block[mark]
    return message


def assistant(blocks: list[dict[str, Any]], where: str) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    thoughts: list[dict[str, Any]] = []
    hosted: list[dict[str, Any]] = []
    for index, block in enumerate(blocks):
        kind = str(block.get("type"))
        if kind == "tool_use":
            calls.append(tool_call(block))
        elif kind in THINKING:
            thoughts.append(block)
        elif kind in HOSTED or kind.endswith("_tool_result"):
            hosted.append(block)
        else:
            parts.append(part(block, f"{where}[{index}]"))
    message: dict[str, Any] = {"role": "assistant", "content": parts or None}
    if len(parts) == 1 and set(parts[0]) == {"type", "text"}:
        message["content"] = parts[0]["text"]
    if thoughts:
        message["reasoning_content"] = "".join(block.get("thinking") or "" for block in thoughts)
        message["thinking_blocks"] = thoughts
    if calls:
        message["tool_calls"] = calls
    elif not parts:
        message["content"] = ""
    if hosted:
        message["extra_content"] = {"anthropic": {"blocks": hosted}}
    return message


def tool_call(block: dict[str, Any]) -> dict[str, Any]:
    arguments = msgspec.json.encode(block.get("input") or {}).decode()
    function = {"name": block.get("name"), "arguments": arguments}
    return marked({"id": block.get("id"), "type": "function", "function": function}, block)


def marked(value: dict[str, Any], block: dict[str, Any]) -> dict[str, Any]:
    """`value` with the block's mark for prompt caching, if it has one."""
    if block.get("cache_control") is not None:
        value["cache_control"] = block["cache_control"]
    return value


def part(block: dict[str, Any], where: str) -> dict[str, Any]:
    """One block as a content part. Raises Unsupported for blocks that chat completions have no part for."""
    kind = block.get("type")
    if kind == "text":
        return marked({"type": "text", "text": block.get("text") or ""}, block)
    if kind == "image":
        return marked(image(source_of(block, where), where), block)
    if kind == "document":
        return marked(document(block, where), block)
    if kind == "search_result":
        said = "\n".join(str(each.get("text", "")) for each in listed(block.get("content"), f"{where}.content"))
        text = f"{block.get('title', '')}\n{block.get('source', '')}\n{said}"
        return marked({"type": "text", "text": text}, block)
    raise Unsupported(f"{where}: a block of type {kind!r} can only go to Anthropic's own models", param=where)


def source_of(block: dict[str, Any], where: str) -> dict[str, Any]:
    source = block.get("source")
    if not isinstance(source, dict):
        raise InvalidRequest(f"{where}.source must be an object", param=f"{where}.source")
    return source


def data_url(source: dict[str, Any]) -> str:
    return f"data:{source.get('media_type')};base64,{source.get('data')}"


def image(source: dict[str, Any], where: str) -> dict[str, Any]:
    if source.get("type") == "base64":
        return {"type": "image_url", "image_url": {"url": data_url(source)}}
    if source.get("type") == "url":
        return {"type": "image_url", "image_url": {"url": source.get("url")}}
    raise Unsupported(
        f"{where}.source: an uploaded file can only go to Anthropic's own models", param=f"{where}.source"
    )


def document(block: dict[str, Any], where: str) -> dict[str, Any]:
    source, title = source_of(block, where), block.get("title")
    if (block.get("citations") or {}).get("enabled"):
        raise Unsupported(f"{where}.citations: only Anthropic's own models cite documents", param=f"{where}.citations")
    kind = source.get("type")
    if kind in ("text", "content"):
        inner = source.get("data") if kind == "text" else source.get("content")
        if isinstance(inner, list):
            inner = "\n".join(str(each.get("text", "")) for each in listed(inner, f"{where}.source.content"))
        said = [text for text in (title, block.get("context"), inner) if text]
        return {"type": "text", "text": "\n\n".join(map(str, said))}
    if kind == "base64":
        return {"type": "file", "file": {"filename": title or "document.pdf", "file_data": data_url(source)}}
    if kind == "url":
        return {"type": "file", "file": {"filename": title or "document.pdf", "file_url": source.get("url")}}
    raise Unsupported(
        f"{where}.source: an uploaded file can only go to Anthropic's own models", param=f"{where}.source"
    )


def tool(given: dict[str, Any], where: str) -> dict[str, Any]:
    if given.get("type", "custom") not in ("custom", None):
        raise Unsupported(f"{where}: {given['type']} is a tool that only Anthropic hosts", param=where)
    function = {"name": given.get("name"), "parameters": given.get("input_schema")}
    for name in ("description", "strict"):
        if given.get(name) is not None:
            function[name] = given[name]
    return marked({"type": "function", "function": function}, given)


def put_tool_choice(sent: dict[str, Any], choice: Any) -> None:
    if choice is None:
        return
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind not in ("auto", "any", "none", "tool"):
        raise InvalidRequest("tool_choice.type must be auto, any, tool or none", param="tool_choice")
    if kind == "tool":
        sent["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
    else:
        sent["tool_choice"] = "required" if kind == "any" else kind
    if choice.get("disable_parallel_tool_use") is not None:
        sent["parallel_tool_calls"] = not choice["disable_parallel_tool_use"]


def put_thinking(sent: dict[str, Any], thinking: Any) -> None:
    if not isinstance(thinking, dict):
        return
    if isinstance(budget := thinking.get("budget_tokens"), int):
        sent["reasoning_effort"] = next((effort for below, effort in EFFORTS if budget < below), "high")


def put_output(sent: dict[str, Any], body: dict[str, Any]) -> None:
    """Structured output and effort. `output_format` is the older place of the first."""
    output = body.get("output_config") or {}
    wanted = output.get("format") or body.get("output_format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        schema = {"name": "answer", "schema": wanted.get("schema"), "strict": True}
        sent["response_format"] = {"type": "json_schema", "json_schema": schema}
    if output.get("effort") is not None:
        sent["reasoning_effort"] = {"max": "xhigh"}.get(output["effort"], output["effort"])
