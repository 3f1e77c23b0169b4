"""Reading what servers of the OpenAI form answer: whole bodies and streams, of every form that they speak.

Nothing is rebuilt: the bytes travel on as they came, and only text, finish and usage are read of them.

Usage: `prompt_tokens` (`input_tokens` in responses and images) counts everything, cached and audio tokens included;
`completion_tokens` (`output_tokens`) counts everything, reasoning included. DeepSeek reports cached tokens as
`prompt_cache_hit_tokens`, Mistral as `num_cached_tokens`, Z.AI and some others as `cached_tokens`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway.core.call import Delta, Target, Usage
from gateway.core.errors import UpstreamBroken, UpstreamError, UpstreamUnavailable
from gateway.core.halves import Mender
from gateway.core.sse import Splitter, encode
from gateway.providers.openai_plain import read_plain

ErrorOf = Callable[[int, Mapping[str, str], bytes], UpstreamError]

RESPONSES_TEXT = frozenset({"response.output_text.delta", "response.refusal.delta"})
RESPONSES_HIDDEN = frozenset(
    {
        "response.reasoning_summary_text.delta",
        "response.reasoning_text.delta",
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta",
        "response.mcp_call_arguments.delta",
        "response.code_interpreter_call_code.delta",
    }
)
RESPONSES_ENDS = frozenset({"response.completed", "response.incomplete"})
PARTS = frozenset({"text", "content", "thinking", "refusal", "summary"})


class Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct):
    function: Function | None = None


class Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(msgspec.Struct):
    delta: Message | None = None
    finish_reason: str | None = None


class Chunk(msgspec.Struct):
    choices: list[Choice] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


class Event(msgspec.Struct):
    """An event of the responses form; the big objects in it are read only where they are needed."""

    type: str = ""
    delta: Any = None
    response: msgspec.Raw = msgspec.Raw(b"null")


decode_chunk = msgspec.json.Decoder(Chunk).decode
decode_event = msgspec.json.Decoder(Event).decode
decode = msgspec.json.Decoder().decode


def number(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def fields_of(value: Any) -> Mapping[str, Any]:
    """`value` where it is an object, else an empty one: servers put anything anywhere."""
    return value if isinstance(value, dict) else {}


def objects_of(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; none where it is no list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """The tokens in a `usage` object of chat, completions, embeddings, responses or images."""
    asked = fields_of(
        usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or usage.get("input_token_details")
    )
    said = fields_of(usage.get("completion_tokens_details") or usage.get("output_tokens_details"))
    cached = asked.get("cached_tokens") or usage.get("prompt_cache_hit_tokens")
    cached = cached or usage.get("num_cached_tokens") or usage.get("cached_tokens")
    hosted = fields_of(usage.get("server_tool_use_details") or usage.get("server_tool_use"))
    total = number(usage.get("prompt_tokens") or usage.get("input_tokens"))
    output = number(usage.get("completion_tokens") or usage.get("output_tokens"))
    if not total and not output:
        total = number(usage.get("total_tokens"))
    return Usage(
        input=total,
        cached=number(cached),
        cache_write=number(asked.get("cache_write_tokens")),
        input_audio=number(asked.get("audio_tokens")),
        input_image=number(asked.get("image_tokens")),
        output=output,
        reasoning=number(said.get("reasoning_tokens")),
        output_audio=number(said.get("audio_tokens")),
        output_image=number(said.get("image_tokens")),
        tool_uses=number(hosted.get("web_search_requests")),
    )


def words(content: Any) -> str:
    """The text in a message's content: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(map(words, content))
    if isinstance(content, dict):
        return "".join(words(value) for key, value in content.items() if key in PARTS)
    return ""


def read_message(message: Any) -> tuple[str, str]:
    """(text, hidden) of a message or of a stream's delta, whatever shape a server gave it."""
    if not isinstance(message, dict):
        return "", ""
    content, thoughts = message.get("content"), []
    if isinstance(content, list):
        thoughts = [part for part in content if isinstance(part, dict) and "thinking" in part]
        content = [part for part in content if part not in thoughts]
    text = words(content) + words(message.get("refusal"))
    hidden = words(thoughts) + words(message.get("reasoning_content") or message.get("reasoning"))
    for call in [*objects_of(message.get("tool_calls")), {"function": message.get("function_call")}]:
        inner = fields_of(call.get("function") or call.get("custom"))
        hidden += "".join(value for key in ("name", "arguments", "input") if isinstance(value := inner.get(key), str))
    return text, hidden


