"""A workspace's own patterns and lists. Patterns run in linear time only (RE2), so none can hold up the gateway."""

from collections.abc import Iterable, Iterator
from typing import Any

import re2

_MOST_BYTES = 1_000
_MOST_MEMORY = 1 << 20


class BadPattern(ValueError):
    """A pattern that can't be used. The message says what is wrong with it."""


def compiled(pattern: str) -> "re2._Regexp[str]":
    """The pattern, ready to search. Raises BadPattern when RE2 refuses it or it matches nothing at all."""
    if len(pattern.encode()) > _MOST_BYTES:
        raise BadPattern(f"A pattern may have {_MOST_BYTES} bytes; this one has {len(pattern.encode())}.")
    options = re2.Options()
    options.max_mem = _MOST_MEMORY
    options.log_errors = False
    try:
        ready = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else "it does not compile"
        reason = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise BadPattern(
            f"This pattern can't be run in linear time: {reason}. Backreferences and look-arounds are not available."
        ) from None
    if ready.search("") is not None:
        raise BadPattern("This pattern matches the empty text, so it would match everywhere.")
    return ready


def pattern_of_words(words: Iterable[str]) -> "re2._Regexp[str] | None":
    """One pattern for a list of words and phrases, whatever their case; None for an empty list."""
    chosen = sorted({word.strip() for word in words if word.strip()}, key=len, reverse=True)
    if not chosen:
        return None
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = 64 << 20
    return re2.compile("|".join(re2.escape(word) for word in chosen), options)


def _spans(pattern: "re2._Regexp[str]", text: str) -> Iterator[tuple[int, int]]:
    """Where a pattern matches. In ASCII, bytes and characters have the same places, so that none has to be counted."""
    searched: Any = text.encode() if text.isascii() else text
    for match in pattern.finditer(searched):
        yield match.span()


def matches(pattern: "re2._Regexp[str]", text: str) -> Iterator[tuple[int, int]]:
    for start, end in _spans(pattern, text):
        if end > start:
            yield start, end


def whole_words(pattern: "re2._Regexp[str]", text: str) -> Iterator[tuple[int, int]]:
    """Matches that neither begin nor end within a longer word."""
    for start, end in _spans(pattern, text):
        before, after = text[start - 1 : start] if start else "", text[end : end + 1]
        if not (before.isalnum() and text[start].isalnum()) and not (after.isalnum() and text[end - 1].isalnum()):
            yield start, end
