"""When a target may be taken: conditions as data, so that a page can offer them as dropdowns. All of them must hold.

    {"field": "has_image", "is": true}
    {"field": "context_tokens", "at_most": 8000}
    {"field": "complexity", "one_of": ["simple", "moderate"]}
    {"field": "metadata.plan", "is_not": "free"}

A condition names one field and one or more comparisons; with several, all hold.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

YES_NO = ("has_image", "has_audio", "has_file", "has_tools", "wants_json", "streamed")
NUMBERS = ("context_tokens", "output_tokens", "messages")
LEVELS = ("simple", "moderate", "hard")
TEXTS = ("key", "team", "workspace", "user", "tag", "form")
METADATA = "metadata."

FIELDS: Mapping[str, str] = {
    "has_image": "the call holds an image",
    "has_audio": "the call holds sound",
    "has_file": "the call holds a file",
    "has_tools": "the call offers tools",
    "wants_json": "the call asks for JSON or a schema",
    "streamed": "the answer is streamed",
    "context_tokens": "the size of the input in tokens, estimated",
    "output_tokens": "the most output tokens that the caller asks for",
    "messages": "the number of messages",
    "complexity": "how hard the question looks: simple, moderate or hard",
    "key": "the API key's name",
    "team": "the team's name",
    "workspace": "the workspace's name",
    "user": "the end user",
    "tag": "one of the call's tags",
    "form": "the wire format: chat, messages, responses …",
}
EQUALITY = ("is", "is_not", "one_of", "none_of")
SIZE = ("at_least", "at_most")


def comparisons(field: str) -> tuple[str, ...]:
    """The comparisons that make sense for a field; empty for an unknown one."""
    if field in YES_NO:
        return ("is",)
    if field in NUMBERS:
        return (*SIZE, "is")
    if field == "complexity":
        return (*EQUALITY, *SIZE)
    if field in TEXTS or (field.startswith(METADATA) and len(field) > len(METADATA)):
        return EQUALITY
    return ()


def problems(conditions: Any) -> list[str]:
    """What is wrong with a list of conditions, one sentence each, beginning with the place: `[0].at_most …`."""
    if not isinstance(conditions, list | tuple):
        return ["must be a list of conditions"]
    found = []
    for index, condition in enumerate(conditions):
        found += [f"[{index}]{problem}" for problem in _problems(condition)]
    return found


def _problems(condition: Any) -> list[str]:
    if not isinstance(condition, Mapping):
        return [' must be an object such as {"field": "has_image", "is": true}']
    field = condition.get("field") or ""
    allowed = comparisons(field) if isinstance(field, str) else ()
    if not allowed:
        return [f".field must be one of {', '.join(FIELDS)}, or metadata.NAME; it is {field!r}"]
    given = [name for name in condition if name != "field"]
    if not given:
        return [f" needs a comparison: {', '.join(allowed)}"]
    found = []
    for name in given:
        if name not in allowed:
            found.append(f".{name} is no comparison for {field}; there are {', '.join(allowed)}")
        elif (expected := _misfit(field, name, condition[name])) is not None:
            found.append(f".{name} must be {expected}; it is {condition[name]!r}")
    return found


def _misfit(field: str, comparison: str, value: Any) -> str | None:
    """What the value should be, or None when it is that."""
    many = comparison in {"one_of", "none_of"}
    if many and not isinstance(value, list | tuple):
        return "a list"
    values: Sequence[Any] = value if many else (value,)
    if field in YES_NO:
        return None if all(isinstance(each, bool) for each in values) else "true or false"
    if field in NUMBERS:
        right = all(isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in values)
        return None if right else "a whole number, 0 or more"
    if field == "complexity":
        return None if all(each in LEVELS for each in values) else "simple, moderate or hard"
    return None if all(isinstance(each, str | int | float | bool) for each in values) else "a text or a number"


Test = Callable[[Any], bool]


def predicate(condition: Mapping[str, Any]) -> tuple[str, Test]:
    """The field and a function that tells whether its value passes. The condition must be free of problems."""
    field = condition["field"]
    tests = [_test(field, name, value) for name, value in condition.items() if name != "field"]
    if len(tests) == 1:
        return field, tests[0]
    return field, lambda value: all(test(value) for test in tests)


def _test(field: str, comparison: str, expected: Any) -> Test:
    if comparison in {"at_least", "at_most"}:
        rank: Callable[[Any], Any] = LEVELS.index if field == "complexity" else int
        bound = rank(expected)
        if comparison == "at_least":
            return lambda value: rank(value) >= bound
        return lambda value: rank(value) <= bound
    if field in YES_NO or field in NUMBERS or field == "complexity":
        values = set(expected) if comparison in {"one_of", "none_of"} else {expected}
    else:  # texts: what a file calls 5 and a caller calls "5" is the same
        values = {_text(each) for each in (expected if comparison in {"one_of", "none_of"} else (expected,))}
    wanted = comparison in {"is", "one_of"}

    def test(value: Any) -> bool:
        held = {_text(each) for each in value} if isinstance(value, tuple) else {value}
        return bool(held & values) is wanted

    return test


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def told(condition: Mapping[str, Any]) -> str:
    """The condition as words: "context_tokens at most 8000"."""
    parts = []
    for name, value in condition.items():
        if name != "field":
            shown = ", ".join(map(_text, value)) if isinstance(value, list | tuple) else _text(value)
            parts.append(f"{name.replace('_', ' ')} {shown}")
    return f"{condition['field']} {' and '.join(parts)}"
