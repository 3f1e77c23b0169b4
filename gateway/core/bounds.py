"""Bounding tokens without a tokenizer.

A tokenizer that works on bytes can't make more tokens than bytes, framing excepted. So the UTF-8 bytes of all text
and of the tools' schemas, 16 for each message and 64 for the call are a true bound of the input, three to four times
too high for prose; that matters only near a cap, where calls wait for each other.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.core.call import Call
from gateway.core.errors import InvalidRequest

PER_MESSAGE = 16
PER_CALL = 64
MOST_OUTPUT_TOKENS = 10_000_000
MOST_CHOICES = 128
HOSTED_TOOL_USES = 5  # where the caller sets no max_uses
AUDIO_BYTES_PER_TOKEN = 8  # base64 of 6 kbit/s speech is 1,000 bytes and 32 tokens a second; three times that is safe
ASKED = ("max_completion_tokens", "max_tokens", "max_output_tokens")
LIMITS = frozenset(ASKED)
MANY = frozenset({"n", "best_of", "prompt"})  # without these there is one answer
CONVERSATION = frozenset({"messages", "input", "system", "instructions", "prompt", "suffix", "query", "documents"})
UNCOUNTED = frozenset({"content", "text"})  # these keys are not read by the model, their values are
FRAMING = frozenset({"role", "type"})  # PER_MESSAGE covers these with their values
IMAGES = frozenset({"image_url", "input_image", "image"})
AUDIO = frozenset({"input_audio", "audio"})
UNBOUNDED = frozenset({"file", "input_file", "document", "video", "video_url", "item_reference", "container_upload"})
HOSTED = ("web_", "code_", "file_", "image_generation", "mcp", "computer_use_preview", "google_search", "url_context")


class Size(msgspec.Struct, gc=False):
    """What a body holds, for every target alike."""

    text: int = 0  # bytes
    messages: int = 0
    images: int = 0
    audio: int = 0  # tokens
    has_audio: bool = False
    unbounded: bool = False
    cache_write: bool = False
    tool_uses: int = 0

    @property
    def input(self) -> int:
        """Bound of the input's tokens, pictures and what has no bound apart."""
        return self.text + PER_MESSAGE * self.messages + PER_CALL + self.audio


def measured(call: Call) -> Size:
    """The size of what the call asks. Stages replace a body and never change it, so each body is measured once."""
    body = call.chat if call.chat is not None else call.body
    if call.size is None or call.size[0] is not body:
        call.size = body, measure(body)
    size: Size = call.size[1]
    return size


def measure(body: Mapping[str, Any]) -> Size:
    """Measure a body in any of the caller's forms."""
    size = Size()
    for key, value in body.items():
        if key in CONVERSATION:
            if isinstance(value, list):
                size.messages += len(value)
            walk(value, size)
        elif isinstance(value, (list, dict)):
            if key in ("tools", "functions"):
                find_hosted(value, size)
            elif key in ("modalities", "audio"):
                size.has_audio = True
            walk_schema(value, size)
    if body.get("previous_response_id") or body.get("conversation"):
        size.unbounded = True
    if body.get("web_search_options") is not None:
        size.tool_uses += 1
        size.unbounded = True
    if "cache_control" in body:
        size.cache_write = True
    return size


def walk(value: Any, size: Size) -> None:
    """Add what a part of the conversation holds to its size."""
    if isinstance(value, str):
        size.text += len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, dict):
        kind = value.get("type")
        if type(kind) is not str:
            kind = ""
        if kind in IMAGES:
            size.images += 1
            walk_words(value, size)
        elif kind in AUDIO:
            size.has_audio = True
            size.audio += longest(value) // AUDIO_BYTES_PER_TOKEN
            walk_words(value, size)
        elif kind in UNBOUNDED:
            size.unbounded = True
        else:
            for key, inner in value.items():
                if key in FRAMING:
                    continue
                if key not in UNCOUNTED:
                    size.text += 4 + len(key) * (1 if key.isascii() else 4)
                    if key in ("cache_control", "cachePoint"):
                        size.cache_write = True
                if isinstance(inner, str) and inner.isascii():
                    size.text += len(inner)
                else:
                    walk(inner, size)
    elif isinstance(value, list):
        for inner in value:
            walk(inner, size)
    elif value is not None:
        size.text += 24  # a number or a truth value


def walk_words(part: Mapping[str, Any], size: Size) -> None:
    """Add words that stand in an image or a sound beside it: no form has them, but a server might read them."""
    for key in ("text", "content"):
        if key in part:
            walk(part[key], size)


def walk_schema(value: Any, size: Size) -> None:
    """Add a tool's schema or an answer's format: every key counts, and the marks between them."""
    if isinstance(value, str):
        size.text += 4 + (len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass")))
    elif isinstance(value, dict):
        for key, inner in value.items():
            size.text += 8 + len(key) * (1 if key.isascii() else 4)
            walk_schema(inner, size)
    elif isinstance(value, list):
        for inner in value:
            walk_schema(inner, size)
    else:
        size.text += 24


def longest(value: Any) -> int:
    """Characters of the longest string inside."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return max((longest(inner) for inner in value.values()), default=0)
    return 0


def find_hosted(tools: Any, size: Size) -> None:
    """Notice tools that the provider runs itself: they bill by the use and read as much as they like."""
    for tool in tools if isinstance(tools, list) else ():
        if not isinstance(tool, dict):
            continue
        if "cache_control" in tool:
            size.cache_write = True
        kind = tool.get("type")
        if isinstance(kind, str) and kind.startswith(HOSTED):
            uses = tool.get("max_uses")
            size.tool_uses += uses if isinstance(uses, int) and 0 < uses <= 100 else HOSTED_TOOL_USES
            size.unbounded = True


def asked_output(body: Mapping[str, Any]) -> int | None:
    """The output tokens that the caller allows for one choice, or None. Raises InvalidRequest for nonsense."""
    found: int | None = None
    if LIMITS.isdisjoint(body):
        return None
    for name in ASKED:
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MOST_OUTPUT_TOKENS:
            raise InvalidRequest(f"{name} must be a whole number of tokens, at least 1", param=name)
        if found is not None:
            raise InvalidRequest(f"Give one of {', '.join(ASKED)}, not two of them", param=name)
        found = value
    return found


def choices(body: Mapping[str, Any]) -> int:
    """How many answers are generated. Raises InvalidRequest for nonsense."""
    most = 1
    if MANY.isdisjoint(body):
        return most
    for name in ("n", "best_of"):
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_CHOICES:
            raise InvalidRequest(f"{name} must be a whole number from 1 to {MOST_CHOICES}", param=name)
        most = max(most, value)
    prompts = body.get("prompt")
    if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int):
        most *= len(prompts)  # completions: one answer for each prompt
    return most
