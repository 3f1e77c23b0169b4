"""Cohere's v2 answers read, whole and streamed, into chat form.

They count twice: `tokens` is what went through the model, `billed_units` what is billed, which is less. The answer
shows the first, as other clients do, with the second beside it; the gateway accounts for the second.
Source: https://docs.cohere.com/reference/chat and the recordings.
"""

from typing import Any

import msgspec

from gateway.core.call import Delta, Usage
from gateway.core.halves import decode_object
from gateway.providers import chunks
from gateway.providers.chunks import Chunks
from gateway.providers.failures import failure
from gateway.providers.reading import EventReader, broken

FINISH = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
    "ERROR_LIMIT": "length",
}


def shown(fields: dict[str, Any]) -> Usage:
    """The tokens that went through the model."""
    tokens = fields.get("tokens") or fields.get("billed_units") or {}
    return Usage(
        input=int(tokens.get("input_tokens") or 0),
        cached=min(int(fields.get("cached_tokens") or 0), int(tokens.get("input_tokens") or 0)),
        output=int(tokens.get("output_tokens") or 0),
    )


def billed(fields: dict[str, Any]) -> Usage:
    """What is billed; the tokens where they don't say."""
    units = fields.get("billed_units")
    if not units:
        return shown(fields)
    return Usage(
        input=int(units.get("input_tokens") or 0),
        output=int(units.get("output_tokens") or 0),
        tool_uses=int(units.get("search_units") or 0),
    )


def beside(fields: dict[str, Any]) -> dict[str, Any]:
    """What a usage object shows beside OpenAI's numbers."""
    return {"billed_units": fields["billed_units"]} if fields.get("billed_units") else {}


def annotations(citations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those citations of documents that have a URL, as OpenAI's url_citation."""
    found = []
    for citation in citations:
        for source in citation.get("sources") or []:
            document = source.get("document") or {}
            if isinstance(url := document.get("url"), str):
                place = {"start_index": citation.get("start") or 0, "end_index": citation.get("end") or 0}
                inner = {"url": url, "title": str(document.get("title") or ""), **place}
                found.append({"type": "url_citation", "url_citation": inner})
    return found


def cited(citations: list[dict[str, Any]]) -> dict[str, Any]:
    """Citations as the fields of a message."""
    fields: dict[str, Any] = {"extra_content": {"cohere": {"citations": citations}}}
    if found := annotations(citations):
        fields["annotations"] = found
    return fields


def whole(answer: dict[str, Any], model: str) -> Delta:
    """A whole answer as a chat completion. Raises KeyError and its like where it is none."""
    said = answer["message"]
    reason = answer["finish_reason"]
    content = said.get("content") or []
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    text = (said.get("tool_plan") or "") + "".join(one["text"] for one in content if one["type"] == "text")
    reasoning = "".join(one["thinking"] for one in content if one["type"] == "thinking")
    calls = [
        chunks.call_fields(call["id"], call["function"]["name"], call["function"].get("arguments") or "{}")
        for call in said.get("tool_calls") or []
    ]
    fields: dict[str, Any] = {"content": text or None}
    if reasoning:
        fields |= {"reasoning_content": reasoning, "thinking_blocks": [{"type": "thinking", "thinking": reasoning}]}
    if calls:
        fields["tool_calls"] = calls
    if said.get("citations"):
        fields |= cited(said["citations"])
    if reason in ("ERROR", "TIMEOUT"):
        raise ValueError(f"finish_reason is {reason}")
    ended = FINISH.get(reason, "stop")
    reported = answer.get("usage") or {}
    data = chunks.whole(answer.get("id") or "", model, [chunks.choice(fields, ended, reason)], shown(reported))
    data["usage"] |= beside(reported)
    if answer.get("logprobs"):
        data["choices"][0]["logprobs"] = logprobs(answer["logprobs"])
    hidden = reasoning + "".join(call["function"]["arguments"] for call in calls)
    return Delta(data=data, text=text, hidden=hidden, finish=ended, usage=billed(reported))


def logprobs(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Theirs stand by piece of text, with one number a token; ours by token. A piece's text goes to its first token."""
    content = []
    for piece in found:
        text = piece.get("text") or ""
        for number in piece.get("logprobs") or []:
            content.append({"token": text, "logprob": number, "bytes": list(text.encode()), "top_logprobs": []})
            text = ""
    return {"content": content, "refusal": None}


class ChatReader(EventReader):
    """Their stream as chat chunks."""

    __slots__ = ("chunks", "thought")

    def __init__(self, model: str) -> None:
        super().__init__()
        self.chunks = Chunks(model=model)
        self.thought: list[str] = []

    def event(self, raw: bytes, name: str, data: bytes) -> list[Delta]:
        if not data or data == b"[DONE]":
            return []
        try:
            event = decode_object(data)
            return self.read(event.get("type") or name, event)
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise broken("cohere", error) from error

    def read(self, kind: str, event: dict[str, Any]) -> list[Delta]:
        message = (event.get("delta") or {}).get("message") or {}
        match kind:
            case "content-delta" | "content-start":
                return self.words(message.get("content") or {})
            case "message-start":
                self.chunks.id = event.get("id") or ""
                return [self.chunks.extra(content="")]
            case "tool-plan-delta":
                return [self.chunks.text(message["tool_plan"])]
            case "tool-call-start":
                call = message["tool_calls"]
                function = call["function"]
                return [self.chunks.tool(call["id"], function["name"], function.get("arguments") or "")]
            case "tool-call-delta":
                return [self.chunks.arguments(message["tool_calls"]["function"]["arguments"], self.chunks.tools - 1)]
            case "citation-start":
                found = message["citations"]
                return [self.chunks.extra(**cited(found if isinstance(found, list) else [found]))]
            case "message-end":
                return self.last(event["delta"])
        return []

    def words(self, content: dict[str, Any]) -> list[Delta]:
        if content.get("thinking"):
            delta = self.chunks.reasoning(content["thinking"])
            self.thought.append(delta.hidden)
            return [delta]
        return [self.chunks.text(content["text"])] if content.get("text") else []

    def last(self, delta: dict[str, Any]) -> list[Delta]:
        reason = delta.get("finish_reason")
        if reason in ("ERROR", "TIMEOUT") or delta.get("error"):
            raise failure(500, {}, str(delta.get("error") or f"The answer ended with {reason}."), error_type=reason)
        self.done = True
        reported = delta.get("usage") or {}
        fields: dict[str, Any] = {}
        if self.thought:
            fields["thinking_blocks"] = [{"type": "thinking", "thinking": "".join(self.thought)}]
        ended = self.chunks.finish(FINISH.get(reason or "", "stop"), reason, **fields)
        if not reported:
            return [ended]
        usage = self.chunks.usage(shown(reported))
        usage.data["usage"] |= beside(reported)
        usage.usage = billed(reported)
        return [ended, usage]
