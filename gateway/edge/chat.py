"""OpenAI's chat completions: the canonical form, so nothing is translated here."""

from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core import sse
from gateway.core.money import dollars
from gateway.edge.errors import encode_openai_error
from gateway.edge.soundness import sound
from gateway.providers.chunks import usage_fields

if TYPE_CHECKING:
    from gateway.core.call import Call, Delta
    from gateway.core.errors import GatewayError

DONE = b"data: [DONE]\n\n"


class Chat:
    """The form of POST /v1/chat/completions; see core.forms.Form."""

    name = "chat"

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        return body

    def whole(self, call: "Call", delta: "Delta") -> bytes:
        return delta.raw if delta.raw is not None else msgspec.json.encode(delta.data)

    def writer(self, call: "Call") -> "ChatWriter":
        return ChatWriter(call)

    def error(self, error: "GatewayError", call_id: str) -> bytes:
        return encode_openai_error(error)


class ChatWriter:
    """Writes chunks as they came. The last one with usage waits for the end, when the call's cost is known."""

    object = "chat.completion.chunk"
    prefix = "chatcmpl"

    def __init__(self, call: "Call") -> None:
        self.call = call
        self.held: Delta | None = None
        self.last: Delta | None = None
        self.finished = False

    def delta(self, delta: "Delta") -> bytes:
        if not self.call.include_usage:
            return b"" if delta.usage_only else self.written(delta)
        before = self.written(self.held) if self.held is not None else b""
        self.held = None
        self.last = delta
        self.finished = self.finished or delta.finish is not None
        if delta.usage is not None and (delta.usage_only or self.finished):
            self.held = delta
            return before
        return before + self.written(delta)

    def end(self) -> bytes:
        if not self.call.include_usage:
            return DONE
        chunk = self.shown(self.held) if self.held is not None else self._usage_chunk()
        if isinstance(usage := chunk.get("usage"), dict):
            chunk["usage"] = {**usage, "cost_usd": dollars(self.call.cost_nanos)}
        return sse.encode(msgspec.json.encode(chunk)) + DONE

    def error(self, error: "GatewayError") -> bytes:
        before = self.written(self.held) if self.held is not None else b""
        self.held = None
        return before + sse.encode(encode_openai_error(error))

    def written(self, delta: "Delta") -> bytes:
        """The event of a delta in this form: see `written` below, which would be one call more for each of them."""
        return delta.raw if delta.raw is not None else sse.encode(msgspec.json.encode(delta.data))

    def shown(self, delta: "Delta") -> dict[str, Any]:
        """The JSON of a delta in this form."""
        return read(delta)

    def _usage_chunk(self) -> dict[str, Any]:
        """For providers that reported no usage, or reported it earlier than at the end."""
        last = read(self.last) if self.last is not None else {}
        return {
            "id": last.get("id") or f"{self.prefix}-{self.call.id}",
            "object": self.object,
            "created": last.get("created") or int(self.call.at),
            "model": last.get("model") or self.call.model,
            "choices": [],
            "usage": usage_fields(self.call.usage) | ({"estimated": True} if self.call.usage.estimated else {}),
        }


def written(delta: "Delta") -> bytes:
    """The event of a delta: the provider's bytes where they are unchanged."""
    return delta.raw if delta.raw is not None else sse.encode(msgspec.json.encode(delta.data))


def read_whole(delta: "Delta") -> dict[str, Any]:
    """A whole answer's JSON, to be written in another form. Raises UpstreamBroken where it can't be."""
    return sound(dict(delta.data if delta.data is not None else msgspec.json.decode(delta.raw or b"{}")))


def readable(delta: "Delta") -> dict[str, Any]:
    """A delta's JSON, to be written in another form. Raises UpstreamBroken where it can't be."""
    return sound(read(delta))


def read(delta: "Delta") -> dict[str, Any]:
    """A delta's JSON, parsed if nobody needed it before; {} for a comment."""
    if delta.data is not None:
        return dict(delta.data)
    data = sse.read(delta.raw or b"")[1]
    return dict(msgspec.json.decode(data)) if data else {}
