"""What a run of digits is: a payment card, somebody's identity number, a telephone number, or nothing of the kind.

One pattern finds the runs (digits with the separators that people put between them); each run, and each group of its
parts, is then asked in the order of certainty. So a text without five digits in a row costs one scan and nothing more.
"""

import re
from collections.abc import Iterator
from string import ascii_uppercase
from typing import NamedTuple

import re2

from gateway.redaction.detectors.contact import is_phone
from gateway.redaction.detectors.identities import (
    DIGIT_SHAPES,
    LETTER_SHAPES,
    Context,
    context,
    is_south_african_id,
    is_told,
    shaped,
)
from gateway.redaction.detectors.payment import is_card

# Patterns begin with what can begin a match, and look back from there: so the search jumps to the next such character.
_RUN = re.compile(r"[+(0-9](?<![0-9_][+(0-9])(?:(?<=[+(])[+(]?[0-9]|(?<=[0-9]))(?:[ ().\-/]{0,3}[0-9]){4,}+")
_SEPARATORS = str.maketrans("", "", " ().-/+")
_GLUED = re.compile(r"[^\W\d_]{1,12}[.:#]?\Z")
_GLUED_WORDS = frozenset({"id", "idno", "idnr", "tel", "cell", "ph", "no", "nr", "fax", "mob", "sa", "rsa", "phone"})
_PREFIX = re.compile(r"(?<![\w-])[a-z]{2,4}-\Z")
_CAPITALS = frozenset(ascii_uppercase)
_BETWEEN = frozenset("-+ ")
_ITALIAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z](?![A-Za-z0-9])")
_COULD_BE_ITALIAN = re2.compile(r"[A-Z]{6}[0-9]{2}[A-Z][0-9]{2}[A-Z][0-9]{3}[A-Z]")
_CONTEXT_CHARACTERS = 60
_MOST_PARTS = 8
_MOST_SINGLES = 4
_LEAST_DIGITS = 7
_MOST_DIGITS = 19
_ID_DIGITS = 13  # of a South African identity number

Found = tuple[int, int, str]


def numbers(text: str, kinds: frozenset[str], hint: str) -> Iterator[Found]:
    """Cards, identity numbers and telephones as (start, end, kind). `hint` names the field that the text stands in."""
    wants_ids = "id_number" in kinds
    for run in _RUN.finditer(text):
        start, end = run.span()
        if end - start < _LEAST_DIGITS and not _has_letters_around(text, start, end):
            continue  # an order's or a house's number
        taken = 0
        if wants_ids:
            for found in _shapes_around(text, start, end, hint):
                yield (*found, "id_number")
                taken = max(taken, found[1])
        if not taken:
            yield from _parts(text, start, end, kinds, hint)
        elif taken < end:
            yield from _parts(text, taken, end, kinds, hint)
    if wants_ids and _COULD_BE_ITALIAN.search(text) is not None:
        for match in _ITALIAN.finditer(text):
            yield (*match.span(), "id_number")


def _shapes_around(text: str, start: int, end: int, hint: str) -> Iterator[tuple[int, int]]:
    """Numbers with a shape of their own within the run, or reaching out of it by letters on either side."""
    end_of_shape = min(end, start + 80)
    low = max(0, start - _CONTEXT_CHARACTERS)
    inner = text[start:end_of_shape]
    if len(inner) > 10 and (not inner.isdigit() or len(inner) in (15, 18)):
        for found in shaped(inner, DIGIT_SHAPES, f"{hint} {text[low:start]}", (0, len(inner))):
            yield found[0] + start, found[1] + start
    if _has_letters_around(text, start, end):
        first, last = max(0, start - 7), min(len(text), end_of_shape + 12)
        while first > 0 and text[first - 1].isalnum() and first > start - 12:
            first -= 1
        for found in shaped(text[first:last], LETTER_SHAPES, f"{hint} {text[low:first]}", (start - first, end - first)):
            yield found[0] + first, found[1] + first


