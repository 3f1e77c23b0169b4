"""A chat request written as Anthropic's.

    theirs                             from
    system                             system and developer messages, wherever they stand
    content blocks                     text; image_url (URL, base64); file (PDF, text, file id); tool calls and results
    one user turn                      tool messages and the user message after them
    max_tokens                         max_completion_tokens, max_tokens, else the target's, else 4096: it is required
    tools, tool_choice                 tools; parallel_tool_calls: false is disable_parallel_tool_use
    output_config.format               response_format json_schema, on models that have it (Claude 4.1, 4.5 and later)
    a forced tool                      response_format on older models, and json_object everywhere
    thinking                           reasoning_effort: a budget, or on later models adaptive thinking with effort
    web_search tool                    web_search_options
    cache_control                      as it stands on parts, messages, tools and the request

Fields of theirs that chat has no word for (thinking, top_k, cache_control, container, mcp_servers,
context_management, output_config) pass as they are; `anthropic_beta` becomes the header.
"""

import re
from typing import Any

from gateway.core.call import Target
from gateway.core.errors import InvalidRequest, Unsupported
from gateway.providers import content, fields
from gateway.providers.anthropic_answer import ANSWER_TOOL, THINKING

MAX_TOKENS = 4096  # their API requires a value; OpenAI's does not
NATIVE = ("cache_control", "container", "context_management", "mcp_servers", "output_config", "thinking", "top_k")
SERVED = frozenset(
    {
        *NATIVE,
        "anthropic_beta",
        "max_completion_tokens",
        "max_tokens",
        "parallel_tool_calls",
        "reasoning_effort",
        "response_format",
        "service_tier",
        "stop",
        "temperature",
        "tool_choice",
        "tools",
        "top_p",
        "web_search_options",
    }
)
BUDGETS = {"minimal": 1024, "low": 1024, "medium": 4096, "high": 16384, "xhigh": 32768, "max": 32768}
MIN_BUDGET = 1024  # theirs
# Models before structured output (4.1 and 4.5) and before adaptive thinking (4.6).
WITHOUT_SCHEMA = re.compile(r"claude-(instant|[23]|(sonnet|opus)-4[-@](0|2025))")
WITHOUT_ADAPTIVE = re.compile(r"claude-(instant|[23]|(sonnet|opus|haiku)-4[-@]([0-5]\b|2025))")
ILLEGAL_ID = re.compile(r"[^a-zA-Z0-9_-]")
SEARCHES = {"low": 2, "medium": 5, "high": 10}


def written(body: dict[str, Any], target: Target) -> dict[str, Any]:
    """The request's body without model and stream. Raises Unsupported, naming the field."""
    fields.check(body, SERVED, "Anthropic")
    system, turns = conversation(content.messages(body))
    limit = content.output_limit(body)
    request: dict[str, Any] = {"max_tokens": limit or target.max_output_tokens or MAX_TOKENS, "messages": turns}
    if system:
        request["system"] = system[0]["text"] if len(system) == 1 and len(system[0]) == 2 else system
    for name in NATIVE:
        if body.get(name) is not None:
            request[name] = body[name]
    if (stop := content.stops(body)) != []:
        request["stop_sequences"] = stop
    user = body.get("user") or body.get("safety_identifier")
    if isinstance(user, str):
        request["metadata"] = {"user_id": user}
    put_tools(request, body, target)
    put_reasoning(request, body, target, limited=limit is not None)
    put_schema(request, body, target)
    put_sampling(request, body)
    return request


