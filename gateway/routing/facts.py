"""What conditions ask about a call, found out only when it is asked."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.call import Call
from gateway.core.conditions import METADATA
from gateway.core.errors import Unsupported

IMAGES = frozenset({"image_url", "input_image", "image"})
AUDIO = frozenset({"input_audio", "audio"})
FILES = frozenset({"file", "input_file", "document"})
BYTES_PER_TOKEN = 4  # of prose; close enough to choose a model by
IMAGE_TOKENS = 800

CODE = re.compile(r"```|\bdef \w+\(|\bclass \w+|\bSELECT\b.+\bFROM\b|[{};]\s*\n|=>|\btraceback\b", re.IGNORECASE)
MATHS = re.compile(r"[∑∫√≤≥±∂∞]|\\frac|\b(prove|proof|derive|theorem|integral|equation|probability)\b", re.IGNORECASE)
REASONING = re.compile(
    r"\b(why|explain|analy[sz]e|compare|evaluate|trade-?offs?|step by step|design|architect\w*|plan|strategy|debug|"
    r"optimi[sz]e|refactor|review|critique|pros and cons|root cause)\b",
    re.IGNORECASE,
)
SIMPLE = re.compile(
    r"^\s*(hi|hello|hey|thanks?|thank you|yes|no|ok|what is|who is|when (is|was)|where is|define|translate|spell)\b",
    re.IGNORECASE,
)
MOST_TEXT = 20_000  # characters that are looked at


class Facts:
    """The facts of one call. Each is worked out at most once."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self._known: dict[str, Any] = {}

    def get(self, field: str) -> Any:
        """A field's value; texts as tuples of strings, empty where the call names none."""
        if field not in self._known:
            self._known[field] = self._find(field)
        return self._known[field]

    def _find(self, field: str) -> Any:
        if field.startswith(METADATA):
            return _texts(self.call.controls.metadata.get(field[len(METADATA) :]))
        return getattr(self, f"_{field}")()

    def _body(self) -> Mapping[str, Any]:
        if "body" not in self._known:
            try:
                self._known["body"] = self.call.canonical()
            except Unsupported:
                self._known["body"] = self.call.body
        return self._known["body"]  # type: ignore[no-any-return]

    def _parts(self) -> frozenset[str]:
        """The types of all content parts."""
        if "parts" not in self._known:
            self._known["parts"] = frozenset(part.get("type", "") for part in parts_of(self._body()))
        return self._known["parts"]  # type: ignore[no-any-return]

    def _has_image(self) -> bool:
        return bool(self._parts() & IMAGES)

    def _has_audio(self) -> bool:
        return bool(self._parts() & AUDIO)

    def _has_file(self) -> bool:
        return bool(self._parts() & FILES)

    def _has_tools(self) -> bool:
        return bool(self._body().get("tools") or self._body().get("functions"))

    def _wants_json(self) -> bool:
        wanted = self._body().get("response_format")
        return isinstance(wanted, dict) and wanted.get("type") in {"json_object", "json_schema"}

    def _streamed(self) -> bool:
        return self.call.stream

    def _messages(self) -> int:
        found = self._body().get("messages")
        return len(found) if isinstance(found, list) else 1

    def _context_tokens(self) -> int:
        text = sum(len(each) for each in texts_of(self._body()))
        images = sum(part.get("type") in IMAGES for part in parts_of(self._body()))
        return text // BYTES_PER_TOKEN + IMAGE_TOKENS * images

    def _output_tokens(self) -> int:
        body = self._body()
        return int(body.get("max_completion_tokens") or body.get("max_tokens") or 0)

    def _complexity(self) -> str:
        score, _ = complexity(self._body(), self.get("context_tokens"), self._messages())
        return "simple" if score < 3 else "moderate" if score < 6 else "hard"

    def complexity_told(self) -> str:
        """The level with what it was found by, for the decision."""
        score, signs = complexity(self._body(), self.get("context_tokens"), self._messages())
        return f"{self.get('complexity')} ({score}: {', '.join(signs) or 'nothing special'})"

    def _key(self) -> tuple[str, ...]:
        return _texts(self.call.caller and self.call.caller.key)

    def _team(self) -> tuple[str, ...]:
        return _texts(self.call.caller and self.call.caller.team)

    def _workspace(self) -> tuple[str, ...]:
        return _texts(self.call.caller and self.call.caller.workspace)

    def _user(self) -> tuple[str, ...]:
        return _texts(self.call.controls.user)

    def _tag(self) -> tuple[str, ...]:
        return self.call.controls.tags

    def _form(self) -> tuple[str, ...]:
        return (self.call.form.name,)


def complexity(body: Mapping[str, Any], tokens: int, messages: int) -> tuple[int, list[str]]:
    """How hard a question looks, from 0 up, and what it was found by. Looks at the last user message; no model is asked.

    3 and above is moderate, 6 and above hard.
    """
    last = next((text for text in reversed(list(texts_of(body, role="user")))), "")[:MOST_TEXT]
    found = {
        "long input": min(3, tokens // 1500),
        "long conversation": min(1, messages // 12),
        "code": 2 if CODE.search(last) else 0,
        "mathematics": 3 if MATHS.search(last) else 0,
        "reasoning asked": min(4, 2 * len(REASONING.findall(last))),
        "several questions": min(2, max(0, last.count("?") - 1)),
        "tools": 1 if body.get("tools") else 0,
        "long question": min(2, len(last) // 600),
        "effort asked": 3 if body.get("reasoning_effort") in {"medium", "high"} else 0,
        "plain question": -2 if len(last) < 120 and SIMPLE.search(last) else 0,
    }
    return max(0, sum(found.values())), [name for name, points in found.items() if points]


def parts_of(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The content parts of all messages."""
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            yield from (part for part in content if isinstance(part, dict))


def texts_of(body: Mapping[str, Any], role: str = "") -> Iterator[str]:
    """The texts of the messages, of one role or of all; of a body without messages, its input."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        given = body.get("input", body.get("prompt", ""))
        yield from (each for each in (given if isinstance(given, list) else [given]) if isinstance(each, str))
        return
    for message in messages:
        if not isinstance(message, dict) or (role and message.get("role") != role):
            continue
        content = message.get("content")
        if isinstance(content, str):
            yield content
        elif isinstance(content, list):
            yield from (
                part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
            )


def _texts(value: Any) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    if isinstance(value, list | tuple):
        return tuple(str(each) for each in value)
    if isinstance(value, bool):
        return ("true" if value else "false",)
    return (str(value),)
