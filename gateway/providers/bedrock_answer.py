"""Converse's answers read, whole and as the binary event stream, into chat form.

Their inputTokens leaves out what was read from and written to the cache, ours includes both; their
totalTokens has all of it. Source: the Converse API reference and the recordings.
"""

import uuid
from typing import Any

import msgspec

from gateway.core.call import Delta, Usage
from gateway.core.errors import UpstreamBroken, UpstreamError, UpstreamUnavailable
from gateway.core.halves import decode_object
from gateway.providers import chunks
from gateway.providers.anthropic_answer import ANSWER_TOOL
from gateway.providers.chunks import Chunks
from gateway.providers.eventstream import Decoder, Message
from gateway.providers.failures import failure
from gateway.providers.reading import broken

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
STATUS = {
    "throttlingException": 429,
    "validationException": 400,
    "accessDeniedException": 403,
    "modelStreamErrorException": 500,
    "modelTimeoutException": 408,
    "internalServerException": 500,
    "serviceUnavailableException": 503,
}


def usage(fields: dict[str, Any]) -> Usage:
    """Their usage object in our vocabulary."""
    cached = fields.get("cacheReadInputTokens") or 0
    written = fields.get("cacheWriteInputTokens") or 0
    details = fields.get("cacheDetails") or []
    long = sum(one.get("inputTokens") or 0 for one in details if one.get("ttl") == "1h")
    return Usage(
        input=(fields.get("inputTokens") or 0) + cached + written,
        cached=cached,
        cache_write=max(written - long, 0),
        cache_write_long=min(long, written),
        output=fields.get("outputTokens") or 0,
    )


def thinking_block(reasoning: dict[str, Any]) -> dict[str, Any]:
    """Their reasoningContent as a thinking block."""
    if "redactedContent" in reasoning:
        return {"type": "redacted_thinking", "data": reasoning["redactedContent"]}
    text = reasoning.get("reasoningText") or {}
    block = {"type": "thinking", "thinking": text.get("text") or ""}
    return block | ({"signature": text["signature"]} if text.get("signature") else {})


def message(content: list[dict[str, Any]]) -> dict[str, Any]:
    """Their content blocks as the fields of a chat message."""
    text: list[str] = []
    thinking: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for block in content:
        if "text" in block:
            text.append(block["text"])
        elif "reasoningContent" in block:
            thinking.append(thinking_block(block["reasoningContent"]))
        elif "toolUse" in block:
            used = block["toolUse"]
            arguments = msgspec.json.encode(used.get("input") or {}).decode()
            if used.get("name") == ANSWER_TOOL:
                text.append(arguments)
            else:
                calls.append(chunks.call_fields(used.get("toolUseId") or "", used.get("name") or "", arguments))
        else:
            others.append(block)
    fields: dict[str, Any] = {"content": "".join(text) if text else None}
    if thinking:
        fields["reasoning_content"] = "".join(block.get("thinking") or "" for block in thinking)
        fields["thinking_blocks"] = thinking
    if calls:
        fields["tool_calls"] = calls
    if others:
        fields["extra_content"] = {"bedrock": {"blocks": others}}
    return fields


def finish(reason: str | None, *, calls: bool) -> str:
    found = FINISH.get(reason or "", "stop")
    return "stop" if found == "tool_calls" and not calls else found


def whole(answer: dict[str, Any], model: str) -> Delta:
    """A whole answer as a chat completion. Raises KeyError and its like where it is none."""
    fields = message(answer["output"]["message"]["content"])
    reason = answer["stopReason"]
    ended = finish(reason, calls="tool_calls" in fields)
    spent = usage(answer.get("usage") or {})
    data = chunks.whole(answer_id(), model, [chunks.choice(fields, ended, reason)], spent)
    hidden = "".join(call["function"]["arguments"] for call in fields.get("tool_calls") or [])
    hidden += fields.get("reasoning_content") or ""
    return Delta(data=data, text=fields["content"] or "", hidden=hidden, finish=ended, usage=spent)


def answer_id() -> str:
    """Converse gives an answer no id of its own."""
    return f"chatcmpl-{uuid.uuid4().hex}"


