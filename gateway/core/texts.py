"""Every text in a call's body or answer, whatever its form: found by walking all of it, not by a list of fields.

A list of the fields that hold text would be wrong the day that a provider adds one. So the walk visits every string and
every key, and leaves out only what cannot hold a person's text: names of the protocol (`type`, `role`, `model`) and
encoded binary data. Strings that hold JSON (tool arguments, tool results) are read as JSON.
"""

import json
import re
from collections.abc import Callable, Container, Iterator
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
_JSON_BEGINS = frozenset("{[ \n\t\r")
_LEAST_DIGITS = 10**6
_DEEPEST = 100


def is_binary(text: str, key: str) -> bool:
    """Whether a string is encoded binary data, which holds no text to look at."""
    return key in BINARY_KEYS and len(text) >= 120 and _BASE64.match(text) is not None


def rewritten(value: Any, visit: Visit, *, known: Container[str] = (), free: bool = False) -> Any:
    """The value with every text as `visit` returns it; the same object where nothing changed. Nothing is changed in place.

    `known` are keys that need no visit. `free` says that the value stands where any JSON may, so that its long numbers
    are visited as text too.
    """
    return _Walk(visit, known).value(value, "", free, 0)


class _Walk:
    """One walk. `depth` counts the objects around a value, and texts that are JSON."""

    __slots__ = ("known", "visit")

    def __init__(self, visit: Visit, known: Container[str]) -> None:
        self.visit, self.known = visit, known

    def value(self, value: Any, key: str, free: bool, depth: int) -> Any:
        if isinstance(value, str):
            return self.text(value, key, depth)
        if isinstance(value, dict):
            return self.object(value, free, depth + 1)
        if isinstance(value, list):
            changed = False
            items = []
            for item in value:
                new = self.value(item, key, free, depth)
                changed = changed or new is not item
                items.append(new)
            return items if changed else value
        if free and isinstance(value, int | float) and abs(value) >= _LEAST_DIGITS:
            number = repr(value)
            shown = self.visit(number, key)
            return value if shown == number else shown
        return value

    def object(self, value: dict[str, Any], free: bool, depth: int) -> dict[str, Any]:
        changed = False
        fields: dict[str, Any] = {}
        for key, item in value.items():
            name = key if key in self.known else self.visit(key, "")
            if isinstance(item, str):
                new: Any = item if key in PROTOCOL_KEYS and not free else self.text(item, key, depth)
            elif isinstance(item, dict | list) or free or key in FREE_KEYS:
                new = self.value(item, key, free or key in FREE_KEYS, depth)
            else:
                new = item
            changed = changed or new is not item or name is not key
            fields[name] = new
        return fields if changed else value

    def text(self, text: str, key: str, depth: int) -> str:
        if key in BINARY_KEYS and is_binary(text, key):
            return text
        if text[:1] in _JSON_BEGINS and depth < _DEEPEST and (held := as_json(text)) is not None:
            new = self.value(held, key, True, depth + 1)
            return text if new is held else json.dumps(new, ensure_ascii=False)
        return self.visit(text, key)


def as_json(text: str) -> Any:
    """The object or list that a string holds as JSON, or None."""
    bare = text.strip()
    if len(bare) < 2 or bare[0] + bare[-1] not in ("{}", "[]"):
        return None
    try:
        held = json.loads(bare)
    except (ValueError, RecursionError):
        return None
    return held if isinstance(held, dict | list) else None


def is_long(value: Any, most: int) -> bool:
    """Whether a body holds more than so many characters, about: texts, keys, and eight for each value. Looks no further."""
    left = most
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            left -= len(item)
        elif isinstance(item, dict):
            left -= sum(map(len, item)) + 8 * len(item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            left -= 8 * len(item)
            waiting.extend(item)
        if left < 0:
            return True
    return False


def pieces(text: str, most: int) -> Iterator[tuple[int, int]]:
    """A text in pieces of at most so many characters, one after another, that end between two words where they can."""
    start = 0
    while len(text) - start > most:
        end = start + most
        end = max(text.rfind(" ", end - most // 4, end), text.rfind("\n", end - most // 4, end)) + 1 or end
        yield start, end
        start = end
    yield start, len(text)


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
