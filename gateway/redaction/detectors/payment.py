"""Payment cards and bank accounts (IBAN)."""

import re
from collections.abc import Iterator
from string import ascii_uppercase

# Letters in an IBAN's length by country (SWIFT's IBAN registry): where the number ends when words follow it.
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip
_IBAN = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]{2})\d{2}(?:[ -]?[A-Za-z0-9]){11,40}")
_NO_SEPARATORS = str.maketrans("", "", " -")
_LETTERS = {ord(letter): str(value) for value, letter in enumerate(ascii_uppercase, 10)}
# Words before digits that say they are a card's, for identities.context
CARD_WORDS = r"(?:card|visa|master ?card|amex|maestro|kreditkarte|karte|kaart|debit|credit|pan)\b"


def ibans(text: str) -> Iterator[tuple[int, int]]:
    """Each account number whose length fits its country and whose check digits hold (ISO 13616, mod 97)."""
    at = 0
    while (match := _IBAN.search(text, at)) is not None:
        start, at = match.span()
        length = IBAN_LENGTHS.get(match[1].upper())
        compact = match.group().translate(_NO_SEPARATORS).upper()
        if length is None or len(compact) < length:
            continue
        end = at = _end_of(text, start, length)  # another one may begin within what the pattern took
        if _mod_97(compact[:length]) == 1:
            yield start, end


def _end_of(text: str, start: int, length: int) -> int:
    """Where so many letters and digits from `start` on end, separators between them not counted."""
    end = start + length
    while (more := length - len(text[start:end].translate(_NO_SEPARATORS))) > 0:
        end += more
    return end


def _mod_97(compact: str) -> int:
    return int((compact[4:] + compact[:4]).translate(_LETTERS)) % 97


def is_card(digits: str, *, near: bool) -> bool:
    """Whether digits are a payment card's: a range that issuers use, its length, and the check digit (Luhn)."""
    return (
        12 <= len(digits) <= 19
        and len(set(digits)) > 1
        and len(digits) in _lengths(digits, near)
        and passes_luhn(digits)
    )


_DOUBLED = str.maketrans("0123456789", "0246813579")  # each digit times two, its own digits added up


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B).

    Here, because the library's takes eight times as long, and in a table of numbers every group is asked.
    """
    doubled = digits[-2::-2].translate(_DOUBLED)
    return sum(map(int, digits[-1::-2] + doubled)) % 10 == 0


def _lengths(digits: str, near: bool) -> tuple[int, ...]:
    two, four = int(digits[:2]), int(digits[:4])
    if digits[0] == "4":
        return (13, 16, 19) if near else (16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720 or 3528 <= four <= 3589:
        return (16,)
    if two in (34, 37):
        return (15,)
    if two in (36, 38, 39) or 3000 <= four <= 3059:
        return (14, 16)
    if four == 6011 or 6440 <= four <= 6499 or two in (65, 62):
        return (16, 17, 18, 19)
    if two in (50, 56, 57, 58, 63, 67):
        return (12, 13, 14, 15, 16, 17, 18, 19) if near else (16, 18, 19)
    return ()
