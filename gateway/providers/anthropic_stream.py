"""Anthropic's streams read: passed through in their own form, or translated into chat chunks."""

from typing import Any

import msgspec

from gateway.core.call import Delta, Usage
from gateway.core.errors import UpstreamError
from gateway.core.halves import Mender, decode_object, joined
from gateway.core.sse import encode
from gateway.providers import anthropic_answer as answers
from gateway.providers.chunks import Chunks
from gateway.providers.failures import failure
from gateway.providers.reading import EventReader, broken

STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}


def stream_error(event: dict[str, Any]) -> UpstreamError:
    """The error that an `error` event tells. Its status is the one that the API gives to such an error."""
    error = event.get("error") or {}
    kind = error.get("type") or "api_error"
    return failure(STATUS.get(kind, 500), {}, error.get("message") or kind, error_type=kind)


class Tally:
    """Usage over a stream: message_start tells the input, message_delta the rest, and may correct the input."""

    __slots__ = ("fields",)

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}

    def take(self, fields: dict[str, Any] | None) -> Usage:
        """The usage so far. Numbers that an event leaves out or sends as null stay as they were."""
        self.fields |= {name: value for name, value in (fields or {}).items() if value is not None}
        return answers.billed(self.fields)


class MessagesReader(EventReader):
    """Their stream for a caller who speaks their form: the bytes as they came, and what was read of them."""

    __slots__ = ("mender", "tally")

    def __init__(self) -> None:
        super().__init__()
        self.tally = Tally()
        self.mender = Mender()

    def event(self, raw: bytes, name: str, data: bytes) -> list[Delta]:
        if not data:
            return [Delta(raw, form="messages")]
        if (mended := self.mender.mend(data)) is not None:
            raw, data = encode(mended, name), mended
        try:
            event = decode_object(data)
            match event.get("type"):
                case "content_block_delta":
                    piece = event["delta"]
                    text = piece.get("text") or ""
                    hidden = piece.get("thinking") or piece.get("partial_json") or ""
                    if not isinstance(text, str) or not isinstance(hidden, str):
                        raise TypeError("a piece that is no text")
                    return [Delta(raw, form="messages", text=text, hidden=hidden)]
                case "message_start":
                    return [Delta(raw, form="messages", usage=self.tally.take(event["message"].get("usage")))]
                case "message_delta":
                    reason = event["delta"].get("stop_reason")
                    ended = answers.finish(reason) if reason else None
                    return [Delta(raw, form="messages", finish=ended, usage=self.tally.take(event.get("usage")))]
                case "message_stop":
                    self.done = True
                case "error":
                    raise stream_error(event)
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise broken("anthropic", error) from error
        return [Delta(raw, form="messages")]


class ChatReader(EventReader):
    """Their stream as chat chunks."""

    __slots__ = ("blocks", "calls", "chunks", "length", "stop", "tally")

    def __init__(self) -> None:
        super().__init__()
        self.tally = Tally()
        self.chunks = Chunks()
        self.blocks: dict[int, dict[str, Any]] = {}  # begun and not yet ended
        self.calls = False
        self.length = 0  # of the text so far, in characters
        self.stop: dict[str, Any] = {}

    def event(self, raw: bytes, name: str, data: bytes) -> list[Delta]:
        if not data:
            return []
        try:
            event = decode_object(data)
            match event.get("type"):
                case "content_block_delta":
                    return self.more(self.blocks[event["index"]], event["delta"])
                case "content_block_start":
                    return self.begin(event["index"], event["content_block"])
                case "content_block_stop":
                    return self.close(self.blocks.pop(event["index"]))
                case "message_start":
                    message = event["message"]
                    self.chunks.id, self.chunks.model = message.get("id") or "", message.get("model") or ""
                    usage = self.tally.take(message.get("usage"))
                    return [Delta(data=self.chunks.chunk({"content": ""}), usage=usage)]
                case "message_delta":
                    self.stop |= {name: value for name, value in event["delta"].items() if value is not None}
                    self.tally.take(event.get("usage"))
                case "message_stop":
                    self.done = True
                    return self.last()
                case "error":
                    raise stream_error(event)
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise broken("anthropic", error) from error
        return []

    def begin(self, index: int, block: dict[str, Any]) -> list[Delta]:
        self.blocks[index] = block
        kind = block.get("type")
        if kind == "text":
            return self.words(block["text"]) if block.get("text") else []
        if kind == "thinking":
            return [self.chunks.reasoning(block["thinking"])] if block.get("thinking") else []
        given = block.get("input")
        block["json"] = msgspec.json.encode(given).decode() if given else ""
        if kind != "tool_use":
            return []
        if block["name"] == answers.ANSWER_TOOL:
            return self.words(block["json"]) if block["json"] else []
        self.calls = True
        block["call"] = self.chunks.tools
        return [self.chunks.tool(block["id"], block["name"], block["json"])]

    def more(self, block: dict[str, Any], piece: dict[str, Any]) -> list[Delta]:
        match piece["type"]:
            case "text_delta":
                return self.words(piece["text"])
            case "thinking_delta":
                delta = self.chunks.reasoning(piece["thinking"])
                block["thinking"] = block.get("thinking", "") + delta.hidden
                return [delta]
            case "signature_delta":
                block["signature"] = block.get("signature", "") + piece["signature"]
            case "input_json_delta":
                block["json"] += piece["partial_json"]
                if block.get("name") == answers.ANSWER_TOOL:
                    return self.words(piece["partial_json"])
                if "call" in block and piece["partial_json"]:
                    return [self.chunks.arguments(piece["partial_json"], block["call"])]
            case "citations_delta":
                return [self.cited(piece["citation"])]
        return []

    def words(self, text: str) -> list[Delta]:
        self.length += len(text)
        return [self.chunks.text(text)]

    def cited(self, citation: dict[str, Any]) -> Delta:
        fields: dict[str, Any] = {"extra_content": {"anthropic": {"citations": [citation]}}}
        if found := answers.annotation(citation, self.length, self.length):
            fields["annotations"] = [found]
        return self.chunks.extra(**fields)

    def close(self, block: dict[str, Any]) -> list[Delta]:
        """What can only be said once the block is whole."""
        kind = block["type"]
        if kind in answers.THINKING:
            return [self.chunks.extra(thinking_blocks=[block])]
        if kind == "text":
            return []
        given = joined(block.pop("json"))
        if "call" in block:
            return [] if given else [self.chunks.arguments("{}", block["call"])]
        if kind == "tool_use":
            return []
        if "input" in block:
            block["input"] = decode_object(given.encode()) if given else {}
        return [self.chunks.extra(extra_content={"anthropic": {"blocks": [block]}})]

    def last(self) -> list[Delta]:
        reason = self.stop.get("stop_reason")
        fields = {"refusal": why} if (why := answers.refusal(self.stop)) else {}
        ended = self.chunks.finish(answers.finish(reason, calls=self.calls), reason, **fields)
        if stopped := self.stop.get("stop_sequence"):
            ended.data["choices"][0]["stop_sequence"] = stopped
        usage = self.chunks.usage(answers.usage(self.tally.fields))
        usage.usage = answers.billed(self.tally.fields)
        return [ended, usage]
