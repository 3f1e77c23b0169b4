"""A kept chat answer in the other shape: a whole one as a stream, a streamed one in one piece.

Only what stands in the same fields in both shapes is carried over. An answer that holds anything else (sound, log
probabilities, a provider's own blocks) is for calls of its own shape.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.caching.entry import Entry, KeptDelta, kept, shown
from gateway.core import sse
from gateway.core.call import Call, Delta, Usage
from gateway.providers.chunks import usage_fields
from gateway.providers.openai_answers import read_choices, read_whole

SHAPE_FIELDS = frozenset({"stream", "stream_options"})
OWN_SHAPES = frozenset(
    {"logprobs", "top_logprobs", "modalities", "audio", "functions"}
)  # fields whose answers have two layouts
_SPOKEN = frozenset({"content", "refusal", "reasoning_content", "reasoning"})
_KEPT = _SPOKEN | {"role", "tool_calls"}
_ABOUT = ("id", "created", "model", "system_fingerprint", "service_tier")


class NoOtherShape(Exception):
    """The answer holds what stands elsewhere, or nowhere, in the other shape."""


def has_both_shapes(call: Call) -> bool:
    """Whether a streamed and a whole answer to this call may stand for each other."""
    return call.form.name == "chat" and OWN_SHAPES.isdisjoint(call.body)


def fitting(entry: Entry, call: Call) -> Entry | None:
    """The entry in the shape that the call asks for; None where it has none."""
    if entry.streamed == call.stream:
        return entry
    try:
        deltas = [kept(delta) for delta in (_streamed(entry) if call.stream else _whole(entry))]
    except (NoOtherShape, AttributeError, LookupError, TypeError, ValueError):  # a server's own layout
        return None
    return msgspec.structs.replace(entry, deltas=deltas, streamed=call.stream)


def _read(delta: KeptDelta) -> dict[str, Any]:
    """A chunk's JSON, {} for a comment."""
    if delta.form != "chat":
        raise NoOtherShape
    if delta.raw is None:
        return dict(msgspec.json.decode(delta.data or b"{}"))
    data = sse.read(delta.raw)[1]
    return dict(msgspec.json.decode(data)) if data else {}


def _carried(fields: dict[str, Any]) -> dict[str, Any]:
    """What a message or a chunk's delta says. Raises NoOtherShape for anything that has no place in the other shape."""
    said = {name: value for name, value in fields.items() if value not in (None, [], "")}
    if said.keys() - _KEPT or any(not isinstance(said[name], str) for name in _SPOKEN & said.keys()):
        raise NoOtherShape
    return said


# --- Whole → streamed ---------------------------------------------------------------------------


def _streamed(entry: Entry) -> Iterator[Delta]:
    [only] = entry.deltas
    if only.form != "chat":
        raise NoOtherShape
    answer = msgspec.json.decode(only.raw or only.data or b"{}")
    said: list[dict[str, Any]] = []
    ended: list[dict[str, Any]] = []
    for choice in answer["choices"]:
        if choice.get("logprobs"):
            raise NoOtherShape
        index, fields = choice["index"], _carried(choice["message"])
        if calls := fields.get("tool_calls"):
            fields["tool_calls"] = [{"index": place, **called} for place, called in enumerate(calls)]
        said.append({"index": index, "delta": {"role": "assistant", **fields}, "finish_reason": None})
        ended.append({"index": index, "delta": {}, "finish_reason": choice["finish_reason"]})
    head = _about(answer, "chat.completion.chunk")
    for choices in (said, ended):
        delta = Delta(data={**head, "choices": choices})
        read_choices(delta.data, delta)
        yield delta
    if (usage := shown(only).usage) is not None:
        told = answer.get("usage") or usage_fields(usage)
        yield Delta(data={**head, "choices": [], "usage": told}, usage=usage, usage_only=True)


def _about(answer: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"object": kind, **{name: answer[name] for name in _ABOUT if answer.get(name) is not None}}


# --- Streamed → whole ---------------------------------------------------------------------------


def _whole(entry: Entry) -> Iterator[Delta]:
    head: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    told: dict[str, Any] | None = None
    usage: Usage | None = None
    for each in entry.deltas:
        chunk = _read(each)
        usage = each.usage or usage
        told = chunk.get("usage") or told
        head = {**_about(chunk, "chat.completion"), **head}
        for choice in chunk.get("choices") or ():
            if choice.get("logprobs"):
                raise NoOtherShape
            made = choices.setdefault(
                choice["index"],
                {
                    "index": choice["index"],
                    "message": {"role": "assistant", "content": None, "refusal": None},
                    "logprobs": None,
                    "finish_reason": None,
                },
            )
            _add(made["message"], _carried(choice.get("delta") or {}))
            made["finish_reason"] = choice.get("finish_reason") or made["finish_reason"]
    if not choices or any(made["finish_reason"] is None for made in choices.values()):
        raise NoOtherShape
    answer: dict[str, Any] = {**head, "choices": [choices[index] for index in sorted(choices)]}
    if usage is not None:
        answer["usage"] = told or usage_fields(usage)
    delta = Delta(data=answer)
    read_whole(answer, delta)
    delta.usage = usage
    yield delta


def _add(message: dict[str, Any], said: dict[str, Any]) -> None:
    """Add what one chunk says to the message."""
    for name in _SPOKEN & said.keys():
        message[name] = (message.get(name) or "") + said[name]
    for piece in said.get("tool_calls", ()):
        calls: list[dict[str, Any]] = message.setdefault("tool_calls", [])
        place = piece["index"]
        if piece.keys() - {"index", "id", "type", "function"} or place > len(calls):
            raise NoOtherShape
        if place == len(calls):
            calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        called, function = calls[place], piece.get("function") or {}
        called["id"] = piece.get("id") or called["id"]
        for field in ("name", "arguments"):
            called["function"][field] += function.get(field) or ""
