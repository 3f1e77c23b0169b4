"""Names of people, without a model: by what stands before them, by names that are known, and by lists.

A sequence of capitalised words is somebody's name when a title ("Dr", "Frau", "Mnr") or a phrase ("my name is",
"Sehr geehrte") stands before it, when it begins with a known first name and goes on like a name, or when it is a first
name that is no ordinary word. Streets, companies and places that carry a name are let through. What rules can't know,
an engine may (gateway.redaction.engines), or a workspace's own list of names.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from gateway.redaction.detectors.lists import phrases, words

_UPPER = "A-ZÀ-ÖØ-ÞĀĂĄĆČĎĐĒĘĚĞĪĮİŁŃŇŌŐŘŚŞŠŢŤŪŮŰŹŻŽ"
_WORD = rf"[{_UPPER}][^\W\d_]*(?:['’\-][^\W\d_]+)*"
_PARTICLES = words("particles")
_PARTICLE = rf"(?:{'|'.join(sorted(_PARTICLES))})"
_AFTER_INITIALS = rf"(?:{_PARTICLE} ){{0,2}}"  # J.P. van der Merwe
_INITIALS = rf"(?:(?:[{_UPPER}]\. ?){{1,3}}{_AFTER_INITIALS})?"
_FOLLOWING = rf"(?:(?: {_PARTICLE}){{0,3}} {_INITIALS}{_WORD}){{0,5}}"
_NAME = rf"{_INITIALS}{_WORD}{_FOLLOWING}"
# The same, begun by the one letter that it must begin with: so the search jumps from capital to capital.
_SEQUENCE = re.compile(
    rf"[{_UPPER}](?<![^\W_].)(?:\. ?(?:[{_UPPER}]\. ?){{0,2}}{_AFTER_INITIALS}{_WORD}"
    rf"|[^\W\d_]*(?:['’\-][^\W\d_]+)*){_FOLLOWING}"
)
_BEFORE = re.compile(rf"(?<![^\W_])(?:{_PARTICLE} ){{1,2}}\Z")
_LONGEST_PARTICLE = max(map(len, _PARTICLES)) + 1

FIRST_NAMES, SURNAMES = words("first_names"), words("surnames")
AMBIGUOUS, NOT_NAMES, PLACE_WORDS = words("ambiguous"), words("not_names"), words("place_words")
TITLES = words("titles")
TITLE_WORDS = frozenset(title.capitalize() for title in TITLES)
# What stands right before a name, in lower case. After a sure phrase one word is enough; after the others two are.
SURE_CUES, WEAK_CUES = phrases("sure_cues"), phrases("weak_cues")
_IS = frozenset({"is", "was", "ist", "war", "heißt"})
GREETINGS = frozenset({"dear", "hi", "hello", "hallo", "hey", "liebe", "lieber", "beste"})  # "Hallo Annegret,"
_AFTER_GREETING = (",", "!", "\n", "–")
_NEEDS_COLON = frozenset({"name", "names", "naam"})
_TOLD_IN_LOWER_CASE = re.compile(
    r"(?i)(?<![a-z])(?:(?:my|the|his|her|full) (?:full )?name(?: is|['’]s|:)|mein name ist|my naam is|ich hei(?:ß|ss)e) "
    r"(?P<name>[^\W\d_]{2,20}(?: [^\W\d_]{2,20}){0,2})"
)
_JOINING = words("joining")
_FIELD = re.compile(
    r"(?i)(?:^|[_ -])(?:(?:full|first|last|sur|middle|maiden|given|family|customer|client|patient|employee|contact|display|"
    r"card_?holder|account_?holder)[_ -]?name|surname|nachname|vorname|naam|cardholder|signatory|applicant|patient|"
    r"account_?holder|kontoinhaber)\Z|^(?:full_?|first_?|last_?)?name\Z"
)
_WHOLE = re.compile(rf"\s*{_NAME}\s*\Z")


def people(text: str, lowered: str, field: str) -> Iterator[tuple[int, int]]:
    """Where names of people stand, as (start, end), without titles. `field`: the field whose value the text is."""
    if field and is_name_field(field) and _WHOLE.match(text) and _is_name_like(text.split()):
        bare = text.strip()
        start = text.index(bare)
        yield start, start + len(bare)
        return
    done = 0
    for match in _SEQUENCE.finditer(text):
        start = match.start()
        if text[start - 2 : start - 1].islower():  # van der Merwe: the particles before it are part of it
            before = _BEFORE.search(text, max(done, start - 2 * _LONGEST_PARTICLE), start)
            start = before.start() if before is not None else start
        done = match.end()
        span = _name_in(text, start, text[start:done])
        if span is not None:
            yield span
    yield from _told_in_lower_case(text, lowered)


@lru_cache(maxsize=4096)
def is_name_field(field: str) -> bool:
    """Whether a field of this name holds somebody's name, so that its value needs no other sign."""
    return _FIELD.search(field) is not None


