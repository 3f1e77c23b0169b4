"""Originals in place of placeholders: in a whole text, and in one that comes in pieces cut anywhere."""

import json
import re
from typing import Any

from gateway.redaction.vault import Vault

_NAME = r"[A-Z][A-Z_]{1,11}_[0-9]{1,6}"
# As a placeholder may come back: as it went out, escaped in HTML, or, within JSON, written with \u003c and \u003e.
_PLAIN = re.compile(rf"(?:<|&lt;)(?P<name>{_NAME})(?:>|&gt;)")
_IN_JSON = re.compile(rf"(?:<|&lt;|(?<!\\)(?P<before>(?:\\\\)*)\\u003[cC])(?P<name>{_NAME})(?:>|&gt;|\\u003[eE])")
# The end of a text that may be the beginning of one: at most 24 characters for up to 99,999 originals of a kind.
_PLAIN_BEGUN = re.compile(r"(?:&(?:l(?:t)?)?|(?:<|&lt;)(?:[A-Z][A-Z_]{0,12}(?:[0-9]{1,6})?(?:&(?:g(?:t)?)?)?)?)\Z")
_JSON_BEGUN = re.compile(
    r"(?:&(?:l(?:t)?)?|\\(?:u(?:0(?:0(?:3)?)?)?)?|(?:<|&lt;|\\u003[cC])"
    r"(?:[A-Z][A-Z_]{0,12}(?:[0-9]{1,6})?(?:&(?:g(?:t)?)?|\\(?:u(?:0(?:0(?:3)?)?)?)?)?)?)\Z"
)
MOST_HELD_CHARACTERS = 32


def could_hold(text: str) -> bool:
    """Whether a text could hold a placeholder, asked in about 0.1 µs."""
    return "<" in text or "&" in text or "\\u003" in text


def restored(text: str, vault: Vault, *, in_json: bool = False) -> str:
    """The text with our placeholders replaced; others stay. Within JSON the originals are escaped as JSON strings are."""
    if not could_hold(text):
        return text

    def original(match: re.Match[str]) -> str:
        found = vault.original(match["name"])
        if found is None:
            return match[0]
        return (match["before"] or "") + json.dumps(found, ensure_ascii=False)[1:-1] if in_json else found

    return (_IN_JSON if in_json else _PLAIN).sub(original, text)


def restored_all(value: Any, vault: Vault, *, json_answer: bool, key: str = "") -> Any:
    """A whole answer with every text and key restored; the same object where nothing was. Nothing is changed in place.

    Tool arguments are JSON within a string, and so is the text of an answer that was asked for as JSON (`json_answer`).
    """
    if isinstance(value, str):
        in_json = key in ("arguments", "partial_json") or (json_answer and key in ("content", "text"))
        return restored(value, vault, in_json=in_json)
    if isinstance(value, dict):
        fields = {
            restored(name, vault): restored_all(item, vault, json_answer=json_answer, key=name)
            for name, item in value.items()
        }
        same = len(fields) == len(value) and all(fields.get(name, value) is item for name, item in value.items())
        return value if same else fields
    if isinstance(value, list):
        items = [restored_all(item, vault, json_answer=json_answer, key=key) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value


class Channel:
    """One text of a streamed answer. `feed` gives back what can be shown; the rest is held until more comes."""

    __slots__ = ("held", "in_json", "template", "vault")

    def __init__(self, vault: Vault, *, in_json: bool) -> None:
        self.vault, self.in_json = vault, in_json
        self.held = ""
        self.template: Any = None  # the event that last carried this text

    def feed(self, piece: str) -> str:
        text = self.held + piece
        if not could_hold(text) and not (self.in_json and "\\" in text):
            self.held = ""
            return text
        begun = (_JSON_BEGUN if self.in_json else _PLAIN_BEGUN).search(text, max(0, len(text) - MOST_HELD_CHARACTERS))
        cut = len(text) if begun is None else begun.start()
        if self.in_json and begun is not None and _is_escaped(text, cut):
            cut = len(text)
        self.held = text[cut:]
        return restored(text[:cut], self.vault, in_json=self.in_json)

    def rest(self) -> str:
        """What is still held, when the text has ended: no placeholder after all."""
        held, self.held = self.held, ""
        return held


def _is_escaped(text: str, place: int) -> bool:
    """Whether the character at a place is a backslash that is itself escaped by the ones before it."""
    before = text[:place]
    return text[place] == "\\" and (len(before) - len(before.rstrip("\\"))) % 2 == 1
