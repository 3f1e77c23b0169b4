"""What each kind of guardrail looks for. A check sees text and says where; it knows nothing of calls."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import jsonschema_rs

from evals.guardrails.hidden import hidden_text, spoofed_roles
from evals.guardrails.injection import injection_score
from evals.guardrails.patterns import pattern_of_words, whole_words
from evals.guardrails.secrets import may_hold_secret, named_secrets
from gateway.core.plain import plain

INJECTION_THRESHOLD = 0.8
TOPIC_THRESHOLD = 0.5


class BadGuardrail(ValueError):
    """A guardrail that can't be run as it is written. `field` is words, options or threshold."""

    def __init__(self, message: str, field: str = "options") -> None:
        super().__init__(message)
        self.field = field


class Seen(NamedTuple):
    """What a check saw in a text: how sure it is, and where (for kinds that find places), and what stands at each."""

    score: float = 0.0
    places: tuple[int, ...] = ()
    names: tuple[str, ...] = ()  # as many as places, or none


NOTHING = Seen()


class Check(Protocol):
    """Looks at one text. `tail` is how many characters of a stream must be looked at again with what follows."""

    tail: int
    threshold: float

    def look(self, text: str) -> Seen: ...


class Injection:
    tail = 600

    def __init__(self, threshold: float | None) -> None:
        self.threshold = INJECTION_THRESHOLD if threshold is None else threshold

    def look(self, text: str) -> Seen:
        return Seen(injection_score(text))


class Secrets:
    tail = 300
    threshold = 1.0

    def look(self, text: str) -> Seen:
        shown = plain(text).text
        if not may_hold_secret(shown) or not (found := named_secrets(shown)):
            return NOTHING
        by_place = {start: name for start, _, name in reversed(found)}  # told twice: by its maker's shape
        return Seen(1.0, tuple(by_place), tuple(by_place.values()))


class BlockedWords:
    threshold = 1.0

    def __init__(self, words: Iterable[str]) -> None:
        listed = [word for word in words if word.strip()]
        if not listed:
            raise BadGuardrail("Write at least one word to block.", "words")
        self.pattern: Any = pattern_of_words(plain(word).text for word in listed)
        self.tail = max(map(len, listed)) + 1

    def look(self, text: str) -> Seen:
        return _places(start for start, _ in whole_words(self.pattern, plain(text).text))


class HiddenText:
    tail = 64
    threshold = 1.0

    def look(self, text: str) -> Seen:
        return _places([*hidden_text(text), *spoofed_roles(text)])


class Topics:
    """Each word counts once; the score is 1 - 0.5 ** (words that stand in the text): 0.5 for one, 0.75 for two."""

    def __init__(self, words: Iterable[str], threshold: float | None) -> None:
        listed = [word for word in words if word.strip()]
        if not listed:
            raise BadGuardrail("Write at least one word that tells the topic.", "words")
        self.threshold = TOPIC_THRESHOLD if threshold is None else threshold
        self.pattern: Any = pattern_of_words(plain(word).text for word in listed)
        self.tail = 2_000

    def look(self, text: str) -> Seen:
        shown = plain(text).text
        words = {shown[start:end].lower() for start, end in whole_words(self.pattern, shown)}
        return Seen(1 - 0.5 ** len(words))


def refuse_to_fetch(uri: str) -> Any:
    raise ValueError(f"a schema may not refer to {uri}: nothing is fetched")


class JsonSchema:
    """Whether a whole answer is JSON that fits the schema. References to other places are refused, never fetched."""

    def __init__(self, schema: Any) -> None:
        if not isinstance(schema, dict):
            raise BadGuardrail('Give the schema as {"schema": {…}} in the options.')
        try:
            self.validator = jsonschema_rs.validator_for(schema, retriever=refuse_to_fetch)
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            raise BadGuardrail(f"This JSON schema can't be used: {str(error).splitlines()[0]}") from None

    def fits(self, answer: str) -> bool:
        try:
            return self.validator.is_valid(json.loads(answer))
        except (ValueError, RecursionError):
            return False


class MaxSize:
    """Most characters of all texts that go in, and of the answer."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.most = {
            "input": _whole(options, "max_input_characters"),
            "output": _whole(options, "max_output_characters"),
        }
        if not any(self.most.values()):
            raise BadGuardrail("Give max_input_characters or max_output_characters in the options.")


def _whole(options: Mapping[str, Any], name: str) -> int | None:
    value = options.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise BadGuardrail(f"{name} must be a whole number of at least 1.")
    return value


def _places(starts: Iterable[int]) -> Seen:
    places = tuple(starts)
    return Seen(1.0 if places else 0.0, places)
