"""E-mail addresses and telephone numbers of any country, South African forms first."""

import re
from collections.abc import Iterator

from gateway.redaction.detectors.telephones import dialled, is_possible, is_valid

_LOCAL_BACKWARDS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}")
_QUOTED_END = re.compile(r'"[^"\r\n]{1,62}"\Z')
_AT_DOMAIN = re.compile(
    r"@(?<=[\w.!#$%&'*+/=?^`{|}~\"-]@)(?:(?:\w(?:[\w-]{0,61}\w)?\.){1,8}(?:xn--[a-z0-9-]{2,59}|[^\W\d_]{2,63}+)"
    r"(?![\w-]{0,64}@)|\[\d{1,3}(?:\.\d{1,3}){3}\])",
    re.IGNORECASE,
)
_SPELT_AT = re.compile(r"[\[({]\s?(?:at|@)\s?[\])}]", re.IGNORECASE)
_SPELT = re.compile(
    r"(?<![\w.])([\w.+-]{1,64})\s{0,2}[\[({]\s?(?:at|@)\s?[\])}]\s{0,2}"
    r"((?:[\w-]{1,63}(?:\.|\s{0,2}[\[({]\s?(?:dot|punkt)\s?[\])}]\s{0,2})){1,6}[a-z]{2,24})(?!\w)",
    re.IGNORECASE,
)


def emails(text: str) -> Iterator[tuple[int, int]]:
    """Each address as (start, end), also with a quoted local part or in other alphabets."""
    for at in _AT_DOMAIN.finditer(text):
        place = at.start()
        before = text[max(0, place - 64) : place]
        if local := _LOCAL_BACKWARDS.match(before[::-1]):
            name = before[-local.end() :]
        elif quoted := _QUOTED_END.search(before):
            name = quoted.group()
        else:
            continue
        name = name.lstrip("'`*=/?&|{}~.")
        if "=" in name:  # ?email=jo@x.org: the parameter's name is no part of the address
            name = name.rsplit("=", 1)[1]
        name = name.lstrip("'`*/?&|{}~.")
        if name:
            yield place - len(name), at.end()


def spelt_emails(text: str) -> Iterator[tuple[int, int]]:
    """Addresses spelt out: jo (at) example (dot) org."""
    if _SPELT_AT.search(text) is None:
        return
    for match in _SPELT.finditer(text):
        yield match.span()


# --- Telephone numbers -------------------------------------------------------------------------

# Words before a number that say it is a telephone's, for identities.context
PHONE_WORDS = (
    r"tel(?:ephone|efon|efoon|\b)|phone|(?:cell|mobile|handy|sel)(?:phone|foon|nummer|\b)|call|ring|dial|fax|whats ?app|sms|"
    r"text (?:me|us|him|her)|reach (?:me|us|him|her)|contact|hotline|durchwahl|rufnummer|mobil|rückruf|bel (?:my|ons)|"
    r"skakel|anruf|landline|ph\b|[mtc]:"
)
_AMERICAN = re.compile(r"(?:1[ .-]?)?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])[2-9]\d\d[ .-]\d{4}\Z")
_MOBILE_BARE = re.compile(r"0[6-8]\d{8}\Z|07\d{9}\Z|01[5-7]\d{8,9}\Z|27[6-8]\d{8}\Z")
_DATE = re.compile(r"(?:(?:19|20)\d\d[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:19|20)\d\d)(?:[ -].*)?\Z")
_MOST_DIGITS_AT_HOME = 12  # longer ones exist in Germany, but a run of 13 is two numbers or none


def is_phone(candidate: str, digits: str, *, near: bool) -> bool:
    """Whether a run of digits and separators is a telephone number. `near`: a word such as "call" stands before it."""
    lead = candidate[0]
    if (
        not 7 <= len(digits) <= (15 if lead == "+" or digits.startswith("00") else _MOST_DIGITS_AT_HOME)
        or len(set(digits)) < 3
        or _DATE.match(candidate)
    ):
        return False
    if lead == "+":
        return is_possible(_without_trunk(candidate, digits))
    if digits.startswith("00"):
        return is_valid(_without_trunk(candidate, digits)[2:])
    if _AMERICAN.match(candidate):
        return True
    if len(digits) == len(candidate) and not near:
        return _MOBILE_BARE.match(digits) is not None and dialled(digits)[0]
    if digits[0] != "0" and not near:
        return digits.startswith("27") and len(digits) == 11 and " " in candidate and is_valid(digits)
    at_home, abroad = dialled(digits)
    return (at_home and (near or _is_grouped(candidate))) or (abroad and near)


def _without_trunk(candidate: str, digits: str) -> str:
    """The digits of "+27 (0)82 …" without the zero that is dialled only at home."""
    place = candidate.find("(0)")
    if place <= 0:
        return digits
    before = len(re.sub(r"\D", "", candidate[:place]))
    return digits[:before] + digits[before + 1 :]


def _is_grouped(candidate: str) -> bool:
    """Groups as people write them: no lone decimal point, no group of one digit but a leading one."""
    groups = re.findall(r"\d+", candidate)
    return all(len(group) > 1 for group in groups[1:]) and not (len(groups) == 2 and "." in candidate)
