"""Streams of every kind of provider: cut at every byte they read the same, and whatever stands in an answer where
something else is meant is a bad answer or is read, on the whole way to a caller in each form.
"""

import contextlib
import json
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest

from gateway.core import sse
from gateway.core.call import Delta
from gateway.core.errors import UpstreamError
from gateway.edge.endpoints import FORMS
from gateway.providers import PROVIDERS
from tests.gateway.edge.test_shapes import JUNK, places, put
from tests.gateway.edge.through import call_of
from tests.gateway.providers.frames import converse, event
from tests.gateway.providers.replay import target
from tests.recorded import exchanges

SPOKEN = ("/v1/chat/completions", "/v1/messages", "/v1/responses")
CONVERSED = {
    "output": {
        "message": {
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
                {"text": "näive 🙂"},
                {"toolUse": {"toolUseId": "t1", "name": "get", "input": {"city": "Rome"}}},
            ]
        }
    },
    "stopReason": "tool_use",
    "usage": {"inputTokens": 5, "outputTokens": 7, "totalTokens": 12, "cacheReadInputTokens": 1},
}


class Wire(NamedTuple):
    """Where a stream comes from: a kind of provider, the form it speaks there, and its recordings."""

    kind: str
    form: str
    recordings: str


WIRES = [
    Wire("openai", "chat", "openai_chat"),
    Wire("openai", "responses", "openai_responses"),
    Wire("openai_compatible", "chat", "compatible_chat"),
    Wire("azure_openai", "chat", "openai_chat"),
    Wire("mistral", "chat", "mistral_chat"),
    Wire("anthropic", "chat", "anthropic_messages"),
    Wire("anthropic", "messages", "anthropic_messages"),
    Wire("gemini", "chat", "gemini_generate"),
    Wire("vertex", "chat", "gemini_generate"),
    Wire("cohere", "chat", "cohere_v2"),
    Wire("bedrock", "chat", "bedrock_converse"),
]
wires = pytest.mark.parametrize("wire", WIRES, ids=lambda wire: f"{wire.kind}-{wire.form}")


@cache
def streams(wire: Wire) -> tuple[bytes, ...]:
    """Two short recorded streams, one of them with a tool call where there is one."""
    if wire.kind == "bedrock":
        return (converse(CONVERSED),)
    found = [e for e in exchanges(wire.recordings) if e["streamed"] and e["status"] == 200]
    found.sort(key=lambda e: len(e["response"]))
    called = [e for e in found if "tool" in e["response"] or "functionCall" in e["response"]]
    return tuple(e["response"].encode() for e in [*found[:1], *called[:1]])


@cache
def answers(wire: Wire) -> tuple[dict[str, Any], ...]:
    """Two short recorded whole answers, one of them with a tool call where there is one."""
    if wire.kind == "bedrock":
        return (CONVERSED,)
    found = [
        e
        for e in exchanges(wire.recordings)
        if not e["streamed"] and e["status"] == 200 and e["response"].startswith("{")
    ]
    found = sorted((e for e in found if "embed" not in e["path"]), key=lambda e: len(e["response"]))
    called = [e for e in found if '"tool' in e["response"] or "functionCall" in e["response"]]
    return tuple(json.loads(e["response"]) for e in [*found[:1], *called[:1]])


def to(wire: Wire) -> Any:
    return target(wire.kind, "gemini-2.5-flash" if wire.kind == "vertex" else "a-model")


def read(wire: Wire, *pieces: bytes) -> list[Delta]:
    reader = PROVIDERS[wire.kind].reader(wire.form, to(wire))
    found = [delta for piece in pieces for delta in reader.feed(piece)]
    return found + reader.end()


def shown(deltas: list[Delta]) -> list[tuple[Any, ...]]:
    """The deltas without what is made anew each time: ids and times of creation."""
    found = []
    for each in deltas:
        data = {k: v for k, v in each.data.items() if k not in ("id", "created")} if each.raw is None else each.raw
        found.append((data, each.text, each.hidden, each.finish, each.usage, each.usage_only))
    return found