def _has_letters_around(text: str, start: int, end: int) -> bool:
    """Whether a capital stands right before or after a run, or one mark away: shapes with letters have no small ones."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    return (
        before[-1:] in _CAPITALS
        or after[:1] in _CAPITALS
        or ((before[1:] == " " and before[0] in _CAPITALS) or (after[:1] in _BETWEEN and after[1:] in _CAPITALS))
    )


class Part(NamedTuple):
    start: int
    end: int
    digits: int


def _parts(text: str, start: int, end: int, kinds: frozenset[str], hint: str) -> Iterator[Found]:
    """Take the run apart at its spaces; of the groups of neighbouring parts, the longest that is something wins."""
    if not _may_begin(text, start) or not _may_end(text, end):
        return
    parts: list[Part] = []
    at = start
    for part in text[start:end].split(" "):
        if part:
            parts.append(Part(at, at + len(part), len(part) if part.isdigit() else len(part.translate(_SEPARATORS))))
        at += len(part) + 1
    if len(parts) > _MOST_SINGLES and all(part.digits == 1 for part in parts):  # 8 0 0 1 0 1 …: spelt out, one by one
        parts = [Part(start, end, len(parts))]
    if sum(part.digits for part in parts) < _LEAST_DIGITS:
        return
    around = context(f"{hint} {text[max(0, start - _CONTEXT_CHARACTERS) : start]}")
    sizes = _TOLD_SIZES if around.phone or around.card or around.told else _SIZES
    known: dict[str, str] = {}  # what a group of parts is: runs repeat themselves
    first, last, digits, singles = 0, -1, 0, 0
    while first < len(parts):
        if last < first:
            last, digits = first, parts[first].digits
            singles = int(digits == 1)
        while (
            last + 1 < len(parts) and last - first + 1 < _MOST_PARTS and digits + parts[last + 1].digits <= _MOST_DIGITS
        ):
            last += 1
            digits += parts[last].digits
            singles += parts[last].digits == 1
        if singles <= _MOST_SINGLES and digits >= _LEAST_DIGITS:  # else a table of small numbers
            left = parts[first].start
            could_be = sizes[parts[first].digits >= 3].get(text[left], _ANY_SIZE)
            for count, candidate in _groups(text, parts, first, last, digits, could_be):
                kind = known.get(candidate)
                if kind is None:
                    kind = known[candidate] = _kind(candidate, kinds, around)
                if kind:
                    yield left, left + len(candidate), kind
                    first, last = first + count, -1
                    break
            if last < 0:
                continue
        digits -= parts[first].digits
        singles -= parts[first].digits == 1
        first += 1


def _groups(
    text: str, parts: list[Part], first: int, last: int, digits: int, could_be: frozenset[int]
) -> Iterator[tuple[int, str]]:
    """The groups from the first part on that have so many digits as something can, the longest first, with their parts."""
    left = parts[first].start
    while digits >= _LEAST_DIGITS:
        if digits in could_be:
            yield last - first + 1, text[left : parts[last].end].rstrip(" ().-/")
        digits -= parts[last].digits
        last -= 1


_ANY_SIZE = frozenset(range(_LEAST_DIGITS, _MOST_DIGITS + 1))
_CARD_SIZES = frozenset(range(13, _MOST_DIGITS + 1))
_TOLD_SIZES: tuple[dict[str, frozenset[int]], ...] = ({}, {})


def _sizes(lead: str, *, begins_long: bool) -> frozenset[int]:
    """How many digits something that begins so can have, where no word before it says what it is."""
    sizes = {_ID_DIGITS}
    if begins_long:
        sizes |= {10, 11}  # 415 555 1234
    if lead in "12":
        sizes |= {11}  # 1 415 555 1234, 27 82 123 4567
    return frozenset(sizes | _CARD_SIZES if lead in "23456" else sizes)


# By whether the first part has three digits or more, then by the first digit; anything, after a plus or a bracket
_SIZES = tuple(
    {lead: _sizes(lead, begins_long=long) for lead in "123456789"} | {"0": frozenset(range(_LEAST_DIGITS, 16))}
    for long in (False, True)
)


def _may_begin(text: str, start: int) -> bool:
    """A letter right before the digits makes them part of a code, unless it is a word such as "ID" or "Tel"."""
    if start == 0 or not (text[start - 1].isalpha() or text[start - 1] in "-"):
        return True
    if text[start - 1] == "-":  # "ku-082 …" in Zulu and Xhosa, but not "SKU-082…"
        return (
            start < 2
            or not text[start - 2].isalnum()
            or text[start] in "+("
            or _PREFIX.search(text[max(0, start - 6) : start]) is not None
        )
    glued = _GLUED.search(text[max(0, start - 14) : start])
    return glued is not None and glued.group().rstrip(".:#").lower() in _GLUED_WORDS


def _may_end(text: str, end: int) -> bool:
    after = text[end : end + 2]
    return not after or not (after[0].isalpha() or after[0] == "_" or (after[0] == "-" and after[1:].isalnum()))


def _kind(candidate: str, kinds: frozenset[str], around: Context) -> str:
    digits = candidate.translate(_SEPARATORS)
    if len(digits) < _LEAST_DIGITS or candidate.count("(") > candidate.count(")"):
        return ""
    signed = candidate[0] in "+("
    plain = not signed and "." not in candidate and "/" not in candidate
    if plain and "id_number" in kinds and is_south_african_id(digits, near=around.identity):
        return "id_number"
    if plain and "credit_card" in kinds and is_card(digits, near=around.card):
        return "credit_card"
    if "phone" in kinds and signed and is_phone(candidate, digits, near=around.phone):
        return "phone"
    if "id_number" in kinds and not signed and is_told(digits, around.told):
        return "id_number"
    if "phone" in kinds and not signed and is_phone(candidate, digits, near=around.phone):
        return "phone"
    return ""
