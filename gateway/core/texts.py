"""Every text in a call's body or answer, whatever its form: found by walking all of it, not by a list of fields.

A list of the fields that hold text would be wrong the day that a provider adds one. So the walk visits every string and
every key, and leaves out only what cannot hold a person's text: names of the protocol (`type`, `role`, `model`) and
encoded binary data. Strings that hold JSON (tool arguments, tool results) are read as JSON.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

# visit(text, key) returns the text to put in its place; `key` is the nearest key above it, "" where there is none
Visit = Callable[[str, str], str]

PROTOCOL_KEYS = frozenset(
    {
        "type", "role", "model", "object", "status", "media_type", "mime_type", "encoding_format", "finish_reason",
        "stop_reason", "detail", "effort", "reasoning_effort", "service_tier", "truncation", "verbosity", "voice",
        "response_format_type", "signature", "encrypted_content", "created", "created_at", "ttl", "quality", "size",
    }
)  # fmt: skip
BINARY_KEYS = frozenset({"data", "file_data", "b64_json", "bytes", "url", "image_url", "audio", "image"})
# Where any JSON may stand, so that a number may be somebody's id and not a parameter of the protocol
FREE_KEYS = frozenset({"input", "arguments", "args", "metadata", "inputs", "variables", "documents", "output"})
_BASE64 = re.compile(r"(?:data:[\w.+-]+/[\w.+-]+(?:;[\w=.-]+)*;base64,)?[A-Za-z0-9+/_\-\r\n]{120,}={0,2}\Z")
_LEAST_DIGITS = 10**6
_DEEPEST = 100


def is_binary(text: str, key: str) -> bool:
    """Whether a string is encoded binary data, which holds no text to look at."""
    return key in BINARY_KEYS and len(text) >= 120 and _BASE64.match(text) is not None


def rewritten(value: Any, visit: Visit, key: str = "", *, free: bool = False, depth: int = 0) -> Any:
    """The value with every text as `visit` returns it; the same object where nothing changed. Nothing is changed in place.

    `free` says that the value stands where any JSON may, so that its long numbers are visited as text too.
    """
    if isinstance(value, str):
        return _rewritten_text(value, visit, key, depth)
    if isinstance(value, dict):
        return _rewritten_object(value, visit, free, depth + 1)
    if isinstance(value, list):
        items = [rewritten(item, visit, key, free=free, depth=depth) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    if free and isinstance(value, int | float) and abs(value) >= _LEAST_DIGITS:
        number = repr(value)
        shown = visit(number, key)
        return value if shown == number else shown
    return value


def _rewritten_object(value: dict[str, Any], visit: Visit, free: bool, depth: int) -> dict[str, Any]:
    changed = False
    fields: dict[str, Any] = {}
    for key, item in value.items():
        name = visit(key, "")
        if key in PROTOCOL_KEYS and isinstance(item, str) and not free:
            new = item
        else:
            new = rewritten(item, visit, key, free=free or key in FREE_KEYS, depth=depth)
        changed = changed or new is not item or name is not key
        fields[name] = new
    return fields if changed else value


def _rewritten_text(text: str, visit: Visit, key: str, depth: int) -> str:
    if is_binary(text, key):
        return text
    if (held := as_json(text)) is not None and depth < _DEEPEST:
        new = rewritten(held, visit, key, free=True, depth=depth + 1)
        return text if new is held else json.dumps(new, ensure_ascii=False)
    return visit(text, key)


def as_json(text: str) -> Any:
    """The object or list that a string holds as JSON, or None."""
    if len(text) < 2 or text[0] not in "{[ \n\t\r":
        return None
    bare = text.strip()
    if len(bare) < 2 or bare[0] + bare[-1] not in ("{}", "[]"):
        return None
    try:
        held = json.loads(bare)
    except (ValueError, RecursionError):
        return None
    return held if isinstance(held, dict | list) else None


def length(value: Any) -> int:
    """How many characters of text a body holds, about: enough to decide whether looking at it takes long."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(len(key) + length(item) for key, item in value.items())
    if isinstance(value, list):
        return sum(map(length, value))
    return 8


# --- Who says what ------------------------------------------------------------------------------

_SPOKEN_BY = {
    "system": "system",
    "instructions": "system",
    "tools": "tools",
    "functions": "tools",
    "response_format": "tools",
}


def spoken(value: Any, role: str = "user", key: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a body with the role that says it: system, developer, user, assistant, tool, or "tools" for their
    definitions. What stands under no role (an input, a query, a document) is the user's. Keys are texts too."""
    if isinstance(value, str):
        if value and not is_binary(value, key):
            yield role, value
    elif isinstance(value, dict):
        said = value.get("role")
        kind = value.get("type")
        if isinstance(said, str):
            role = said
        elif kind in ("tool_result", "function_call_output"):
            role = "tool"
        for name, item in value.items():
            if not name.isidentifier():
                yield role, name
            if name not in PROTOCOL_KEYS:
                yield from spoken(item, _SPOKEN_BY.get(name, role) if key == "" else role, name)
    elif isinstance(value, list):
        for item in value:
            yield from spoken(item, role, key)
