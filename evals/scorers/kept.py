"""What scorers read and what they say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class Undecided(Exception):
    """The assertion can't be decided, e.g. because its value is of the wrong form. The message says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One kept answer. `ms`: milliseconds until it was whole. `personal`: kinds of personal data that stand in it."""

    text: str
    tool_calls: Sequence[Mapping[str, Any]] = ()
    finish: str = ""
    ms: float = 0.0
    cost_nanos: int = 0
    personal: Sequence[str] = ()
    expected: str = ""  # the case's reference
    question: str = ""  # what was asked, for judges


@dataclass(frozen=True, slots=True)
class Assertion:
    """What must hold. `threshold` and `value` mean what the kind says."""

    kind: str
    value: Any = None
    critical: bool = False
    weight: float = 1.0
    threshold: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> "Assertion":
        """As a case has it. Raises Undecided where it has no kind."""
        kind, weight, threshold = row.get("kind"), row.get("weight"), row.get("threshold")
        if not isinstance(kind, str):
            raise Undecided("an assertion needs a kind")
        return cls(
            kind=kind,
            value=row.get("value"),
            critical=bool(row.get("critical")),
            weight=1.0 if weight is None else float(weight),
            threshold=None if threshold is None else float(threshold),
            options=row.get("options") or {},
        )

    def text(self, answer: Answer) -> str:
        """The value as a text; left out, the case's reference. Raises Undecided where there is neither."""
        value = answer.expected if self.value is None else self.value
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value:
            raise Undecided(f"{self.kind} needs a text as its value, or an expected answer of its case")
        return value

    def texts(self, answer: Answer) -> list[str]:
        """The value as a list of texts. Raises Undecided."""
        if not isinstance(self.value, list):
            return [self.text(answer)]
        if not self.value or not all(isinstance(each, str) and each for each in self.value):
            raise Undecided(f"{self.kind} needs a list of texts as its value")
        return list(self.value)

    def number(self) -> float:
        """The value as a number. Raises Undecided."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float | str):
            raise Undecided(f"{self.kind} needs a number as its value")
        try:
            return float(self.value)
        except ValueError:
            raise Undecided(f"{self.kind} needs a number as its value, not {self.value!r}") from None


@dataclass(frozen=True, slots=True)
class Found:
    """pass, fail or error; `score` is 0 to 1; `raw` is what a judge said, so that it need not be asked again."""

    verdict: str
    score: float | None = None
    reason: str = ""
    raw: str = ""


def holds(is_true: bool, reason: str = "") -> Found:
    """A verdict of yes or no. The reason says why not."""
    return Found("pass", 1.0) if is_true else Found("fail", 0.0, reason)


def reaches(score: float, threshold: float, what: str) -> Found:
    """A verdict by a score from 0 to 1 that must reach the threshold."""
    if score >= threshold:
        return Found("pass", round(score, 6))
    return Found("fail", round(score, 6), f"{what} is {score:.3f}, below {threshold:g}.")
