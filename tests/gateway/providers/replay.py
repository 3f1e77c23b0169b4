"""Recorded exchanges, and what the deltas of an answer add up to."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gateway.core.call import Delta, Target, Usage


def by_id(exchange: dict[str, Any]) -> str:
    return exchange["id"]


def target(kind: str, upstream: str = "a-model", **more: Any) -> Target:
    base = more.pop("base_url", "https://provider.example")
    return Target(model="public", provider=kind, kind=kind, base_url=base, upstream=upstream, **more)


@dataclass
class Heard:
    """What a client ends up with."""

    text: str = ""
    reasoning: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    thinking: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    finish: str | None = None
    usage: Usage | None = None
    shown: dict[str, Any] | None = None
    deltas: list[Delta] = field(default_factory=list)

    @property
    def named(self) -> list[tuple[str, Any]]:
        """The tool calls by name with their arguments read."""
        return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in self.calls]


def read_whole(delta: Delta) -> Heard:
    message = delta.data["choices"][0]["message"]
    return Heard(
        text=message["content"] or "",
        reasoning=message.get("reasoning_content") or "",
        calls=message.get("tool_calls") or [],
        thinking=message.get("thinking_blocks") or [],
        annotations=message.get("annotations") or [],
        finish=delta.data["choices"][0]["finish_reason"],
        usage=delta.usage,
        shown=delta.data["usage"],
        deltas=[delta],
    )


def read_stream(deltas: Iterable[Delta]) -> Heard:
    """Adds chunks up as a client does: tool calls by their index."""
    heard = Heard()
    for delta in deltas:
        heard.deltas.append(delta)
        heard.usage = delta.usage or heard.usage
        heard.shown = delta.data.get("usage") or heard.shown
        for choice in delta.data["choices"]:
            fields = choice["delta"]
            heard.text += fields.get("content") or ""
            heard.reasoning += fields.get("reasoning_content") or ""
            heard.thinking += fields.get("thinking_blocks") or []
            heard.annotations += fields.get("annotations") or []
            heard.finish = choice["finish_reason"] or heard.finish
            for call in fields.get("tool_calls") or []:
                if call["index"] == len(heard.calls):
                    heard.calls.append(json.loads(json.dumps(call)))
                else:
                    heard.calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    return heard


def fed(reader: Any, chunks: Iterable[bytes]) -> list[Delta]:
    deltas = [delta for chunk in chunks for delta in reader.feed(chunk)]
    return deltas + reader.end()


def events(body: str) -> list[dict[str, Any]]:
    return [json.loads(line[5:]) for line in body.splitlines() if line.startswith("data:")]
