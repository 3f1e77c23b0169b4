"""Anthropic's answers read: content blocks, usage and stop reasons, into chat form.

Their `input_tokens` leaves out what was read from and written to the cache, ours includes both; their
`output_tokens` includes thinking. Hosted search is billed by the use (`server_tool_use.web_search_requests`),
hosted fetch is not. With `iterations` the top-level numbers leave out the compaction and the advisor,
which are billed too: `billed` adds them up.
Source: https://docs.anthropic.com/en/api/messages and the recordings.
"""

from typing import Any

import msgspec

from gateway.core.call import Usage
from gateway.providers import chunks

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
# The tool that stands in for structured output where a model has none of its own: its input is the answer.
ANSWER_TOOL = "structured_answer"
THINKING = frozenset({"thinking", "redacted_thinking"})


def usage(fields: dict[str, Any]) -> Usage:
    """Their usage object in our vocabulary. Absent numbers are 0."""
    written = fields.get("cache_creation_input_tokens") or 0
    long = (fields.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0
    cached = fields.get("cache_read_input_tokens") or 0
    return Usage(
        input=(fields.get("input_tokens") or 0) + cached + written,
        cached=cached,
        cache_write=max(written - long, 0),
        cache_write_long=min(long, written),
        output=fields.get("output_tokens") or 0,
        reasoning=(fields.get("output_tokens_details") or {}).get("thinking_tokens") or 0,
        tool_uses=(fields.get("server_tool_use") or {}).get("web_search_requests") or 0,
        service_tier=fields.get("service_tier") or "",
    )


def billed(fields: dict[str, Any]) -> Usage:
    """What the call is billed for: with `iterations`, all of them."""
    total = usage(fields)
    parts = [usage(one) for one in fields.get("iterations") or []]
    for name in ("input", "cached", "cache_write", "cache_write_long", "output"):
        setattr(total, name, max(getattr(total, name), sum(getattr(part, name) for part in parts)))
    return total


def spoken(message: dict[str, Any]) -> tuple[str, str]:
    """The visible text of a whole answer, and what is hidden in it (thinking, tool input)."""
    text, hidden = [], []
    for block in message.get("content") or []:
        match block.get("type"):
            case "text":
                text.append(block.get("text") or "")
            case "thinking":
                hidden.append(block.get("thinking") or "")
            case "tool_use":
                hidden.append(msgspec.json.encode(block.get("input") or {}).decode())
    return "".join(text), "".join(hidden)


def message(answer: dict[str, Any]) -> dict[str, Any]:
    """Their content blocks as the fields of a chat message."""
    text: list[str] = []
    thinking: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    blocks: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    citations: list[dict[str, Any]] = []
    length = 0
    for block in answer.get("content") or []:
        kind = block.get("type")
        if kind == "text":
            piece = block.get("text") or ""
            found = block.get("citations") or []
            annotations += [a for c in found if (a := annotation(c, length, length + len(piece)))]
            citations += found
            text.append(piece)
            length += len(piece)
        elif kind in THINKING:
            thinking.append(block)
        elif kind == "tool_use" and block.get("name") == ANSWER_TOOL:
            text.append(msgspec.json.encode(block.get("input") or {}).decode())
        elif kind == "tool_use":
            arguments = msgspec.json.encode(block.get("input") or {}).decode()
            calls.append(chunks.call_fields(block.get("id") or "", block.get("name") or "", arguments))
        else:
            blocks.append(block)
    fields: dict[str, Any] = {"content": "".join(text) if text else None}
    if thinking:
        fields["reasoning_content"] = "".join(block.get("thinking") or "" for block in thinking)
        fields["thinking_blocks"] = thinking
    if calls:
        fields["tool_calls"] = calls
    if annotations:
        fields["annotations"] = annotations
    if extra := {name: found for name, found in (("blocks", blocks), ("citations", citations)) if found}:
        fields["extra_content"] = {"anthropic": extra}
    if why := refusal(answer):
        fields["refusal"] = why
    return fields


def annotation(citation: dict[str, Any], start: int, end: int) -> dict[str, Any] | None:
    """A citation of a web page as OpenAI's annotation; None for one of a document, which has none."""
    if not citation.get("url"):
        return None
    found = {"url": citation["url"], "title": citation.get("title") or "", "start_index": start, "end_index": end}
    return {"type": "url_citation", "url_citation": found}


def refusal(answer: dict[str, Any]) -> str | None:
    """Why the model refused, where it did and says so."""
    if answer.get("stop_reason") != "refusal":
        return None
    return (answer.get("stop_details") or {}).get("explanation") or "The model refused to answer."


def finish(reason: str | None, *, calls: bool = True) -> str:
    """Their stop reason in OpenAI's words. A stand-in tool's use is no tool call: pass calls=False."""
    found = FINISH.get(reason or "", "stop")
    return "stop" if found == "tool_calls" and not calls else found