@wires
def test_a_stream_cut_at_every_byte_reads_the_same(wire: Wire) -> None:
    for stream in streams(wire):
        expected = shown(read(wire, stream))
        step = 1 + len(stream) // 1500  # every byte of a short stream; of a long one, some 1,500 places
        for at in range(1, len(stream), step):
            assert shown(read(wire, stream[:at], stream[at:])) == expected
        assert shown(read(wire, *(stream[i : i + 1] for i in range(len(stream))))) == expected


def written(wire: Wire, deltas: list[Delta]) -> None:
    """Every caller's form takes the answer."""
    for path in SPOKEN:
        if wire.form in ("chat", FORMS[path].name):
            call = call_of(path, stream=True)
            writer = FORMS[path].writer(call)
            for delta in deltas:
                call.note(delta)
                writer.delta(delta)
            writer.end()


def events(wire: Wire, stream: bytes) -> list[tuple[bytes, Any]]:
    """The stream's events of different shape, each with its JSON; all of them where they are few."""
    if wire.kind == "bedrock":
        return []
    found = []
    for raw, _, data in sse.Splitter().feed(stream):
        with contextlib.suppress(ValueError):
            found.append((raw, json.loads(data)))
    return found


def bent(value: Any) -> Iterator[Any]:
    yield from JUNK
    for place in places(value):
        for junk in JUNK:
            yield put(value, place, junk)


@wires
def test_anything_odd_in_a_stream_is_read_or_is_a_broken_answer(wire: Wire) -> None:
    broken = []
    for stream in streams(wire):
        seen = set()
        for raw, value in events(wire, stream):
            shape = str(sorted(map(str, places(value)))) + str(value.get("type") if isinstance(value, dict) else "")
            if shape in seen:
                continue
            seen.add(shape)
            before, after = stream.split(raw, 1)
            name = raw.split(b"data:", 1)[0]
            for odd in bent(value):
                try:
                    written(wire, read(wire, before + name + b"data: " + json.dumps(odd).encode() + b"\n\n" + after))
                except UpstreamError:
                    continue
                except Exception as error:
                    broken.append((repr(error), odd))
    assert broken[:5] == []


@wires
def test_anything_odd_in_an_answer_is_read_or_is_a_bad_answer(wire: Wire) -> None:
    broken = []
    for answer in answers(wire):
        for odd in bent(answer):
            try:
                delta = PROVIDERS[wire.kind].answer(json.dumps(odd).encode(), wire.form, to(wire))
                for path in SPOKEN:
                    if wire.form in ("chat", FORMS[path].name):
                        call = call_of(path)
                        call.note(delta)
                        FORMS[path].whole(call, delta)
            except UpstreamError:
                continue
            except Exception as error:
                broken.append((repr(error), odd))
    assert broken[:5] == []


def test_anything_odd_in_a_frame_is_read_or_is_a_broken_answer() -> None:
    broken = []
    delta = {
        "contentBlockIndex": 0,
        "delta": {"text": "a", "toolUse": {"input": "{"}, "reasoningContent": {"text": "x"}},
    }
    begun = {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "t", "name": "f"}}}
    ended = {"usage": {"inputTokens": 1, "outputTokens": 2, "cacheReadInputTokens": 0}, "metrics": {"latencyMs": 1}}
    frames = {"contentBlockStart": begun, "contentBlockDelta": delta, "messageStop": {"stopReason": "x"}}
    wire = Wire("bedrock", "chat", "")
    for name, value in {**frames, "metadata": ended}.items():
        for odd in bent(value):
            try:
                written(
                    wire,
                    read(wire, event("messageStart", {"role": "assistant"}) + event(name, odd) + converse(CONVERSED)),
                )
            except UpstreamError:
                continue
            except Exception as error:
                broken.append((repr(error), name, odd))
    assert broken[:5] == []
