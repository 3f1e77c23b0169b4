"""Secrets in text: keys and tokens by the shapes that their makers gave them, passwords by what stands before them.

Used by the guardrail that refuses them and by redaction, which masks them. `find_secrets` first asks for literal marks with
plain substring searches (about 2 µs per KB of clean text), and runs a pattern only where its mark was seen.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import re2


class Shape(NamedTuple):
    """One maker's kind of secret: any of the marks (lower case) must occur, then the pattern decides."""

    name: str
    marks: tuple[str, ...]
    pattern: re.Pattern[str]


def _shape(name: str, marks: str, pattern: str) -> Shape:
    return Shape(name, tuple(marks.split()), re.compile(pattern))


_END = r"(?![A-Za-z0-9_-])"
_START = r"(?<![A-Za-z0-9_-])"
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY-----")
_KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]{0,30}PRIVATE KEY-----")
_KEY_MARK = "private key-----"
_LONGEST_KEY = 8_000
SHAPES = (
    _shape("AWS key", "akia asia abia acca", _START + r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}" + _END),
    _shape("GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", _START + r"gh[pousr]_[A-Za-z0-9]{30,255}" + _END),
    _shape("GitHub token", "github_pat_", _START + r"github_pat_[A-Za-z0-9_]{22,255}" + _END),
    _shape("GitLab token", "glpat- gldt- glrt-", _START + r"gl(?:pat|dt|rt)-[A-Za-z0-9_.-]{20,128}"),
    _shape("Slack token", "xoxb- xoxa- xoxp- xoxr- xoxs- xapp-",
           _START + r"(?:xox[baprs]|xapp)-[A-Za-z0-9-]{10,250}" + _END),
    _shape("Slack webhook", "hooks.slack.com/", r"https://hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_-]{20,200}"),
    _shape("Stripe key", "sk_live_ sk_test_ rk_live_ rk_test_ whsec_",
           _START + r"(?:[sr]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,250}"),
    _shape("OpenAI-like key", "sk-", _START + r"sk-(?:ant-|proj-|svcacct-|or-v1-|lf-|admin-)?[A-Za-z0-9_-]{16,250}" + _END),
    _shape("Google API key", "aiza", _START + r"AIza[A-Za-z0-9_-]{35}" + _END),
    _shape("Google token", "ya29.", _START + r"ya29\.[A-Za-z0-9_-]{20,500}"),
    _shape("service token", "npm_ hf_ r8_ gsk_ nvapi- tgp_",
           _START + r"(?:npm_|hf_|r8_|gsk_|nvapi-|tgp_v1_)[A-Za-z0-9_-]{24,200}" + _END),
    _shape("service token", "xai- pplx- fw_ dapi dop_v1_ doo_v1_",
           _START + r"(?:xai-|pplx-|fw_|dapi|do[op]_v1_)[A-Za-z0-9]{20,200}" + _END),
    _shape("PyPI token", "pypi-ageichlwas5vcmc", _START + r"pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,500}"),
    _shape("SendGrid key", "sg.", _START + r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}" + _END),
    _shape("Shopify token", "shpat_ shpca_ shppa_ shpss_", _START + r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}" + _END),
    _shape("Square token", "sq0", _START + r"sq0(?:atp|csp)-[A-Za-z0-9_-]{22,43}" + _END),
    _shape("JSON web token", "eyj", _START + r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]{0,2000})?"),
    _shape("Azure key", "accountkey= sharedaccesskey=", r"(?<=(?:countKey|ccessKey)=)[A-Za-z0-9+/]{40,100}={0,2}"),
    _shape("address with password", "://", r"(?<=://)[^\s:/@\"'<>]{0,64}:[^\s/@\"'<>]{3,128}(?=@[\w.\[-])"),
    _shape("Telegram token", ":aa", _START + r"\d{8,10}:AA[A-Za-z0-9_-]{32,34}" + _END),
    _shape("gateway key", "tg_ tollgate_ tg-", _START + r"(?:tg|tollgate)[_-][A-Za-z0-9_-]{24,100}" + _END),
)  # fmt: skip

