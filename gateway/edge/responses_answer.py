"""A chat completion written as OpenAI's response object.

chat completions                     becomes
reasoning_content, thinking_blocks   a reasoning item; the blocks are sealed into its encrypted_content
content, refusal, annotations        one message item
tool_calls                           function_call and custom_tool_call items
finish_reason length, content_filter status incomplete, with the reason
usage                                input_tokens, output_tokens with their details
"""

import base64
import binascii
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.call import Usage

if TYPE_CHECKING:
    from gateway.core.call import Call

SEAL = "tollgate:"
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
ECHOED = ("instructions", "max_output_tokens", "max_tool_calls", "temperature", "top_p", "top_logprobs", "truncation")


def sealed(blocks: list[dict[str, Any]]) -> str:
    """Thinking blocks with their signatures as one opaque text, which the caller sends back with the next turn."""
    return SEAL + base64.b64encode(msgspec.json.encode(blocks)).decode()


def unsealed(text: Any) -> list[dict[str, Any]]:
    """The blocks in what `sealed` made; none in what another server made."""
    if not isinstance(text, str) or not text.startswith(SEAL):
        return []
    try:
        blocks = msgspec.json.decode(base64.b64decode(text[len(SEAL) :], validate=True))
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return []
    return [block for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []


def response_of(answer: dict[str, Any], call: "Call") -> dict[str, Any]:
    """The whole response."""
    choice = (answer.get("choices") or [{}])[0]
    message = choice.get("message") or {}
    response = head(answer.get("id"), answer.get("created"), answer.get("model"), call)
    response["output"] = items(message, str(answer.get("id") or call.id), choice.get("logprobs"))
    return ended(response, choice.get("finish_reason"), call.usage)


def head(identity: Any, created: Any, model: Any, call: "Call") -> dict[str, Any]:
    """A response without output, in progress: what is known before the answer, echoing the request."""
    body = call.body
    reasoning = body.get("reasoning") or {}
    response: dict[str, Any] = {
        "id": f"resp_{identity or call.id}",
        "object": "response",
        "created_at": int(created or call.at),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": model or call.model,
        "output": [],
        "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
        "previous_response_id": None,
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "store": False,
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "usage": None,
        "user": call.controls.user or None,
        "metadata": dict(call.controls.metadata),
    }
    for name in ECHOED:
        response[name] = body.get(name)
    response["truncation"] = response["truncation"] or "disabled"
    return response


def ended(response: dict[str, Any], finish: str | None, usage: Usage) -> dict[str, Any]:
    """The same response with its end."""
    reason = INCOMPLETE.get(finish or "")
    status = "incomplete" if reason else "completed"
    details = {"reason": reason} if reason else None
    return response | {"status": status, "incomplete_details": details, "usage": usage_of(usage)}


def usage_of(usage: Usage) -> dict[str, Any]:
    asked = {"cached_tokens": usage.cached}
    if usage.cache_write or usage.cache_write_long:
        asked["cache_write_tokens"] = usage.cache_write + usage.cache_write_long
    shown: dict[str, Any] = {
        "input_tokens": usage.input,
        "input_tokens_details": asked,
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }
    if usage.estimated:
        shown["estimated"] = True
    return shown


def items(message: dict[str, Any], identity: str, logprobs: Any) -> list[dict[str, Any]]:
    """The output items of a whole message."""
    output: list[dict[str, Any]] = []
    thought = message.get("reasoning_content") or message.get("reasoning") or ""
    blocks = message.get("thinking_blocks") or []
    if thought or blocks:
        output.append(reasoning_item(f"rs_{identity}", thought if isinstance(thought, str) else "", blocks))
    parts = []
    if said := text_of(message.get("content")):
        parts.append(text_part(said, message.get("annotations") or (), logprobs))
    if message.get("refusal"):
        parts.append({"type": "refusal", "refusal": message["refusal"]})
    if parts:
        output.append(message_item(f"msg_{identity}", parts))
    calls = message.get("tool_calls") or []
    if function := message.get("function_call"):
        calls = [*calls, {"id": "call_0", "function": function}]
    output += [call_item(call, f"{identity}_{index}") for index, call in enumerate(calls)]
    return output


def text_of(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content or ""


def reasoning_item(identity: str, text: str, blocks: list[dict[str, Any]]) -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": text}] if text else []
    return {
        "id": identity,
        "type": "reasoning",
        "summary": summary,
        "encrypted_content": sealed(blocks) if blocks else None,
        "status": "completed",
    }


def message_item(identity: str, parts: list[dict[str, Any]], status: str = "completed") -> dict[str, Any]:
    return {"id": identity, "type": "message", "role": "assistant", "status": status, "content": parts}


def text_part(text: str, annotations: Any, logprobs: Any = None) -> dict[str, Any]:
    tokens = (logprobs or {}).get("content") or []
    shown = [each for annotation in annotations if (each := annotated(annotation)) is not None]
    return {"type": "output_text", "text": text, "annotations": shown, "logprobs": tokens}


def annotated(annotation: dict[str, Any]) -> dict[str, Any] | None:
    """A citation as this form shows it: its fields beside its type."""
    cited = annotation.get("url_citation")
    if not isinstance(cited, dict):
        return None
    return {"type": "url_citation", "start_index": 0, "end_index": 0, "title": "", **cited}


def call_item(call: dict[str, Any], identity: str, status: str = "completed") -> dict[str, Any]:
    """A tool call as an item; `identity` makes its own id."""
    custom = call.get("custom")
    if isinstance(custom, dict) and (call.get("type") == "custom" or not call.get("function")):
        return {
            "id": f"ctc_{identity}",
            "type": "custom_tool_call",
            "call_id": call.get("id"),
            "name": custom.get("name"),
            "input": custom.get("input") or "",
            "status": status,
        }
    function = call.get("function") or {}
    return {
        "id": f"fc_{identity}",
        "type": "function_call",
        "call_id": call.get("id"),
        "name": function.get("name"),
        "arguments": function.get("arguments") or "",
        "status": status,
    }
