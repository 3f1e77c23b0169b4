"""How two versions differ: messages line by line, and everything else that shapes an answer."""

import difflib
import json
from dataclasses import dataclass
from typing import Any

from prompts.models import PromptVersion


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a difference. kind: same, gone, new, gap."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Part:
    title: str
    lines: list[Line]
    is_changed: bool


def differences(before: PromptVersion | None, after: PromptVersion) -> list[Part]:
    """Message by message, then route, parameters, tools, response format and inputs; unchanged settings are left out."""
    old, new = messages_of(before), messages_of(after)
    parts = []
    for at in range(max(len(old), len(new))):
        first, second = old[at] if at < len(old) else "", new[at] if at < len(new) else ""
        parts.append(Part(f"Message {at + 1}", compared(first, second), first != second))
    for title, name in (
        ("Route", "route"),
        ("Parameters", "parameters"),
        ("Tools", "tools"),
        ("Response format", "response_format"),
        ("Inputs", "input_schema"),
    ):
        first = shown(getattr(before, name)) if before is not None else ""
        second = shown(getattr(after, name))
        if first != second:
            parts.append(Part(title, compared(first, second), True))
    return parts


def messages_of(version: PromptVersion | None) -> list[str]:
    """Each message as text, with its partials put in."""
    if version is None:
        return []
    found = version.resolved if version.resolved is not None else version.messages
    return [message_text(message) for message in found]


def message_text(message: dict[str, Any]) -> str:
    if set(message) <= {"role", "content"} and isinstance(message.get("content"), str):
        return f"{message.get('role')}:\n{message['content']}"
    return json.dumps(message, ensure_ascii=False, indent=2)


def shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) if value else ""


def compared(before: str, after: str) -> list[Line]:
    kinds = {" ": "same", "-": "gone", "+": "new"}
    found = difflib.ndiff(before.splitlines(), after.splitlines())
    return [Line(kinds[line[0]], line[2:]) for line in found if line[0] in kinds]
