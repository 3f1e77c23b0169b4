"""OpenAI's shapes, as the upstream writes them."""

import hashlib
import json
import time
from typing import Any

from tests.upstream.script import Script

WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "small",
    "birds",
    "sing",
    "in",
    "tall",
    "green",
    "trees",
    "near",
    "old",
    "stone",
    "walls",
]


def count(value: Any) -> int:
    """Tokens of a text or of anything that holds texts: its words. The only rule, so that a test can count too."""
    if isinstance(value, str):
        return len(value.split())
    if isinstance(value, dict):
        return sum(count(v) for k, v in value.items() if k in {"content", "text", "input", "arguments"})
    if isinstance(value, list):
        return sum(map(count, value))
    return 0


def prompt_tokens(body: dict[str, Any]) -> int:
    """Input tokens of a request, at least 1."""
    return max(1, count(body.get("messages", body.get("input", body.get("prompt", "")))))


def words(wanted: Script, body: dict[str, Any]) -> tuple[list[str], str]:
    """The answer's tokens and its finish reason, shortened to the request's limit unless the script ignores it."""
    made = (
        [f"{word} " for word in wanted.text.split()]
        if wanted.text
        else [f"{WORDS[i % len(WORDS)]} " for i in range(wanted.tokens)]
    )
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    if not wanted.ignore_max_tokens and isinstance(limit, int) and len(made) > limit:
        return made[:limit], "length"
    return made, wanted.finish


def usage(wanted: Script, given: int, made: int) -> dict[str, Any] | None:
    """The usage object as the script wants it told."""
    if isinstance(wanted.usage, dict):
        return wanted.usage
    if wanted.usage in {"none", None}:
        return None
    if wanted.usage == "zero":
        return {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}


def completion(number: int, body: dict[str, Any], wanted: Script, said: list[str], finish: str) -> dict[str, Any]:
    """A whole chat completion."""
    message: dict[str, Any] = {"role": "assistant", "content": "".join(said).strip()}
    if wanted.tool_calls is not None:
        message, finish = {"role": "assistant", "content": None, "tool_calls": wanted.tool_calls}, "tool_calls"
    n = body.get("n") or 1
    answer = {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model", ""),
        "choices": [{"index": i, "message": message, "logprobs": None, "finish_reason": finish} for i in range(n)],
        "system_fingerprint": "fp_upstream",
    }
    told = usage(wanted, prompt_tokens(body), len(said) * n)
    return answer if told is None else answer | {"usage": told}


class Chunks:
    """Writes the events of one streamed chat completion."""

    def __init__(self, number: int, body: dict[str, Any], wanted: Script) -> None:
        self.head = {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": body.get("model", ""),
            "system_fingerprint": "fp_upstream",
        }
        self.body, self.wanted = body, wanted
        self.include = bool((body.get("stream_options") or {}).get("include_usage"))

    def event(self, delta: dict[str, Any], finish: str | None = None, told: Any = None) -> bytes:
        chunk = self.head | {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}
        if self.include:
            chunk["usage"] = told
        return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"

    def first(self) -> bytes:
        return self.event({"role": "assistant", "content": "", "refusal": None})

    def token(self, text: str, made: int) -> bytes:
        early = self.wanted.usage == "early" and made == 1
        return self.event({"content": text}, told=usage(self.wanted, prompt_tokens(self.body), made) if early else None)

    def calls(self) -> bytes:
        found = self.wanted.tool_calls or []
        return self.event({"tool_calls": [{"index": i} | call for i, call in enumerate(found)]})

    def last(self, finish: str, made: int) -> bytes:
        """The finish, the usage where it is asked for, and the end mark."""
        events = [self.event({}, finish)]
        told = usage(self.wanted, prompt_tokens(self.body), made)
        if self.include and told is not None and self.wanted.usage != "early":
            chunk = self.head | {"choices": [], "usage": told}
            event = b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"
            events += [event, event] if self.wanted.usage == "twice" else [event]
        if self.wanted.done:
            events.append(b"data: [DONE]\n\n")
        return b"".join(events)


def embeddings(body: dict[str, Any]) -> dict[str, Any]:
    """Vectors that depend on the text alone, of the asked width (8 where none is asked)."""
    texts = body.get("input")
    texts = [texts] if isinstance(texts, str) else list(texts or [])
    width = body.get("dimensions") or 8
    given = prompt_tokens(body)
    return {
        "object": "list",
        "model": body.get("model", ""),
        "data": [{"object": "embedding", "index": i, "embedding": vector(t, width)} for i, t in enumerate(texts)],
        "usage": {"prompt_tokens": given, "total_tokens": given},
    }


def vector(text: Any, width: int) -> list[float]:
    digest = hashlib.sha256(str(text).encode()).digest()
    return [digest[i % 32] / 255 - 0.5 for i in range(width)]


def error(wanted: Script) -> bytes:
    """An error in OpenAI's shape."""
    kinds = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error"}
    return json.dumps(
        {
            "error": {
                "message": wanted.message or f"scripted {wanted.status}",
                "type": kinds.get(wanted.status, "server_error"),
                "param": None,
                "code": wanted.code or None,
            }
        }
    ).encode()