def read_choices(answer: Mapping[str, Any], delta: Delta) -> None:
    """Put the text and finish of a chat or completions answer, or of a chunk of one, into `delta`."""
    for choice in objects_of(answer.get("choices")):
        text, hidden = read_message(choice.get("message") or choice.get("delta"))
        delta.text += text + words(choice.get("text"))
        delta.hidden += hidden
        if isinstance(finish := choice.get("finish_reason"), str):
            delta.finish = finish


def read_response(response: Mapping[str, Any], delta: Delta) -> None:
    """Put the finish of a responses object into `delta`, in the words of chat completions."""
    status = response.get("status")
    items = objects_of(response.get("output"))
    if status == "incomplete":
        reason = fields_of(response.get("incomplete_details")).get("reason")
        delta.finish = "content_filter" if reason == "content_filter" else "length"
    elif status == "completed":
        called = any(item.get("type") in ("function_call", "custom_tool_call") for item in items)
        delta.finish = "tool_calls" if called else "stop"
    if isinstance(usage := response.get("usage"), dict):
        delta.usage = usage_of(usage)


def read_whole(answer: Mapping[str, Any], delta: Delta) -> None:
    """Put what an answer of any form says into `delta`."""
    if isinstance(usage := answer.get("usage"), dict):
        delta.usage = usage_of(usage)
    if delta.form == "responses":
        read_response(answer, delta)
        for item in objects_of(answer.get("output")):
            if item.get("type") == "message":
                delta.text += words(item.get("content"))
            else:
                delta.hidden += words(item.get("summary")) + words(item.get("content"))
                delta.hidden += words(item.get("name")) + words(item.get("arguments")) + words(item.get("input"))
    elif delta.form in ("audio_transcriptions", "audio_translations"):
        delta.text = words(answer.get("text"))
    else:
        read_choices(answer, delta)


EXPECTED = {
    "chat": "choices",
    "completions": "choices",
    "responses": "output",
    "embeddings": "data",
    "moderations": "results",
    "images": "data",
}


def answer_of(body: bytes, form: str, target: Target, error: ErrorOf) -> Delta:
    """A whole answer with status 200. Raises UpstreamError when the body is an error, or no answer of this form."""
    delta = Delta(raw=body, form=form)
    if form == "chat" and read_plain(body, delta):
        return delta
    field = EXPECTED.get(form)
    try:
        answer = decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        if field is None and body:  # sound, or a transcript that was asked for as plain text
            return delta
        raise UpstreamUnavailable(f"{target.provider} answered something that is no JSON", kind="bad_answer") from None
    if field is None:
        if isinstance(answer, dict):
            read_whole(answer, delta)
        return delta
    if isinstance(answer, dict) and answer.get("error") and not isinstance(answer.get(field), list):
        raise error(status_of(answer["error"]), {}, body)
    if not isinstance(answer, dict) or not isinstance(answer.get(field), list):
        raise UpstreamUnavailable(f"{target.provider}'s answer has no list `{field}`", kind="bad_answer")
    read_whole(answer, delta)
    return delta


def status_of(error: Any) -> int:
    """The HTTP status that an error object inside a 200 names, or 502."""
    if isinstance(error, dict):
        for key in ("code", "status", "status_code"):
            value = error.get(key)
            if isinstance(value, str) and value.isdigit():
                value = int(value)
            if isinstance(value, int) and 400 <= value <= 599:
                return value
        if error.get("type") == "invalid_request_error":
            return 400
    return 502