def name_marks() -> str:
    """An RE2 pattern that finds something in every text that `people` could find a name in."""
    marking = FIRST_NAMES | SURNAMES | TITLE_WORDS
    whole = "|".join(sorted(word for word in marking if word[-1].isascii()))
    begun = "|".join(sorted(word for word in marking if not word[-1].isascii()))
    cues = "|".join(sorted({re.escape(phrase.split()[-1]) for phrase in SURE_CUES | WEAK_CUES}))
    return (
        rf"\b(?:{whole})\b|\b(?:{begun})|(?i:(?:^|[^a-z])(?:{cues}))[\s:,.\-–=\"'*_]{{1,6}}(?-i:\p{{Lu}})"
        r"|(?i:\bna(?:me|am)(?: is|['’]s|:| ist)|ich hei)"
    )


def _told_in_lower_case(text: str, lowered: str) -> Iterator[tuple[int, int]]:
    """ "my name is thabo": only for first names that are known."""
    if "nam" not in lowered and "naam" not in lowered and "ich hei" not in lowered:
        return
    for match in _TOLD_IN_LOWER_CASE.finditer(text):
        words = match["name"].split(" ")
        if words[0].capitalize() in FIRST_NAMES:
            count = 2 if len(words) > 1 and words[1].lower() not in _JOINING else 1
            start = match.start("name")
            yield start, start + len(" ".join(words[:count]))


def _name_in(text: str, start: int, sequence: str) -> tuple[int, int] | None:
    """The part of a capitalised sequence that is a name, or None."""
    words = sequence.split(" ")
    titled = _cue(text, start) == "title"
    while words and ((bare := words[0].rstrip(".")).lower() in TITLES or (bare in NOT_NAMES and not titled)):
        titled = bare.lower() in TITLES
        start += len(words[0]) + 1
        words = words[1:]
    if not words:
        return None
    cue = "title" if titled else _cue(text, start)
    if cue == "greeting" and (len(words) > 1 or text[start + len(words[0]) :][:1] not in _AFTER_GREETING):
        cue = "weak"
    begin = _begins_at(words, cue)
    if begin is None:
        return None
    while begin and len(words[begin - 1]) == 2 and words[begin - 1][1] == ".":  # the initials before it
        begin -= 1
    start += sum(len(word) + 1 for word in words[:begin])
    kept = _until_ordinary(words[begin:])
    if not kept:
        return None
    name = " ".join(kept)
    for tail in ("'s", "’s", "'", "’", "."):
        name = name.removesuffix(tail)
    return (start, start + len(name)) if len(name) > 1 else None


def _begins_at(words: list[str], cue: str) -> int | None:
    """At which word a name begins, or None where nothing says that the words are one."""
    if any(part.rstrip(".,") in PLACE_WORDS for word in words[1:] for part in word.split("-")):
        return None
    if "-" in words[0] and words[0].rsplit("-", 1)[1] in PLACE_WORDS:
        return None
    named = [word for word in words if word[0].isupper()]
    if cue in ("sure", "title", "greeting") and words[0] not in PLACE_WORDS:
        return 0
    for place, word in enumerate(words):
        bare = word.removesuffix("'s").removesuffix("’s")
        following = [other for other in words[place + 1 :] if other not in _PARTICLES]
        if bare in FIRST_NAMES or bare.split("-")[0] in FIRST_NAMES:
            if following and following[0] not in NOT_NAMES:
                if bare not in AMBIGUOUS or following[0].split("-")[0] in SURNAMES or (cue and place == 0):
                    return place
            elif bare not in AMBIGUOUS or (cue == "weak" and place == 0):
                return place
        elif (
            following
            and following[0] in SURNAMES
            and bare[0].isupper()
            and bare not in NOT_NAMES
            and (len(bare) == 2 or cue or place == 0)
        ):
            return place
    if cue == "weak" and 2 <= len(named) <= 4 and not any(word in NOT_NAMES or word.isupper() for word in named):
        return 0
    return None


def _cue(text: str, start: int) -> str:
    """What the words right before a sequence say of it: "title", "sure", "greeting", "weak" (more is needed) or nothing."""
    before = text[max(0, start - 32) : start].lower().rstrip(" \t\r\n:,-–.=\"'*_")
    words = before.split()[-3:]
    if not words:
        return ""
    if words[-1].rstrip(".") in TITLES:
        return "title"
    if words[-1] in _IS and len(words) > 1 and words[-2] in WEAK_CUES:
        return "weak"
    gap = text[start - 1 : start]
    for count in (3, 2, 1):
        phrase = " ".join(words[-count:])
        if phrase in SURE_CUES and (phrase not in _NEEDS_COLON or gap != " " or text[start - 2 : start - 1] in ":="):
            return "sure"
        if phrase in WEAK_CUES:
            return "greeting" if phrase in GREETINGS and gap == " " else "weak"
    return ""


def _until_ordinary(words: list[str]) -> list[str]:
    for place, word in enumerate(words):
        if place and word.removesuffix("'s") in NOT_NAMES and word not in SURNAMES:
            words = words[:place]
            break
    while words and words[-1] in _PARTICLES:
        words = words[:-1]
    return words


def _is_name_like(words: list[str]) -> bool:
    return len(words) <= 5 and not any(word in NOT_NAMES or word in PLACE_WORDS for word in words)
