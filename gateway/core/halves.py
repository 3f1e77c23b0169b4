"""Characters beyond U+FFFF that a stream cuts in two, as servers written in JavaScript do.

Such a server sends an emoji as `\\ud83d` at the end of one event and `\\ude42` at the beginning of the next. Each event
alone is JSON that strict readers refuse, so the halves are kept until they meet; a half that stays alone becomes U+FFFD.
"""

import json
import re
from typing import Any

import msgspec

HIGH = "\ud800", "\udbff"
PAIR_OR_HALF = re.compile(rb"(?i)(\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2})|\\ud[89a-f][0-9a-f]{2}")
PLACEHOLDER = rb"\ufffd"


def without_halves(data: bytes) -> bytes:
    """The JSON with U+FFFD for every escaped half that stands alone."""
    return PAIR_OR_HALF.sub(lambda found: found[1] or PLACEHOLDER, data)


def decode_object(data: bytes) -> dict[str, Any]:
    """A JSON object, halves kept as lone surrogates in its strings. Raises ValueError or msgspec.DecodeError."""
    try:
        value = msgspec.json.decode(data)
    except msgspec.DecodeError:
        if b"\\u" not in data:
            raise
        value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("the JSON is no object")
    return value


def joined(text: str) -> str:
    """The text with its halves put together; one that stands alone becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


class Halves:
    """Joins the pieces of one text: takes a half off a piece's end and puts it before the next."""

    __slots__ = ("half",)

    def __init__(self) -> None:
        self.half = ""

    def join(self, piece: str) -> str:
        """The piece, whole. May be empty when it was nothing but a half."""
        if not self.half and piece.isascii():
            return piece
        text, self.half = self.half + piece, ""
        if text and HIGH[0] <= text[-1] <= HIGH[1]:
            text, self.half = text[:-1], text[-1]
        return joined(text)


class Mender:
    """Puts the halves of a stream's events together, each text by its place in the event."""

    __slots__ = ("_texts",)

    def __init__(self) -> None:
        self._texts: dict[tuple[Any, ...], Halves] = {}

    def mend(self, data: bytes) -> bytes | None:
        """The event's JSON with whole characters, or None where it needs no mending."""
        if b"\\u" not in data or without_halves(data) == data:
            return None
        try:
            value = json.loads(data)
        except ValueError:
            return None
        return msgspec.json.encode(self._walk(value, ()))

    def _walk(self, value: Any, place: tuple[Any, ...]) -> Any:
        if isinstance(value, dict):
            return {joined(name): self._walk(inner, (*place, name)) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._walk(inner, (*place, index)) for index, inner in enumerate(value)]
        if not isinstance(value, str):
            return value
        text = self._texts.get(place)
        if text is None:
            if value.isascii():
                return value
            text = self._texts[place] = Halves()
        return text.join(value)
