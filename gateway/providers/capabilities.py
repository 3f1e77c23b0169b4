"""Whether what is known of a model rules a call out, so that the next target can take it before anything is sent.

A model's capabilities are words: image, audio, file, video (parts that it takes), tools, json_schema. A model
without a list is known nothing of, and rules nothing out. All forms are read as they come, translated or not.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.call import Target

KNOWN = frozenset({"image", "audio", "file", "video", "tools", "json_schema"})
PARTS = {
    "image_url": "image",
    "image": "image",
    "input_image": "image",
    "input_audio": "audio",
    "file": "file",
    "document": "file",
    "input_file": "file",
    "video_url": "video",
}
WHAT = {
    "image": "takes no images",
    "audio": "takes no audio",
    "file": "takes no files",
    "video": "takes no video",
    "tools": "calls no tools",
    "json_schema": "has no structured output",
}
# A call is ruled out only when it is too long for certain: ordinary text has at most some 4.5 characters a token,
# so six leave room; whoever is wrongly let through is refused by the provider.
CHARACTERS_PER_TOKEN = 6
TEXTS = ("messages", "system", "input", "instructions", "prompt", "tools")
NO_TEXT = frozenset({"image_url", "input_audio", "file", "video_url", "source", "file_data", "role", "type"})


def rules_out(body: Mapping[str, Any], target: Target) -> str | None:
    """Why the target can't take this call, in words for the caller, or None. `body` is in the caller's form."""
    if target.capabilities is not None:
        for needed in needs(body):
            if needed not in target.capabilities:
                return f"{target.model} {WHAT[needed]}"
    if target.context_tokens is not None:
        least = sum(characters(body.get(name)) for name in TEXTS) // CHARACTERS_PER_TOKEN
        if least > target.context_tokens:
            return f"{target.model} reads at most {target.context_tokens} tokens; this call has at least {least}"
    return None


def needs(body: Mapping[str, Any]) -> Iterator[str]:
    """The capabilities that a call needs, in the order in which they stand in it."""
    for turns in (body.get("messages"), body.get("input")):
        if not isinstance(turns, list):
            continue
        for turn in turns:
            content = turn.get("content") if isinstance(turn, dict) else None
            if isinstance(content, list):
                for part in content:
                    if isinstance(part, dict) and (needed := PARTS.get(str(part.get("type")))):
                        yield needed
    if body.get("tools"):
        yield "tools"
    shape = body.get("response_format")
    if isinstance(shape, dict) and shape.get("type") == "json_schema":
        yield "json_schema"


def characters(value: Any) -> int:
    """The characters of all text in it; media and labels left out."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(characters(inner) for name, inner in value.items() if name not in NO_TEXT)
    if isinstance(value, list):
        return sum(map(characters, value))
    return 0