def conversation(messages: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The system blocks and the turns. Neighbours of one role become one turn, as their API wants tool results."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role = message["role"]
        if role in content.SYSTEM_ROLES:
            system += [b for b in blocks(message, where) if b["type"] == "text" or refused(b, where)]
            continue
        if role == "user":
            found = blocks(message, where)
        elif role == "assistant":
            found = assistant(message, where)
        elif role == "tool":
            role, found = "user", [result(message, where)]
        else:
            raise Unsupported(f"{where}: Anthropic has no role {role!r}", param=f"{where}.role")
        if found and turns and turns[-1]["role"] == role:
            turns[-1]["content"] += found
        elif found:
            turns.append({"role": role, "content": found})
    if turns and turns[-1]["role"] == "assistant" and turns[-1]["content"][-1]["type"] == "text":
        last = turns[-1]["content"][-1]
        last["text"] = last["text"].rstrip()  # their API refuses a prefill that ends in white space
    return system, turns


def refused(block: dict[str, Any], where: str) -> bool:
    raise Unsupported(f"{where}: a system message holds text only, not {block['type']}", param=f"{where}.content")


def blocks(message: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """A message's content as their blocks. Texts without a word are left out: their API refuses them."""
    found: list[dict[str, Any]] = []
    for part, path in content.parts(message, where):
        text = content.text_of(part)
        if text is not None:
            if not text.strip():
                continue
            block: dict[str, Any] = {"type": "text", "text": text}
        else:
            block = medium(part, path)
        if isinstance(part.get("cache_control"), dict):
            block["cache_control"] = part["cache_control"]
        found.append(block)
    if found and isinstance(message.get("cache_control"), dict):
        found[-1]["cache_control"] = message["cache_control"]
    return found


def medium(part: dict[str, Any], path: str) -> dict[str, Any]:
    """An image or document block."""
    found = content.media(part, path)
    if found is None or found.media_type.startswith(("audio/", "video/")):
        raise Unsupported(f"{path}: Anthropic takes no {part.get('type')!r}", param=path)
    kind = "image" if part["type"] == "image_url" or found.media_type.startswith("image/") else "document"
    block: dict[str, Any] = {"type": kind}
    if found.file_id:
        block["source"] = {"type": "file", "file_id": found.file_id}
    elif found.url:
        block["source"] = {"type": "url", "url": found.url}
    elif found.media_type.startswith("text/") or found.media_type == "application/json":
        text = content.plain_text(found.data, path)
        block["source"] = {"type": "text", "media_type": "text/plain", "data": text}
    else:
        block["source"] = {"type": "base64", "media_type": found.media_type, "data": found.data}
    if kind == "document" and found.name:
        block["title"] = found.name
    if kind == "document" and isinstance(part.get("citations"), dict):
        block["citations"] = part["citations"]
    return block


def assistant(message: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """An assistant's turn: thinking first, then hosted tools' blocks, text, and tool calls."""
    if message.get("audio"):
        raise Unsupported(f"{where}.audio: Anthropic has no audio answers", param=f"{where}.audio")
    found = [block for block in message.get("thinking_blocks") or [] if block.get("type") in THINKING]
    found += ((message.get("extra_content") or {}).get("anthropic") or {}).get("blocks") or []
    found += blocks(message, where)
    if isinstance(message.get("refusal"), str) and message["refusal"] and message.get("content") is None:
        found.append({"type": "text", "text": message["refusal"]})
    for index, call in enumerate(message.get("tool_calls") or []):
        name, given = content.arguments(call, f"{where}.tool_calls[{index}]")
        block = {"type": "tool_use", "id": legal_id(call.get("id")), "name": name, "input": given}
        if isinstance(call.get("cache_control"), dict):
            block["cache_control"] = call["cache_control"]
        found.append(block)
    return found


def result(message: dict[str, Any], where: str) -> dict[str, Any]:
    """A tool's result. A cache mark on the message belongs to the result, not to a part of it."""
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": legal_id(message.get("tool_call_id"))}
    mark = message.get("cache_control")
    if inner := blocks(message | {"cache_control": None}, where):
        block["content"] = inner
    if isinstance(message.get("is_error"), bool):
        block["is_error"] = message["is_error"]
    if isinstance(mark, dict):
        block["cache_control"] = mark
    return block


def legal_id(call_id: Any) -> str:
    """A tool call's id in the characters that their API allows; other providers use more."""
    return ILLEGAL_ID.sub("_", str(call_id or "call"))


def put_tools(request: dict[str, Any], body: dict[str, Any], target: Target) -> None:
    """Functions as their tools; a tool of another type (hosted by them) as it is."""
    tools: list[dict[str, Any]] = []
    for tool, function, path in content.functions(body):
        if not function:
            if tool.get("type") == "custom" and "input_schema" not in tool:
                raise Unsupported(f"{path}: Anthropic has no free-form tools", param="tools")
            tools.append(tool)
            continue
        schema = function.get("parameters") or {"type": "object", "properties": {}}
        written: dict[str, Any] = {"name": function.get("name"), "input_schema": schema}
        if function.get("description") is not None:
            written["description"] = function["description"]
        if function.get("strict") and has_schema(target):
            written["strict"] = True
        for name in ("cache_control", "defer_loading"):
            if (value := tool.get(name, function.get(name))) is not None:
                written[name] = value
        tools.append(written)
    if isinstance(body.get("web_search_options"), dict):
        tools.append(web_search(body["web_search_options"]))
    if not tools:
        return
    request["tools"] = tools
    asked = content.tool_choice(body)
    parallel = body.get("parallel_tool_calls")
    if asked is None and parallel is not False:
        return
    mode = asked.mode if asked else "auto"
    choice: dict[str, Any] = {"type": {"required": "any", "named": "tool"}.get(mode, mode)}
    if asked and asked.name:
        choice["name"] = asked.name
    if parallel is False and mode != "none":
        choice["disable_parallel_tool_use"] = True
    request["tool_choice"] = choice


def web_search(options: dict[str, Any]) -> dict[str, Any]:
    """Their hosted search for OpenAI's web_search_options."""
    tool: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}
    if options.get("search_context_size") is not None:
        tool["max_uses"] = SEARCHES.get(options["search_context_size"], 5)
    place = options.get("user_location")
    if isinstance(place, dict):
        tool["user_location"] = {"type": "approximate", **(place.get("approximate") or {})}
    return tool


def has_schema(target: Target) -> bool:
    """Whether the model has structured output of its own; the target's quirk `structured_output` overrides."""
    known = target.quirks.get("structured_output")
    return known == "native" if known else not WITHOUT_SCHEMA.search(target.upstream)


def put_schema(request: dict[str, Any], body: dict[str, Any], target: Target) -> None:
    """Structured output: theirs where the model has it, else a tool that the model must use."""
    asked = content.schema(body)
    if asked is None:
        return
    if asked.schema is not None and has_schema(target):
        config = request.get("output_config") or {}
        request["output_config"] = config | {"format": {"type": "json_schema", "schema": asked.schema}}
        return
    tool = {
        "name": ANSWER_TOOL,
        "description": asked.description or "Give your final answer by calling this tool, in the form it asks for.",
        "input_schema": asked.schema or {"type": "object", "additionalProperties": True},
    }
    others = bool(request.get("tools"))
    request["tools"] = [*request.get("tools", []), tool]
    if request.get("thinking"):
        request["tool_choice"] = {"type": "auto"}  # their API refuses a forced tool together with thinking
    elif others:
        request["tool_choice"] = {"type": "any"}
    else:
        request["tool_choice"] = {"type": "tool", "name": ANSWER_TOOL}


def put_reasoning(request: dict[str, Any], body: dict[str, Any], target: Target, *, limited: bool) -> None:
    """reasoning_effort as thinking. Left out where a tool call of this turn came without its thinking.

    Their API refuses thinking there, and an effort is a wish, not content.
    """
    effort = body.get("reasoning_effort")
    if effort is None or request.get("thinking") is not None:
        return
    if effort == "none":
        request["thinking"] = {"type": "disabled"}
        return
    if effort not in BUDGETS:
        raise InvalidRequest(f"reasoning_effort {effort!r} is not one of none, {', '.join(BUDGETS)}")
    if thoughtless(request["messages"]):
        return
    if not WITHOUT_ADAPTIVE.search(target.upstream):
        level = {"minimal": "low", "xhigh": "max"}.get(effort, effort)
        request["thinking"] = {"type": "adaptive"}
        request["output_config"] = {"effort": level} | (request.get("output_config") or {})
        return
    budget = BUDGETS[effort]
    if not limited:
        most = target.max_output_tokens or budget + MAX_TOKENS
        request["max_tokens"] = min(max(request["max_tokens"], budget + MAX_TOKENS), most)
    budget = min(budget, request["max_tokens"] - 1)
    if budget < MIN_BUDGET:
        raise Unsupported(
            f"reasoning_effort needs max_tokens above {MIN_BUDGET} with Anthropic", param="reasoning_effort"
        )
    request["thinking"] = {"type": "enabled", "budget_tokens": budget}


def thoughtless(turns: list[dict[str, Any]]) -> bool:
    """Whether the turn that is to go on holds a tool call without the thinking before it."""
    last = next((turn for turn in reversed(turns) if turn["role"] == "assistant"), None)
    kinds = [block.get("type") for block in last["content"]] if last else []
    return "tool_use" in kinds and not THINKING.intersection(kinds)


def put_sampling(request: dict[str, Any], body: dict[str, Any]) -> None:
    thinking = (request.get("thinking") or {}).get("type") in ("enabled", "adaptive")
    if (temperature := body.get("temperature")) is not None:
        if thinking and temperature != 1:
            raise Unsupported("Anthropic allows no temperature together with thinking", param="temperature")
        request["temperature"] = min(temperature, 1.0)  # theirs ends at 1, OpenAI's at 2
    if body.get("top_p") is not None:
        request["top_p"] = body["top_p"]
    tier = body.get("service_tier")
    if tier is not None:
        known = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
        if tier not in known:
            raise Unsupported(f"Anthropic has no service tier {tier!r}", param="service_tier")
        request["service_tier"] = known[tier]
