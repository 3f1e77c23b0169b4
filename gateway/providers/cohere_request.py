"""A chat request written as Cohere's v2 chat, an embeddings request as v2 embed.

Their messages are close to OpenAI's. What differs: stop_sequences, p and k, upper-case tool_choice, a json_object with
a json_schema beside it, thinking with a token budget, and tool_plan: what an assistant said before it called its tools.
documents, citation_options, safety_mode, connectors' own fields and thinking pass as they are.
"""

from typing import Any

from gateway.core.errors import InvalidRequest, Unsupported
from gateway.providers import content, embeddings, fields

NATIVE = (
    "citation_options",
    "documents",
    "k",
    "p",
    "priority",
    "raw_prompting",
    "safety_mode",
    "strict_tools",
    "thinking",
)
SAME = ("frequency_penalty", "presence_penalty", "seed", "temperature")
SERVED = frozenset(
    {
        *NATIVE,
        *SAME,
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "reasoning_effort",
        "response_format",
        "stop",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    }
)
BUDGETS = {"minimal": 512, "low": 1024, "medium": 4096, "high": 16384, "xhigh": 31000}


def written(body: dict[str, Any]) -> dict[str, Any]:
    """The request's body without model and stream. Raises Unsupported, naming the field."""
    fields.check(body, SERVED, "Cohere")
    request: dict[str, Any] = {
        "messages": [
            turn(message, f"messages[{index}]")
            for index, message in enumerate(content.messages(body))
            if message.get("content") or message.get("tool_calls") or message["role"] == "tool"
        ]
    }
    request |= {name: body[name] for name in (*SAME, *NATIVE) if fields.asks(body, name)}
    for name, theirs in (("top_p", "p"), ("top_k", "k")):
        if body.get(name) is not None:
            request[theirs] = body[name]
    if (limit := content.output_limit(body)) is not None:
        request["max_tokens"] = limit
    if stop := content.stops(body):
        request["stop_sequences"] = stop
    if body.get("logprobs"):
        request["logprobs"] = True
    put_thinking(request, body)
    put_tools(request, body)
    put_schema(request, body)
    return request


def turn(message: dict[str, Any], where: str) -> dict[str, Any]:
    """One message. Content stays a string where it was one."""
    role = message["role"]
    if role in content.SYSTEM_ROLES:
        return {"role": "system", "content": content.joined_text(message, where)}
    if role == "user":
        return {"role": "user", "content": spoken(message, where)}
    if role == "tool":
        return {"role": "tool", "tool_call_id": message.get("tool_call_id"), "content": spoken(message, where)}
    if role != "assistant":
        raise Unsupported(f"{where}: Cohere has no role {role!r}", param=f"{where}.role")
    made: dict[str, Any] = {"role": "assistant"}
    text = content.joined_text(message, where) if message.get("content") else ""
    calls = []
    for index, call in enumerate(message.get("tool_calls") or []):
        content.arguments(call, f"{where}.tool_calls[{index}]")
        calls.append({name: call[name] for name in ("id", "type", "function") if name in call})
    thinking = [block.get("thinking") for block in message.get("thinking_blocks") or [] if block.get("thinking")]
    if thinking:
        parts = [{"type": "thinking", "thinking": one} for one in thinking]
        made["content"] = [*parts, {"type": "text", "text": text}] if text and not calls else parts
    elif text and not calls:
        made["content"] = text
    if calls:
        made["tool_calls"] = calls
        if text:
            made["tool_plan"] = text
    return made


def spoken(message: dict[str, Any], where: str) -> Any:
    """A user's or a tool's content. Images go to models that see; anything else but text is refused."""
    given = message.get("content")
    if given is None or isinstance(given, str):
        return given or ""
    found: list[dict[str, Any]] = []
    for part, path in content.parts(message, where):
        text = content.text_of(part)
        if text is not None:
            found.append({"type": "text", "text": text})
        elif part.get("type") == "document" and message["role"] == "tool":
            found.append(part)
        elif part.get("type") == "image_url" and message["role"] == "user":
            content.media(part, path)
            image = part["image_url"]
            found.append({"type": "image_url", "image_url": image if isinstance(image, dict) else {"url": image}})
        else:
            raise Unsupported(f"{path}: Cohere takes no {part.get('type')!r} here", param=path)
    return found


def put_thinking(request: dict[str, Any], body: dict[str, Any]) -> None:
    effort = body.get("reasoning_effort")
    if effort is None or "thinking" in request:
        return
    if effort == "none":
        request["thinking"] = {"type": "disabled"}
    elif effort in BUDGETS:
        request["thinking"] = {"type": "enabled", "token_budget": BUDGETS[effort]}
    else:
        raise InvalidRequest(f"reasoning_effort {effort!r} is not one of none, {', '.join(BUDGETS)}")


def put_tools(request: dict[str, Any], body: dict[str, Any]) -> None:
    tools: list[dict[str, Any]] = []
    for _, function, path in content.functions(body):
        if not function:
            raise Unsupported(f"{path}: Cohere has function tools only", param="tools")
        if function.get("strict"):
            request["strict_tools"] = True
        inner = {name: value for name, value in function.items() if name in ("name", "description", "parameters")}
        tools.append({"type": "function", "function": inner})
    if not tools:
        return
    request["tools"] = tools
    asked = content.tool_choice(body)
    if asked and asked.mode == "named":
        raise Unsupported("Cohere can't be told which tool to call", param="tool_choice")
    if asked and asked.mode != "auto":
        request["tool_choice"] = asked.mode.upper()


def put_schema(request: dict[str, Any], body: dict[str, Any]) -> None:
    asked = content.schema(body)
    if asked is None:
        return
    request["response_format"] = {"type": "json_object"}
    if asked.schema is not None:
        request["response_format"]["json_schema"] = asked.schema


def embedding(body: dict[str, Any]) -> dict[str, Any]:
    """OpenAI's embeddings request as v2 embed, without model. `input_type` and `truncate` pass."""
    embeddings.check(body, frozenset({"dimensions", "input_type", "truncate"}), "Cohere")
    request: dict[str, Any] = {
        "texts": embeddings.texts(body),
        "input_type": body.get("input_type") or "search_document",
        "embedding_types": ["float"],
    }
    if body.get("dimensions") is not None:
        request["output_dimension"] = body["dimensions"]
    if body.get("truncate") is not None:
        request["truncate"] = body["truncate"]
    return request
