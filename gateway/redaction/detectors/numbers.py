"""What a run of digits is: a payment card, somebody's identity number, a telephone number, or nothing of the kind.

One pattern finds the runs (digits with the separators that people put between them); each run, and each group of its
parts, is then asked in the order of certainty. So a text without five digits in a row costs one scan and nothing more.
"""

import re
from collections.abc import Iterator

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

_RUN = re.compile(r"(?<![0-9_])[+(]{0,2}[0-9](?:[ ().\-/]{0,3}[0-9]){4,}+")
_PART = re.compile(r"[^ ]+")
_GLUED = re.compile(r"[^\W\d_]{1,12}[.:#]?\Z")
_GLUED_WORDS = frozenset({"id", "idno", "idnr", "tel", "cell", "ph", "no", "nr", "fax", "mob", "sa", "rsa", "phone"})
_PREFIX = re.compile(r"(?<![\w-])[a-z]{2,4}-\Z")
_LETTERS_AROUND = re.compile(r"[A-Z]{1,6} ?\Z")
_ITALIAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z](?![A-Za-z0-9])")
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
        taken = 0
        if wants_ids:
            for found in _shapes_around(text, start, end, hint):
                yield (*found, "id_number")
                taken = max(taken, found[1])
        if not taken:
            yield from _parts(text, start, end, kinds, hint)
        elif taken < end:
            yield from _parts(text, taken, end, kinds, hint)
    if wants_ids:
        for match in _ITALIAN.finditer(text):
            yield (*match.span(), "id_number")


def _shapes_around(text: str, start: int, end: int, hint: str) -> Iterator[tuple[int, int]]:
    """Numbers with a shape of their own within the run, or reaching out of it by letters on either side."""
    end_of_shape = min(end, start + 80)
    low = max(0, start - _CONTEXT_CHARACTERS)
    inner = text[start:end_of_shape]
    if len(inner) > 10 and (not inner.isdigit() or len(inner) in (15, 18)):
        for found in shaped(inner, DIGIT_SHAPES, f"{hint} {text[low:start]}"):
            yield found[0] + start, found[1] + start
    after = text[end : end + 1]
    if (
        _LETTERS_AROUND.search(text[max(0, start - 7) : start])
        or after.isalpha()
        or (after in ("-", "+", " ", "A") and text[end + 1 : end + 2].isalpha())
    ):
        first, last = max(0, start - 7), min(len(text), end_of_shape + 12)
        while first > 0 and text[first - 1].isalnum() and first > start - 12:
            first -= 1
        for found in shaped(text[first:last], LETTER_SHAPES, f"{hint} {text[low:first]}"):
            if found[1] + first > start:
                yield found[0] + first, found[1] + first


def _parts(text: str, start: int, end: int, kinds: frozenset[str], hint: str) -> Iterator[Found]:
    """Take the run apart at its spaces; of the groups of neighbouring parts, the longest that is something wins."""
    if not _may_begin(text, start) or not _may_end(text, end):
        return
    parts = [
        (start + part.start(), start + part.end(), _digits_in(part.group())) for part in _PART.finditer(text[start:end])
    ]
    if len(parts) > _MOST_SINGLES and all(part[2] == 1 for part in parts):  # 8 0 0 1 0 1 …: spelt out, one by one
        parts = [(start, end, len(parts))]
    if sum(part[2] for part in parts) < _LEAST_DIGITS:
        return
    around = context(f"{hint} {text[max(0, start - _CONTEXT_CHARACTERS) : start]}")
    known: dict[str, str] = {}  # what a group of parts is: runs repeat themselves
    first, last, digits, singles = 0, -1, 0, 0
    while first < len(parts):
        if last < first:
            last, digits = first, parts[first][2]
            singles = int(digits == 1)
        while last + 1 < len(parts) and last - first + 1 < _MOST_PARTS and digits + parts[last + 1][2] <= _MOST_DIGITS:
            last += 1
            digits += parts[last][2]
            singles += parts[last][2] == 1
        found = None
        if singles <= _MOST_SINGLES and digits >= _LEAST_DIGITS:  # else a table of small numbers
            found = _longest(text, parts[first : last + 1], kinds, around, known)
        if found is not None:
            left, count, candidate, kind = parts[first][0], *found
            yield left, left + len(candidate), kind
            first, last = first + count, -1
            continue
        digits -= parts[first][2]
        singles -= parts[first][2] == 1
        first += 1


def _longest(
    text: str, parts: list[tuple[int, int, int]], kinds: frozenset[str], around: Context, known: dict[str, str]
) -> tuple[int, str, str] | None:
    """The longest group from the first part on that is something: how many parts, its text and its kind."""
    left = parts[0][0]
    lead = text[left]
    digits = sum(part[2] for part in parts)
    for count in range(len(parts), 0, -1):
        if digits < _LEAST_DIGITS:
            return None
        if digits <= _MOST_DIGITS and _may_be(lead, digits, parts[0][2], around):
            candidate = text[left : parts[count - 1][1]].rstrip(" ().-/")
            kind = known.get(candidate)
            if kind is None:
                kind = known[candidate] = _kind(candidate, kinds, around)
            if kind:
                return count, candidate, kind
        digits -= parts[count - 1][2]
    return None


def _may_be(lead: str, digits: int, of_first: int, around: Context) -> bool:
    """Whether so many digits that begin so can be anything: asked of every group in a table of numbers."""
    if not lead.isdigit() or lead == "0" or digits == _ID_DIGITS or around.phone or around.card or around.told:
        return True
    if digits in (10, 11):  # 415 555 1234, 1 415 555 1234, 27 82 123 4567
        return of_first >= 3 or (digits == 11 and lead in "12")
    return digits > 12 and lead in "23456"  # cards


def _digits_in(part: str) -> int:
    return len(part) if part.isdigit() else sum(map(str.isdigit, part))


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
    digits = "".join(filter(str.isdigit, candidate))
    if len(digits) < _LEAST_DIGITS or candidate.count("(") > candidate.count(")"):
        return ""
    signed = candidate[0] in "+("
    plain = not signed and "." not in candidate and "/" not in candidate
    if plain and "id_number" in kinds and is_south_african_id(digits, near=around.identity):
        return "id_number"
    if plain and "credit_card" in kinds and is_card(digits, near=around.card):
        return "credit_card"
    if "phone" in kinds and signed and is_phone(candidate, near=around.phone):
        return "phone"
    if "id_number" in kinds and not signed and is_told(digits, around.told):
        return "id_number"
    if "phone" in kinds and not signed and is_phone(candidate, near=around.phone):
        return "phone"
    return ""
