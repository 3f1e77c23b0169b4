"""Anthropic's Messages API: passed through in its own form, or translated from and to chat completions.

Structured output is theirs (`output_config.format`) on models from Claude 4.1 and 4.5 on, a forced tool before.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from gateway.core.call import Delta, Target
from gateway.core.errors import Unsupported, UpstreamError
from gateway.providers import anthropic_answer as answers
from gateway.providers import chunks
from gateway.providers.abilities import RECORDED
from gateway.providers.anthropic_request import MAX_TOKENS, written
from gateway.providers.anthropic_stream import ChatReader, MessagesReader
from gateway.providers.base import Outgoing, Reader
from gateway.providers.failures import bad_answer, failure, said

BASE_URL = "https://api.anthropic.com"
VERSION = "2023-06-01"
FILES_BETA = "files-api-2025-04-14"


class Anthropic:
    can: ClassVar[Mapping[str, str]] = {
        "text": RECORDED,
        "stream": RECORDED,
        "image": RECORDED,
        "file": RECORDED,
        "tools": RECORDED,
        "parallel_tools": RECORDED,
        "json_schema": RECORDED,
        "reasoning": RECORDED,
        "citations": RECORDED,
        "caching": RECORDED,
    }
    forms = frozenset({"messages"})

    def request(self, body: dict[str, Any], form: str, target: Target, *, stream: bool) -> Outgoing:
        payload, betas = payload_of(body, form, target)
        payload = {"model": target.upstream, **payload, "stream": stream}
        headers = {"content-type": "application/json", "accept-encoding": "identity", "anthropic-version": VERSION}
        if target.secret:
            headers["x-api-key"] = target.secret
        if betas:
            headers["anthropic-beta"] = ",".join(betas)
        base = (target.base_url or BASE_URL).rstrip("/").removesuffix("/v1")
        return Outgoing(f"{base}/v1/messages", headers, msgspec.json.encode(payload))

    def answer(self, body: bytes, form: str, target: Target) -> Delta:
        try:
            found = msgspec.json.decode(body)
            if found["type"] != "message":
                raise ValueError(f"type is {found['type']!r}")
            return answered(found, body, form)
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise bad_answer(f"anthropic answered with something that is no message: {error!r}") from error

    def reader(self, form: str, target: Target) -> Reader:
        return MessagesReader() if form == "messages" else ChatReader()

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        try:
            found = msgspec.json.decode(body)
            error = found["error"]
            return failure(status, headers, str(error["message"]), error_type=error.get("type"))
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            return failure(status, headers, said(body))


def payload_of(body: dict[str, Any], form: str, target: Target) -> tuple[dict[str, Any], list[str]]:
    """Their request without model and stream, and the beta features that it asks for."""
    asked = body.get("anthropic_beta") or []
    betas = [one.strip() for one in (asked.split(",") if isinstance(asked, str) else asked)]
    if form == "messages":
        dropped = ("model", "stream", "anthropic_beta")
        payload = {name: value for name, value in body.items() if name not in dropped}
        payload.setdefault("max_tokens", target.max_output_tokens or MAX_TOKENS)
        return payload, betas
    if form != "chat":
        raise Unsupported(f"Anthropic serves chat only, not {form}", param="model")
    payload = written(body, target)
    if FILES_BETA not in betas and any(
        (block.get("source") or {}).get("type") == "file" for turn in payload["messages"] for block in turn["content"]
    ):
        betas.append(FILES_BETA)
    return payload, betas


def answered(found: dict[str, Any], body: bytes, form: str) -> Delta:
    """A whole message as a delta, in the caller's form or translated."""
    reason = found.get("stop_reason")
    reported = found.get("usage") or {}
    text, hidden = answers.spoken(found)
    usage = answers.billed(reported)
    if form == "messages":
        return Delta(body, form="messages", text=text, hidden=hidden, finish=answers.finish(reason), usage=usage)
    message = answers.message(found)
    ended = answers.finish(reason, calls=bool(message.get("tool_calls")))
    one = chunks.choice(message, ended, reason)
    if found.get("stop_sequence"):
        one["stop_sequence"] = found["stop_sequence"]
    data = chunks.whole(found.get("id") or "", found.get("model") or "", [one], answers.usage(reported))
    return Delta(data=data, text=message["content"] or "", hidden=hidden, finish=ended, usage=usage)
