"""Mistral: OpenAI's form with differences that it insists on, for it refuses every field that it does not know.

    OpenAI                        Mistral
    max_completion_tokens         max_tokens
    seed                          random_seed
    tool_choice "required"        "any"
    stream_options                none: usage comes with the last chunk by itself
    developer messages            system messages
    tool call ids of any shape    nine letters and digits
    file parts                    document_url parts, or {"type": "file", "file_id"}
    input_audio {data, format}    input_audio, the data alone
    reasoning_content             content parts {"type": "thinking", "thinking": [{"type": "text", "text"}]}
    dimensions (embeddings)       output_dimension

Answers come back with content as one text, the thinking in reasoning_content, citations of documents kept as
`references`. `num_cached_tokens` is within `prompt_tokens`.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from gateway.core.call import Delta, Target
from gateway.providers import fields
from gateway.providers.abilities import MOCK, RECORDED, UNTESTED
from gateway.providers.base import Reader
from gateway.providers.openai import OpenAI, without_marks
from gateway.providers.openai_answers import OpenAIReader, answer_of, fields_of, objects_of, words

SERVED = frozenset(
    {"temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "seed", "random_seed", "n", "tools"}
    | {"tool_choice", "parallel_tool_calls", "response_format", "presence_penalty", "frequency_penalty", "prediction"}
    | {"reasoning_effort", "prompt_mode", "safe_prompt", "guardrails"}
)
LEFT_OUT = frozenset({"stream_options", "store", "service_tier", "prompt_cache_key", "prompt_cache_retention"})
RENAMED = {"max_completion_tokens": "max_tokens", "seed": "random_seed"}
MARKS = frozenset({"cache_control", "extra_content", "thinking_blocks", "reasoning_content", "is_error"})
LEGAL_ID = re.compile(r"[a-zA-Z0-9]{9}")
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FINISHES = {"model_length": "length", "error": "stop"}


class Mistral(OpenAI):
    """The adapter of the kind `mistral`; see providers.base.Provider."""

    can: ClassVar[Mapping[str, str]] = {
        "text": RECORDED,
        "stream": RECORDED,
        "image": UNTESTED,
        "file": RECORDED,
        "tools": RECORDED,
        "parallel_tools": MOCK,
        "json_schema": MOCK,
        "reasoning": RECORDED,
        "n": UNTESTED,
        "embedding": MOCK,
    }
    forms = frozenset({"chat", "embeddings", "moderations", "audio_transcriptions"})

    def body(self, body: dict[str, Any], form: str, target: Target, stream: bool) -> dict[str, Any]:
        if form == "embeddings":
            sent = {("output_dimension" if name == "dimensions" else name): body[name] for name in body}
            return sent | {"model": target.upstream}
        if form != "chat":
            return body | {"model": target.upstream}
        fields.check(body, SERVED | LEFT_OUT, "Mistral")
        sent = {RENAMED.get(name, name): body[name] for name in body if name in SERVED and body[name] is not None}
        sent |= {"model": target.upstream, "stream": stream}
        if sent.get("tool_choice") == "required":
            sent["tool_choice"] = "any"
        if sent.get("tools"):
            sent["tools"] = [without_marks(tool, MARKS) for tool in sent["tools"]]
        sent["messages"] = [message_of(message) for message in body.get("messages") or ()]
        return sent

    def answer(self, body: bytes, form: str, target: Target) -> Delta:
        delta = answer_of(body, form, target, self.error)
        if form == "chat" and (changed := as_openai(msgspec.json.decode(body))) is not None:
            delta.raw, delta.data = None, changed
            delta.finish = FINISHES.get(delta.finish or "", delta.finish)
        return delta

    def reader(self, form: str, target: Target) -> Reader:
        return OpenAIReader(form, target, self.error, read=as_openai)


def message_of(message: Any) -> Any:
    """A message as Mistral takes it; one that it takes as it is comes back itself."""
    if not isinstance(message, dict):
        return message
    sent = without_marks(message, MARKS)
    if sent.get("role") == "developer":
        sent = {**sent, "role": "system"}
    if sent.get("role") != "tool" and "name" in sent:
        sent = {name: value for name, value in sent.items() if name != "name"}
    if isinstance(parts := sent.get("content"), list):
        sent = {**sent, "content": [part_of(part) for part in parts]}
    thought = message.get("reasoning_content")
    if sent.get("role") == "assistant" and isinstance(thought, str) and thought:
        sent = {**sent, "content": [thinking(thought), *as_parts(sent.get("content"))]}
    if isinstance(calls := sent.get("tool_calls"), list):
        sent = {**sent, "tool_calls": [{**call, "id": legal_id(call.get("id"))} for call in calls]}
    if "tool_call_id" in sent:
        sent = {**sent, "tool_call_id": legal_id(sent["tool_call_id"])}
    return sent


def thinking(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


def as_parts(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return list(content or ())


def part_of(part: Any) -> Any:
    """A content part in Mistral's shape."""
    if not isinstance(part, dict):
        return part
    if part.get("type") == "file" and isinstance(file := part.get("file"), dict):
        if file.get("file_id"):
            return {"type": "file", "file_id": file["file_id"]}
        document = {"type": "document_url", "document_url": file.get("file_data") or file.get("file_url")}
        return document | ({"document_name": file["filename"]} if file.get("filename") else {})
    if part.get("type") == "input_audio" and isinstance(audio := part.get("input_audio"), dict):
        return {"type": "input_audio", "input_audio": audio.get("data")}
    if part.get("type") == "refusal":
        return {"type": "text", "text": part.get("refusal") or ""}
    return part


def legal_id(given: Any) -> str:
    """A tool call's id in the nine letters and digits that Mistral takes; the same one for the same given one."""
    text = str(given or "")
    if LEGAL_ID.fullmatch(text):
        return text
    number = int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big")
    letters = ""
    for _ in range(9):
        number, rest = divmod(number, len(ALPHABET))
        letters += ALPHABET[rest]
    return letters


def as_openai(answer: dict[str, Any]) -> dict[str, Any] | None:
    """An answer, or a chunk of one, in OpenAI's shape; None where it has that shape already."""
    changed = False
    choices = []
    for choice in objects_of(answer.get("choices")):
        field = "message" if "message" in choice else "delta"
        message = fields_of(choice.get(field))
        renewed = {**message, **content_of(message.get("content"))}
        if calls := objects_of(message.get("tool_calls")):
            renewed["tool_calls"] = [{"type": "function", **call} for call in calls]
        finish = choice.get("finish_reason")
        if renewed != message or (isinstance(finish, str) and finish in FINISHES):
            changed = True
            choice = {**choice, field: renewed, "finish_reason": FINISHES.get(str(finish), finish)}
        choices.append(choice)
    return {**answer, "choices": choices} if changed else None


def content_of(content: Any) -> dict[str, Any]:
    """Content in parts as OpenAI's fields; {} for a text."""
    if not isinstance(content, list):
        return {}
    parts = objects_of(content)
    found: dict[str, Any] = {
        "content": "".join(words(part.get("text")) for part in parts if part.get("type") == "text")
    }
    if thought := "".join(words(part.get("thinking")) for part in parts if part.get("type") == "thinking"):
        found["reasoning_content"] = thought
    if others := [part for part in parts if part.get("type") not in ("text", "thinking")]:
        found["references"] = others
    return found