class ChatReader:
    """Their event stream as chat chunks. messageStop is the end of the answer; metadata with the usage follows it."""

    __slots__ = ("answers", "calls", "chunks", "decoder", "done", "failed", "thinking")

    def __init__(self, model: str) -> None:
        self.decoder = Decoder()
        self.chunks = Chunks(answer_id(), model)
        self.calls: dict[int, int] = {}  # a content block's index to its tool call's
        self.answers: set[int] = set()  # content blocks that are the stand-in tool's
        self.thinking: dict[int, dict[str, Any]] = {}
        self.done = False
        self.failed: UpstreamError | None = None

    def feed(self, chunk: bytes) -> list[Delta]:
        if self.failed is not None:
            raise self.failed
        deltas: list[Delta] = []
        for one in self.decoder.feed(chunk):
            try:
                deltas += self.message(one)
            except UpstreamError as failed:
                if not deltas:
                    raise
                self.failed = failed
                break
        return deltas

    def end(self) -> list[Delta]:
        if self.failed is not None:
            raise self.failed
        if not self.done or not self.decoder.empty:
            raise UpstreamBroken("the provider's stream ended before the answer did", kind="bad_answer")
        return []

    def message(self, one: Message) -> list[Delta]:
        kind = one.headers.get(":message-type")
        try:
            if kind == "error":
                text = str(one.headers.get(":error-message") or one.headers.get(":error-code") or "")
                raise failure(500, {}, text, error_type=one.headers.get(":error-code"))
            fields = decode_object(one.payload)
            if kind == "exception":
                name = str(one.headers.get(":exception-type"))
                raise failure(STATUS.get(name, 500), {}, str(fields.get("message") or name), error_type=name)
            return self.event(str(one.headers.get(":event-type")), fields)
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise broken("bedrock", error) from error

    def event(self, name: str, fields: dict[str, Any]) -> list[Delta]:
        match name:
            case "contentBlockDelta":
                return self.more(fields["contentBlockIndex"], fields["delta"])
            case "contentBlockStart":
                return self.begin(fields["contentBlockIndex"], fields.get("start") or {})
            case "contentBlockStop":
                return self.close(fields["contentBlockIndex"])
            case "messageStart":
                return [self.chunks.extra(content="")]
            case "messageStop":
                self.done = True
                reason = fields.get("stopReason")
                return [self.chunks.finish(finish(reason, calls=bool(self.calls)), reason)]
            case "metadata":
                return [self.chunks.usage(usage(fields["usage"]))] if fields.get("usage") else []
        return []

    def begin(self, index: int, start: dict[str, Any]) -> list[Delta]:
        used = start.get("toolUse")
        if not used:
            return []
        if used["name"] == ANSWER_TOOL:
            self.answers.add(index)
            return []
        self.calls[index] = self.chunks.tools
        return [self.chunks.tool(used["toolUseId"], used["name"])]

    def more(self, index: int, piece: dict[str, Any]) -> list[Delta]:
        if "text" in piece:
            return [self.chunks.text(piece["text"])]
        if "toolUse" in piece:
            given = piece["toolUse"].get("input") or ""
            if index in self.answers:
                return [self.chunks.text(given)]
            return [self.chunks.arguments(given, self.calls[index])] if given else []
        if "reasoningContent" in piece:
            return self.reason(index, piece["reasoningContent"])
        return [self.chunks.extra(extra_content={"bedrock": {"blocks": [piece]}})]

    def reason(self, index: int, piece: dict[str, Any]) -> list[Delta]:
        block = self.thinking.setdefault(index, {"type": "thinking", "thinking": ""})
        if "redactedContent" in piece:
            self.thinking[index] = {"type": "redacted_thinking", "data": piece["redactedContent"]}
        if piece.get("signature"):
            block["signature"] = block.get("signature", "") + piece["signature"]
        if not piece.get("text"):
            return []
        delta = self.chunks.reasoning(piece["text"])
        block["thinking"] += delta.hidden
        return [delta]

    def close(self, index: int) -> list[Delta]:
        block = self.thinking.pop(index, None)
        return [self.chunks.extra(thinking_blocks=[block])] if block else []


def bedrock_error(status: int, message: str, name: str, headers: Any) -> UpstreamError:
    """An error answer. 424 says that the model failed, which is no fault of the request."""
    if status == 424:
        body = {"message": message, "type": name}
        return UpstreamUnavailable(message, kind="server_error", status=status, body=body)
    return failure(status, headers, message, error_type=name or None)
