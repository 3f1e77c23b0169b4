"""OpenAI, and every server that speaks its form: Azure, Mistral and `openai_compatible` rows build on this file.

Calls pass through: the body keeps every field, also those that nobody here knows. What is touched: the credential,
the model's name, `stream_options.include_usage`, and what a row's quirks ask for.

Quirks are data on the provider's or the model's row:

    auth                "bearer" (default), "api-key", "x-api-key" or "none": the header that carries the credential
    headers             {"name": "value"}: sent with every request
    paths               {"chat": "/chat/completions", …}: where a form lives, after the base URL
    query               {"name": "value"}: put after every URL
    forms               ["chat", "responses", …]: the forms it speaks, in place of those of its kind
    max_tokens_field    "max_tokens" or "max_completion_tokens": the only one of the two that it knows
    no_system_role      it knows no system messages: they are sent as the user's
    no_developer_role   it knows no developer messages: they are sent as system messages
    no_stream_options   it refuses stream_options, so usage comes by itself or not at all
    no_stream_usage     it never reports usage in a stream: the gateway estimates
    no_done             its streams end without [DONE]: a finish_reason is the end
    no_names            it refuses `name` on messages
    drop                ["field", …]: top-level fields that it refuses and that mean nothing to it
    plain_content       it takes text content as a string only: lists of text parts are joined
    no_cache_control    it refuses Anthropic's cache_control marks: they are left out (kind openai: always)
    keep_reasoning      it wants reasoning_content back in the history (kind openai: left out otherwise)
    prefill             how it goes on with an answer that was begun for it: see providers/prefill.py
"""

import re
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlencode

import msgspec

from gateway.core.call import Delta, Target
from gateway.core.errors import Unsupported, UpstreamError, UpstreamRejected, UpstreamUnavailable
from gateway.core.forms import SOUND_FORMS
from gateway.providers.abilities import MOCK, RECORDED, UNTESTED
from gateway.providers.base import Outgoing, Reader
from gateway.providers.failures import retry_after
from gateway.providers.multipart import after_file, before_file, multipart
from gateway.providers.openai_answers import OpenAIReader, answer_of
from gateway.providers.sound import SoundReader, TranscriptReader

PATHS = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "responses": "/responses",
    "embeddings": "/embeddings",
    "moderations": "/moderations",
    "images": "/images/generations",
    "rerank": "/rerank",
    "audio_transcriptions": "/audio/transcriptions",
    "audio_translations": "/audio/translations",
    "audio_speech": "/audio/speech",
}
MULTIPART_FORMS = frozenset({"audio_transcriptions", "audio_translations"})
STREAM_OPTIONS_FORMS = frozenset({"chat", "completions"})
MAX_TOKENS_FIELDS = ("max_tokens", "max_completion_tokens")
FOREIGN_MARKS = frozenset({"cache_control", "extra_content"})
FOREIGN_MESSAGE_FIELDS = frozenset(
    {"reasoning_content", "thinking_blocks", "extra_content", "cache_control", "is_error"}
)
RETRYABLE = frozenset({408, 409, 425, 429})
TOO_LONG = ("context_length", "context length", "context window", "maximum context", "too many tokens", "token limit")
CHAT_ONLY = re.compile(r"(ft:)?(gpt-(?!3\.5-turbo-instruct)|chatgpt|o\d)")  # what OpenAI does not serve at /completions
REFUSED = ("content_filter", "content_policy", "content policy", "safety system", "responsibleai", "moderation")