class OpenAIReader:
    """Reads one stream of chat, completions or responses; see providers.base.Reader.

    `read` changes a chunk's JSON into OpenAI's where a server's own differs; its deltas then carry no bytes.
    """

    def __init__(
        self, form: str, target: Target, error: ErrorOf, read: Callable[[dict[str, Any]], Any] | None = None
    ) -> None:
        self.form, self.target, self.error, self.read = form, target, error, read
        self.splitter = Splitter()
        self.mender = Mender()
        self.ended = False
        self.spoke = False
        self.finished = False
        self.failed: UpstreamError | None = None

    def feed(self, chunk: bytes) -> list[Delta]:
        if self.failed is not None:
            raise self.failed
        return self._deltas(self.splitter.feed(chunk))

    def end(self) -> list[Delta]:
        deltas = self.feed(b"") or self._deltas(self.splitter.end())
        if self.failed is not None:
            raise self.failed
        if not self.ended and not (self.finished and self.target.quirks.get("no_done")):
            raise UpstreamBroken(f"{self.target.provider}'s stream ended before its end", kind="bad_answer")
        return deltas

    def _deltas(self, events: list[tuple[bytes, str, bytes]]) -> list[Delta]:
        """The events' deltas. An error waits for the next call where deltas stand before it: what was said counts."""
        deltas: list[Delta] = []
        try:
            for raw, name, data in events:
                if self.ended:
                    break
                if b"\\u" in data and (mended := self.mender.mend(data)) is not None:
                    raw, data = encode(mended, name), mended
                if name == "" and data[:1] == b"{" and self.form != "responses":  # nearly all of them
                    deltas.append(self._chunk(raw, data))
                elif not data:
                    deltas.append(Delta(raw, form=self.form))
                elif data == b"[DONE]" or data.strip() == b"[DONE]":
                    self.ended = True
                elif self.form == "responses":
                    deltas.append(self._event(raw, data))
                elif name == "error":
                    raise self._failure(data)
                else:
                    deltas.append(self._chunk(raw, data))
        except UpstreamError as failed:
            if not deltas:
                raise
            self.failed = failed
        return deltas

    def _chunk(self, raw: bytes, data: bytes) -> Delta:
        delta = Delta(raw, form=self.form)
        if self.read is not None or self.form != "chat":
            return self._loose(delta, data)
        try:
            chunk = decode_chunk(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._loose(delta, data)
        if chunk.error:
            raise self._failure(data)
        for choice in chunk.choices or ():
            if (message := choice.delta) is not None:
                self._message(message, delta)
            if choice.finish_reason:
                delta.finish = choice.finish_reason
        if chunk.usage or delta.finish:
            return self._noted(delta, chunk.usage, bool(chunk.choices))
        if delta.text or delta.hidden:
            self.spoke = True
        return delta

    def _message(self, message: Message, delta: Delta) -> None:
        if message.content:
            delta.text += message.content
        if message.refusal:
            delta.text += message.refusal
        if thought := message.reasoning_content or message.reasoning:
            delta.hidden += thought
        for call in message.tool_calls or ():
            if call.function is not None:
                delta.hidden += (call.function.name or "") + (call.function.arguments or "")

    def _loose(self, delta: Delta, data: bytes) -> Delta:
        """As `_chunk`, for chunks whose fields have other types than OpenAI's."""
        try:
            chunk = decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            chunk = None
        if not isinstance(chunk, dict):
            raise UpstreamBroken(f"{self.target.provider} sent an event that is no JSON object", kind="bad_answer")
        if chunk.get("error"):
            raise self._failure(data)
        if self.read is not None and (changed := self.read(chunk)) is not None:
            chunk = delta.data = changed
            delta.raw = None
        read_choices(chunk, delta)
        usage = chunk.get("usage")
        return self._noted(delta, usage if isinstance(usage, dict) else None, bool(chunk.get("choices")))

    def _noted(self, delta: Delta, usage: dict[str, Any] | None, has_choices: bool) -> Delta:
        if usage:
            delta.usage = usage_of(usage)
            delta.usage_only = not has_choices
        if delta.finish:
            self.finished = True
        if delta.text or delta.hidden:
            self.spoke = True
        return delta

    def _event(self, raw: bytes, data: bytes) -> Delta:
        delta = Delta(raw, form="responses")
        try:
            event = decode_event(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise UpstreamBroken(f"{self.target.provider} sent an event that is no JSON", kind="bad_answer") from None
        if event.type in RESPONSES_TEXT:
            delta.text = words(event.delta)
        elif event.type in RESPONSES_HIDDEN:
            delta.hidden = words(event.delta)
        elif event.type in RESPONSES_ENDS:
            self.ended = True
            read_response(fields_of(decode(event.response)), delta)
        elif event.type in ("error", "response.failed"):
            raise self._failure(data)
        return self._noted(delta, None, True)

    def _failure(self, data: bytes) -> UpstreamError:
        """An error inside a stream with status 200. Once the answer has begun no other target can take over."""
        try:
            event = decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            event = {}
        event = event if isinstance(event, dict) else {}
        inner = event.get("error") or fields_of(event.get("response")).get("error") or event
        error = self.error(status_of(inner), {}, msgspec.json.encode({"error": inner}))
        if not self.spoke:
            return error
        return UpstreamBroken(error.message, kind=error.kind, status=error.upstream_status, body=error.body)
