"""A streamed answer in the events of the responses form: as they came, or made from chat completions' chunks."""

from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core import sse
from gateway.core.money import dollars
from gateway.edge import responses_answer as answers
from gateway.edge.chat import read, readable, written
from gateway.edge.errors import openai_error

if TYPE_CHECKING:
    from gateway.core.call import Call, Delta
    from gateway.core.errors import GatewayError

ENDS = {"completed": "response.completed", "incomplete": "response.incomplete"}


class ResponsesWriter:
    """Writes one stream; see core.forms.Writer. The last event waits for the end, when the call's cost is known.

    One item is open at a time: the reasoning, the message, or a tool call. `output` holds those that are done.
    """

    def __init__(self, call: "Call") -> None:
        self.call = call
        self.held: Delta | None = None  # the provider's own last event
        self.number = 0
        self.response: dict[str, Any] = {}
        self.output: list[dict[str, Any]] = []
        self.item: dict[str, Any] | None = None
        self.tool: int | None = None  # the index of the tool call that is open
        self.text = ""  # of the part that is open
        self.blocks: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.logprobs: list[dict[str, Any]] = []
        self.finish: str | None = None

    def delta(self, delta: "Delta") -> bytes:
        if delta.form == "responses":
            return self._passed(delta)
        chunk = readable(delta)
        if not chunk:  # a comment
            return delta.raw or b""
        out = b"" if self.response else self._begin(chunk)
        for choice in chunk.get("choices") or ():
            if not choice.get("index"):
                out += self._choice(choice)
        return out

    def end(self) -> bytes:
        cost = dollars(self.call.cost_nanos)
        if self.held is not None:
            data = read(self.held)
            response = data.get("response")
            response = response if isinstance(response, dict) else {}
            reported = response.get("usage")
            usage = (reported if isinstance(reported, dict) else {}) | {"cost_usd": cost}
            return sse.encode(msgspec.json.encode(data | {"response": response | {"usage": usage}}), data["type"])
        out = b"" if self.response else self._begin({})
        out += self._close()
        response = answers.ended(self.response | {"output": self.output}, self.finish, self.call.usage)
        response["usage"]["cost_usd"] = cost
        return out + self._event(ENDS[response["status"]], response=response)

    def error(self, error: "GatewayError") -> bytes:
        """OpenAI sends an error's fields beside the type, and since lately as an object: both, so that all read it."""
        shown = openai_error(error)["error"]
        beside = {name: shown.get(name) for name in ("code", "message", "param")}
        return self._event("error", **beside, error=shown)

    def _passed(self, delta: "Delta") -> bytes:
        if delta.finish is not None:
            self.held = delta
            return b""
        if delta.data is not None and delta.raw is None:
            return sse.encode(msgspec.json.encode(delta.data), str(delta.data.get("type", "")))
        self.number += 1
        return written(delta)

    def _event(self, kind: str, **fields: Any) -> bytes:
        data = {"type": kind, "sequence_number": self.number, **fields}
        self.number += 1
        return sse.encode(msgspec.json.encode(data), kind)

    def _begin(self, chunk: dict[str, Any]) -> bytes:
        self.response = answers.head(chunk.get("id"), chunk.get("created"), chunk.get("model"), self.call)
        out = self._event("response.created", response=self.response)
        return out + self._event("response.in_progress", response=self.response)

    def _choice(self, choice: dict[str, Any]) -> bytes:
        piece = choice.get("delta") or {}
        out = b""
        thought = piece.get("reasoning_content") or piece.get("reasoning")
        if isinstance(thought, str) and thought:
            out += self._reasoning()
            out += self._piece("response.reasoning_summary_text.delta", thought, summary_index=0)
        if blocks := piece.get("thinking_blocks"):
            out += self._reasoning()
            self.blocks += blocks
        if said := answers.text_of(piece.get("content")):
            out += self._part("output_text")
            tokens = (choice.get("logprobs") or {}).get("content") or []
            self.logprobs += tokens
            out += self._piece("response.output_text.delta", said, content_index=0, logprobs=tokens)
        if refused := piece.get("refusal"):
            out += self._part("refusal")
            out += self._piece("response.refusal.delta", refused, content_index=0)
        for annotation in piece.get("annotations") or ():
            out += self._annotation(annotation)
        for call in piece.get("tool_calls") or ():
            out += self._call(call)
        self.finish = choice.get("finish_reason") or self.finish
        return out

    def _piece(self, kind: str, text: str, **fields: Any) -> bytes:
        self.text += text
        return self._event(kind, **self._place(), delta=text, **fields)

    def _place(self) -> dict[str, Any]:
        assert self.item is not None
        return {"item_id": self.item["id"], "output_index": len(self.output)}

    def _open(self, item: dict[str, Any]) -> bytes:
        out = self._close()
        self.item, self.text = item, ""
        return out + self._event("response.output_item.added", output_index=len(self.output), item=item)

    def _reasoning(self) -> bytes:
        if self.item is not None and self.item["type"] == "reasoning":
            return b""
        item = {"id": self._identity("rs"), "type": "reasoning", "summary": [], "status": "in_progress"}
        out = self._open(item)
        part = {"type": "summary_text", "text": ""}
        return out + self._event("response.reasoning_summary_part.added", **self._place(), summary_index=0, part=part)

    def _part(self, kind: str) -> bytes:
        """Open a message whose one part is of this kind, unless it is open."""
        if self.item is not None and self.item["type"] == "message" and self.item["kind"] == kind:
            return b""
        item = answers.message_item(self._identity("msg"), [], "in_progress")
        out = self._open(item)
        self.item = item | {"kind": kind}
        part = answers.text_part("", ()) if kind == "output_text" else {"type": "refusal", "refusal": ""}
        return out + self._event("response.content_part.added", **self._place(), content_index=0, part=part)

    def _annotation(self, annotation: dict[str, Any]) -> bytes:
        shown = answers.annotated(annotation)
        if shown is None:
            return b""
        out = self._part("output_text")
        self.annotations.append(annotation)
        place = self._place() | {"content_index": 0, "annotation_index": len(self.annotations) - 1}
        return out + self._event("response.output_text.annotation.added", **place, annotation=shown)

    def _call(self, call: dict[str, Any]) -> bytes:
        index = call.get("index") or 0
        function = call.get("function") or call.get("custom") or {}
        out = b""
        if self.tool != index or self.item is None:
            begun = {key: value for key, value in call.items() if key != "function"}
            if "custom" not in call:
                begun["function"] = {"name": function.get("name"), "arguments": ""}
            else:
                begun["custom"] = {"name": function.get("name"), "input": ""}
            out += self._open(answers.call_item(begun, f"{len(self.output)}_{self.call.id}", "in_progress"))
            self.tool = index
        if said := function.get("arguments") or function.get("input"):
            assert self.item is not None
            custom = self.item["type"] == "custom_tool_call"
            kind = "response.custom_tool_call_input.delta" if custom else "response.function_call_arguments.delta"
            out += self._piece(kind, said)
        return out

    def _identity(self, prefix: str) -> str:
        return f"{prefix}_{len(self.output)}_{self.call.id}"

    def _close(self) -> bytes:
        """Close the item that is open: its own last events, and the item as a whole."""
        if self.item is None:
            return b""
        place, kind, text = self._place(), self.item["type"], self.text
        item: dict[str, Any] = {key: value for key, value in self.item.items() if key != "kind"}
        item["status"] = "completed"
        if kind == "reasoning":
            part: dict[str, Any] = {"type": "summary_text", "text": text}
            out = self._event("response.reasoning_summary_text.done", **place, summary_index=0, text=text)
            out += self._event("response.reasoning_summary_part.done", **place, summary_index=0, part=part)
            item = answers.reasoning_item(item["id"], text, self.blocks)
        elif kind == "message":
            if self.item["kind"] == "refusal":
                part = {"type": "refusal", "refusal": text}
                out = self._event("response.refusal.done", **place, content_index=0, refusal=text)
            else:
                part = answers.text_part(text, self.annotations, {"content": self.logprobs})
                done = {"text": text, "logprobs": self.logprobs}
                out = self._event("response.output_text.done", **place, content_index=0, **done)
            out += self._event("response.content_part.done", **place, content_index=0, part=part)
            item["content"] = [part]
        elif kind == "function_call":
            out = self._event("response.function_call_arguments.done", **place, name=item["name"], arguments=text)
            item["arguments"] = text
        else:
            out = self._event("response.custom_tool_call_input.done", **place, input=text)
            item["input"] = text
        out += self._event("response.output_item.done", output_index=place["output_index"], item=item)
        self.output.append(item)
        self.item, self.tool, self.text = None, None, ""
        self.blocks, self.annotations, self.logprobs = [], [], []
        return out