_TOLD_MARKS = ("passw", "passphrase", "secret", "token", "key", "pwd", "bearer", "wagwoord", "passwort", "kennwort")
_TOLD = re.compile(
    r"(?i)(?:(?<![a-z])(?:pass(?:word|wd|phrase|wort)|pwd|wagwoord|kennwort|client[_ -]?secret|secret[_ -]?access[_ -]?key|"
    r"(?:api|auth|access|refresh|account|private|signing|encryption|license|session)[_ -]?(?:key|token|secret)|"
    r"secret(?:[_ -]?key)?|token))"
    r"[\"'`]{0,2}(?:\s{0,3}(?:=>|:=|=|:)\s{0,3}|\s{1,3}(?:is|ist|lautet|was)\s{0,3}:?\s{0,3})[\"'`]{0,2}"
    r"(?P<value>[^\s\"'`<>,;{}\[\]()]{6,256})"
    r"|(?<![a-z])bearer\s{1,3}(?P<bearer>[a-z0-9_.~+/=-]{16,2000})"
)
_PLACEHOLDERS = (
    "xxx",
    "***",
    "...",
    "your",
    "example",
    "changeme",
    "redacted",
    "placeholder",
    "env(",
    "${",
    "os.environ",
)
_LOW_BITS = 2.6


def secret_marks() -> str:
    """An RE2 pattern that finds something in every text that `find_secrets` could find a secret in."""
    made = "|".join(re.escape(mark) for mark in (_KEY_MARK, *(mark for shape in SHAPES for mark in shape.marks)))
    told = "|".join(re.escape(mark) for mark in _TOLD_MARKS)
    return rf"(?i:{made}|(?:{told})[a-z]{{0,9}}[\"'`]{{0,2}}\s{{0,3}}(?:=|:|is|was|lautet)|bearer\s)"


_MARKED: Any = re2.compile(secret_marks())


def may_hold_secret(text: str) -> bool:
    """Whether a text holds any of the marks, asked in one linear pass."""
    return _MARKED.search(text) is not None


def find_secrets(text: str) -> list[tuple[int, int]]:
    """Where secrets stand in a plain text, as (start, end)."""
    return [(start, end) for start, end, _ in named_secrets(text)]


def named_secrets(text: str) -> list[tuple[int, int, str]]:
    """The same, each with what it is: whose key by its shape, a private key, or told by the word before it."""
    low = text.lower()
    found: list[tuple[int, int, str]] = []
    for shape in SHAPES:
        for mark in shape.marks:
            if mark in low:
                found.extend(
                    (*match.span(), shape.name)
                    for match in shape.pattern.finditer(text)
                    if mark != "sk-" or _looks_random(match.group().removeprefix("sk-"))
                )
                break
    if _KEY_MARK in low:
        found.extend((start, end, "private key") for start, end in private_keys(text))
    for mark in _TOLD_MARKS:
        if mark in low:
            found.extend((start, end, "password or token") for start, end in _told(text))
            break
    return found


def private_keys(text: str) -> Iterator[tuple[int, int]]:
    """Keys from their first line to their last, or to the text's end where it was cut. Each line is looked for once."""
    ends = [match.end() for match in _KEY_ENDS.finditer(text)]
    done = following = 0
    for begin in _KEY_BEGINS.finditer(text):
        if begin.start() < done:
            continue
        while following < len(ends) and ends[following] < begin.end():
            following += 1
        done = ends[following] if following < len(ends) else len(text)
        if done - begin.end() > _LONGEST_KEY:
            done = begin.end()
            continue
        yield begin.start(), done


def _told(text: str) -> list[tuple[int, int]]:
    found = []
    for match in _TOLD.finditer(text):
        which = "bearer" if match["bearer"] else "value"
        value = match[which].rstrip(".:")
        if _could_be_secret(value, spoken="=" not in match.group() and ":" not in match.group()):
            start = match.start(which)
            found.append((start, start + len(value)))
    return found


def _could_be_secret(value: str, *, spoken: bool) -> bool:
    """A word after "password is" needs more than letters to be one; after "password:" a word that mixes is enough."""
    low = value.lower()
    if len(value) < 6 or any(filler in low for filler in _PLACEHOLDERS):
        return False
    classes = sum(
        (
            any(c.islower() for c in value),
            any(c.isupper() for c in value),
            any(c.isdigit() for c in value),
            any(not c.isalnum() for c in value),
        )
    )
    has_odd = any(c.isdigit() or c in "!@#$%^&*+=~?" for c in value)
    if spoken:
        return has_odd and classes >= 2
    return (has_odd and classes >= 2) or (classes >= 2 and _looks_random(value) and len(value) >= 16)


def _looks_random(value: str) -> bool:
    """Whether the characters of a value are spread as in a key: more than 2.6 bits each, and a digit among them."""
    if not any(character.isdigit() for character in value):
        return len(value) >= 24 and not value.islower() and _bits(value) > _LOW_BITS + 1
    return _bits(value) > _LOW_BITS


def _bits(value: str) -> float:
    counts = Counter(value)
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
