"""A provider without a network: it answers sensibly, streams at a human pace and reports usage.

It speaks OpenAI's form, so that requests and answers are those of the `openai` adapter; `respond` stands in for the
HTTP client. What it says is made from the request alone: the same request gives the same answer.

Words in the last user message (or in the upstream model's name, without brackets) make it behave otherwise:

    [fast]        no pauses                       [slow]       2 s before the first word, 0.4 s a word
    [fail 500]    that status, and an error       [cut]        the answer breaks off in the middle
    [stall]       silent for 10 minutes after the first words
    [tool]        calls a tool where there is one, as it does when the text names one
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, ClassVar, NamedTuple

import msgspec

from gateway.core import sse
from gateway.core.call import Target
from gateway.providers.abilities import UNTESTED
from gateway.providers.base import Outgoing
from gateway.providers.demo_answers import chat_answer, embeddings_answer, pieces, request_text
from gateway.providers.openai import OpenAI

MARK = re.compile(r"\[(fast|slow|cut|stall|fail (\d{3}))\]")
MODEL_MARK = re.compile(r"\b(fast|slow|cut|stall)\b")
WORD_SECONDS = 0.04
WHOLE_SECONDS = 0.4  # the longest that an answer takes that is not streamed
SLOW_WORD_SECONDS = 0.4
SLOW_START_SECONDS = 2.0
STALL_SECONDS = 600.0
URL = "demo://provider/"
JSON = {"content-type": "application/json"}


class Manner(NamedTuple):
    """How the demo behaves for one request. `fail` is a status, or 0."""

    fail: int = 0
    cut: bool = False
    stall: bool = False
    start_seconds: float = 0.0
    word_seconds: float = WORD_SECONDS


class Demo(OpenAI):
    """The adapter of the kind `demo`: OpenAI's, without an address and a credential."""

    can: ClassVar[Mapping[str, str]] = {
        "text": UNTESTED,
        "stream": UNTESTED,
        "tools": UNTESTED,
        "embedding": UNTESTED,
    }
    forms = frozenset({"chat", "embeddings"})

    def url(self, form: str, target: Target) -> str:
        return URL + form

    def headers(self, target: Target, content_type: str = "application/json") -> dict[str, str]:
        return {"content-type": content_type}


async def respond(outgoing: Outgoing) -> tuple[int, dict[str, str], AsyncIterator[bytes]]:
    """Answer a request as an HTTP client would: (status, headers in lower case, the body's bytes as they come)."""
    body = msgspec.json.decode(outgoing.body)
    form = outgoing.url.removeprefix(URL)
    manner = manner_of(body)
    if manner.fail:
        headers = JSON | ({"retry-after": "1"} if manner.fail == 429 else {})
        return manner.fail, headers, once(msgspec.json.encode(failure(manner.fail)))
    if form == "embeddings":
        return 200, JSON, once(msgspec.json.encode(embeddings_answer(body)))
    answer = chat_answer(body, created=int(time.time()))
    await asyncio.sleep(manner.start_seconds)
    if body.get("stream"):
        return 200, {"content-type": "text/event-stream"}, stream(answer, body, manner)
    await asyncio.sleep(min(WHOLE_SECONDS, manner.word_seconds * answer["usage"]["completion_tokens"]))
    whole = msgspec.json.encode(answer)
    return 200, JSON, once(whole[: len(whole) // 2] if manner.cut else whole)


def manner_of(body: dict[str, Any]) -> Manner:
    """What the marks in the request ask for; the first failure named, the last pace."""
    fail, flags = 0, set(MODEL_MARK.findall(str(body.get("model", ""))))
    for mark, status in MARK.findall(request_text(body)):
        if status:
            fail = fail or int(status)
        else:
            flags.add(mark)
    if not 400 <= fail <= 599:
        fail = 0
    pace = SLOW_WORD_SECONDS if "slow" in flags else 0.0 if "fast" in flags else WORD_SECONDS
    start = SLOW_START_SECONDS if "slow" in flags else 0.0
    return Manner(fail, "cut" in flags, "stall" in flags, start, pace)


def failure(status: int) -> dict[str, Any]:
    kind = {401: "authentication_error", 429: "rate_limit_error"}.get(status)
    kind = kind or ("server_error" if status >= 500 else "invalid_request_error")
    message = f"The demo provider fails with {status}, as it was told to."
    return {"error": {"message": message, "type": kind, "param": None, "code": f"demo_{status}"}}


async def once(body: bytes) -> AsyncGenerator[bytes]:
    yield body


async def stream(answer: dict[str, Any], body: dict[str, Any], manner: Manner) -> AsyncGenerator[bytes]:
    """The answer as server-sent events, a word at a time; usage last, where it is asked for."""
    chunks = [chunk for choice in answer["choices"] for chunk in choice_chunks(answer, choice)]
    half = len(chunks) // 2
    for number, each in enumerate(chunks):
        if number == half and manner.cut:
            return
        if number == half and manner.stall:
            await asyncio.sleep(STALL_SECONDS)
        yield sse.encode(msgspec.json.encode(each))
        if manner.word_seconds:
            await asyncio.sleep(manner.word_seconds)
    if (body.get("stream_options") or {}).get("include_usage"):
        yield sse.encode(msgspec.json.encode(chunk_of(answer, []) | {"usage": answer["usage"]}))
    yield b"data: [DONE]\n\n"


def choice_chunks(answer: dict[str, Any], choice: dict[str, Any]) -> list[dict[str, Any]]:
    """One choice of a whole answer as the chunks of a stream."""
    message, index = choice["message"], choice["index"]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": piece} for piece in pieces(message.get("reasoning_content") or "")]
    deltas += [{"content": piece} for piece in pieces(message.get("content") or "")]
    for place, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        begun = {"index": place, **call, "function": {"name": function["name"], "arguments": ""}}
        deltas.append({"tool_calls": [begun]})
        said = function["arguments"]
        for begin in range(0, len(said), 8):
            deltas.append({"tool_calls": [{"index": place, "function": {"arguments": said[begin : begin + 8]}}]})
    chunks = [chunk_of(answer, [{"index": index, "delta": delta, "finish_reason": None}]) for delta in deltas]
    ended = {"index": index, "delta": {}, "finish_reason": choice["finish_reason"]}
    return [*chunks, chunk_of(answer, [ended])]


def chunk_of(answer: dict[str, Any], choices: list[dict[str, Any]]) -> dict[str, Any]:
    head = {"id": answer["id"], "object": "chat.completion.chunk", "created": answer["created"]}
    return {**head, "model": answer["model"], "choices": choices}
