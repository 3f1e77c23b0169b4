"""How two versions differ: messages line by line, and everything else that shapes an answer."""

import difflib
import json
import re
from dataclasses import dataclass
from typing import Any

from prompts.models import PromptVersion

WORD = re.compile(r"\w+|\s+|[^\w\s]")
WORDS_MOST = 2_000  # of a line; a longer one is only told to differ
ALIKE = 0.4


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a difference. kind: same, gone, new. `pieces`: its text, each part with whether it is what differs."""

    kind: str
    text: str
    pieces: tuple[tuple[str, bool], ...] = ()


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
    """Line by line. Where lines were replaced by as many others, also word by word."""
    old, new = before.splitlines(), after.splitlines()
    lines: list[Line] = []
    for deed, start, end, first, last in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if deed == "equal":
            lines += [plain("same", text) for text in old[start:end]]
        elif end - start == last - first:
            pairs = [marked(one, other) for one, other in zip(old[start:end], new[first:last], strict=True)]
            lines += [gone for gone, _ in pairs] + [made for _, made in pairs]
        else:
            lines += [plain("gone", text) for text in old[start:end]] + [plain("new", text) for text in new[first:last]]
    return lines


def plain(kind: str, text: str) -> Line:
    return Line(kind, text, ((text, False),))


def marked(before: str, after: str) -> tuple[Line, Line]:
    """A line and what it became, with the words that differ marked; all of it where little is alike."""
    old, new = WORD.findall(before)[:WORDS_MOST], WORD.findall(after)[:WORDS_MOST]
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    if matcher.ratio() < ALIKE or "".join(old) != before or "".join(new) != after:
        return plain("gone", before), plain("new", after)
    gone, made = [], []
    for deed, start, end, first, last in matcher.get_opcodes():
        if start < end:
            gone.append(("".join(old[start:end]), deed != "equal"))
        if first < last:
            made.append(("".join(new[first:last]), deed != "equal"))
    return Line("gone", before, tuple(gone)), Line("new", after, tuple(made))
