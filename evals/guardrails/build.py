"""Rows' values → guardrails that can run, refused with a reason where they can't."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from evals.guardrails.checks import (
    BadGuardrail,
    BlockedWords,
    Check,
    HiddenText,
    Injection,
    JsonSchema,
    MaxSize,
    Secrets,
    Topics,
)

SIDES = ("input", "output")
# On which sides a kind looks unless the options say so, and on which it can.
DEFAULT_SIDES = {
    "prompt_injection": ("input",),
    "secrets": SIDES,
    "blocked_words": SIDES,
    "invisible_text": ("input",),
    "topics": ("input",),
    "max_size": SIDES,
    "json_schema": ("output",),
}
ABLE_SIDES = {**dict.fromkeys(DEFAULT_SIDES, SIDES), "json_schema": ("output",)}
# Forms whose answers are text: only there can an answer be looked at. Sound that goes in can't be looked at at all.
ANSWER_FORMS = frozenset({"chat", "responses", "messages", "completions"})
READABLE_FORMS = ANSWER_FORMS | {"embeddings", "rerank", "moderations", "images", "audio_speech"}
OPTIONS = {"on", "forms", "on_error"}
OWN_OPTIONS = {"json_schema": {"schema"}, "max_size": {"max_input_characters", "max_output_characters"}}
ON_ERROR = ("block", "flag")


class Guard(NamedTuple):
    """A guardrail of a workspace, ready to run. `forms` is None where it holds for all forms that it can."""

    kind: str
    blocks: bool
    sides: tuple[str, ...]
    forms: frozenset[str] | None
    blocks_on_error: bool
    check: Any  # a Check, JsonSchema or MaxSize

    def looks_at(self, side: str, form: str) -> bool:
        return side in self.sides and (self.forms is None or form in self.forms)


def guard(kind: str, action: str, threshold: float | None, words: list[str], options: Mapping[str, Any]) -> Guard:
    """The guardrail with these values. Raises BadGuardrail, saying what can't be and naming the field."""
    if kind not in DEFAULT_SIDES:
        raise BadGuardrail(f"There is no guardrail {kind!r}.", "kind")
    if not isinstance(options, Mapping):
        raise BadGuardrail("The options must be an object.")
    known = OPTIONS | OWN_OPTIONS.get(kind, set())
    if unknown := sorted(set(options) - known):
        raise BadGuardrail(f"{kind} has no option {unknown[0]!r}; there are {', '.join(sorted(known))}.")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise BadGuardrail("The words must be a list of texts.", "words")
    sides = _sides(kind, options)
    on_error = options.get("on_error", action)
    if on_error not in ON_ERROR:
        raise BadGuardrail(f"on_error must be one of {', '.join(ON_ERROR)}.")
    forms = _forms(kind, sides, options)
    return Guard(kind, action == "block", sides, forms, on_error == "block", _check(kind, threshold, words, options))


def _sides(kind: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    asked = options.get("on", list(DEFAULT_SIDES[kind]))
    if not isinstance(asked, list) or not asked or not set(asked) <= set(SIDES):
        raise BadGuardrail('on must be a list of "input" and "output".')
    if unable := sorted(set(asked) - set(ABLE_SIDES[kind])):
        raise BadGuardrail(f"{kind} can't look at the {unable[0]}.")
    return tuple(side for side in SIDES if side in asked)


def _forms(kind: str, sides: tuple[str, ...], options: Mapping[str, Any]) -> frozenset[str] | None:
    """The forms that the options name. Refused where the guardrail could not be enforced there."""
    asked = options.get("forms")
    if asked is None:
        return None
    if not isinstance(asked, list) or not asked:
        raise BadGuardrail("forms must be a list of forms, e.g. chat, messages, embeddings.")
    able = ANSWER_FORMS if "output" in sides else READABLE_FORMS
    for form in asked:
        if form not in able:
            told = "there is no such form" if form not in READABLE_FORMS else "its answers are no text"
            raise BadGuardrail(f"{kind} can't be enforced for {form!r}: {told}. Choose from {', '.join(sorted(able))}.")
    return frozenset(asked)


def _check(kind: str, threshold: float | None, words: list[str], options: Mapping[str, Any]) -> Any:
    match kind:
        case "prompt_injection":
            return Injection(threshold)
        case "secrets":
            return Secrets()
        case "blocked_words":
            return BlockedWords(words)
        case "invisible_text":
            return HiddenText()
        case "topics":
            return Topics(words, threshold)
        case "max_size":
            return MaxSize(options)
    return JsonSchema(options.get("schema"))


__all__ = ["BadGuardrail", "Check", "Guard", "guard"]
