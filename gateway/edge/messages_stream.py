"""A streamed answer in Anthropic's events: as they came, or made from chat completions' chunks."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core import sse
from gateway.core.money import dollars
from gateway.edge import messages_answer
from gateway.edge.chat import read, readable, written

if TYPE_CHECKING:
    from gateway.core.call import Call, Delta
    from gateway.core.errors import GatewayError


def event(data: dict[str, Any]) -> bytes:
    return sse.encode(msgspec.json.encode(data), data["type"])


class MessagesWriter:
    """Writes one stream; see core.forms.Writer. The last events wait for the end, when the call's cost is known.

    Blocks are opened as pieces of them come, and closed when another begins.
    """

    def __init__(self, call: "Call", error_object: Callable[["GatewayError"], dict[str, Any]]) -> None:
        self.call, self.error_object = call, error_object
        self.held: list[Delta] = []  # Anthropic's own last events
        self.begun = False
        self.blocks = 0
        self.open = ""  # the kind of block that is open: thinking, text, or a tool call's "tool N"
        self.tools: dict[int, int] = {}  # a tool call's index → its block's
        self.last: dict[str, Any] = {}  # the choice that said why the answer ended
        self.identity: str | None = None
        self.model: str | None = None

    def delta(self, delta: "Delta") -> bytes:
        if delta.form == "messages":
            return self._passed(delta)
        chunk = readable(delta)
        if not chunk:  # a comment
            return delta.raw or b""
        self.identity = self.identity or chunk.get("id")
        self.model = self.model or chunk.get("model")
        out = b"" if self.begun else self._begin()
        for choice in chunk.get("choices") or ():
            out += self._choice(choice)
        return out

    def end(self) -> bytes:
        if self.held:
            return self._passed_end()
        out = b"" if self.begun else self._begin()
        out += self._close()
        usage = messages_answer.usage(self.call.usage) | {"cost_usd": dollars(self.call.cost_nanos)}
        ended = {
            "stop_reason": messages_answer.stop_reason(self.last) or "end_turn",
            "stop_sequence": messages_answer.stop_sequence(self.last),
        }
        out += event({"type": "message_delta", "delta": ended, "usage": usage})
        return out + event({"type": "message_stop"})

    def error(self, error: "GatewayError") -> bytes:
        return event(self.error_object(error))

    def _passed(self, delta: "Delta") -> bytes:
        """An event of Anthropic's own: as it came. message_delta, and what follows it, is held back."""
        if self.held or (delta.finish is not None and delta.usage is not None):
            self.held.append(delta)
            return b""
        return written(delta) if delta.raw is not None else event(delta.data)

    def _passed_end(self) -> bytes:
        first, *others = (read(delta) for delta in self.held)
        first["usage"] = {**(first.get("usage") or {}), "cost_usd": dollars(self.call.cost_nanos)}
        out = event(first) + b"".join(event(data) for data in others if data)
        return out if others else out + event({"type": "message_stop"})

    def _begin(self) -> bytes:
        self.begun = True
        message: dict[str, Any] = {
            "id": messages_answer.identity(self.identity, self.call),
            "type": "message",
            "role": "assistant",
            "model": self.model or self.call.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": messages_answer.usage(self.call.usage),
        }
        return event({"type": "message_start", "message": message})

    def _choice(self, choice: dict[str, Any]) -> bytes:
        piece = choice.get("delta") or {}
        out = b""
        thought = piece.get("reasoning_content") or piece.get("reasoning")
        if isinstance(thought, str) and thought:
            out += self._into("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            out += self._delta({"type": "thinking_delta", "thinking": thought})
        for block in piece.get("thinking_blocks") or ():
            out += self._thinking_block(block)
        for block in messages_answer.extra_blocks(piece):
            out += self._close() + self._start(block) + self._close()
        said = messages_answer.text({"content": piece.get("content"), "refusal": piece.get("refusal")})
        if said:
            out += self._into("text", {"type": "text", "text": ""})
            out += self._delta({"type": "text_delta", "text": said[0]["text"]})
        for annotation in piece.get("annotations") or ():
            if (cited := messages_answer.citation(annotation)) is not None:
                out += self._into("text", {"type": "text", "text": ""})
                out += self._delta({"type": "citations_delta", "citation": cited})
        for call in piece.get("tool_calls") or ():
            out += self._tool(call)
        if choice.get("finish_reason"):
            self.last = choice
        return out

    def _thinking_block(self, block: dict[str, Any]) -> bytes:
        """A whole block that closes the thinking before it: what is new in it is the signature."""
        if block.get("type") != "thinking":
            return self._close() + self._start(block) + self._close()
        out = b""
        if self.open != "thinking":
            out = self._into("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            if block.get("thinking"):
                out += self._delta({"type": "thinking_delta", "thinking": block["thinking"]})
        out += self._delta({"type": "signature_delta", "signature": block.get("signature") or ""})
        return out + self._close()

    def _tool(self, call: dict[str, Any]) -> bytes:
        function = call.get("function") or call.get("custom") or {}
        number = call.get("index") or 0
        out = b""
        if number not in self.tools:
            block: dict[str, Any] = {
                "type": "tool_use",
                "id": call.get("id"),
                "name": function.get("name"),
                "input": {},
            }
            out += self._into(f"tool {number}", block)
            self.tools[number] = self.blocks - 1
        if said := function.get("arguments") or function.get("input"):
            piece = {"type": "input_json_delta", "partial_json": said}
            out += event({"type": "content_block_delta", "index": self.tools[number], "delta": piece})
        return out

    def _into(self, kind: str, block: dict[str, Any]) -> bytes:
        """Open a block of this kind, unless one is open."""
        if self.open == kind:
            return b""
        out = self._close() + self._start(block)
        self.open = kind
        return out

    def _start(self, block: dict[str, Any]) -> bytes:
        self.blocks += 1
        self.open = str(block.get("type"))
        return event({"type": "content_block_start", "index": self.blocks - 1, "content_block": block})

    def _delta(self, piece: dict[str, Any]) -> bytes:
        return event({"type": "content_block_delta", "index": self.blocks - 1, "delta": piece})

    def _close(self) -> bytes:
        if not self.open:
            return b""
        self.open = ""
        return event({"type": "content_block_stop", "index": self.blocks - 1})
