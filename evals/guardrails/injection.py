"""How much a text reads like an attempt to take over the model: a score from 0 to 1.

A list of turns of phrase with weights, matched in one linear pass (RE2) over the plain view of the text. It knows the
common attacks in English, German, Afrikaans, Spanish and French, and no more: a paraphrase that uses none of these
words scores 0, and a model trained for this does better. What it is good for is cheap: it costs some microseconds,
and it lets the ordinary uses of the same words through (see docs/redaction.md for the figures).
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import re2

from gateway.core.plain import plain


class Turn(NamedTuple):
    """A turn of phrase and how sure it makes us, 0 to 1."""

    weight: float
    pattern: str


def _read_turns() -> tuple[Turn, ...]:
    lines = Path(__file__).with_name("injection_turns.txt").read_text("utf-8").splitlines()
    named: dict[str, str] = {}
    turns = []
    for line in lines:
        first, _, pattern = line.partition(" ")
        if first in ("orders", "earlier"):
            named[f"{{{first}}}"] = pattern
        elif first != "#":
            for name, words in named.items():
                pattern = pattern.replace(name, words)
            turns.append(Turn(float(first), pattern.replace(" ", "(?:[^a-z0-9]{1,4})")))
    return tuple(turns)


TURNS = _read_turns()

# Words of people who write about such attacks, rather than making one. They halve the score of quoted phrases.
_ABOUT = re.compile(
    r"(?i)prompt[ -]injections?|jailbreak(?:s|ing)? (?:attacks?|attempts?|detection|prompts?)|"
    r"for example|e\.g\.|such as|the phrase|"
    r"what does [\"'“‘]|\bmean(?:s|ing|t)?\b|"
    r"an? (?:paper|article|blog|novel|story|lecture|talk|course|poem|quiz) (?:about|on)|"
    r"(?:detect|classify|flag|filter|prevent|defend|mitigate|block)(?:s|ing|ion)? |unit tests?|owasp|security training|"
    r"why do (?:people|attackers|users)|how do (?:people|attackers)"
)
_QUOTED = re.compile(r"[\"'“”‘’«»„`]")


def _turns() -> Any:
    turns = re2.Set.SearchSet()
    for turn in TURNS:
        turns.Add(f"(?i){turn.pattern}")
    turns.Compile()
    return turns


_TURNS = _turns()


def injection_score(text: str) -> float:
    """How much the text reads like an injected instruction, 0 to 1. Turns add up as independent evidence would."""
    seen = _TURNS.Match(plain(text).text)
    if not seen:
        return 0.0
    doubt = 1.0
    for index in seen:
        doubt *= 1 - TURNS[index].weight
    score = 1 - doubt
    if _ABOUT.search(text) and (_QUOTED.search(text) or text.rstrip().endswith("?")):
        score /= 2
    return round(score, 3)
