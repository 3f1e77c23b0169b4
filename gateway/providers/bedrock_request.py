"""A chat request written as Bedrock's Converse.

    theirs                            from
    system, cachePoint                system and developer messages; cache_control marks
    text, image, document, video      parts; media as base64 or s3:// URLs, nothing is fetched
    toolUse, toolResult               tool calls and tool messages
    reasoningContent                  thinking_blocks
    inferenceConfig                   limits, temperature, top_p, stop
    toolConfig                        tools and tool_choice; made of the history where only that has calls
    outputConfig.textFormat           response_format json_schema, where the model has it
    a forced tool                     response_format on Amazon's, Meta's and older Claude models, and json_object
    additionalModelRequestFields      reasoning_effort, top_k and anthropic_beta, as each maker wants them

guardrailConfig, performanceConfig, promptVariables, requestMetadata and additionalModelRequestFields pass as they are.
"""

import re
from typing import Any

import msgspec

from gateway.core.call import Target
from gateway.core.errors import InvalidRequest, Unsupported
from gateway.providers import content, fields
from gateway.providers.anthropic_answer import ANSWER_TOOL
from gateway.providers.anthropic_request import BUDGETS, MAX_TOKENS, WITHOUT_ADAPTIVE, legal_id

NATIVE = ("guardrailConfig", "performanceConfig", "promptVariables", "requestMetadata")
SERVED = frozenset(
    {
        *NATIVE,
        "additionalModelRequestFields",
        "anthropic_beta",
        "max_completion_tokens",
        "max_tokens",
        "reasoning_effort",
        "response_format",
        "service_tier",
        "stop",
        "temperature",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    }
)
WITHOUT_SCHEMA = re.compile(r"amazon\.|meta\.|writer\.|claude-(instant|v?[23]|(sonnet|opus)-4-(0|2025))")
IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
    "text/md": "md",
}
VIDEOS = {"video/mp4": "mp4", "video/quicktime": "mov", "video/webm": "webm", "video/x-matroska": "mkv"}
NAME = re.compile(r"[^a-zA-Z0-9\s\-()\[\]]+")
ID_CHARACTERS = 64


def written(body: dict[str, Any], target: Target) -> dict[str, Any]:
    """The request's body. Raises Unsupported, naming the field."""
    fields.check(body, SERVED, "Bedrock")
    system, turns = conversation(content.messages(body))
    request: dict[str, Any] = {"messages": turns}
    if system:
        request["system"] = system
    limits: dict[str, Any] = {}
    if (limit := content.output_limit(body)) is not None:
        limits["maxTokens"] = limit
    for name, theirs in (("temperature", "temperature"), ("top_p", "topP")):
        if body.get(name) is not None:
            limits[theirs] = body[name]
    if stop := content.stops(body):
        limits["stopSequences"] = stop
    request["inferenceConfig"] = limits
    put_tools(request, body)
    put_schema(request, body, target)
    put_more(request, body, target)
    if not limits:
        del request["inferenceConfig"]
    for name in NATIVE:
        if body.get(name) is not None:
            request[name] = body[name]
    if fields.asks(body, "service_tier"):
        request["serviceTier"] = {"type": body["service_tier"]}
    return request


