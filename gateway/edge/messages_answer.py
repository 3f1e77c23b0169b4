"""A chat completion written as Anthropic's message.

chat completions                   becomes
thinking_blocks, reasoning_content thinking blocks (without a signature where no Anthropic model made them)
content, refusal                   text; url citations stand on it
tool_calls                         tool_use
finish_reason                      stop_reason
usage                              theirs: input_tokens without cached and cache-written ones
"""

from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.call import Usage

if TYPE_CHECKING:
    from gateway.core.call import Call

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
OWN_REASONS = frozenset({"stop_sequence", "pause_turn", "model_context_window_exceeded", "refusal"})


def message_of(answer: dict[str, Any], call: "Call") -> dict[str, Any]:
    """The whole message. Raises nothing: an answer without choices becomes a message without content."""
    choices = answer.get("choices") or [{}]
    message = choices[0].get("message") or {}
    return {
        "id": identity(answer.get("id"), call),
        "type": "message",
        "role": "assistant",
        "model": answer.get("model") or call.model,
        "content": [*thinking(message), *extra_blocks(message), *text(message), *map(tool_use, calls_of(message))],
        "stop_reason": stop_reason(choices[0]),
        "stop_sequence": stop_sequence(choices[0]),
        "usage": usage(call.usage),
    }


def identity(given: Any, call: "Call") -> str:
    return given if isinstance(given, str) and given.startswith("msg_") else f"msg_{given or call.id}"


def thinking(message: dict[str, Any]) -> list[dict[str, Any]]:
    if blocks := message.get("thinking_blocks"):
        return list(blocks)
    thought = message.get("reasoning_content") or message.get("reasoning")
    return [{"type": "thinking", "thinking": thought, "signature": ""}] if isinstance(thought, str) and thought else []


def extra_blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Blocks of tools that Anthropic hosts, where one of its models answered over chat completions."""
    extra = (message.get("extra_content") or {}).get("anthropic") or {}
    return list(extra.get("blocks") or ())


def text(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    said = (content or "") + (message.get("refusal") or "")
    if not said:
        return []
    block: dict[str, Any] = {"type": "text", "text": said}
    if citations := [found for each in message.get("annotations") or () if (found := citation(each)) is not None]:
        block["citations"] = citations
    return [block]


def citation(annotation: dict[str, Any]) -> dict[str, Any] | None:
    cited = annotation.get("url_citation")
    if not isinstance(cited, dict):
        return None
    return {
        "type": "web_search_result_location",
        "url": cited.get("url"),
        "title": cited.get("title"),
        "encrypted_index": "",
        "cited_text": cited.get("content") or "",
    }


def calls_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    calls = message.get("tool_calls") or []
    if function := message.get("function_call"):
        calls = [*calls, {"id": "call_0", "function": function}]
    return calls


def tool_use(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function") or call.get("custom") or {}
    return {
        "type": "tool_use",
        "id": call.get("id"),
        "name": function.get("name"),
        "input": arguments(function.get("arguments", function.get("input"))),
    }


def arguments(text: Any) -> Any:
    """The arguments as an object; what is no object is kept under "input", so that nothing is lost."""
    if isinstance(text, str):
        try:
            text = msgspec.json.decode(text) if text.strip() else {}
        except msgspec.DecodeError:
            return {"input": text}
    if text is None:
        return {}
    return text if isinstance(text, dict) else {"input": text}


def stop_reason(choice: dict[str, Any]) -> str | None:
    native = choice.get("native_finish_reason")
    if isinstance(native, str) and native in OWN_REASONS:
        return str(native)
    finish = choice.get("finish_reason")
    if (choice.get("message") or {}).get("refusal") and finish == "stop":
        return "refusal"
    return STOP_REASONS.get(finish, "end_turn") if finish is not None else None


def stop_sequence(choice: dict[str, Any]) -> str | None:
    found = choice.get("stop_sequence")
    return found if isinstance(found, str) else None


def usage(used: Usage) -> dict[str, Any]:
    """Anthropic's usage: its three kinds of input are apart, ours count everything as input."""
    written = used.cache_write + used.cache_write_long
    shown: dict[str, Any] = {
        "input_tokens": max(0, used.input - used.cached - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": used.cached,
        "output_tokens": used.output,
    }
    if written:
        shown["cache_creation"] = {
            "ephemeral_5m_input_tokens": used.cache_write,
            "ephemeral_1h_input_tokens": used.cache_write_long,
        }
    if used.tool_uses:
        shown["server_tool_use"] = {"web_search_requests": used.tool_uses}
    return shown