class OpenAI:
    """The adapter of the kinds `openai` and `openai_compatible`; see providers.base.Provider."""

    can: ClassVar[Mapping[str, str]] = {
        "text": RECORDED,
        "stream": RECORDED,
        "image": RECORDED,
        "file": RECORDED,
        "audio": UNTESTED,
        "tools": RECORDED,
        "parallel_tools": RECORDED,
        "json_schema": RECORDED,
        "reasoning": UNTESTED,
        "citations": UNTESTED,
        "logprobs": UNTESTED,
        "n": UNTESTED,
        "embedding": RECORDED,
    }
    forms = frozenset(PATHS) - {"rerank"}
    strict = True  # refuses fields that OpenAI does not know, so marks of other makers are left out

    def forms_of(self, target: Target) -> frozenset[str]:
        """OpenAI's chat models refuse the older completions: such calls go over chat. Other servers' models take them."""
        if self.strict and CHAT_ONLY.match(target.upstream):
            return self.forms - {"completions"}
        return self.forms

    def request(self, body: dict[str, Any], form: str, target: Target, *, stream: bool) -> Outgoing:
        sent = self.body(body, form, target, stream)
        if form in MULTIPART_FORMS:
            boundary = secrets.token_hex(16)
            kind = f"multipart/form-data; boundary={boundary}"
            url, headers = self.url(form, target), self.headers(target, kind)
            if "data" in sent["file"]:
                return Outgoing(url, headers, multipart(sent, boundary))
            return Outgoing(url, headers, before_file(sent, boundary), after=partial(after_file, boundary))
        return Outgoing(self.url(form, target), self.headers(target), msgspec.json.encode(sent))

    def url(self, form: str, target: Target) -> str:
        path = (target.quirks.get("paths") or {}).get(form) or PATHS[form]
        query = target.quirks.get("query")
        return f"{target.base_url.rstrip('/')}{path}{'?' + urlencode(query) if query else ''}"

    def headers(self, target: Target, content_type: str = "application/json") -> dict[str, str]:
        headers = {"content-type": content_type, "accept-encoding": "identity"}
        if own := target.quirks.get("headers"):
            headers.update({name.lower(): value for name, value in own.items()})
        auth = target.quirks.get("auth", "bearer")
        if target.secret and auth == "bearer":
            headers["authorization"] = f"Bearer {target.secret}"
        elif target.secret and auth != "none":
            headers[auth] = target.secret
        return headers

    def body(self, body: dict[str, Any], form: str, target: Target, stream: bool) -> dict[str, Any]:
        """What is sent, as JSON: `body` with the model's own name, and as the quirks ask."""
        quirks = target.quirks
        sent = {**body, "model": target.upstream}
        if stream:
            sent["stream"] = True
            if form in STREAM_OPTIONS_FORMS and not (quirks.get("no_stream_options") or quirks.get("no_stream_usage")):
                sent["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
            elif form in STREAM_OPTIONS_FORMS:
                sent.pop("stream_options", None)
        elif sent.get("stream"):
            sent["stream"] = False
        if form == "chat":
            if self.strict:
                check_translatable(sent)
                sent["messages"] = with_media_after_tools(sent.get("messages"))
            if self.strict or quirks.get("no_cache_control"):
                leave_out_foreign_marks(sent, keep_reasoning=not self.strict or bool(quirks.get("keep_reasoning")))
            if quirks:
                bend(sent, quirks)
        return sent

    def answer(self, body: bytes, form: str, target: Target) -> Delta:
        return answer_of(body, form, target, self.error)

    def reader(self, form: str, target: Target) -> Reader:
        if form in SOUND_FORMS:
            return SoundReader(form)
        if form in MULTIPART_FORMS:
            return TranscriptReader(form, target, self.error)
        return OpenAIReader(form, target, self.error)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return error_of(status, headers, body)


class OpenAICompatible(OpenAI):
    """A server that speaks OpenAI's form: which of its forms, and how, stands in the row's quirks."""

    can: ClassVar[Mapping[str, str]] = {
        "text": RECORDED,
        "stream": RECORDED,
        "image": RECORDED,
        "file": RECORDED,
        "audio": UNTESTED,
        "tools": RECORDED,
        "parallel_tools": MOCK,
        "json_schema": RECORDED,
        "reasoning": RECORDED,
        "citations": RECORDED,
        "logprobs": RECORDED,
        "n": UNTESTED,
        "caching": RECORDED,
        "embedding": RECORDED,
        "rerank": UNTESTED,
    }
    forms = frozenset(PATHS) - {"responses"}
    strict = False


def check_translatable(body: Mapping[str, Any]) -> None:
    """Raises Unsupported for what only other makers' models have and OpenAI would refuse without saying why."""
    if body.get("top_k") is not None:
        raise Unsupported("top_k: OpenAI's models have no such thing", param="top_k")


def with_media_after_tools(messages: Any) -> Any:
    """OpenAI's tool messages hold text only: pictures and files in them follow as the user's, after the last of them."""
    if not isinstance(messages, list) or not any(has_media(message) for message in messages):
        return messages
    moved: list[Any] = []
    waiting: list[Any] = []
    for message in messages:
        if waiting and not (isinstance(message, dict) and message.get("role") == "tool"):
            moved.append({"role": "user", "content": waiting})
            waiting = []
        if has_media(message):
            parts = message["content"]
            waiting += [part for part in parts if part.get("type") != "text"]
            text = [part for part in parts if part.get("type") == "text"]
            message = {**message, "content": text or "The result follows."}
        moved.append(message)
    return [*moved, {"role": "user", "content": waiting}] if waiting else moved


def has_media(message: Any) -> bool:
    if not isinstance(message, dict) or message.get("role") != "tool" or not isinstance(message.get("content"), list):
        return False
    return any(isinstance(part, dict) and part.get("type") != "text" for part in message["content"])


def bend(sent: dict[str, Any], quirks: Mapping[str, Any]) -> None:
    """Change a chat body, a shallow copy, into what a server with these quirks takes."""
    if field := quirks.get("max_tokens_field"):
        for other in MAX_TOKENS_FIELDS:
            if other != field and other in sent:
                sent[field] = sent.pop(other)
    for name in quirks.get("drop") or ():
        sent.pop(name, None)
    change: list[Callable[[dict[str, Any]], dict[str, Any]]] = []
    if quirks.get("no_developer_role"):
        change.append(lambda message: with_role(message, "developer", "system"))
    if quirks.get("no_system_role"):
        change.append(lambda message: with_role(with_role(message, "developer", "user"), "system", "user"))
    if quirks.get("no_names"):
        change.append(lambda message: {key: value for key, value in message.items() if key != "name"})
    if quirks.get("plain_content"):
        change.append(with_plain_content)
    messages = sent.get("messages")
    if change and isinstance(messages, list):
        for each in change:
            messages = [each(message) if isinstance(message, dict) else message for message in messages]
        sent["messages"] = messages


def with_role(message: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    return {**message, "role": new} if message.get("role") == old else message


def with_plain_content(message: dict[str, Any]) -> dict[str, Any]:
    parts = message.get("content")
    if not isinstance(parts, list) or not all(isinstance(part, dict) and part.get("type") == "text" for part in parts):
        return message
    return {**message, "content": "\n\n".join(str(part.get("text", "")) for part in parts)}


def leave_out_foreign_marks(sent: dict[str, Any], *, keep_reasoning: bool) -> None:
    """Leave out what other makers' forms left on messages, parts and tools; copies what it changes."""
    fields = FOREIGN_MARKS if keep_reasoning else FOREIGN_MESSAGE_FIELDS
    if isinstance(messages := sent.get("messages"), list):
        sent["messages"] = [without_marks(message, fields) for message in messages]
    if isinstance(tools := sent.get("tools"), list):
        sent["tools"] = [without(tool, FOREIGN_MARKS) for tool in tools]


def without_marks(message: Any, fields: frozenset[str]) -> Any:
    message = without(message, fields)
    if isinstance(message, dict) and isinstance(parts := message.get("content"), list):
        kept = [without(part, FOREIGN_MARKS) for part in parts]
        if any(new is not old for new, old in zip(kept, parts, strict=True)):
            return {**message, "content": kept}
    return message


def without(value: Any, fields: frozenset[str]) -> Any:
    if isinstance(value, dict) and not fields.isdisjoint(value):
        return {key: inner for key, inner in value.items() if key not in fields}
    return value


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """What an error answer in OpenAI's shape, or in none, means. A message never holds more than 500 characters."""
    try:
        parsed = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        parsed = None
    inner = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    fields = inner if isinstance(inner, dict) else {}
    message = fields.get("message") or detail_of(fields.get("detail")) or (inner if isinstance(inner, str) else None)
    if message is None and parsed is None:
        message = body[:200].decode("utf-8", "replace").strip()
    text = (message if isinstance(message, str) else str(message))[:500] if message else f"HTTP {status}"
    body_shown = {"message": text} | fields if fields else None
    if status in (
        401,
        402,
        403,
    ):  # the credential is the gateway's: its name and what is wrong with it are not the caller's
        text = f"the provider refused the gateway's credential (HTTP {status})"
        return UpstreamUnavailable(text, kind="auth", status=status)
    if status in RETRYABLE or status >= 500:
        kind = {408: "timeout", 429: "rate_limit"}.get(status, "server_error")
        return UpstreamUnavailable(text, kind=kind, status=status, body=body_shown, retry_after=retry_after(headers))
    if status < 400:
        return UpstreamUnavailable(f"an answer with status {status}", kind="bad_answer")
    kind = kind_of(str(fields.get("code") or ""), text)
    return UpstreamRejected(text, kind=kind, status=status, body=body_shown)


def detail_of(detail: Any) -> Any:
    """What servers built on FastAPI say is wrong: a text, or a list of places and messages."""
    if isinstance(detail, list):
        found = [each for each in detail if isinstance(each, dict)]
        return "; ".join(f"{'.'.join(map(str, each.get('loc') or ()))}: {each.get('msg')}" for each in found)
    return detail


def kind_of(code: str, message: str) -> str:
    """Why a request was rejected, as far as a route can do something about it."""
    said = f"{code} {message}".lower()
    if any(sign in said for sign in TOO_LONG):
        return "context_too_long"
    if any(sign in said for sign in REFUSED):
        return "content_refused"
    return "rejected"