def conversation(messages: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The system blocks and the turns, which must take turns: neighbours of one role become one."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role = message["role"]
        if role in content.SYSTEM_ROLES:
            content.joined_text(message, where)
            system += blocks(message, where)
            continue
        if role == "user":
            found = blocks(message, where)
        elif role == "assistant":
            found = assistant(message, where)
        elif role == "tool":
            role, found = "user", result(message, where)
        else:
            raise Unsupported(f"{where}: Bedrock has no role {role!r}", param=f"{where}.role")
        if found and turns and turns[-1]["role"] == role:
            turns[-1]["content"] += found
        elif found:
            turns.append({"role": role, "content": found})
    return system, turns


def cache_point(holder: dict[str, Any]) -> list[dict[str, Any]]:
    """A cachePoint for a cache_control mark, to stand after what is marked."""
    mark = holder.get("cache_control")
    if not isinstance(mark, dict):
        return []
    point = {"type": "default"} | ({"ttl": "1h"} if mark.get("ttl") == "1h" else {})
    return [{"cachePoint": point}]


def blocks(message: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """A message's content as their blocks. Texts without a word are left out: their API refuses them."""
    found: list[dict[str, Any]] = []
    for part, path in content.parts(message, where):
        text = content.text_of(part)
        if text is None:
            found.append(medium(part, path))
        elif text.strip():
            found.append({"text": text})
        else:
            continue
        found += cache_point(part)
    return found + (cache_point(message) if found else [])


def medium(part: dict[str, Any], path: str) -> dict[str, Any]:
    """An image, document or video. Other URLs than s3:// are refused: they fetch nothing, and neither do we."""
    found = content.media(part, path)
    if found is None:
        raise Unsupported(f"{path}: Bedrock takes no {part.get('type')!r}", param=path)
    if found.data:
        source: dict[str, Any] = {"bytes": found.data}
    elif found.url.startswith("s3://"):
        source = {"s3Location": {"uri": found.url}}
    else:
        raise Unsupported(f"{path}: Bedrock takes base64 data or s3:// URLs, nothing else", param=path)
    for kind, formats in (("image", IMAGES), ("document", DOCUMENTS), ("video", VIDEOS)):
        if found.media_type in formats:
            block = {"format": formats[found.media_type], "source": source}
            if kind == "document":
                name = " ".join(NAME.sub(" ", found.name.rsplit(".", 1)[0]).split())
                block = {"name": name or "Document 1", **block}
            return {kind: block}
    raise Unsupported(f"{path}: Bedrock takes no {found.media_type or 'media of an unknown type'}", param=path)


def assistant(message: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """An assistant's turn: reasoning first, then text and tool calls."""
    if message.get("audio"):
        raise Unsupported(f"{where}.audio: Bedrock has no audio answers", param=f"{where}.audio")
    found: list[dict[str, Any]] = []
    for block in message.get("thinking_blocks") or []:
        if block.get("type") == "redacted_thinking":
            found.append({"reasoningContent": {"redactedContent": block.get("data")}})
        elif block.get("type") == "thinking":
            text = {"text": block.get("thinking") or ""}
            signature = {"signature": block["signature"]} if block.get("signature") else {}
            found.append({"reasoningContent": {"reasoningText": text | signature}})
    found += blocks(message, where)
    for index, call in enumerate(message.get("tool_calls") or []):
        name, given = content.arguments(call, f"{where}.tool_calls[{index}]")
        call_id = legal_id(call.get("id"))[:ID_CHARACTERS]
        found += [{"toolUse": {"toolUseId": call_id, "name": name, "input": given}}, *cache_point(call)]
    return found


def result(message: dict[str, Any], where: str) -> list[dict[str, Any]]:
    inner = [block for block in blocks(message | {"cache_control": None}, where) if "cachePoint" not in block]
    block: dict[str, Any] = {
        "toolUseId": legal_id(message.get("tool_call_id"))[:ID_CHARACTERS],
        "content": inner or [{"text": " "}],  # it may not be empty
    }
    if isinstance(message.get("is_error"), bool):
        block["status"] = "error" if message["is_error"] else "success"
    return [{"toolResult": block}, *cache_point(message)]


def put_tools(request: dict[str, Any], body: dict[str, Any]) -> None:
    tools: list[dict[str, Any]] = []
    for tool, function, path in content.functions(body):
        if not function:
            raise Unsupported(f"{path}: Bedrock has function tools only", param="tools")
        spec: dict[str, Any] = {"name": function.get("name")}
        if function.get("description"):  # theirs may not be empty
            spec["description"] = function["description"]
        spec["inputSchema"] = {"json": function.get("parameters") or {"type": "object", "properties": {}}}
        if function.get("strict"):
            spec["strict"] = True
        tools += [{"toolSpec": spec}, *cache_point(tool if "cache_control" in tool else function)]
    asked = content.tool_choice(body)
    used = sorted(used_tools(request["messages"]))
    if asked and asked.mode == "none":
        if used:
            raise Unsupported("Bedrock can't be told to call no tools once some were called", param="tool_choice")
        return
    if not tools and used:  # they refuse calls and results of tools that the request does not have
        tools = [{"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}} for name in used]
    if not tools:
        return
    request["toolConfig"] = {"tools": tools}
    if asked:
        choice = {"required": {"any": {}}, "named": {"tool": {"name": asked.name}}}.get(asked.mode, {"auto": {}})
        request["toolConfig"]["toolChoice"] = choice


def used_tools(turns: list[dict[str, Any]]) -> set[str]:
    return {block["toolUse"]["name"] for turn in turns for block in turn["content"] if "toolUse" in block}


def put_schema(request: dict[str, Any], body: dict[str, Any], target: Target) -> None:
    """Structured output: theirs where the model has it, else a tool that the model must use."""
    asked = content.schema(body)
    if asked is None:
        return
    known = target.quirks.get("structured_output")
    native = known == "native" if known else not WITHOUT_SCHEMA.search(target.upstream)
    if asked.schema is not None and native:
        inner = {"name": asked.name, "schema": msgspec.json.encode(asked.schema).decode()}
        if asked.description:
            inner["description"] = asked.description
        request["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": inner}}}
        return
    config = request.setdefault("toolConfig", {"tools": []})
    config["toolChoice"] = {"any": {}} if config["tools"] else {"tool": {"name": ANSWER_TOOL}}
    spec = {
        "name": ANSWER_TOOL,
        "description": asked.description or "Give your final answer by calling this tool, in the form it asks for.",
        "inputSchema": {"json": asked.schema or {"type": "object"}},
    }
    config["tools"] = [*config["tools"], {"toolSpec": spec}]


def put_more(request: dict[str, Any], body: dict[str, Any], target: Target) -> None:
    """What the makers of the models have beside Converse's own fields."""
    given = body.get("additionalModelRequestFields")
    more: dict[str, Any] = {}
    name = target.upstream
    if body.get("top_k") is not None:
        more |= {"inferenceConfig": {"topK": body["top_k"]}} if "amazon." in name else {"top_k": body["top_k"]}
    if body.get("anthropic_beta"):
        betas = body["anthropic_beta"]
        more["anthropic_beta"] = betas.split(",") if isinstance(betas, str) else betas
    effort = body.get("reasoning_effort")
    if effort is not None and effort != "none":
        if effort not in BUDGETS:
            raise InvalidRequest(f"reasoning_effort {effort!r} is not one of none, {', '.join(BUDGETS)}")
        more |= reasoning(effort, request["inferenceConfig"], target)
    if isinstance(given, dict):
        more |= given
    if more:
        request["additionalModelRequestFields"] = more


def reasoning(effort: str, limits: dict[str, Any], target: Target) -> dict[str, Any]:
    """reasoning_effort as the model's maker wants it. Raises Unsupported for makers without."""
    name = target.upstream
    level = {"minimal": "low", "xhigh": "high", "max": "high"}.get(effort, effort)
    if "anthropic." in name or "claude" in name:
        if not WITHOUT_ADAPTIVE.search(name):
            return {"thinking": {"type": "adaptive"}, "output_config": {"effort": level}}
        budget = BUDGETS[effort]
        if "maxTokens" not in limits:
            most = target.max_output_tokens or budget + MAX_TOKENS
            limits["maxTokens"] = min(budget + MAX_TOKENS, most)
        budget = min(budget, limits["maxTokens"] - 1)
        if budget < BUDGETS["minimal"]:
            raise Unsupported("reasoning_effort needs max_tokens above 1024 with Claude", param="reasoning_effort")
        return {"thinking": {"type": "enabled", "budget_tokens": budget}}
    if "amazon.nova-2" in name:
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": level}}
    if name.startswith("openai.") or ".openai." in name:
        return {"reasoning_effort": level}
    if "qwen." in name:
        return {"reasoning_config": level}
    raise Unsupported("this model has no reasoning effort on Bedrock", param="reasoning_effort")
